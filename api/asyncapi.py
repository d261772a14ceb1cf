"""The AsyncAPI 3.0 document of the live protocol, read from the structs of its frames.

Owns no rule of the protocol: fields and words are those of `hub.core.frames`, close
codes those of `hub.core.closing`, kinds those of `hub.core.event`, calls those of `hub.app.calls`.
What each kind of event carries is said here: writers make it where they write.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

import msgspec

from api.openapi import ProblemDocument
from api.schemas import ROOT, Json, Schemas
from hub.app.calls import METHODS, Watched
from hub.app.own import Done
from hub.core import frames
from hub.core.closing import RECONNECT, Close
from hub.core.counts import Counts
from hub.core.event import EventKind
from hub.core.notification import Notification, Released
from hub.core.preferences import Preferences
from hub.core.priority import Priority
from hub.core.task import Assignment, Comment, Task
from hub.core.task_news import Assigned
from hub.gateway.handshake import PATH
from hub.gateway.task_watch import Scope, TaskNews


class EventFrame(msgspec.Struct, tag_field="type", tag="event", omit_defaults=True):
    """One entry of the user's log. `cursor` is the highest number without a hole below it; `counts` are absolute.

    `merged` are the numbers of older `task.updated` of the same task for which this one stands.
    """

    seq: int
    cursor: int
    kind: str
    priority: Priority
    at: datetime
    data: Any
    counts: Counts | None = None
    ring: bool = False
    merged: list[int] = []


class EventsFrame(msgspec.Struct, tag_field="type", tag="events"):
    """Several events, in the order of leaving, and the cursor after the last."""

    items: list[EventFrame]
    cursor: int


class NewsFrame(msgspec.Struct, tag_field="type", tag="event"):
    """An event without a number, for those who asked for it: after a reconnect they ask again, and load the list."""

    kind: str
    priority: Priority
    data: Any


class Gone(msgspec.Struct, omit_defaults=True):
    """A notification that is no more; `replaced_by` is the newer one of its `collapse_key`."""

    id: int
    replaced_by: int | None = None


class GoneTask(msgspec.Struct):
    """A task that is no more."""

    id: int


class GoneComment(msgspec.Struct):
    """A comment that was taken back."""

    id: int
    task_id: int
    deleted: Literal[True]


class Marked(msgspec.Struct):
    """All that went live no later than `before_seq`."""

    before_seq: int
    count: int


class CleanedUp(msgspec.Struct, omit_defaults=True):
    """What was created before, and was read, archived or expired; with `include_unread` whatever its state."""

    created_before: datetime
    count: int
    include_unread: bool = False


class QuietEnded(msgspec.Struct):
    """How many that were held follow, in all and by priority."""

    released: int
    by_priority: dict[Priority, int]


class Nothing(msgspec.Struct):
    """No member."""


class Online(msgspec.Struct):
    """Whether a user is connected, and with how many devices."""

    user_id: int
    online: bool
    devices: int


class OnlineNow(msgspec.Struct):
    """Who is known to be online."""

    items: list[Online]


class Unwatched(msgspec.Struct):
    """Which scope; without one, all."""

    scope: Scope | None = None


class WatchedScope(msgspec.Struct):
    """What is watched from now on."""

    scope: Scope


DATA: Final[Mapping[EventKind, Any]] = {
    "notification.created": Notification | Released,
    "notification.updated": Notification,
    "notification.deleted": Gone,
    "notification.expired": Gone,
    "notifications.read_all": Marked,
    "notifications.seen": Marked,
    "notifications.cleaned": CleanedUp,
    "quiet_hours.ended": QuietEnded,
    "preferences.updated": Preferences,
    "inbox.erased": Nothing,
    "task.created": Task,
    "task.updated": Task,
    "task.completed": Task,
    "task.cancelled": Task,
    "task.overdue": Task,
    "task.deleted": GoneTask,
    "task.assigned": Assigned | Assignment,
    "task.unassigned": Assignment,
    "task.commented": Comment | GoneComment,
}
"""What each kind carries as `data`."""

NEWS: Final[Mapping[str, Any]] = {"tasks.changed": TaskNews, "presence.changed": Online}
"""The same of what has no number."""

OF_THE_NODE: Final[Mapping[str, tuple[Any, Any]]] = {
    "tasks.subscribe": (Watched, WatchedScope),
    "tasks.unsubscribe": (Unwatched, Nothing),
    "presence.subscribe": (Nothing, OnlineNow),
    "presence.unsubscribe": (Nothing, Nothing),
}
"""Params and result of the calls that a node answers itself (`hub.gateway.node`)."""

FROM_CLIENT: Final = get_args(frames.ClientFrame)
FROM_SERVER: Final = (
    frames.Welcome,
    frames.Reset,
    EventFrame,
    EventsFrame,
    NewsFrame,
    frames.Pong,
    frames.Heartbeat,
    frames.Renewed,
    frames.Result,
    frames.Failed,
    frames.Bye,
)


def calls() -> dict[str, tuple[Any, Any]]:
    """Params and result of each call, by its name; None = null."""
    of_the_app = {name: (one.params, one.result) for name, one in METHODS.items()}
    return dict(sorted({**of_the_app, **OF_THE_NODE}.items()))


def asyncapi_document(version: str = "1.0.0") -> Json:
    """The whole document. `version` is the protocol's."""
    kinds = (*FROM_CLIENT, *FROM_SERVER)
    carried = [*DATA.values(), *NEWS.values()]
    called = [kind for pair in calls().values() for kind in pair if kind is not None]
    schemas = Schemas([*kinds, *carried, *called, Done, ProblemDocument])
    components = schemas.components
    _type_events(schemas)
    _type_calls(schemas)
    components[schemas.name(frames.Failed)]["properties"]["error"] = schemas(ProblemDocument)
    messages = {
        kind.__name__: {
            "name": kind.__struct_config__.tag,
            "summary": inspect.cleandoc(kind.__doc__ or "").partition("\n")[0],
            "payload": schemas(kind),
        }
        for kind in kinds
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Notification hub: the live protocol",
            "version": version,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {"socket": _channel(messages)},
        "operations": {"fromClient": _operation("receive", FROM_CLIENT), "fromServer": _operation("send", FROM_SERVER)},
        "components": {"messages": messages, "schemas": dict(sorted(components.items()))},
    }


def _channel(messages: Json) -> Json:
    return {
        "address": PATH,
        "description": "One WebSocket. The first frame of a client is `hello`.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        "x-subprotocols": list(frames.SUBPROTOCOLS),
        "x-close-codes": [
            {"code": int(code), "name": code.name.lower(), "reconnect": code in RECONNECT} for code in Close
        ],
    }


def _type_events(schemas: Schemas) -> None:
    """Give each frame of an event one alternative a kind, each with its data."""
    for frame, table in ((EventFrame, DATA), (NewsFrame, NEWS)):
        component = schemas.components[schemas.name(frame)]
        component["properties"]["kind"] = {"type": "string", "enum": list(table)}
        component["oneOf"] = [
            {"properties": {"kind": {"const": kind}, "data": schemas(data)}} for kind, data in table.items()
        ]


def _type_calls(schemas: Schemas) -> None:
    """Give a call one alternative a method; name the results, which a frame of its own cannot tell apart."""
    component = schemas.components[schemas.name(frames.Call)]
    component["oneOf"] = [
        {"properties": {"method": {"const": name}, "params": schemas(params)}} for name, (params, _) in calls().items()
    ]
    component["x-results"] = {
        name: {"type": "null"} if result is None else schemas(result) for name, (_, result) in calls().items()
    }
    possible: list[Json] = []
    for one in component["x-results"].values():
        if one not in possible:
            possible.append(one)
    result = schemas.components[schemas.name(frames.Result)]
    result["properties"]["data"] = {
        "description": f"By the method that was called: see `x-results` of `{ROOT}{schemas.name(frames.Call)}`.",
        "anyOf": possible,
    }


def _operation(action: str, kinds: tuple[Any, ...]) -> Json:
    """`action` is the hub's: it receives what a client says."""
    return {
        "action": action,
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"#/channels/socket/messages/{kind.__name__}"} for kind in kinds],
    }
