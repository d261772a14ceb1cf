"""RFC 7396: a patch is the part of a document that changes, and null takes a member away.

What is taken away takes its default, as a field that `PUT` leaves out does. The
result is validated as a whole, so that no patch makes what `PUT` would refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import inspect as shapes

from api.validation import Validator
from api.violations import unwrapped
from hub.app.errors import Invalid

T = TypeVar("T")


class Patch(Generic[T]):
    """A merge patch that has been read, and waits for what it changes.

    A use case applies it under its lock, so that two patches of different fields both last.
    """

    __slots__ = ("_raw", "_validator")

    def __init__(self, validator: Validator[T], raw: Any) -> None:
        if not isinstance(raw, dict):
            raise Invalid([("$", "Must be an object.")])
        self._validator = validator
        self._raw = cast("dict[str, Any]", raw)

    @property
    def names(self) -> frozenset[str]:
        """The members that it names, whether it changes them or not."""
        return frozenset(self._raw)

    def apply(self, current: T, defaults: T | None = None) -> T:
        """`current` after the patch. May be called again; neither is changed.

        What is taken away takes its default: that of `defaults`, else that of the type.

        Raises:
            Invalid: the result is not acceptable; with every violation, by its path in the document.
        """
        try:
            document = merged(_document(current), self._raw)
        except RecursionError:
            raise Invalid([("$", "Must not be nested so deeply.")]) from None
        _keep_misspelt(document, self._raw, shapes.type_info(self._validator.kind))
        if defaults is not None:
            document = {**_document(defaults), **document}
        return self._validator.convert(document)


def _keep_misspelt(document: dict[str, Any], patch: dict[str, Any], shape: shapes.Type) -> None:
    """Put back what the patch takes away and no such document has, at any depth, to be refused by its name."""
    shape = unwrapped(shape)
    if not isinstance(shape, shapes.StructType):
        return
    fields = {field.encode_name: field.type for field in shape.fields}
    known = {*fields, *cast("Iterable[str]", getattr(shape.cls, "read_only", ()))}
    for name, value in patch.items():
        if value is None and name not in known:
            document[name] = None
        elif isinstance(value, dict) and name in fields:
            _keep_misspelt(document[name], cast("dict[str, Any]", value), fields[name])


def _document(value: Any) -> dict[str, Any]:
    # By way of JSON, which has arrays where the value has tuples.
    return msgspec.json.decode(msgspec.json.encode(value))


def merged(target: Any, patch: Any) -> Any:
    """`MergePatch` of RFC 7396, section 2, as values. Neither argument is changed, and no object shared."""
    if not isinstance(patch, dict):
        return patch
    result = dict(cast("dict[str, Any]", target)) if isinstance(target, dict) else {}
    for name, value in cast("dict[str, Any]", patch).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
