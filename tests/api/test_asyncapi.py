"""The document of the socket has each frame, kind and close code that the code has."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from api.asyncapi import EventFrame, EventsFrame, asyncapi_document, event_kinds
from hub.core import frames
from hub.core.closing import Close
from hub.core.counts import Counts
from hub.core.event import Event, encode_tail
from tests.api.test_openapi import every

DOCUMENT = asyncapi_document()
AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_frame_is_there() -> None:
    tagged = {
        kind.__name__
        for kind in vars(frames).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag
    }
    assert set(DOCUMENT["components"]["messages"]) == tagged | {"EventFrame", "EventsFrame"}


def test_every_reference_leads_somewhere() -> None:
    for reference in {one["$ref"] for one in every(DOCUMENT) if isinstance(one, dict) and "$ref" in one}:
        at = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


def test_an_event_on_the_wire_is_the_one_described() -> None:
    event = Event(7, 0, True, encode_tail("notification.created", "high", AT, {"id": 1}, Counts(unread=1)))
    codec = frames.JsonCodec()
    one = msgspec.json.decode(codec.event(event, 7, ring=True))
    assert set(one) <= set(DOCUMENT["components"]["schemas"]["EventFrame"]["properties"])
    expected = EventFrame(7, 7, "notification.created", "high", AT, {"id": 1}, Counts(unread=1), True)
    assert msgspec.convert(one, EventFrame) == expected
    assert msgspec.json.decode(codec.events([(event, 7)], {7}), type=EventsFrame) == EventsFrame([expected], 7)


def test_kinds_and_close_codes_are_those_of_the_code() -> None:
    assert {"notification.created", "notifications.seen", "inbox.erased", "task.overdue"} <= set(event_kinds())
    codes = DOCUMENT["channels"]["socket"]["x-close-codes"]
    assert [one["code"] for one in codes] == [int(code) for code in Close]
