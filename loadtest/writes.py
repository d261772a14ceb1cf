"""What the hub commits: single POSTs, bulks, and how soon a commit is on the socket.

    python -m loadtest.writes [--seconds 8] [--rounds 1]

Prints what each round gave. PostgreSQL, Redis and the load client share the other
cores; the hub has one of its own, as has the bare Starlette route beside it.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from loadtest.fanout import Bench, bench, settle
from loadtest.httpload import post
from loadtest.hub_server import Hub, admin_token, service_token, tokens
from loadtest.machine import CannotMeasure
from loadtest.wsload import LoadClient

POST_CONNECTIONS = 64
BULK_CONNECTIONS = 4
BULK_ITEMS = 1000
STEADY_PER_S = 1000
STEADY_USERS = 1000
_USERS = 10_000
_HISTOGRAM = "hub_commit_to_socket_seconds"
_BROADCAST_WITHIN_S = 120.0


class Committed(msgspec.Struct, kw_only=True):
    """What one round gave. Rates a second; costs in microseconds of the hub's CPU; latencies in milliseconds.

    A latency is None where the hub keeps no histogram of it.
    """

    posts_per_s: float
    post_cpu_us: float
    post_p99_ms: float
    bare_per_s: float
    bulk_rows_per_s: float
    bulk_row_cpu_us: float
    task_rows_per_s: float
    task_row_cpu_us: float
    assigned_rows_per_s: float
    """Tasks that each have an assignment, an event and a notification of it."""
    assigned_row_cpu_us: float
    steady_per_s: float
    """Of `STEADY_PER_S` that were due; below it, the latencies are those of a queue."""
    steady_p50_ms: float | None
    steady_p99_ms: float | None
    seen_p50_ms: float
    """From the event's `at`, which is before its commit, to the load client."""
    seen_p99_ms: float
    broadcast_per_s: float
    """Frames a second of a broadcast to all sockets, from its POST to the last frame."""


def notification(user: int) -> dict[str, Any]:
    """A usual one."""
    return {
        "user_id": user,
        "type": "lead_assigned",
        "title": "New lead",
        "message": "Mrs. Ada Byron, +49 30 1234567",
    }


def task(user: int) -> dict[str, Any]:
    """A usual one, free to be claimed."""
    return {"title": f"Call lead {user} back", "priority": "normal", "lead_id": user}


def assigned_task(user: int) -> dict[str, Any]:
    """The same for somebody, who is told."""
    return task(user) | {"assigned_to": user}


def measure(run: Bench, seconds: float, connections: int) -> Committed:
    """All figures of a fresh hub, and of a fresh bare route."""
    bare_per_s = _bare(run, seconds)
    with Hub(run.services, run.directory, run.server_core) as hub:
        posts = _posted(run, hub, "/api/v1/notifications", map(notification, range(1, _USERS + 1)), seconds)
        bulk = _posted(run, hub, "/api/v1/notifications/bulk", _bulks(notification), seconds, BULK_CONNECTIONS)
        tasks = _posted(run, hub, "/api/v1/tasks/bulk", _bulks(task), seconds, BULK_CONNECTIONS)
        assigned = _posted(run, hub, "/api/v1/tasks/bulk", _bulks(assigned_task), seconds, BULK_CONNECTIONS)
        steady = _steady(run, hub, seconds)
        broadcast_per_s = _broadcast(run, hub, connections)
    return Committed(
        posts_per_s=posts[0],
        post_cpu_us=posts[1],
        post_p99_ms=posts[2],
        bare_per_s=bare_per_s,
        bulk_rows_per_s=bulk[0] * BULK_ITEMS,
        bulk_row_cpu_us=bulk[1] / BULK_ITEMS,
        task_rows_per_s=tasks[0] * BULK_ITEMS,
        task_row_cpu_us=tasks[1] / BULK_ITEMS,
        assigned_rows_per_s=assigned[0] * BULK_ITEMS,
        assigned_row_cpu_us=assigned[1] / BULK_ITEMS,
        **steady,
        broadcast_per_s=broadcast_per_s,
    )


def _bulks(one: Any) -> Iterator[dict[str, Any]]:
    """Ten bodies, each for a thousand others, so that those under way do not wait for each other's streams."""
    for first in range(1, _USERS + 1, BULK_ITEMS):
        yield {"items": [one(user) for user in range(first, first + BULK_ITEMS)]}


def _posted(
    run: Bench,
    hub: Hub,
    path: str,
    bodies: Iterator[dict[str, Any]],
    seconds: float,
    connections: int = POST_CONNECTIONS,
) -> tuple[float, float, float]:
    """(requests a second, microseconds of CPU a request, p99 in ms)."""
    settle(hub.process)
    before = hub.process.cpu_s()
    warm_s = seconds / 4
    load = post(
        hub.port,
        path,
        bodies,
        [service_token()],
        run.other_cores,
        scratch=run.directory,
        connections=connections,
        seconds=seconds,
        warm_s=warm_s,
    )
    # The CPU is that of the warm-up too, and of the last requests, which are answered but not counted.
    share = seconds / (seconds + warm_s)
    return load.per_s, (hub.process.cpu_s() - before) * share / load.answered * 1e6, load.p99_ms


def _bare(run: Bench, seconds: float) -> float:
    """Requests a second of a Starlette route that reads a body and answers an empty 201."""
    with run.target("starlette") as target:
        load = post(
            target.port,
            "/api/v1/notifications",
            map(notification, range(1, _USERS + 1)),
            [service_token()],
            run.other_cores,
            scratch=run.directory,
            connections=POST_CONNECTIONS,
            seconds=seconds,
        )
    return load.per_s


# -- from the commit to the socket -------------------------------------------------------------------------------------


def _steady(run: Bench, hub: Hub, seconds: float) -> dict[str, Any]:
    """The figures of a steady rate, by their names: the hub's own histogram, and what the client saw."""
    with LoadClient(hub.port, tokens(STEADY_USERS), run.other_cores, scratch=run.directory) as client:
        client.open(STEADY_USERS)
        settle(hub.process)
        client.reset()
        before = hub.metrics()
        load = post(
            hub.port,
            "/api/v1/notifications",
            map(notification, range(1, STEADY_USERS + 1)),
            [service_token()],
            run.other_cores,
            scratch=run.directory,
            connections=POST_CONNECTIONS,
            seconds=seconds,
            warm_s=0,
            rate=STEADY_PER_S,
        )
        settle(hub.process)
        seen, after = client.report(), hub.metrics()
    return {
        "steady_per_s": load.per_s,
        "steady_p50_ms": percentile_ms(before, after, 0.5),
        "steady_p99_ms": percentile_ms(before, after, 0.99),
        "seen_p50_ms": seen.latency.p50_us / 1000,
        "seen_p99_ms": seen.latency.p99_us / 1000,
    }


def percentile_ms(before: dict[str, float], after: dict[str, float], share: float) -> float | None:
    """The percentile of what the hub's histogram has counted in between, straight within a bucket; None without one."""
    counted = {
        float(found[1]): after[name] - before.get(name, 0.0)
        for name in after
        if (found := re.fullmatch(_HISTOGRAM + r'_bucket\{le="([^"]+)"\}', name))
    }
    bounds = sorted(counted)
    if not bounds or not counted[bounds[-1]]:
        return None
    target, below, lower = share * counted[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if counted[bound] >= target:
            # What lies past the last finite bound is at least that.
            upper = lower if bound == float("inf") else bound
            inside = counted[bound] - below
            return 1000 * (lower + (upper - lower) * ((target - below) / inside if inside else 1.0))
        below, lower = counted[bound], bound
    raise AssertionError


def _broadcast(run: Bench, hub: Hub, connections: int) -> float:
    """Frames a second of one broadcast to everybody, end to end: POST, commits, hints, sockets."""
    with LoadClient(hub.port, tokens(connections), run.other_cores, scratch=run.directory) as client:
        client.open(connections)
        settle(hub.process)
        client.reset(every=connections)
        began_ns = time.monotonic_ns()
        body = {"type": "system", "title": "All hands", "message": "The phones are back."}
        status, answer = hub.request("POST", "/api/v1/notifications/broadcast", body, token=admin_token())
        if status not in (201, 202):
            raise CannotMeasure(f"the hub takes no broadcast: {status} {answer[:500]!r}")
        client.wait_for(connections, within_s=_BROADCAST_WITHIN_S)
        report = client.report()
    return connections / ((report.last_ns - began_ns) / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    try:
        with bench() as run:
            for _ in range(given.rounds):
                for name, value in msgspec.structs.asdict(measure(run, given.seconds, given.connections)).items():
                    print(f"{name:20} {'none' if value is None else format(value, ',.1f')}", flush=True)
    except CannotMeasure as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
