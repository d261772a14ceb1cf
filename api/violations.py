"""Every violation in a value, by walking it beside its type: the slow path of `api.validation`.

The decoder stops at the first fault; an author wants all of them. So this walks
only what the decoder has refused, and what it says must agree with the decoder:
a property test holds the two together. Types that it does not know are refused
when a route is declared, not when a request comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, cast

import msgspec
from msgspec import inspect as shapes

from api.faults import (
    Check,
    Found,
    check_boolean,
    check_day,
    check_free,
    check_instant,
    check_null,
    choice_check,
    member,
    number_check,
    text_check,
)
from hub.app.errors import Violation


class Checked(Protocol):
    """A struct with rules across its fields: where (relative, such as `deliver_at`; empty for the whole) and what."""

    def check(self) -> Iterable[Violation]: ...


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
            return text_check(shape, None)
        case shapes.IntType() | shapes.FloatType():
            return number_check(shape)
        case shapes.LiteralType() | shapes.EnumType():
            return choice_check(shape)
        case shapes.BoolType():
            return check_boolean
        case shapes.NoneType():
            return check_null
        case shapes.DateTimeType():
            return check_instant
        case shapes.DateType():
            return check_day
        case shapes.AnyType() | shapes.RawType():
            return check_free
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
    inner = text_check(shape.type, extra.get("message")) if isinstance(shape.type, shapes.StrType) else None
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
