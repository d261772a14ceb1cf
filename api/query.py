"""Query strings and path parameters: text that is read by the type it must have, then validated like a body.

Names of the query are `query.<name>` in errors, those of the path `path.<name>`.
An unknown parameter is refused, and so is one given twice: which of the two was
meant cannot be told. Several values of one parameter are separated by commas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from msgspec import inspect as shapes

from api.faults import Found
from api.validation import Validator
from api.violations import check_of, unwrapped
from hub.app.errors import Invalid, Violation

T = TypeVar("T")
_Reader = Callable[[str], Any]

PARAMETERS_MAX: Final = 64
"""More than any list has; parsing stops there."""

_INTEGER: Final = re.compile(r"(-?[0-9]{1,20})(?:\.0{1,20})?", re.ASCII)
"""3.0 too: an integer as JSON Schema has it, and as some languages write it."""
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}


class RequestQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a query string is made of: every field has a default. A subclass gives `kw_only=True` again."""


class QueryReader(Generic[T]):
    """Reads one query struct. Made once, when the route is declared.

    Raises:
        TypeError: the struct requires a field, or takes unknown ones.
    """

    def __init__(self, kind: type[T]) -> None:
        shape = shapes.type_info(kind)
        if not isinstance(shape, shapes.StructType) or not shape.forbid_unknown_fields:
            raise TypeError(f"{kind.__name__} must be a RequestQuery")
        if any(field.required for field in shape.fields):
            raise TypeError(f"every field of {kind.__name__} needs a default: what a URL must name belongs in its path")
        self.kind = kind
        self._readers = {field.encode_name: reader_of(field.type) for field in shape.fields}
        self._validator: Validator[T] = Validator(kind, root="query", noun="query parameter")

    def read(self, query_string: bytes) -> T:
        """Raises:
        Invalid: with every violation.
        """
        if not query_string:
            return self.kind()
        try:
            pairs = parse_qsl(
                query_string.decode(), keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict"
            )
        except UnicodeDecodeError:
            raise Invalid([("query", "Must be percent-encoded UTF-8.")]) from None
        except ValueError:
            raise Invalid([("query", f"Must have at most {PARAMETERS_MAX} parameters.")]) from None
        raw: dict[str, Any] = {}
        repeated: list[Violation] = []
        for name, text in pairs:
            reader = self._readers.get(name)
            if name in raw and reader is not None:
                repeated.append((f"query.{name}", "Must be given only once."))
            raw[name] = text if reader is None else reader(text)
        try:
            value = self._validator.convert(raw)
        except Invalid as invalid:
            raise Invalid([*repeated, *invalid.errors]) from None
        if repeated:
            raise Invalid(repeated)
        return value


class PathReader:
    """Reads the parameters of one path, in their order. `kinds` are their types, by name."""

    def __init__(self, kinds: dict[str, Any]) -> None:
        self.kinds = kinds
        self._parts: list[tuple[str, _Reader, Callable[[Any, str, Found], None]]] = []
        for name, kind in kinds.items():
            shape = shapes.type_info(kind)
            self._parts.append((name, reader_of(shape), check_of(shape)))

    def read(self, segments: Sequence[bytes]) -> dict[str, Any]:
        """From the raw segments.

        Raises:
            Invalid: with every violation.
        """
        found = Found()
        values: dict[str, Any] = {}
        for (name, reader, check), segment in zip(self._parts, segments, strict=True):
            try:
                value = reader(unquote_to_bytes(segment).decode())
            except UnicodeDecodeError:
                found.add(f"path.{name}", "Must be percent-encoded UTF-8.")
                continue
            check(value, f"path.{name}", found)
            values[name] = value
        if found.total:
            raise Invalid(found.all())
        return values


def reader_of(shape: shapes.Type) -> _Reader:
    """From text to what the type's JSON would have been. What cannot be read stays text, to be refused."""
    beneath = unwrapped(shape)
    match beneath:
        case shapes.IntType():
            return lambda text: int(found[1]) if (found := _INTEGER.fullmatch(text)) else text
        case shapes.FloatType():
            return lambda text: float(text) if _NUMBER.fullmatch(text) else text
        case shapes.BoolType():
            return lambda text: _BOOLEANS.get(text, text)
        case shapes.ListType() | shapes.SetType() | shapes.FrozenSetType() | shapes.VarTupleType():
            one = reader_of(beneath.item_type)
            return lambda text: [one(part) for part in text.split(",")]
        case _:
            return lambda text: text
