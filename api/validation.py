"""From bytes to a typed request, or to every reason why not.

The fast path is one decode into the struct. Where that refuses, `api.violations`
walks the value and names all that is wrong. Nothing else is ever raised, whatever
the bytes are.

Of members with the same name in one object the last counts, as nearly all readers
of JSON have it (RFC 8259, 4, leaves it open).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, NoReturn, TypeVar, cast

import msgspec
from msgspec import inspect as shapes

from api.faults import Found
from api.violations import Checked, check_of
from hub.app.errors import Invalid

T = TypeVar("T")

_INTEGER_DIGITS_MAX: Final = 309
"""What a double can hold; Python refuses to read far longer ones."""

_WHOLE_MAX: Final = 2**53
"""Up to there a double holds every whole number."""

_NUL: Final = b"\\u0000"

_Holds = Callable[[Any], bool]


class Malformed(Exception):
    """The body is not JSON. `detail` says where."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class RequestBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the body of a request is made of; a subclass gives `kw_only=True` again.

    A class attribute `read_only` (names) lists fields of the answer that are accepted and
    ignored, so that get, change, put works; `required_unless` (field to field) names what is required where
    the other is not given; `mixed` (list to three types) tells the document that its items are of the first type,
    or merge patches of the second with the fields of the third. A method `check` (`Checked`) holds rules across
    fields.
    """


class Validator(Generic[T]):
    """Decodes and converts to one type. Made once, when the route is declared.

    `root` is what paths begin with, `noun` what a member is called.
    """

    def __init__(self, kind: type[T], *, root: str = "$", noun: str = "field") -> None:
        self.kind = kind
        self._root = root
        self._noun = noun
        shape = shapes.type_info(kind)
        self._check = check_of(shape)
        self._holds = _holds_of(shape, {})
        self._decode: Callable[[bytes], T] = msgspec.json.Decoder(kind).decode
        self.is_optional = isinstance(shape, shapes.StructType) and not any(one.required for one in shape.fields)
        """Whether an empty body may stand for an empty object."""

    def decode(self, body: bytes) -> T:
        """Raises:
        Malformed: it is not JSON.
        Invalid: it is not such a value; with every violation.
        """
        if not body and self.is_optional:
            return self.kind()
        try:
            value = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.convert(parse(body))
        # JSON lets U+0000 through as an escape, and only so. (`\\\\u0000` is a false alarm, which the walk clears.)
        if _NUL in body or (self._holds is not None and not self._holds(value)):
            return self.convert(parse(body))
        return value

    def convert_plain(self, raw: Any) -> T:
        """From plain JSON that was decoded as part of something else: fast where nothing is wrong. Raises `Invalid`."""
        try:
            value = msgspec.convert(raw, self.kind)
        except msgspec.ValidationError:
            return self.convert(with_whole_numbers(raw))
        if self._holds is not None and not self._holds(value):
            return self.convert(with_whole_numbers(raw))
        return value

    def convert(self, raw: Any) -> T:
        """From what `parse` answers. Takes `raw` over: read-only members are removed from it.

        Raises:
            Invalid: it is not such a value; with every violation.
        """
        found = Found(self._noun)
        try:
            self._check(raw, self._root, found)
            if not found.total:
                return msgspec.convert(raw, self.kind)
        except RecursionError:
            raise Invalid([(self._root, "Must not be nested so deeply.")]) from None
        except msgspec.ValidationError as error:
            # The walk and the decoder disagree: the decoder's word counts, in its own words.
            message, _, where = str(error).partition(" - at `")
            path = where.rstrip("`").replace("$", self._root, 1)
            raise Invalid([(path or self._root, f"{message}.")]) from None
        raise Invalid(found.all())


def parse(body: bytes) -> Any:
    """Any JSON, also such as holds what no request may hold: the walk names that by its path.

    Raises:
        Malformed: it is not JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant, parse_int=_integer, parse_float=_number)
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise Malformed("The body is nested too deeply.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(f"The body is not JSON: {name} is not a number there.")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INTEGER_DIGITS_MAX else float("inf")


def with_whole_numbers(raw: Any) -> Any:
    """As `parse` would have read it: 1.0 is an integer."""
    match raw:
        case dict():
            members = cast("dict[str, Any]", raw)
            return {name: with_whole_numbers(value) for name, value in members.items()}
        case list():
            return [with_whole_numbers(value) for value in cast("list[Any]", raw)]
        case float() if raw.is_integer() and abs(raw) <= _WHOLE_MAX:
            return int(raw)
        case _:
            return raw


def _number(text: str) -> int | float:
    # JSON has one kind of number: 3.0 is an integer there (JSON Schema, 6.1.1), and some languages write it so.
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= _WHOLE_MAX else value


def _holds_of(shape: shapes.Type, memo: dict[type, list[tuple[str, _Holds]]]) -> _Holds | None:
    """Whether what JSON Schema cannot say (rules, checks across fields) holds for a decoded value; None: nothing to."""
    match shape:
        case shapes.Metadata():
            rule: Callable[[Any], str | None] | None = (shape.extra or {}).get("rule")
            inner = _holds_of(shape.type, memo)
            if rule is None:
                return inner
            return lambda value: value is None or (rule(value) is None and (inner is None or inner(value)))
        case shapes.UnionType():
            parts = [holds for one in shape.types if (holds := _holds_of(one, memo)) is not None]
            if not parts:
                return None
            if len(shape.types) - any(isinstance(one, shapes.NoneType) for one in shape.types) > 1:
                raise TypeError("a rule cannot be on one of several alternatives: put it on their struct")
            return lambda value: value is None or parts[0](value)
        case shapes.StructType():
            return _struct_holds(shape, memo)
        case shapes.ListType() | shapes.SetType() | shapes.FrozenSetType() | shapes.VarTupleType():
            item = _holds_of(shape.item_type, memo)
            return None if item is None else lambda value: all(item(one) for one in value)
        case shapes.DictType():
            one_holds = _holds_of(shape.value_type, memo)
            return None if one_holds is None else lambda value: all(one_holds(one) for one in value.values())
        case _:
            return None


def _struct_holds(shape: shapes.StructType, memo: dict[type, list[tuple[str, _Holds]]]) -> _Holds | None:
    plan = memo.get(shape.cls)
    is_first = plan is None
    if plan is None:
        plan = memo[shape.cls] = []
        for field in shape.fields:
            if (holds := _holds_of(field.type, memo)) is not None:
                plan.append((field.name, holds))
    names = {field.name for field in shape.fields}
    has_check = "check" not in names and hasattr(shape.cls, "check")
    unless = cast("Mapping[str, str]", getattr(shape.cls, "required_unless", {}))
    if is_first and not plan and not has_check and not unless:
        return None
    rules = plan

    def holds_for(value: Any) -> bool:
        for name, other in unless.items():
            if getattr(value, name) is None and getattr(value, other) is None:
                return False
        for name, holds in rules:
            one = getattr(value, name)
            if one is not msgspec.UNSET and not holds(one):
                return False
        return not has_check or not any(True for _ in cast("Checked", value).check())

    return holds_for
