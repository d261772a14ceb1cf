"""The OpenAPI 3.1 document, read from the declared routes.

Owns no description: words, limits and defaults are those of the structs and of
the declarations, which also make the validation. What every answer has by the
mechanism of `api.dispatch` (request id, problems, Retry-After) is said here once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from api.route import Route

VERSION: Final = "0.1.0"
_REF: Final = "#/components/schemas/{name}"
_METHODS_WITH_TAG: Final = frozenset({"PUT", "PATCH"})
_PARAMETER: Final = re.compile(r"\{[a-z_]+\}")

Json = dict[str, Any]


class FieldFault(msgspec.Struct):
    """One violation: where, and a sentence for its author."""

    path: str
    message: str


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """RFC 9457. Branch on `type`; quote `request_id` when you report. Some problems have further members."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldFault] = []


_HEADERS: Final[Mapping[str, tuple[str, Json]]] = {
    "X-Request-Id": ("The caller's, if sane, or a new one.", {"type": "string"}),
    "Hub-Position": ("`<epoch>:<seq>` of the caller's stream: a first cursor for the socket.", {"type": "string"}),
    "ETag": ("The version, in quotes, where the row has one.", {"type": "string"}),
    "Idempotency-Replayed": ("`true`: the first answer to this key, once more.", {"type": "string"}),
    "Retry-After": ("Seconds.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("RFC 6750.", {"type": "string"}),
    "RateLimit": ('What is left, and for how long: `"default";r=<calls>;t=<seconds>`.', {"type": "string"}),
    "RateLimit-Policy": ('The quota: `"default";q=<calls>;w=<seconds>`.', {"type": "string"}),
    "Allow": ("The methods of this address.", {"type": "string"}),
}

_OF_PROBLEM: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    405: ("Allow",),
    409: ("Retry-After",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def openapi_document(mounts: Mapping[str, Iterable[Route]]) -> Json:
    """The whole document. `mounts` are routes by prefix, as `api.app.build_app` takes them."""
    placed = [(prefix, one) for prefix, routes in mounts.items() for one in routes]
    kinds: list[Any] = [ProblemDocument]
    for _, one in placed:
        kinds += [one.body_kind] if one.body is not None else []
        kinds += [kind for answer in one.responses.values() if answer is not None for kind in _choices(answer)]
        kinds += [one.query.kind] if one.query is not None else []
        kinds += one.path_reader.kinds.values()
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_free, ref_template=_REF)
    schema_of = _Schemas(kinds, schemas, components)
    paths: dict[str, Json] = {}
    for prefix, one in placed:
        paths.setdefault(prefix + one.path, {})[one.method.lower()] = _operation(one, prefix, schema_of)
    for name, kind in _bodies_by_name(placed, schema_of).items():
        _add_read_only(components[name], kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Notification hub", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": {name: {"description": words, "schema": schema} for name, (words, schema) in _HEADERS.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A JWT, or an API key of a producer."}
            },
        },
    }


class _Schemas:
    """A type's schema, by the type."""

    def __init__(self, kinds: list[Any], schemas: Iterable[Json], components: dict[str, Json]) -> None:
        # By identity first: types such as `Annotated[dict, …]` may not be hashable.
        self._found = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
        self.components = components

    def __call__(self, kind: Any) -> Json:
        choices = _choices(kind)
        # Structs without a tag may be answered one for the other, though never read so.
        return self._found[id(kind)] if len(choices) == 1 else {"anyOf": [self._found[id(one)] for one in choices]}

    def fields(self, kind: Any) -> dict[str, Json]:
        """A struct's properties."""
        return self.components[self.name(kind)]["properties"]

    def name(self, kind: Any) -> str:
        return self(kind)["$ref"].rpartition("/")[2]


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)


def _free(_: Any) -> Json:
    """What is encoded already (`msgspec.Raw`) may be any JSON."""
    return {}


def _operation(one: Route, prefix: str, schema_of: _Schemas) -> Json:
    path = prefix + one.path
    operation: Json = {
        "operationId": f"{one.method.lower()}{_PARAMETER.sub(lambda name: '_by_' + name[0][1:-1], path)}".replace(
            "/", "_"
        ).replace("-", "_"),
        "summary": one.summary,
        "tags": [one.path.strip("/").partition("/")[0]],
        "security": [] if one.roles is None else [{"bearer": []}],
        "responses": _answers(one, schema_of),
    }
    words = [inspect.cleandoc(one.description)] if one.description else []
    if one.roles is not None:
        words.append(f"For: {', '.join(one.roles)}.")
        operation["x-roles"] = list(one.roles)
    operation["description"] = "\n\n".join(words)
    if parameters := _parameters(one, schema_of):
        operation["parameters"] = parameters
    if one.body is not None:
        operation["requestBody"] = _body(one, schema_of)
    return operation


def _parameters(one: Route, schema_of: _Schemas) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": schema_of(kind)}
        for name, kind in one.path_reader.kinds.items()
    ]
    if one.query is not None:
        for name, schema in schema_of.fields(one.query.kind).items():
            # Several values of one parameter are separated by commas.
            found.append({"name": name, "in": "query", "schema": schema, "style": "form", "explode": False})
    if one.idempotent:
        key = {"type": "string", "pattern": "^[!-~]{1,255}$"}
        words = "The same key and the same bytes get the first answer again."
        found.append({"name": "Idempotency-Key", "in": "header", "description": words, "schema": key})
    if one.method in _METHODS_WITH_TAG and 412 in one.errors:
        words = "The version that is to be changed, in quotes; another one is answered by 412."
        found.append({"name": "If-Match", "in": "header", "description": words, "schema": {"type": "string"}})
    return found


def _body(one: Route, schema_of: _Schemas) -> Json:
    assert one.body is not None
    if one.takes_patch:
        # RFC 7396: any member may be missing, and null takes one away.
        schema: Json = {"type": "object", "properties": {name: {} for name in schema_of.fields(one.body_kind)}}
        words = f"A merge patch; the result must be a valid `{schema_of.name(one.body_kind)}`."
        media = ("application/merge-patch+json", "application/json")
        return {"required": True, "description": words, "content": {kind: {"schema": schema} for kind in media}}
    content = {"application/json": {"schema": schema_of(one.body_kind)}}
    return {"required": not one.body.is_optional, "content": content}


def _answers(one: Route, schema_of: _Schemas) -> Json:
    answers: Json = {}
    for status, kind in one.responses.items():
        answer: Json = {"description": HTTPStatus(status).phrase, "headers": _headers_of(one, status)}
        if kind is not None:
            answer["content"] = {one.media_type: {"schema": schema_of(kind)}}
        answers[str(status)] = answer
    for status in one.problem_statuses:
        content = {"application/problem+json": {"schema": schema_of(ProblemDocument)}}
        if status in one.responses and (given := answers[str(status)].get("content")) is not None:
            content |= given
        names = ("X-Request-Id", *_OF_PROBLEM.get(status, ()))
        answers[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _references(names),
            "content": content,
        }
    return dict(sorted(answers.items()))


def _headers_of(one: Route, status: int) -> Json:
    names = ["X-Request-Id"]
    if one.roles is not None:
        names += ["Hub-Position", "ETag"]
    if one.idempotent and status < 300:
        names.append("Idempotency-Replayed")
    return _references(names)


def _references(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _bodies_by_name(placed: list[tuple[str, Route]], schema_of: _Schemas) -> dict[str, Any]:
    bodies = (one.body_kind for _, one in placed if one.body is not None)
    return {schema_of.name(kind): kind for kind in bodies if "$ref" in schema_of(kind)}


def _add_read_only(schema: Json, kind: Any) -> None:
    """Fields of the answer that a request may carry and that are ignored."""
    for name in getattr(kind, "read_only", ()):
        schema["properties"].setdefault(name, {"readOnly": True})
