"""Preferences, one's own and, for an admin or a service, those of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType

from api.merge import Patch
from api.route import EVERYONE, Answer, Call, Route, route
from api.routes.bodies import QuietBody, UserQuery
from api.routes.calling import answer_of, caller_of
from hub.app import preferences
from hub.app.deps import Deps
from hub.core.preferences import Preferences

if TYPE_CHECKING:
    PreferencesBody = Preferences
else:
    # What a PUT leaves out takes the tenant's default, which the type cannot know: so it must be seen to be left out.
    PreferencesBody = msgspec.defstruct(
        "PreferencesBody",
        [
            (name, kind | UnsetType, UNSET)
            for name, kind in get_type_hints(Preferences, include_extras=True).items()
            if name in Preferences.__struct_fields__
        ],
        forbid_unknown_fields=True,
        kw_only=True,
        frozen=True,
    )


@route("GET", "/notifications/preferences", summary="Preferences", roles=EVERYONE, responses={200: Preferences})
async def read_preferences(call: Call[Deps, None, UserQuery]) -> Answer:
    """Those in force. `user_id` is for an admin or a service."""
    return answer_of(await preferences.read_preferences(call.deps, caller_of(call), call.query.user_id))


@route("PUT", "/notifications/preferences", summary="Replace preferences", roles=EVERYONE,
       responses={200: Preferences})  # fmt: skip
async def put_preferences(call: Call[Deps, PreferencesBody, UserQuery]) -> Answer:
    """What is left out takes its default. Everything that is held is judged anew, at once."""
    body = call.body
    given = {name: getattr(body, name) for name in body.__struct_fields__ if getattr(body, name) is not UNSET}

    def change(_: Preferences, defaults: Preferences) -> Preferences:
        return msgspec.structs.replace(defaults, **given)

    return answer_of(await preferences.change_preferences(call.deps, caller_of(call), change, call.query.user_id))


@route("PATCH", "/notifications/preferences", summary="Change preferences", roles=EVERYONE,
       responses={200: Preferences})  # fmt: skip
async def patch_preferences(call: Call[Deps, Patch[Preferences], UserQuery]) -> Answer:
    """RFC 7396; null takes a field back to its default. Everything that is held is judged anew, at once."""
    return answer_of(
        await preferences.change_preferences(call.deps, caller_of(call), call.body.apply, call.query.user_id)
    )


@route("PUT", "/users/{user_id}/quiet", summary="Quiet until an instant", roles=("admin", "service"),
       responses={200: Preferences})  # fmt: skip
async def put_quiet(call: Call[Deps, QuietBody, None]) -> Answer:
    """What the telephone system says while a call lasts; null ends it."""
    return answer_of(
        await preferences.set_quiet_until(call.deps, caller_of(call), call.id("user_id"), call.body.quiet_until)
    )


PREFERENCES: Final[list[Route]] = [read_preferences, put_preferences, patch_preferences, put_quiet]
