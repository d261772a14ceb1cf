"""The AsyncAPI 3.0 document of the live protocol, read from the structs of its frames.

Owns no rule of the protocol: fields and words are those of `hub.core.frames`, close
codes those of `hub.core.closing`, kinds those that the writers of events name.
"""

from __future__ import annotations

import inspect
from datetime import datetime
from types import ModuleType
from typing import Any, Final, get_args

import msgspec

from hub.core import changes, frames, task_changes
from hub.core.closing import RECONNECT, Close
from hub.core.counts import Counts
from hub.core.priority import Priority
from hub.gateway.handshake import PATH

_REF: Final = "#/components/schemas/{name}"

Json = dict[str, Any]


class EventFrame(msgspec.Struct, tag_field="type", tag="event", omit_defaults=True):
    """One entry of the user's log. `cursor` is the highest number without a hole below it; `counts` are absolute."""

    seq: int
    cursor: int
    kind: str
    priority: Priority
    at: datetime
    data: Any
    counts: Counts | None = None
    ring: bool = False


class EventsFrame(msgspec.Struct, tag_field="type", tag="events"):
    """Several events, in the order of leaving, and the cursor after the last."""

    items: list[EventFrame]
    cursor: int


FROM_CLIENT: Final = get_args(frames.ClientFrame)
FROM_SERVER: Final = (
    frames.Welcome,
    frames.Reset,
    EventFrame,
    EventsFrame,
    frames.Pong,
    frames.Heartbeat,
    frames.Renewed,
    frames.Result,
    frames.Failed,
    frames.Bye,
)


def event_kinds() -> list[str]:
    """Every kind that a writer gives to an event."""
    named = {value for module in (changes, task_changes) for value in _words_of(module) if "." in value}
    return sorted(named)


def _words_of(module: ModuleType) -> list[str]:
    found: list[str] = []
    for name, value in vars(module).items():
        if name.isupper() and isinstance(value, str):
            found.append(value)
        elif name == "_BY_STATUS":
            found += value.values()
    return found


def asyncapi_document() -> Json:
    """The whole document."""
    kinds = (*FROM_CLIENT, *FROM_SERVER)
    references, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    schemas["EventFrame"]["properties"]["kind"]["enum"] = event_kinds()
    messages = {
        kind.__name__: {
            "name": kind.__struct_config__.tag,
            "summary": inspect.cleandoc(kind.__doc__ or "").partition("\n")[0],
            "payload": reference,
        }
        for kind, reference in zip(kinds, references, strict=True)
    }
    channel = {
        "address": PATH,
        "description": "One WebSocket. The first frame of a client is `hello`.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        "x-subprotocols": list(frames.SUBPROTOCOLS),
        "x-close-codes": [
            {"code": int(code), "name": code.name.lower(), "reconnect": code in RECONNECT} for code in Close
        ],
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Notification hub: the live protocol", "version": "1.0.0", "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/json",
        "channels": {"socket": channel},
        "operations": {"fromClient": _operation("receive", FROM_CLIENT), "fromServer": _operation("send", FROM_SERVER)},
        "components": {"messages": messages, "schemas": schemas},
    }


def _operation(action: str, kinds: tuple[Any, ...]) -> Json:
    """`action` is the hub's: it receives what a client says."""
    return {
        "action": action,
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"#/channels/socket/messages/{kind.__name__}"} for kind in kinds],
    }
