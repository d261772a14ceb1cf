"""JSON Schemas of the structs that requests and answers are made of, each under a short name.

Owns what msgspec's own schemas leave out: instants of answers, merge patches, lists in
a query, read-only members. Does not own any limit: those are of the types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Final, Union, cast, get_args, get_origin

import msgspec
from msgspec import inspect as shapes

Json = dict[str, Any]

ROOT: Final = "#/components/schemas/"
Mixed = tuple[Any, Any, Any]
"""See `mixed` of `api.validation.RequestBody`."""

_REF: Final = ROOT + "{name}"

_OF_THE_WHOLE: Final = ("required", "properties", "description", "allOf")
"""What a patch of a struct has otherwise, or not at all."""
_GIVEN: Final[Json] = {"not": {"type": "null"}}


class Schemas:
    """The schema of each type that it was made of. `components` are what these refer to, by name."""

    def __init__(self, kinds: Iterable[Any]) -> None:
        parts = [part for kind in kinds for part in choices_of(kind)]
        found, components = msgspec.json.schema_components(parts, schema_hook=_free, ref_template=_REF)
        for cls, component in _structs(parts, components):
            _show_instants(cls, component)
            _show_unless(cls, component)
        names = _short_names(components)
        # By identity: types such as `Annotated[dict, …]` may not be hashable.
        self._found = {id(kind): _renamed(schema, names) for kind, schema in zip(parts, found, strict=True)}
        self._parts = parts
        self.components: dict[str, Json] = {names[name]: _renamed(one, names) for name, one in components.items()}

    def __call__(self, kind: Any) -> Json:
        """What it is in the document: mostly a reference."""
        choices = choices_of(kind)
        # Structs without a tag may be answered one for the other, though never read so.
        return self._found[id(kind)] if len(choices) == 1 else {"anyOf": [self._found[id(one)] for one in choices]}

    def name(self, kind: Any) -> str:
        """Under which name it is among the components."""
        return _name_in(self(kind))

    def body(self, kind: Any) -> Json:
        """What a request may send: also the fields of the answer that are ignored."""
        reference = self(kind)
        if "$ref" in reference:
            properties = self.components[_name_in(reference)]["properties"]
            for name in cast("Iterable[str]", getattr(kind, "read_only", ())):
                properties.setdefault(name, {"readOnly": True})
            for name, (whole, patched, target) in cast("Mapping[str, Mixed]", getattr(kind, "mixed", {})).items():
                properties[name]["items"] = {"anyOf": [self.body(whole), self._patch_at(patched, target)]}
        return reference

    def patch(self, kind: Any) -> Json:
        """The merge patch of a struct (RFC 7396): any member may be missing, and null takes away what may be."""
        self.body(kind)
        return self._patch(self.name(kind))

    def _patch_at(self, kind: Any, target: Any) -> Json:
        """A merge patch that says itself what it is for."""
        patch, at = self.components[_name_in(self.patch(kind))], self.components[self.name(target)]
        self.components[self.name(target)] = {
            **patch,
            "title": self.name(target),
            "description": f"{patch['description']} {at['description']}",
            "required": at["required"],
            "properties": {**patch["properties"], **at["properties"]},
        }
        return self(target)

    def _patch(self, name: str) -> Json:
        patched, whole = f"{name}Patch", self.components[name]
        if patched not in self.components:
            self.components[patched] = {
                **{key: value for key, value in whole.items() if key not in _OF_THE_WHOLE},
                "title": patched,
                "description": f"A merge patch; the result must be a valid `{name}`.",
                "properties": {
                    member: self._member(schema, may_go=member not in whole.get("required", ()))
                    for member, schema in whole["properties"].items()
                },
            }
        return {"$ref": ROOT + patched}

    def _member(self, schema: Json, *, may_go: bool) -> Json:
        schema = {key: value for key, value in schema.items() if key != "default"}
        if "$ref" in schema and "properties" in self.components[_name_in(schema)]:
            schema = self._patch(_name_in(schema))
        if not may_go or "readOnly" in schema or {"type": "null"} in schema.get("anyOf", ()):
            return schema
        return {"anyOf": [schema, {"type": "null"}]}

    def query(self, kind: Any) -> Iterator[tuple[str, Json]]:
        """The parameters of a query, by name. A list is separated by commas, so it has an item at least."""
        for name, schema in self.components[self.name(kind)]["properties"].items():
            yield name, _in_query(schema)

    def forget(self, kinds: Iterable[Any]) -> None:
        """Leave out what nothing refers to: the structs of queries."""
        for kind in kinds:
            self.components.pop(self.name(kind), None)


def choices_of(kind: Any) -> tuple[Any, ...]:
    """The types of a union; the type itself where it is none."""
    return get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)


def _free(_: Any) -> Json:
    """What is encoded already (`msgspec.Raw`) may be any JSON."""
    return {}


def _name_in(reference: Mapping[str, str]) -> str:
    return reference["$ref"].removeprefix(ROOT)


def _short_names(components: Mapping[str, Json]) -> dict[str, str]:
    # `Listing_Task_` is a page of tasks; of namesakes, which come with their modules, the module tells which is meant.
    names: dict[str, str] = {}
    for name in components:
        outer, _, inner = name.rstrip("_").partition("_")
        *modules, last = name.split(".")
        if "." in name:
            short = "".join(part.capitalize() for part in modules[-1].split("_")) + last
        else:
            short = inner + outer if inner else name
        if short in names.values():
            raise TypeError(f"two types would be called {short}: rename one of them")
        names[name] = short
    return names


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list | tuple):
        # A default that is a tuple is an array in JSON.
        return [_renamed(one, names) for one in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    renamed = {key: _renamed(value, names) for key, value in cast("Json", schema).items()}
    if isinstance(reference := renamed.get("$ref"), str):
        renamed["$ref"] = ROOT + names[reference.removeprefix(ROOT)]
    elif isinstance(renamed.get("title"), str) and isinstance(renamed.get("properties"), dict):
        renamed.pop("title")
    return renamed


def _in_query(schema: Json) -> Json:
    if "anyOf" in schema:
        # What is not given is null; in a URL nothing can be.
        rest = [_in_query(one) for one in schema["anyOf"] if one != {"type": "null"}]
        more = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        return {**rest[0], **more} if len(rest) == 1 else {"anyOf": rest, **more}
    if schema.get("type") != "array":
        return schema
    items: Json = schema["items"]
    if items.get("type") == "string" and "pattern" not in items and "enum" not in items:
        items = {**items, "pattern": "^[^,]+$"}
    return {**{key: value for key, value in schema.items() if key != "default"}, "items": items, "minItems": 1}


def _structs(kinds: Iterable[Any], components: dict[str, Json]) -> Iterator[tuple[shapes.StructType, Json]]:
    """Every struct that the types are made of, with each component of its name."""
    waiting, known = [shapes.type_info(kind) for kind in kinds], set[str]()
    by_title: dict[str, list[Json]] = {}
    for name, component in components.items():
        by_title.setdefault(str(component.get("title", name)), []).append(component)
    while waiting:
        shape = waiting.pop()
        match shape:
            case shapes.StructType():
                if (key := repr(shape.cls)) in known:
                    continue
                known.add(key)
                waiting.extend(field.type for field in shape.fields)
                yield from ((shape, component) for component in by_title.get(shape.cls.__name__, ()))
            case shapes.Metadata():
                waiting.append(shape.type)
            case shapes.UnionType():
                waiting.extend(shape.types)
            case shapes.ListType() | shapes.SetType() | shapes.FrozenSetType() | shapes.VarTupleType():
                waiting.append(shape.item_type)
            case shapes.DictType():
                waiting.append(shape.value_type)
            case _:
                pass


def _show_instants(shape: shapes.StructType, component: Json) -> None:
    """Instants of answers are RFC 3339 in UTC, though their types, made by the hub itself, do not say so."""
    for field in shape.fields:
        if any(isinstance(one, shapes.DateTimeType) for one in _within(field.type)):
            _mark(component["properties"].get(field.encode_name))


def _show_unless(shape: shapes.StructType, component: Json) -> None:
    """`required_unless` of a `RequestBody`: the other one, or all that it stands for; null is as good as nothing."""
    unless = cast("Mapping[str, str]", getattr(shape.cls, "required_unless", {}))
    for other in sorted(set(unless.values())):
        choices = ([other], [name for name, instead in unless.items() if instead == other])
        given = [{"required": names, "properties": dict.fromkeys(names, _GIVEN)} for names in choices]
        component.setdefault("allOf", []).append({"anyOf": given})


def _within(shape: shapes.Type) -> tuple[shapes.Type, ...]:
    if isinstance(shape, shapes.Metadata):
        return _within(shape.type)
    return shape.types if isinstance(shape, shapes.UnionType) else (shape,)


def _mark(schema: Json | None) -> None:
    for one in () if schema is None else schema.get("anyOf", [schema]):
        if one.get("type") == "string" and "enum" not in one:
            one.setdefault("format", "date-time")
