"""The document of the socket has each frame, kind, call and close code that the code has, and is AsyncAPI."""

from __future__ import annotations

import inspect
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from api.asyncapi import DATA, NEWS, OF_THE_NODE, EventFrame, EventsFrame, asyncapi_document, calls
from hub.core import frames
from hub.core.closing import Close
from hub.core.counts import Counts
from hub.core.event import Event, EventKind, encode_tail
from hub.gateway.node import Node
from tests.api.test_openapi import every

DOCUMENT = asyncapi_document()
AT = datetime(2026, 1, 1, tzinfo=UTC)

OFFICIAL = Path(__file__).parent / "asyncapi-3.0.0" / "schema.json"
"""AsyncAPI's own JSON Schema, of the npm package @asyncapi/specs 6.11.1 (Apache-2.0, the licence is beside it)."""


def judge(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **DOCUMENT})


def test_it_is_asyncapi() -> None:
    official = jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text()))
    official.validate(DOCUMENT)
    with pytest.raises(jsonschema.ValidationError):
        official.validate({**DOCUMENT, "channels": {"socket": {"adress": "/"}}})


def test_every_frame_is_there() -> None:
    tagged = {
        kind.__name__
        for kind in vars(frames).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag
    }
    assert set(DOCUMENT["components"]["messages"]) == tagged | {"EventFrame", "EventsFrame", "NewsFrame"}


def test_every_reference_leads_somewhere() -> None:
    for reference in {one["$ref"] for one in every(DOCUMENT) if isinstance(one, dict) and "$ref" in one}:
        at = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


def test_an_event_on_the_wire_is_the_one_described() -> None:
    event = Event(7, 0, True, encode_tail("notification.deleted", "high", AT, {"id": 1}, Counts(unread=1)))
    codec = frames.JsonCodec()
    one = msgspec.json.decode(codec.event(event, 7, ring=True))
    judge("EventFrame").validate(one)
    expected = EventFrame(7, 7, "notification.deleted", "high", AT, {"id": 1}, Counts(unread=1), True)
    assert msgspec.convert(one, EventFrame) == expected
    assert msgspec.json.decode(codec.events([(event, 7)], {7}), type=EventsFrame) == EventsFrame([expected], 7)


@pytest.mark.parametrize(
    "changed", [{"kind": "notification.eaten"}, {"data": {}}, {"data": {"id": "x"}}, {"kind": "task.created"}]
)
def test_an_event_with_the_data_of_another_kind_is_not_described(changed: dict[str, Any]) -> None:
    event = {"type": "event", "seq": 1, "cursor": 1, "kind": "task.deleted", "priority": "low",
             "at": "2026-01-01T00:00:00Z", "data": {"id": 3}}  # fmt: skip
    assert judge("EventFrame").is_valid(event)
    assert not judge("EventFrame").is_valid(event | changed)


def test_every_kind_that_a_writer_can_write_has_its_data() -> None:
    assert set(DATA) == set(get_args(EventKind))
    assert set(NEWS) == {"tasks.changed", "presence.changed"}
    assert "merged" in DOCUMENT["components"]["schemas"]["EventFrame"]["properties"]


def test_every_call_is_there_with_params_and_result() -> None:
    told = {one["properties"]["method"]["const"] for one in DOCUMENT["components"]["schemas"]["Call"]["oneOf"]}
    named_by_the_node = set(re.findall(r'"([a-z]+\.[a-z_]+)"', inspect.getsource(Node.perform)))
    assert set(OF_THE_NODE) == named_by_the_node
    assert told == set(calls()) == set(DOCUMENT["components"]["schemas"]["Call"]["x-results"])
    call = {"type": "call", "id": "c", "method": "notifications.snooze", "params": {"id": 1, "until": AT.isoformat()}}
    assert judge("Call").is_valid(call)
    assert not judge("Call").is_valid(call | {"params": {"id": 1}})


def test_close_codes_are_those_of_the_code() -> None:
    codes = DOCUMENT["channels"]["socket"]["x-close-codes"]
    assert [one["code"] for one in codes] == [int(code) for code in Close]
