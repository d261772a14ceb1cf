"""What people do with their own notifications."""

from __future__ import annotations

from typing import Any, Final

from api.route import EVERYONE, PEOPLE, Answer, Call, Route, route
from api.routes.bodies import ActionsBody, SnoozeBody, UpToBody
from api.routes.calling import answer_of, caller_of
from hub.app import own
from hub.app.deps import Deps
from hub.app.own import Done, Swept
from hub.core.notification import Notification
from hub.core.transitions import Action


async def _act(call: Call[Deps, None, None], action: Action) -> Answer:
    return answer_of(await own.act(call.deps, caller_of(call), [call.id()], action), render=_single)


def _single(done: Done) -> Any:
    return done.items[0]


@route("PUT", "/notifications/{id}/read", summary="Read", roles=PEOPLE, responses={200: Notification}, errors=(404,))
async def read(call: Call[Deps, None, None]) -> Answer:
    """Ends a hold or a snooze; cancels e-mail and SMS that have not been handed over."""
    return await _act(call, "read")


@route("PUT", "/notifications/{id}/unread", summary="Unread", roles=PEOPLE, responses={200: Notification},
       errors=(404,))  # fmt: skip
async def unread(call: Call[Deps, None, None]) -> Answer:
    return await _act(call, "unread")


@route("PUT", "/notifications/{id}/archive", summary="Archive", roles=PEOPLE, responses={200: Notification},
       errors=(404,))  # fmt: skip
async def archive(call: Call[Deps, None, None]) -> Answer:
    """Out of the badge; what is held is not released."""
    return await _act(call, "archive")


@route("PUT", "/notifications/{id}/unarchive", summary="Take out of the archive", roles=PEOPLE,
       responses={200: Notification}, errors=(404,))  # fmt: skip
async def unarchive(call: Call[Deps, None, None]) -> Answer:
    return await _act(call, "unarchive")


@route("PUT", "/notifications/{id}/snooze", summary="Put off", roles=PEOPLE, responses={200: Notification},
       errors=(404, 409))  # fmt: skip
async def snooze(call: Call[Deps, SnoozeBody, None]) -> Answer:
    """Out of the inbox, unread, until `until`, when it comes back live."""
    return answer_of(await own.snooze(call.deps, caller_of(call), call.id(), call.body.until), render=_single)


@route("PUT", "/notifications/{id}/unsnooze", summary="End a snooze now", roles=PEOPLE, responses={200: Notification},
       errors=(404,))  # fmt: skip
async def unsnooze(call: Call[Deps, None, None]) -> Answer:
    """Live again, unless something else holds it."""
    return answer_of(await own.unsnooze(call.deps, caller_of(call), call.id()), render=_single)


@route("DELETE", "/notifications/{id}", summary="Delete", roles=PEOPLE, responses={204: None}, errors=(404,))
async def delete(call: Call[Deps, None, None]) -> Answer:
    return answer_of(await own.act(call.deps, caller_of(call), [call.id()], "delete"), status=204)


@route("DELETE", "/notifications/{id}/schedule", summary="Cancel what is still scheduled", roles=EVERYONE,
       responses={204: None}, errors=(404, 409))  # fmt: skip
async def cancel_schedule(call: Call[Deps, None, None]) -> Answer:
    """By its recipient or by who created it."""
    return answer_of(await own.cancel_schedule(call.deps, caller_of(call), call.id()), status=204)


@route("POST", "/notifications/actions", summary="One action on up to 200", roles=PEOPLE, responses={200: Done},
       errors=(404,), idempotent=True)  # fmt: skip
async def act_on_several(call: Call[Deps, ActionsBody, None]) -> Answer:
    """One transaction. Ids that are not the caller's (any more) are named as `missing`."""
    return answer_of(await own.act(call.deps, caller_of(call), call.body.ids, call.body.action))


@route("POST", "/notifications/read-all", summary="Read all", roles=PEOPLE, responses={200: Swept}, errors=(404, 409),
       idempotent=True)  # fmt: skip
async def read_all(call: Call[Deps, UpToBody, None]) -> Answer:
    """All that is live; what is held is not touched."""
    return answer_of(await own.sweep(call.deps, caller_of(call), "read_all", call.body.before))


@route("POST", "/notifications/seen", summary="See all", roles=PEOPLE, responses={200: Swept}, errors=(404, 409),
       idempotent=True)  # fmt: skip
async def see_all(call: Call[Deps, UpToBody, None]) -> Answer:
    """All that is live; what is held is not touched."""
    return answer_of(await own.sweep(call.deps, caller_of(call), "seen", call.body.before))


OWN: Final[list[Route]] = [
    read,
    unread,
    archive,
    unarchive,
    snooze,
    unsnooze,
    delete,
    cancel_schedule,
    act_on_several,
    read_all,
    see_all,
]
