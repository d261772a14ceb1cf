"""How long REST takes on the data set of `loadtest.dataset`: p50 and p99 of reads, writes and bulks.

    python -m loadtest.bench_rest [--scale 1] [--samples 200] [--out loadtest/results/rest.md]
    python -m loadtest.bench_rest --database-url … --redis-url …

Starts its own PostgreSQL, Valkey and hub, fills them, and asks one request after the
other over one kept connection for each row of the table. At scale 1 filling alone
takes a quarter of an hour: with both URLs a set that `loadtest.dataset` has filled
before is asked. Figures are of a quiet machine only if nothing else runs on it.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from hub.core.principal import Role
from loadtest.dataset import fill
from loadtest.hub_server import Hub, Services, token_of
from loadtest.machine import CannotMeasure, cores, described

LARGEST = "t001"
SMALL_USER, LARGE_USER = 40, 1
WARM_UP = 20
GOAL_MS, SLOW_GOAL_MS = 10.0, 100.0
"""p99 of single rows and lists; of statistics and of bulks of `BULK_ITEMS`."""
BULK_ITEMS = 1000
_BULK_SAMPLES_SHARE = 10
"""A bulk is a thousand rows: a tenth of the samples, at least 20, keeps the run short and the set its size."""


class Case(msgspec.Struct, frozen=True):
    """One row of the table. `body` makes the next request's, from its number."""

    name: str
    role: Role
    user: int
    method: str
    path: str
    goal_ms: float = GOAL_MS
    body: Callable[[int], Any] | None = None
    is_bulk: bool = False


class Found(msgspec.Struct, frozen=True):
    """What a case took, in milliseconds."""

    case: Case
    samples: int
    p50_ms: float
    p99_ms: float


def cases(notification_id: int, task_id: int) -> list[Case]:
    """All of them; the ids are of rows that the user with the largest inbox sees."""
    found: list[Case] = []
    for who, user in (("small", SMALL_USER), ("largest", LARGE_USER)):
        for path in (
            "notifications", "notifications?include=total", "notifications?type=call_missed",
            "notifications?priority=critical", "notifications?category=general", "notifications?is_archived=true",
            "notifications?held=true", "notifications?q=Byron", "notifications/unread", "notifications/preferences",
            "tasks", "tasks?status=pending",
            "tasks/overdue", "tasks/lead/17",
        ):  # fmt: skip
            found += [Case(f"agent, {who} inbox", "agent", user, "GET", path)]
        for path in ("notifications/stats", "tasks/stats"):
            found += [Case(f"agent, {who} inbox", "agent", user, "GET", path, SLOW_GOAL_MS)]
    found += [
        Case("agent, largest inbox", "agent", LARGE_USER, "GET", f"notifications/{notification_id}"),
        *(Case("supervisor", "supervisor", 2, "GET", path) for path in (
            f"tasks/{task_id}", f"tasks/{task_id}/subtasks", f"tasks/{task_id}/comments", f"tasks/{task_id}/history",
            "tasks", "tasks?include=total", "tasks?status=completed", "tasks/overdue", "tasks?sort=due_date",
            "tasks?sort=-updated_at", "tasks?sort=priority", "tasks?priority=high",
            "tasks?due_after=2026-01-01T00:00:00Z",
        )),
        Case("supervisor", "supervisor", 2, "GET", "tasks/stats", SLOW_GOAL_MS),
        *(Case("admin", "admin", 3, "GET", path) for path in (
            "audit", "audit?entity_type=task", "audit?action=task.create", "audit?actor_id=1", "communication-logs",
            "communication-logs?channel=email", "communication-logs?user_id=1", "templates", "settings", "users/1",
        )),
        Case("admin", "admin", 3, "GET", "communication-logs/stats", SLOW_GOAL_MS),
        Case("supervisor", "supervisor", 2, "POST", "notifications", body=_notification),
        Case("supervisor", "supervisor", 2, "POST", "tasks", body=_task),
        Case("supervisor", "supervisor", 2, "PATCH", f"tasks/{task_id}", body=lambda n: {"title": f"Title {n}"}),
        Case("supervisor", "supervisor", 2, "POST", f"tasks/{task_id}/comments", body=lambda n: {"comment": f"{n}"}),
        Case("supervisor", "supervisor", 2, "POST", "notifications/bulk", SLOW_GOAL_MS, _bulk(_notification), True),
        Case("supervisor", "supervisor", 2, "POST", "tasks/bulk", SLOW_GOAL_MS, _bulk(_task), True),
    ]  # fmt: skip
    return found


def _notification(number: int) -> dict[str, Any]:
    return {"user_id": number % BULK_ITEMS + 1, "type": "lead_assigned", "title": "New lead", "message": "Call back"}


def _task(number: int) -> dict[str, Any]:
    return {"title": f"Call lead {number} back", "assigned_to": number % BULK_ITEMS + 1}


def _bulk(one: Callable[[int], dict[str, Any]]) -> Callable[[int], Any]:
    return lambda number: {"items": [one(item) for item in range(number, number + BULK_ITEMS)]}


def measure(port: int, case: Case, samples: int) -> Found:
    """One request after the other, after a warm-up.

    Raises:
        CannotMeasure: an answer is not one of success.
    """
    wanted = max(samples // _BULK_SAMPLES_SHARE, 20) if case.is_bulk else samples
    warm_up = 2 if case.is_bulk else WARM_UP
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token_of(case.user, case.role, LARGEST)}"}
    if case.method == "PATCH":
        headers["Content-Type"] = "application/merge-patch+json"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    took: list[float] = []
    try:
        for number in itertools.islice(itertools.count(), warm_up + wanted):
            body = None if case.body is None else json.dumps(case.body(number))
            began = time.perf_counter()
            connection.request(case.method, f"/api/v1/{case.path}", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            took.append((time.perf_counter() - began) * 1000)
            if answer.status >= 300:
                raise CannotMeasure(f"{case.method} {case.path}: {answer.status} {said[:300]!r}")
    finally:
        connection.close()
    measured = took[warm_up:]
    return Found(
        case, len(measured), statistics.median(measured), statistics.quantiles(measured, n=100, method="inclusive")[98]
    )


def table(found: list[Found], scale: float, postgres: str) -> str:
    """What is kept: the machine, the command, and a row a case."""
    lines = ["# REST on the large data set", "", f"`python -m loadtest.bench_rest --scale {scale:g}`", ""]
    lines += [f"- {name}: {value}" for name, value in {**described(), "postgresql": postgres}.items() if name != "node"]
    lines += [
        "",
        "| as | request | samples | p50 ms | p99 ms | goal ms | |",
        "| --- | --- | --: | --: | --: | --: | --- |",
    ]
    for one in found:
        word = "" if one.p99_ms < one.case.goal_ms else "missed"
        request = f"`{one.case.method} /{one.case.path}`"
        lines.append(
            f"| {one.case.name} | {request} | {one.samples} | {one.p50_ms:.1f} | {one.p99_ms:.1f} "
            f"| {one.case.goal_ms:g} | {word} |"
        )
    return "\n".join(lines) + "\n"


async def _rows_of(url: str) -> tuple[int, int, str]:
    """(a live notification of the largest inbox, a task, the version of PostgreSQL)."""
    connection = await asyncpg.connect(url)
    try:
        return (
            await connection.fetchval(
                "SELECT id FROM notifications WHERE tenant_id = $1 AND user_id = $2 AND state = 'live' LIMIT 1",
                LARGEST,
                LARGE_USER,
            ),
            await connection.fetchval(
                "SELECT id FROM tasks WHERE tenant_id = $1 AND status = 'pending' ORDER BY id LIMIT 1", LARGEST
            ),
            await connection.fetchval("SHOW server_version"),
        )
    finally:
        await connection.close()


class Given(msgspec.Struct, frozen=True):
    """Servers that run already, with a set that is filled already."""

    database_url: str
    redis_url: str


def run(scale: float, samples: int, given: Given | None) -> str:
    """The table of a fresh hub, on a fresh set where none is given."""
    server_core, other_cores = cores()
    with tempfile.TemporaryDirectory(prefix="hub-rest-") as made:
        directory = Path(made)
        # Root's servers run as another account, which has to enter.
        directory.chmod(0o711)
        with ExitStack() as stack:
            services = given or stack.enter_context(Services(directory, other_cores))
            hub = stack.enter_context(Hub(services, directory, server_core))
            if given is None:
                asyncio.run(fill(services.database_url, scale=scale))
            notification_id, task_id, postgres = asyncio.run(_rows_of(services.database_url))
            found: list[Found] = []
            for case in cases(notification_id, task_id):
                found.append(measure(hub.port, case, samples))
                print(f"{case.method:5} {case.path:42} {found[-1].p50_ms:8.1f} {found[-1].p99_ms:8.1f}", flush=True)
            return table(found, scale, postgres)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--database-url")
    parser.add_argument("--redis-url")
    given = parser.parse_args()
    filled = None
    if given.database_url is not None and given.redis_url is not None:
        filled = Given(given.database_url, given.redis_url)
    try:
        text = run(given.scale, given.samples, filled)
    except CannotMeasure as error:
        raise SystemExit(str(error)) from None
    if given.out is None:
        print(text)
    else:
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(text)


if __name__ == "__main__":
    main()
