"""A tenant of a running hub as its people and producers use it: over HTTP, with nothing else known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import httpx

from hub import clock
from tests.acceptance.processes import Device, Node, token

BASE: Final = "/api/v1"
ABSENT: Final[Any] = object()


class Caller:
    """Whoever holds one token."""

    def __init__(self, client: httpx.AsyncClient, bearer: str | None) -> None:
        self.client = client
        self.bearer = bearer

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = ABSENT,
        *,
        raw: bytes | None = None,
        query: Mapping[str, Any] | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Send. `body` goes as JSON that may hold what JSON should not (lone surrogates), `raw` as it is."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.bearer is not None:
            sent.setdefault("authorization", f"Bearer {self.bearer}")
        content = raw
        if body is not ABSENT:
            content = json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        url = path if path.startswith(("/healthz", "/readyz", "/metrics", BASE)) else BASE + path
        return await self.client.request(method, url, content=content, params=query, headers=sent)

    async def get(self, path: str, **query: Any) -> Any:
        """What is there."""
        return good(await self("GET", path, query=query or None)).json()

    async def post(self, path: str, body: Any = ABSENT) -> Any:
        return good(await self("POST", path, body)).json()

    async def put(self, path: str, body: Any = ABSENT) -> Any:
        return good(await self("PUT", path, body)).json()

    async def patch(self, path: str, body: Any = ABSENT) -> Any:
        return good(await self("PATCH", path, body)).json()

    async def delete(self, path: str) -> None:
        assert good(await self("DELETE", path)).status_code == 204


class Tenant:
    """One tenant that nobody else has, on a hub that others use at the same time."""

    def __init__(self, node: Node, client: httpx.AsyncClient, database_url: str, name: str) -> None:
        self.node, self.client, self.name = node, client, name
        self.database_url = database_url
        self.service = self.caller("service", None)
        self.admin = self.caller("admin", 900)
        self.supervisor = self.caller("supervisor", 800)

    def caller(self, role: str, user: int | None) -> Caller:
        return Caller(self.client, token(user, tenant=self.name, role=role))

    def agent(self, user: int = 1) -> Caller:
        return self.caller("agent", user)

    def holding(self, bearer: str | None) -> Caller:
        return Caller(self.client, bearer)

    def device(self, user: int = 1) -> Device:
        return Device(user, tenant=self.name)

    async def notify(self, user: int = 1, **fields: Any) -> Any:
        """Told by a service; what was answered."""
        return await self.service.post("/notifications", note(user_id=user, **fields))

    async def sql(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """As the owner of the database: for what only time would bring about, and to count what is really there."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()


def note(**fields: Any) -> dict[str, Any]:
    """The least that `POST /notifications` takes, but for its recipient."""
    return {"type": "system", "title": "A title", "message": "A message"} | fields


def good(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    assert answer.headers["x-request-id"]
    return answer


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is, which is well-formed; the request is named on a mismatch."""
    said = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
    assert answer.status_code == status, said
    assert answer.headers["content-type"] == "application/problem+json", said
    document = answer.json()
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= set(document), said
    assert document["status"] == status, said
    assert document["instance"] == answer.request.url.raw_path.decode().partition("?")[0], said
    assert document["request_id"] == answer.headers["x-request-id"], said
    return document


def paths(answer: httpx.Response) -> set[str]:
    """Where a 422 says that something is wrong."""
    errors = problem(answer, 422)["errors"]
    assert all(set(error) == {"path", "message"} for error in errors)
    return {error["path"] for error in errors}


def position(answer: httpx.Response) -> tuple[str, int]:
    """The caller's place in their own stream."""
    epoch, _, seq = answer.headers["hub-position"].rpartition(":")
    return epoch, int(seq)


def instant(text: str) -> datetime:
    """An instant as answers spell it: RFC 3339, UTC, `Z`."""
    assert text.endswith("Z"), text
    return datetime.fromisoformat(text)


def ahead(**delta: float) -> str:
    """An instant so far ahead of now."""
    return (clock.now() + timedelta(**delta)).isoformat()


async def until(condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Wait for something that the hub does by itself."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.05)
