"""The documents of REST and of the socket as they are served: JSON for programs, one page for readers.

The page is made here, complete in itself: no script, and nothing from elsewhere, so
that it opens without a network and under a policy that allows only its own style.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from html import escape
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Page

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;"
    "background:#fff}summary{cursor:pointer;padding:.25rem 0}code,pre{font:14px/1.45 ui-monospace,monospace}"
    "pre{overflow-x:auto;background:#f3f4f6;padding:.75rem}table{border-collapse:collapse}"
    "td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0}"
    "@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}pre{background:#20252a}"
    "a{color:#8ab4f8}}"
)

_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
    + "'"
)


def document_pages(document: dict[str, Any], live: dict[str, Any]) -> list[Page]:
    """`/openapi.json`, `/docs`, and `/asyncapi.json` of `live`, rendered once; each answers 304 to the ETag it gave."""
    return [
        _page("/asyncapi.json", msgspec.json.encode(live), "application/json", {}),
        _page("/openapi.json", msgspec.json.encode(document), "application/json", {}),
        _page(
            "/docs", page_of(document, live).encode(), "text/html; charset=utf-8", {"content-security-policy": _POLICY}
        ),
    ]


def _page(path: str, body: bytes, media_type: str, more: dict[str, str]) -> Page:
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    # Asked again each time, since another version of the hub answers at the same address.
    headers = {"etag": tag, "cache-control": "no-cache", "x-content-type-options": "nosniff", **more}

    async def serve(request: Request) -> Response:
        known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
        if tag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=media_type)

    return Page(path, serve, methods=["GET"])


def page_of(document: dict[str, Any], live: dict[str, Any]) -> str:
    """Both documents as one HTML page. Every word of them is escaped."""
    title = escape(document["info"]["title"])
    sections: list[str] = []
    for path, operations in document["paths"].items():
        sections += [_operation(document, path, method, one) for method, one in operations.items()]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{title} {escape(document['info']['version'])}</h1>"
        f"<p>{escape(document['info']['description'])}</p>"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a>;'
        f' of the socket: <a href="asyncapi.json">asyncapi.json</a></p>'
        f"<h2>Calls</h2>{''.join(sections)}<h2>Types</h2>{_types(document, '')}"
        f"<h2>The socket</h2>{_frames(live)}<h3>Its types</h3>{_types(live, 'live-')}</body></html>"
    )


def _types(document: dict[str, Any], prefix: str) -> str:
    return "".join(
        f'<details id="{prefix}{escape(name)}"><summary><code>{escape(name)}</code></summary>{_code(schema)}</details>'
        for name, schema in document["components"]["schemas"].items()
    )


def _frames(live: dict[str, Any]) -> str:
    """Each frame, and who says it."""
    rows: list[str] = []
    for operation in live["operations"].values():
        said_by = "client" if operation["action"] == "receive" else "hub"
        for reference in operation["messages"]:
            name = reference["$ref"].rpartition("/")[2]
            frame = live["components"]["messages"][name]
            link = f'<a href="#live-{escape(name)}"><code>{escape(frame["name"])}</code></a>'
            rows.append(f"<tr><td>{link}</td><td>{said_by}</td><td>{escape(frame['summary'])}</td></tr>")
    return f"<table><tr><th>frame</th><th>said by</th><th></th></tr>{''.join(rows)}</table>"


def _operation(document: dict[str, Any], path: str, method: str, one: dict[str, Any]) -> str:
    parts = [f"<p>{escape(one['description'])}</p>"]
    if parameters := one.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
            f"<td><code>{escape(json.dumps(each['schema']))}</code></td></tr>"
            for each in parameters
        )
        parts.append(f"<table><tr><th>parameter</th><th>in</th><th>type</th></tr>{rows}</table>")
    if body := one.get("requestBody"):
        parts.append(f"<p>Body</p>{_code(body)}")
    rows = "".join(_answer(status, _resolved(document, answer)) for status, answer in one["responses"].items())
    parts.append(f"<table><tr><th>status</th><th></th><th>type</th><th>headers</th></tr>{rows}</table>")
    name = f"<code>{method.upper()} {escape(path)}</code> {escape(one['summary'])}"
    return f'<details id="{escape(one["operationId"])}"><summary>{name}</summary>{"".join(parts)}</details>'


def _resolved(document: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    reference = answer.get("$ref")
    return document["components"]["responses"][reference.rpartition("/")[2]] if reference else answer


def _answer(status: str, answer: dict[str, Any]) -> str:
    headers = escape(", ".join(answer["headers"]))
    phrase = escape(answer["description"])
    return f"<tr><td>{escape(status)}</td><td>{phrase}</td><td>{_links(answer)}</td><td>{headers}</td></tr>"


def _links(answer: dict[str, Any]) -> str:
    names: list[str] = []
    for content in answer.get("content", {}).values():
        choices = content["schema"].get("anyOf", [content["schema"]])
        names += [one["$ref"].rpartition("/")[2] for one in choices if "$ref" in one]
    return ", ".join(f'<a href="#{escape(name)}"><code>{escape(name)}</code></a>' for name in names)


def _code(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=1, ensure_ascii=False))}</pre>"
