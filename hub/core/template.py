"""Which wording of a template a person gets: the one in their language, or the nearest there is.

Owns the rule of the fall-back. Does not own the templates (`hub.store.templates`), nor how one becomes a text
(`hub.templates`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from hub.core.notification import Channel

PLAIN_CHANNELS: Final[tuple[Channel, ...]] = ("in_app", "push", "whatsapp", "slack", "sms")
"""Whose wordings are plain text, and may so stand in a notification; the first that there is, is taken. An e-mail's
is HTML."""

LAST_RESORT: Final = "en"
"""The language that a template is most often written in first."""


def choose_locale(locales: Collection[str], wanted: str, usual: str) -> str:
    """One of `locales`, of which there is at least one, for somebody who reads `wanted` in a tenant that uses `usual`.

    The first that there is of: `wanted`, its language, another region of it; the same of `usual`, then of English;
    then the first in the order of the alphabet. Upper and lower case are the same.
    """
    by_name = {locale.lower(): locale for locale in sorted(locales, reverse=True)}
    for name in (wanted.lower(), usual.lower(), LAST_RESORT):
        for locale in _nearest(sorted(by_name), name):
            return by_name[locale]
    return by_name[min(by_name)]


def _nearest(names: list[str], wanted: str) -> Iterator[str]:
    """Those of `names` that serve who reads `wanted`, the best first: `zh-hant-tw`, `zh-hant`, `zh`, `zh-…`."""
    parts = wanted.split("-")
    for count in range(len(parts), 0, -1):
        name = "-".join(parts[:count])
        if name in names:
            yield name
    yield from (name for name in names if name.startswith(parts[0] + "-"))
