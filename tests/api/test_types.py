from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from api.types import ActionUrl, AttachmentUrl, Category, Data, EntityId, Id, Instant, Message, Title
from api.validation import RequestBody, Validator
from hub.app.errors import Invalid


class One(RequestBody, kw_only=True):
    id: Id | None = None
    title: Title | None = None
    message: Message | None = None
    category: Category | None = None
    entity: EntityId | None = None
    at: Instant | None = None
    data: Data | None = None
    url: ActionUrl | None = None
    attachment: AttachmentUrl | None = None


VALIDATOR = Validator(One)


def fault(name: str, value: Any) -> str | None:
    """What is said of one value; None where it is taken. It is always said at the value's own path."""
    try:
        taken = VALIDATOR.decode(json.dumps({name: value}).encode())
    except Invalid as invalid:
        ((path, message),) = invalid.errors
        assert path.startswith(f"$.{name}")
        return message
    assert getattr(taken, name) is not None
    return None


GOOD: list[tuple[str, Any]] = [
    ("id", 1),
    ("id", 2**53 - 1),
    ("id", 1.0),
    ("title", "x" * 200),
    ("title", "😀" * 200),
    ("title", "<b>not HTML</b>"),
    ("title", "a backslash: \\u0000"),
    ("message", "x" * 4000),
    ("message", "two\nlines"),
    ("category", "a.b-c_9"),
    ("category", "x" * 64),
    ("entity", "x" * 128),
    ("at", "2026-11-22T20:15:03Z"),
    ("at", "2026-11-22T20:15:03.123456+05:30"),
    ("at", "2026-11-22t20:15:03-11:00"),
    ("data", {}),
    ("data", {"a": [1, None, {"b": "ü"}]}),
    ("data", {"a": "x" * (16 * 1024 - 8)}),
    ("url", "https://crm.example/leads/5?tab=1#top"),
    ("url", "HTTP://[::1]:8080/"),
    ("url", "https://例え.テスト/ü"),
    ("url", "tel:+49-30-1234"),
    ("url", "sip:agent@pbx.example"),
    ("url", "mailto:a@b.example?subject=x"),
    ("url", "/"),
    ("url", "/tasks/5?x=//y"),
    ("attachment", "https://files.example/a.pdf"),
]

BAD: list[tuple[str, Any, str]] = [
    ("id", 0, "an integer, at least 1"),
    ("id", -1, "an integer"),
    ("id", 2**53, "at most 9007199254740991"),
    ("id", 10**30, "at most"),
    ("id", 1.5, "an integer"),
    ("id", True, "an integer"),
    ("id", "1", "an integer"),
    ("title", "x" * 201, "at most 200 characters"),
    ("title", "", "blank"),
    ("title", " \u3000", "blank"),
    ("title", "a\0b", "U+0000"),
    ("title", "\ud800", "surrogate"),
    ("title", "a\udc00b", "surrogate"),
    ("title", 5, "a string"),
    ("title", [], "a string"),
    ("message", "x" * 4001, "at most 4000"),
    ("category", "", "1 to 64"),
    ("category", "x" * 65, "1 to 64"),
    ("category", "Upper", "1 to 64"),
    ("category", "general\n", "1 to 64"),
    ("category", "ünicode", "1 to 64"),
    ("entity", "", "at least 1 character"),
    ("entity", "x" * 129, "at most 128"),
    ("at", "2026-11-22T20:15:03", "with its offset"),
    ("at", "2026-11-22", "with its offset"),
    ("at", "2026-02-30T00:00:00Z", "with its offset"),
    ("at", "2026-11-22T20:15:03 01:00", "%2B"),
    ("at", "0001-01-01T00:00:00+23:59", "1970"),
    ("at", "9999-12-31T23:59:59-23:59", "9998"),
    ("at", 1700000000, "with its offset"),
    ("at", "tomorrow", "with its offset"),
    ("data", [], "an object"),
    ("data", {"a": "x" * (16 * 1024 - 7)}, "16 KiB"),
    ("data", {"a": {"b": ["\0"]}}, "U+0000"),
    ("data", {"a": {"b": "\ud800"}}, "surrogate"),
    ("data", {"\udfff": 1}, "surrogate"),
    ("data", {"a": json.loads("[" * 40 + "]" * 40)}, "32 deep"),
    ("url", "", "https"),
    ("url", "javascript:alert(1)", "https"),
    ("url", "JavaScript:alert(1)", "https"),
    ("url", "java\tscript:alert(1)", "https"),
    ("url", " javascript:alert(1)", "https"),
    ("url", " https://crm.example", "https"),
    ("url", "https://crm.example\n", "https"),
    ("url", "/path\n", "https"),
    ("url", "\x01https://crm.example", "https"),
    ("url", "data:text/html,x", "https"),
    ("url", "vbscript:x", "https"),
    ("url", "file:///etc/passwd", "https"),
    ("url", "blob:https://crm.example/1", "https"),
    ("url", "ftp://crm.example", "https"),
    ("url", "sips:a@b", "https"),
    ("url", "//evil.example", "https"),
    ("url", "/\\evil.example", "https"),
    ("url", "\\\\evil.example", "https"),
    ("url", "/\t/evil.example", "https"),
    ("url", "/\u200b/evil.example", "https"),
    ("url", "path/of/no/root", "https"),
    ("url", "https://", "https"),
    ("url", "https:///path", "https"),
    ("url", "https:crm.example", "https"),
    ("url", "https:\\\\evil.example", "https"),
    ("url", "https://good.example@evil.example/", "https"),
    ("url", "https://crm.example/\u202egpj.exe", "https"),
    ("url", "mailto:", "https"),
    ("url", "/" + "x" * 2048, "at most 2048"),
    ("attachment", "/own/path", "http"),
    ("attachment", "mailto:a@b.example", "http"),
    ("attachment", "javascript:alert(1)", "http"),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_what_keeps_its_rule_is_taken(name: str, value: Any):
    assert fault(name, value) is None


@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_what_breaks_its_rule_is_refused_in_words_of_its_own(name: str, value: Any, words: str):
    message = fault(name, value)
    assert message is not None
    assert words in message


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_what_is_taken_can_be_written_again(name: str, value: Any):
    taken = VALIDATOR.decode(json.dumps({name: value}).encode())
    assert VALIDATOR.decode(msgspec.json.encode(taken)) == taken
