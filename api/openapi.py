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
from importlib.metadata import version
from typing import Any, Final

import msgspec

from api.route import Route
from api.schemas import Json, Schemas, choices_of

_PARAMETER: Final = re.compile(r"\{[a-z_]+\}")


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
    "Hub-Position": (
        "`<epoch>:<seq>` of the caller's stream: a first cursor for the socket. Not to a service, which has none.",
        {"type": "string", "pattern": "^.+:[0-9]+$"},
    ),
    "ETag": ("The version, in quotes; not with a repeated answer.", {"type": "string", "pattern": '^"[0-9]+"$'}),
    "Idempotency-Replayed": ("`true`: the first answer to this key, once more.", {"type": "string", "const": "true"}),
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

_ALWAYS_SENT: Final = frozenset({(405, "Allow"), (401, "WWW-Authenticate"), (429, "Retry-After")})
"""The headers without which such an answer would break a rule; `X-Request-Id` is on every answer."""

_WORDS: Final = (
    "Text holds neither U+0000 nor half of a surrogate pair. Unknown fields and parameters are refused (422). What the"
    " schemas cannot say (rules between fields, cursors of another list) is refused by 422 with the path of each fault."
)


def openapi_document(mounts: Mapping[str, Iterable[Route]]) -> Json:
    """The whole document. `mounts` are routes by prefix, as `api.app.build_app` takes them.

    Raises:
        TypeError: two types would have one name.
    """
    placed = [(prefix, one) for prefix, routes in mounts.items() for one in routes]
    kinds: list[Any] = [ProblemDocument]
    for _, one in placed:
        kinds += [one.body_kind] if one.body is not None else []
        kinds += [kind for kinds in getattr(one.body_kind, "mixed", {}).values() for kind in kinds]
        kinds += [answer for answer in one.responses.values() if answer is not None]
        kinds += [one.query.kind] if one.query is not None else []
        kinds += one.path_reader.kinds.values()
    schemas = Schemas(kinds)
    paths: dict[str, Json] = {}
    for prefix, one in placed:
        paths.setdefault(prefix + one.path, {})[one.method.lower()] = _operation(one, prefix, schemas)
    schemas.forget({one.query.kind for _, one in placed if one.query is not None})
    problems = sorted({status for _, one in placed for status in one.problem_statuses})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Notification hub",
            "version": version("notification-hub"),
            "description": _WORDS,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": {f"Problem{status}": _problem(status, schemas) for status in problems},
            "headers": {
                name + suffix: {"description": words, "schema": schema} | ({"required": True} if suffix else {})
                for name, (words, schema) in _HEADERS.items()
                for suffix in ("", "-Always")
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A JWT, or an API key of a producer."}
            },
        },
    }


def _operation(one: Route, prefix: str, schemas: Schemas) -> Json:
    path = prefix + one.path
    operation: Json = {
        "operationId": f"{one.method.lower()}{_PARAMETER.sub(lambda name: '_by_' + name[0][1:-1], path)}".replace(
            "/", "_"
        ).replace("-", "_"),
        "summary": one.summary,
        "tags": [one.path.strip("/").partition("/")[0]],
        "security": [] if one.roles is None else [{"bearer": []}],
        "responses": _answers(one, schemas),
    }
    words = [inspect.cleandoc(one.description)] if one.description else []
    if one.roles is not None:
        words.append(f"For: {', '.join(one.roles)}.")
        operation["x-roles"] = list(one.roles)
    operation["description"] = "\n\n".join(words)
    if parameters := _parameters(one, schemas):
        operation["parameters"] = parameters
    if one.body is not None:
        operation["requestBody"] = _body(one, schemas)
    return operation


def _parameters(one: Route, schemas: Schemas) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": schemas(kind)}
        for name, kind in one.path_reader.kinds.items()
    ]
    if one.query is not None:
        for name, schema in schemas.query(one.query.kind):
            # Several values of one parameter are separated by commas.
            found.append({"name": name, "in": "query", "schema": schema, "style": "form", "explode": False})
    if one.idempotent:
        key = {"type": "string", "pattern": "^[!-~]{1,255}$"}
        words = "The same key and the same bytes get the first answer again; other bytes are 422."
        found.append({"name": "Idempotency-Key", "in": "header", "description": words, "schema": key})
    if one.conditional:
        tags = {"type": "string", "pattern": r'^(\*|"[0-9]{1,16}"(, "[0-9]{1,16}")*)$'}
        words = "The version that is to be changed, in quotes; another one is answered by 412."
        found.append({"name": "If-Match", "in": "header", "description": words, "schema": tags})
    return found


def _body(one: Route, schemas: Schemas) -> Json:
    assert one.body is not None
    if one.takes_patch:
        schema = schemas.patch(one.body_kind)
        media = ("application/merge-patch+json", "application/json")
        return {"required": True, "content": {kind: {"schema": schema} for kind in media}}
    content = {"application/json": {"schema": schemas.body(one.body_kind)}}
    return {"required": not one.body.is_optional, "content": content}


def _answers(one: Route, schemas: Schemas) -> Json:
    answers: Json = {
        str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in one.problem_statuses
    }
    for status, kind in one.responses.items():
        # A probe's 503 may be the probe's own answer, or the mechanism's.
        answer = _problem(status, schemas) if str(status) in answers else _answer(one, status, kind)
        if kind is not None:
            answer.setdefault("content", {})[one.media_type] = {"schema": schemas(kind)}
        answers[str(status)] = answer
    return dict(sorted(answers.items()))


def _answer(one: Route, status: int, kind: Any) -> Json:
    names = ["Hub-Position"] if one.position else []
    # What has a version is tagged by it.
    if kind is not None and any("version" in getattr(part, "__struct_fields__", ()) for part in choices_of(kind)):
        names.append("ETag")
    if one.idempotent:
        names.append("Idempotency-Replayed")
    if one.roles is not None:
        names += ["RateLimit", "RateLimit-Policy"]
    return {"description": HTTPStatus(status).phrase, "headers": _references(status, names)}


def _problem(status: int, schemas: Schemas) -> Json:
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _references(status, _OF_PROBLEM.get(status, ())),
        "content": {"application/problem+json": {"schema": schemas(ProblemDocument)}},
    }


def _references(status: int, names: Iterable[str]) -> Json:
    references = {"X-Request-Id": "X-Request-Id-Always"} | {
        name: f"{name}-Always" if (status, name) in _ALWAYS_SENT else name for name in names
    }
    return {name: {"$ref": f"#/components/headers/{at}"} for name, at in references.items()}
