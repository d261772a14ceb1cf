"""Every answer that a test gets is held to the OpenAPI document: status, headers, media type and body."""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
import jsonschema

_HEADERS_OF_ALL: Final = {"content-type", "content-length", "cache-control", "x-content-type-options", "date", "server",
                          "connection", "transfer-encoding", "vary"}  # fmt: skip
"""What HTTP and browsers are told with anything."""
_LEGACY: Final = {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}
"""Of the draft before; kept for clients that read no other."""


class Conformity:
    """Judges answers by one document. Made once: the schemas are compiled as they are met."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        # Fixed segments win over parameters, as in the router.
        templates = sorted(document["paths"], key=lambda path: [part.startswith("{") for part in path.split("/")])
        self._paths = [(re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path)), path) for path in templates]
        self._judges: dict[str, jsonschema.Draft202012Validator] = {}

    async def __call__(self, response: httpx.Response) -> None:
        """A response hook of httpx. Raises AssertionError with the request where the document says otherwise."""
        await response.aread()
        fault = self.fault(response)
        assert fault is None, f"{response.request.method} {response.request.url}: {response.status_code}: {fault}"

    def fault(self, response: httpx.Response) -> str | None:
        """What the document does not allow, or None."""
        method, path = response.request.method.lower(), response.request.url.raw_path.decode().partition("?")[0]
        if method in ("head", "options"):
            return None
        template = next((template for pattern, template in self._paths if pattern.fullmatch(path)), None)
        if template is None:
            return None if response.status_code == 404 or not path.startswith("/api/") else "the path is not described"
        operation = self._document["paths"][template].get(method)
        if operation is None:
            allowed = response.status_code == 405 and "allow" in response.headers
            return None if allowed else "the method is not described, and was not refused by 405"
        answer = self._resolved(operation["responses"].get(str(response.status_code)))
        if answer is None:
            return "the status is not described"
        return self._header_fault(response, answer) or self._body_fault(response, answer)

    def _resolved(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is None or "$ref" not in value:
            return value
        at: Any = self._document
        for part in value["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        return at

    def _header_fault(self, response: httpx.Response, answer: dict[str, Any]) -> str | None:
        described = {name.lower(): self._resolved(one) or {} for name, one in answer["headers"].items()}
        for name in response.headers:
            if (
                name not in described
                and name not in _HEADERS_OF_ALL | _LEGACY
                and not name.startswith("access-control")
            ):
                return f"the header {name} is not described"
        for name, header in described.items():
            if (value := response.headers.get(name)) is None:
                if header.get("required"):
                    return f"the header {name} is missing"
                continue
            typed = int(value) if header["schema"]["type"] == "integer" and value.isdigit() else value
            if fault := self._schema_fault(header["schema"], typed):
                return f"the header {name}: {fault}"
        return None

    def _body_fault(self, response: httpx.Response, answer: dict[str, Any]) -> str | None:
        content = answer.get("content", {})
        if not content:
            return "a body where none is described" if response.content else None
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if media_type not in content:
            return f"the media type {media_type!r} is not described"
        if not media_type.endswith("json"):
            return None
        return self._schema_fault(content[media_type]["schema"], response.json())

    def _schema_fault(self, schema: dict[str, Any], value: Any) -> str | None:
        judge = self._judges.get(repr(schema))
        if judge is None:
            whole = {**schema, "components": self._document["components"]}
            judge = jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker())
            self._judges[repr(schema)] = judge
        error = next(iter(judge.iter_errors(value)), None)
        return None if error is None else f"{error.json_path}: {error.message[:300]}"
