"""What is wrong with one value that holds no others, and where what is wrong is gathered."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any, Final, cast

import msgspec
from msgspec import inspect as shapes

from hub.app.errors import Violation

ERRORS_MAX: Final = 5000
"""A thousand items with five faults each. What is beyond is counted, lest 16 MiB of faults be answered by 200."""

SUGGESTIONS_MAX: Final = 20
"""Looking for a similar name costs more than all else here."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NAME_CHARS_SHOWN: Final = 64
NOT_READ: Final = (msgspec.ValidationError, UnicodeEncodeError)
"""What msgspec raises for text that is none of a type; the latter where it holds half of a surrogate pair."""


class Found:
    """The violations so far. `noun` is what a member is called here: a field, or a query parameter."""

    __slots__ = ("errors", "noun", "total", "unknown")

    def __init__(self, noun: str = "field") -> None:
        self.noun = noun
        self.errors: list[Violation] = []
        self.total = 0
        self.unknown = 0

    def add(self, path: str, message: str) -> None:
        self.total += 1
        if self.total <= ERRORS_MAX:
            self.errors.append((path, message))

    def all(self) -> list[Violation]:
        more = self.total - len(self.errors)
        return [*self.errors, ("$", f"And {more} more.")] if more else self.errors

    def add_unknown(self, path: str, name: str, names: Iterable[str]) -> None:
        self.unknown += 1
        near = difflib.get_close_matches(name[:_NAME_CHARS_SHOWN], names, 1) if self.unknown <= SUGGESTIONS_MAX else []
        hint = f" Did you mean `{near[0]}`?" if near else ""
        self.add(member(path, name), f"Unknown {self.noun}.{hint}")


Check = Callable[[Any, str, Found], None]


def member(path: str, name: str) -> str:
    """The path of a member. Names that are not plain are quoted, in ASCII, so that any answer can carry them."""
    if _PLAIN_NAME.match(name):
        return f"{path}.{name}"
    return f"{path}[{json.dumps(name[:_NAME_CHARS_SHOWN])}]"


def text_fault(value: str) -> str | None:
    """What PostgreSQL or UTF-8 cannot hold."""
    if "\0" in value:
        return "Must not contain the character U+0000."
    if _SURROGATE.search(value):
        return "Must not contain half of a surrogate pair (U+D800 to U+DFFF)."
    return None


def text_check(shape: shapes.StrType, message: str | None) -> Check:
    pattern = re.compile(shape.pattern) if shape.pattern is not None else None
    least, most = shape.min_length or 0, shape.max_length

    def text(value: Any, path: str, found: Found) -> None:
        if not isinstance(value, str):
            found.add(path, "Must be a string.")
        elif fault := text_fault(value):
            found.add(path, fault)
        elif len(value) < least:
            found.add(path, f"Must have at least {least} {'character' if least == 1 else 'characters'}.")
        elif most is not None and len(value) > most:
            found.add(path, f"Must have at most {most} characters.")
        elif pattern is not None and not pattern.search(value):
            found.add(path, message or f"Must match {pattern.pattern}")

    return text


def number_check(shape: shapes.IntType | shapes.FloatType) -> Check:
    whole = isinstance(shape, shapes.IntType)
    noun = "an integer" if whole else "a number"
    bounds: list[tuple[Callable[[Any], bool], str]] = []
    if (ge := shape.ge) is not None:
        bounds.append((lambda value: value >= ge, f"at least {ge}"))
    if (gt := shape.gt) is not None:
        bounds.append((lambda value: value > gt, f"more than {gt}"))
    if (le := shape.le) is not None:
        bounds.append((lambda value: value <= le, f"at most {le}"))
    if (lt := shape.lt) is not None:
        bounds.append((lambda value: value < lt, f"less than {lt}"))
    if (step := shape.multiple_of) is not None:
        bounds.append((lambda value: value % step == 0, f"a multiple of {step}"))
    rule = f"Must be {noun}{', ' if bounds else ''}{' and '.join(words for _, words in bounds)}."

    def number(value: Any, path: str, found: Found) -> None:
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not all(holds(value) for holds, _ in bounds):
            found.add(path, rule)

    return number


def choice_check(shape: shapes.LiteralType | shapes.EnumType) -> Check:
    values = [one.value for one in shape.cls] if isinstance(shape, shapes.EnumType) else list(shape.values)
    rule = f"Must be one of: {', '.join(str(one) for one in values)}."

    def one_of(value: Any, path: str, found: Found) -> None:
        # `True == 1`, but true is not 1.
        if not any(value == one and type(value) is type(one) for one in values):
            found.add(path, rule)

    return one_of


def check_boolean(value: Any, path: str, found: Found) -> None:
    if not isinstance(value, bool):
        found.add(path, "Must be true or false.")


def check_null(value: Any, path: str, found: Found) -> None:
    if value is not None:
        found.add(path, "Must be null.")


def check_instant(value: Any, path: str, found: Found) -> None:
    try:
        if isinstance(value, str) and msgspec.convert(value, datetime).tzinfo is not None:
            return
    except NOT_READ:
        pass
    # A plus that was not escaped in a URL arrives as a space.
    hint = " In a URL, + is written %2B." if isinstance(value, str) and re.search(r" \d\d:\d\d\Z", value) else ""
    found.add(path, f"Must be an instant with its offset, such as 2026-11-22T20:15:03Z (RFC 3339).{hint}")


def check_day(value: Any, path: str, found: Found) -> None:
    try:
        if isinstance(value, str):
            msgspec.convert(value, date)
            return
    except NOT_READ:
        pass
    found.add(path, "Must be a date such as 2026-11-22.")


def check_free(value: Any, path: str, found: Found) -> None:
    """Anything that is JSON, with text and numbers that can be kept. No recursion: the depth is the caller's."""
    waiting: list[tuple[Any, str]] = [(value, path)]
    while waiting:
        one, where = waiting.pop()
        if isinstance(one, str):
            if fault := text_fault(one):
                found.add(where, fault)
        elif isinstance(one, float):
            if not math.isfinite(one):
                found.add(where, "Must be a number within the range of a double.")
        elif isinstance(one, list):
            waiting.extend((below, f"{where}[{index}]") for index, below in enumerate(cast("list[Any]", one)))
        elif isinstance(one, dict):
            for name, below in cast("dict[str, Any]", one).items():
                if fault := text_fault(name):
                    found.add(member(where, name), fault)
                waiting.append((below, member(where, name)))
