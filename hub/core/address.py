"""Addresses outside the hub: what one must look like before anything is sent to it.

Form only: whether anyone is there shows when something is sent.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from msgspec import Meta

EMAIL_CHARS_MAX: Final = 254
"""The longest that fits a path of SMTP (RFC 5321, 4.5.3.1.3)."""
LOCAL_CHARS_MAX: Final = 64

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# What the HTML standard calls a valid e-mail address: no comments, no quotes, nothing that a header could break on.
_EMAIL: Final = re.compile(
    rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,{LOCAL_CHARS_MAX}}}@{_LABEL}(?:\.{_LABEL})*", re.ASCII
)
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_SLACK: Final = re.compile(r"[@#]?[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)


def email_fault(text: str) -> str | None:
    """What is wrong with an e-mail address."""
    if len(text) > EMAIL_CHARS_MAX or not _EMAIL.fullmatch(text):
        return "Must be an e-mail address, such as `ana@example.org`."
    return None


def phone_fault(text: str) -> str | None:
    """What is wrong with a phone number (E.164)."""
    return None if _PHONE.fullmatch(text) else "Must be a phone number in E.164, such as `+4915112345678`."


def slack_fault(text: str) -> str | None:
    """What is wrong with a Slack handle: the id or the name of a member or a channel."""
    return None if _SLACK.fullmatch(text) else "Must be a Slack id or name, such as `U024BE7LH` or `@ana`."


def _shown(pattern: re.Pattern[str], **more: int) -> dict[str, Any]:
    """What a document says of a form that the rule words better when it refuses."""
    return {"pattern": f"^(?:{pattern.pattern})$", **more}


Email = Annotated[
    str,
    Meta(
        extra={"rule": email_fault},
        description="An e-mail address.",
        extra_json_schema=_shown(_EMAIL, maxLength=EMAIL_CHARS_MAX),
    ),
]
Phone = Annotated[
    str, Meta(extra={"rule": phone_fault}, description="A phone number in E.164.", extra_json_schema=_shown(_PHONE))
]
Slack = Annotated[
    str,
    Meta(
        extra={"rule": slack_fault},
        description="The id or name of a Slack member or channel.",
        extra_json_schema=_shown(_SLACK),
    ),
]
