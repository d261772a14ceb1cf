"""Every violation in a value, by walking it beside its type: the slow path of `api.validation`.

The decoder stops at the first fault; an author wants all of them. So this walks
only what the decoder has refused, and what it says must agree with the decoder:
a property test holds the two together. Types that it does not know are refused
when a route is declared, not when a request comes.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final, Protocol, cast

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
_NOT_READ: Final = (msgspec.ValidationError, UnicodeEncodeError)
"""What msgspec raises for text that is none of a type; the latter where it holds half of a surrogate pair."""


class Checked(Protocol):
    """A struct with rules across its fields: where (relative, such as `deliver_at`; empty for the whole) and what."""

    def check(self) -> Iterable[Violation]: ...


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


def check_of(shape: shapes.Type, memo: dict[type, Check] | None = None) -> Check:
    """The walk for one type.

    Raises:
        TypeError: requests are not made of such a type here.
    """
    memo = {} if memo is None else memo
    match shape:
        case shapes.Metadata():
            return _ruled(shape, memo)
        case shapes.UnionType():
            return _any_of(shape, memo)
        case shapes.StructType():
            return _struct(shape, memo)
        case shapes.ListType() | shapes.SetType() | shapes.FrozenSetType() | shapes.VarTupleType():
            return _items(shape, memo)
        case shapes.DictType():
            return _members(shape, memo)
        case shapes.StrType():
            return _text(shape, None)
        case shapes.IntType() | shapes.FloatType():
            return _number(shape)
        case shapes.LiteralType() | shapes.EnumType():
            return _one_of(shape)
        case shapes.BoolType():
            return _boolean
        case shapes.NoneType():
            return _null
        case shapes.DateTimeType():
            return _instant
        case shapes.DateType():
            return _day
        case shapes.AnyType() | shapes.RawType():
            return _free
        case _:
            raise TypeError(f"requests cannot have a {type(shape).__name__}")


def unwrapped(shape: shapes.Type) -> shapes.Type:
    """What a type is beneath its metadata, and beside null and unset."""
    while True:
        if isinstance(shape, shapes.Metadata):
            shape = shape.type
        elif isinstance(shape, shapes.UnionType):
            rest = [one for one in shape.types if not isinstance(one, shapes.NoneType)]
            if len(rest) != 1:
                return shape
            shape = rest[0]
        else:
            return shape


def _ruled(shape: shapes.Metadata, memo: dict[type, Check]) -> Check:
    extra: Mapping[str, Any] = shape.extra or {}
    inner = _text(shape.type, extra.get("message")) if isinstance(shape.type, shapes.StrType) else None
    check = inner or check_of(shape.type, memo)
    rule: Callable[[Any], str | None] | None = extra.get("rule")
    if rule is None:
        return check
    python_type = datetime if isinstance(unwrapped(shape), shapes.DateTimeType) else None

    def ruled(value: Any, path: str, found: Found) -> None:
        before = found.total
        check(value, path, found)
        if found.total == before and value is not None:
            message = rule(msgspec.convert(value, python_type) if python_type else value)
            if message:
                found.add(path, message)

    return ruled


def _any_of(shape: shapes.UnionType, memo: dict[type, Check]) -> Check:
    nullable = any(isinstance(one, shapes.NoneType) for one in shape.types)
    checks = [check_of(one, memo) for one in shape.types if not isinstance(one, shapes.NoneType)]

    def any_of(value: Any, path: str, found: Found) -> None:
        if value is None and nullable:
            return
        if len(checks) == 1:
            checks[0](value, path, found)
            return
        tries: list[Found] = []
        for check in checks:
            tries.append(Found(found.noun))
            check(value, path, tries[-1])
            if not tries[-1].total:
                return
        # The alternative that it is nearest to is the one that its author meant.
        for one in min(tries, key=lambda tried: tried.total).errors:
            found.add(*one)

    return any_of


def _struct(shape: shapes.StructType, memo: dict[type, Check]) -> Check:
    known = memo.get(shape.cls)
    if known is not None:
        return known
    if shape.array_like:
        raise TypeError("requests cannot have an array-like struct")
    fields: dict[str, tuple[Check, bool]] = {}
    read_only = frozenset(cast("Iterable[str]", getattr(shape.cls, "read_only", ())))
    unless = cast("Mapping[str, str]", getattr(shape.cls, "required_unless", {}))
    has_check = "check" not in {field.name for field in shape.fields} and hasattr(shape.cls, "check")

    def struct(value: Any, path: str, found: Found) -> None:
        if not isinstance(value, dict):
            found.add(path, "Must be an object.")
            return
        given = cast("dict[str, Any]", value)
        before = found.total
        for name in read_only:
            given.pop(name, None)
        for name, one in given.items():
            field = fields.get(name)
            if field is not None:
                field[0](one, member(path, name), found)
            elif name == shape.tag_field:
                if one != shape.tag:
                    found.add(member(path, name), f"Must be `{shape.tag}`.")
            elif shape.forbid_unknown_fields:
                found.add_unknown(path, name, fields)
        for name, (_, required) in fields.items():
            if required and name not in given:
                found.add(member(path, name), "Required.")
        for name, other in unless.items():
            if given.get(name) is None and given.get(other) is None:
                found.add(member(path, name), f"Required, where `{other}` is not given.")
        if has_check and found.total == before:
            for where, message in cast("Checked", msgspec.convert(given, shape.cls)).check():
                found.add(f"{path}.{where}" if where else path, message)

    # Known before its fields are looked at, so that a struct may hold itself.
    memo[shape.cls] = struct
    fields.update({field.encode_name: (check_of(field.type, memo), field.required) for field in shape.fields})
    return struct


def _items(
    shape: shapes.ListType | shapes.SetType | shapes.FrozenSetType | shapes.VarTupleType, memo: dict[type, Check]
) -> Check:
    check, least, most = check_of(shape.item_type, memo), shape.min_length or 0, shape.max_length

    def items(value: Any, path: str, found: Found) -> None:
        if not isinstance(value, list):
            found.add(path, "Must be an array.")
            return
        given = cast("list[Any]", value)
        if len(given) < least:
            found.add(path, f"Must have at least {least} {'item' if least == 1 else 'items'}.")
        elif most is not None and len(given) > most:
            found.add(path, f"Must have at most {most} items.")
            return
        for index, one in enumerate(given):
            check(one, f"{path}[{index}]", found)

    return items


def _members(shape: shapes.DictType, memo: dict[type, Check]) -> Check:
    key_check, check = check_of(shape.key_type, memo), check_of(shape.value_type, memo)
    least, most = shape.min_length or 0, shape.max_length

    def members(value: Any, path: str, found: Found) -> None:
        if not isinstance(value, dict):
            found.add(path, "Must be an object.")
            return
        given = cast("dict[str, Any]", value)
        if len(given) < least or (most is not None and len(given) > most):
            bounds = f"{least} or more" if most is None else f"{least} to {most}"
            found.add(path, f"Must have {bounds} members.")
        for name, one in given.items():
            below = member(path, name)
            key_check(name, below, found)
            check(one, below, found)

    return members


def _text(shape: shapes.StrType, message: str | None) -> Check:
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


def _number(shape: shapes.IntType | shapes.FloatType) -> Check:
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


def _one_of(shape: shapes.LiteralType | shapes.EnumType) -> Check:
    values = [one.value for one in shape.cls] if isinstance(shape, shapes.EnumType) else list(shape.values)
    rule = f"Must be one of: {', '.join(str(one) for one in values)}."

    def one_of(value: Any, path: str, found: Found) -> None:
        # `True == 1`, but true is not 1.
        if not any(value == one and type(value) is type(one) for one in values):
            found.add(path, rule)

    return one_of


def _boolean(value: Any, path: str, found: Found) -> None:
    if not isinstance(value, bool):
        found.add(path, "Must be true or false.")


def _null(value: Any, path: str, found: Found) -> None:
    if value is not None:
        found.add(path, "Must be null.")


def _instant(value: Any, path: str, found: Found) -> None:
    try:
        if isinstance(value, str) and msgspec.convert(value, datetime).tzinfo is not None:
            return
    except _NOT_READ:
        pass
    # A plus that was not escaped in a URL arrives as a space.
    hint = " In a URL, + is written %2B." if isinstance(value, str) and re.search(r" \d\d:\d\d\Z", value) else ""
    found.add(path, f"Must be an instant with its offset, such as 2026-11-22T20:15:03Z (RFC 3339).{hint}")


def _day(value: Any, path: str, found: Found) -> None:
    try:
        if isinstance(value, str):
            msgspec.convert(value, date)
            return
    except _NOT_READ:
        pass
    found.add(path, "Must be a date such as 2026-11-22.")


def _free(value: Any, path: str, found: Found) -> None:
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
