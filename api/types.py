"""The types that requests are made of, each with its limit and its reason.

A limit is written once, here: the decoder enforces it, `api.validation` words
the refusal, and the OpenAPI document shows it. `rule` in a type's `extra` is a
predicate that JSON Schema cannot say: it answers a sentence, or None where all
is well. `message` replaces the sentence about a pattern.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta

from hub.core.notification import MESSAGE_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, Channel
from hub.core.notification import Kind as NotificationType
from hub.core.priority import Priority
from hub.core.wall_clock import instant_fault

__all__ = [
    "ActionUrl",
    "AttachmentUrl",
    "Category",
    "Channel",
    "CollapseKey",
    "Data",
    "EntityId",
    "EntityType",
    "GroupName",
    "Id",
    "Instant",
    "Message",
    "NotificationType",
    "Priority",
    "Title",
]

Rule = Callable[[Any], str | None]

ID_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 7493, 2.2)."""

DATA_BYTES_MAX: Final = 16 * 1024
DATA_DEPTH_MAX: Final = 32
"""Far above any record, far below the depth at which a reader of JSON somewhere on the way gives up."""

NUMBER_MAX: Final = int(sys.float_info.max)

URL_CHARS_MAX: Final = 2048
"""What browsers and mail clients still open."""

_END: Final = r"(?![\s\S])"
"""The end of the text. `$` would also match before a last line feed."""

NOT_BLANK: Final = r"[^\s\u001c-\u001f\u0085\ufeff]"
"""White space in Python and in ECMAScript, which do not agree on what that is."""

_PLAIN: Final = r"\s\\\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
"""What no URL may hold: white space, backslashes (browsers read them as slashes), controls, and what cannot be seen."""

_WEB: Final = r"[hH][tT][tT][pP][sS]?://[^/?#@" + _PLAIN + r"]+(?:[/?#][^" + _PLAIN + r"]*)?"
"""http or https with a host. Without `user@`, which makes one host look like another."""

_SCHEMES: Final = (
    r"[tT][eE][lL]:[0-9+(*#][^" + _PLAIN + r"]*"
    r"|[sS][iI][pP]:[^/" + _PLAIN + r"][^" + _PLAIN + r"]*"
    r"|[mM][aA][iI][lL][tT][oO]:[^/" + _PLAIN + r"][^" + _PLAIN + r"]*"
)

_OWN_PATH: Final = r"/(?!/)[^" + _PLAIN + r"]*"
"""A path of one's own: `//host` names another's."""


def data_rule(value: dict[str, Any]) -> str | None:
    """Free-form data is bounded in bytes, in depth, and to numbers that every reader can hold."""
    depth, level = 0, [value]
    # Level by level, so that depth costs memory and no stack.
    while level:
        depth += 1
        if depth > DATA_DEPTH_MAX:
            return f"Must be nested at most {DATA_DEPTH_MAX} deep."
        below: list[Any] = []
        for one in level:
            below.extend(cast("dict[str, Any]", one).values() if isinstance(one, dict) else cast("list[Any]", one))
        if any(isinstance(one, int) and abs(one) > NUMBER_MAX for one in below):
            return "Must have no number beyond the range of a double."
        level = [one for one in below if isinstance(one, dict | list)]
    if len(msgspec.json.encode(value)) > DATA_BYTES_MAX:
        return f"Must be at most {DATA_BYTES_MAX // 1024} KiB of JSON."
    return None


def _text(characters_max: int) -> Meta:
    """What people read: it says something, and is never markup."""
    return Meta(
        max_length=characters_max,
        pattern=NOT_BLANK,
        extra={"message": "Must not be blank."},
        description="Plain text.",
    )


Id = Annotated[int, Meta(ge=1, le=ID_MAX, description="An id: 1 to 2^53-1.")]

Title = Annotated[str, _text(TITLE_CHARACTERS_MAX)]
Message = Annotated[str, _text(MESSAGE_CHARACTERS_MAX)]
Category = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9_.-]{1,64}" + _END,
        extra={"message": "Must be 1 to 64 characters of a-z 0-9 _ . -"},
    ),
]
EntityType = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9_.-]{1,64}" + _END,
        extra={"message": "Must be 1 to 64 characters of a-z 0-9 _ . -"},
        description="What kind of thing it is about, such as `task` or `lead`.",
    ),
]
EntityId = Annotated[str, Meta(min_length=1, max_length=128)]
GroupName = Annotated[str, Meta(min_length=1, max_length=128, description="The name of a group of people.")]
CollapseKey = Annotated[
    str, Meta(min_length=1, max_length=128, description="A newer one replaces an unread older one of the same key.")
]
Instant = Annotated[
    datetime,
    Meta(tz=True, extra={"rule": instant_fault}, description="RFC 3339, with any offset; in the years 1970 to 9998."),
]
Data = Annotated[
    dict[str, Any],
    Meta(
        extra={"rule": data_rule},
        description=f"Free-form; at most {DATA_BYTES_MAX // 1024} KiB of JSON, nested at most {DATA_DEPTH_MAX} deep,"
        " with no number beyond the range of a double.",
    ),
]
ActionUrl = Annotated[
    str,
    Meta(
        max_length=URL_CHARS_MAX,
        pattern=f"^(?:{_WEB}|{_SCHEMES}|{_OWN_PATH}){_END}",
        extra={
            "message": "Must be an https, http, tel, sip or mailto URL, or a path that begins with one slash;"
            " without white space, backslashes or user@."
        },
    ),
]
AttachmentUrl = Annotated[
    str,
    Meta(
        max_length=URL_CHARS_MAX,
        pattern=f"^{_WEB}{_END}",
        extra={"message": "Must be an https or http URL, without white space, backslashes or user@."},
    ),
]
