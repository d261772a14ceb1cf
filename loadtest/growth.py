"""What grows with connections, with audiences and with streams; a table and a plot each.

    python -m loadtest.growth [--only connections|audience|streams] [--quick]

Writes `loadtest/results/growth-….md` and `docs/growth-….svg` (not with `--quick`). What is
flat costs the same however much there is; what is not says what it grows with.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg
from websockets.sync.client import connect

from hub import clock
from loadtest.bench import RESULTS
from loadtest.fanout import Bench, bench, broadcast, settle, single
from loadtest.hub_server import TENANT, Hub, Template, admin_token, tokens, with_database
from loadtest.machine import ROOT, CannotMeasure, described
from loadtest.plot import Points, lines
from loadtest.targets import HubTarget
from loadtest.wsload import LoadClient

CONNECTIONS: Final = (1000, 2000, 5000, 10_000, 15_000, 19_500)
"""Up to what fits into 20,000 open files beside those of the hub itself."""
AUDIENCES: Final = (1, 10, 100, 1000, 5000, 10_000, 20_000)
SOCKETS_MAX: Final = 19_500
STREAMS: Final = (10, 100, 1000, 10_000, 100_000, 1_000_000)
_RESUMED_EVENTS = 10
_APPENDS = 50
_RESUMES = 20
_EVENTS = 5
_BROADCAST_WITHIN_S = 300.0
_REPLAY_WITHIN_S = 600.0

Row = dict[str, float]
"""What was measured at one size, by its name with its unit; the first is the size."""


def over_connections(run: Bench, sizes: Sequence[int], rows: list[Row]) -> None:
    """One hub with ever more sockets."""
    with (
        HubTarget(run.services, run.directory, run.server_core, run.template) as target,
        LoadClient(target.port, tokens(sizes[-1]), run.other_cores, scratch=run.directory) as client,
    ):
        settle(target.process)
        empty, before = target.process.pss_bytes(), 0
        for size in sizes:
            opened = client.open(size - before)
            settle(target.process)
            memory = target.process.pss_bytes() - empty
            one = broadcast(target, client, size, _EVENTS, in_flight=1)
            ones = single(target, client, size, _EVENTS)
            cpu_s, began_s = target.process.cpu_s(), time.monotonic()
            time.sleep(10)
            idle = (target.process.cpu_s() - cpu_s) / (time.monotonic() - began_s)
            rows.append(
                {
                    "connections": size,
                    "KB a connection": memory / size / 1024,
                    "µs a frame, to all": one.cpu_us,
                    "µs a frame, to one": ones.cpu_us,
                    "handshakes/s of the last": opened.per_s,
                    "% of the core, idle": idle * 100,
                }
            )
            _say(rows[-1])
            before = size


def over_audience(run: Bench, sizes: Sequence[int], rows: list[Row]) -> None:
    """Broadcasts to ever more people, each audience a tenant of its own, nearly all of them connected."""
    with Hub(run.services, run.directory, run.server_core) as hub:
        for size in sizes:
            rows.append(_told(run, hub, f"audience-{size}", size))
            _say(rows[-1])


def _told(run: Bench, hub: Hub, tenant: str, size: int) -> Row:
    sockets = min(size, SOCKETS_MAX)

    async def make_people(tx: asyncpg.Connection) -> None:
        await tx.execute(
            "INSERT INTO user_streams (tenant_id, user_id) SELECT $1, generate_series(1, $2::bigint)"
            " ON CONFLICT DO NOTHING",
            tenant,
            size,
        )

    with_database(hub.services, make_people)
    with LoadClient(hub.port, tokens(sockets, tenant=tenant), run.other_cores, scratch=run.directory) as client:
        client.open(sockets)
        settle(hub.process)
        client.reset(every=sockets)
        cpu_s, began_ns = hub.process.cpu_s(), time.monotonic_ns()
        body = {"type": "system", "title": "All hands", "message": "The phones are back."}
        status, answer = hub.request("POST", "/api/v1/notifications/broadcast", body, token=admin_token(tenant))
        answered_ns = time.monotonic_ns()
        if status not in (201, 202):
            raise CannotMeasure(f"the hub takes no broadcast: {status} {answer[:500]!r}")
        client.wait_for(sockets, within_s=_BROADCAST_WITHIN_S)
        report = client.report()
        settle(hub.process)
        cpu_s = hub.process.cpu_s() - cpu_s
    return {
        "users": size,
        "ms to the answer": (answered_ns - began_ns) / 1e6,
        "ms to the first frame": (report.first_ns - began_ns) / 1e6,
        "ms to the last frame": (report.last_ns - began_ns) / 1e6,
        "µs of CPU a user": cpu_s / size * 1e6,
    }


def over_streams(run: Bench, sizes: Sequence[int], rows: list[Row]) -> None:
    """One person's log, ever longer: what coming back, being told, and reading all of it cost."""
    with Hub(run.services, run.directory, run.server_core) as hub:
        for place, size in enumerate(sizes):
            user = 2_000_000 + place
            with_database(hub.services, _log_of(run.template, user, size))
            rows.append(_of_stream(hub, run.template.epoch, user, size))
            _say(rows[-1])


def _log_of(template: Template, user: int, size: int) -> Callable[[Any], Any]:
    async def write(tx: asyncpg.Connection) -> None:
        await tx.execute(
            "INSERT INTO user_streams (tenant_id, user_id, head) VALUES ($1, $2, $3)"
            " ON CONFLICT (tenant_id, user_id) DO UPDATE SET head = excluded.head",
            TENANT,
            user,
            size,
        )
        await tx.execute(
            "INSERT INTO events (tenant_id, user_id, seq, kind, lane, rings, released, at, tail)"
            " SELECT $1, $2, seq, $4, $5, $6, $7, clock_timestamp(), $8 FROM generate_series(1, $3::bigint) AS seq",
            TENANT,
            user,
            size,
            template.kind,
            template.lane,
            template.rings,
            template.released,
            template.event(user, 1).tail,
            timeout=_REPLAY_WITHIN_S,
        )

    return write


def _of_stream(hub: Hub, epoch: str, user: int, size: int) -> Row:
    settle(hub.process)
    back = min(_RESUMED_EVENTS, size)
    resumes = sorted(_replayed_ms(hub, epoch, user, size - back, size) for _ in range(_RESUMES))
    cpu_s = hub.process.cpu_s()
    replay_ms = _replayed_ms(hub, epoch, user, 0, size)
    cpu_s = hub.process.cpu_s() - cpu_s
    appends: list[float] = []
    body = {"user_id": user, "type": "system", "title": "One more", "message": "At the end of a long log."}
    for _ in range(_APPENDS):
        began = time.perf_counter()
        hub.request("POST", "/api/v1/notifications", body)
        appends.append((time.perf_counter() - began) * 1000)
    return {
        "events": size,
        f"ms to come back {_RESUMED_EVENTS} behind, p50": resumes[_RESUMES // 2],
        "ms to append, p50": sorted(appends)[_APPENDS // 2],
        "ms to replay all": replay_ms,
        "µs of CPU an event replayed": cpu_s / size * 1e6,
    }


def _replayed_ms(hub: Hub, epoch: str, user: int, cursor: int, head: int) -> float:
    """From the handshake to the last event after the cursor."""
    began = time.perf_counter()
    header = {"Authorization": f"Bearer {tokens(1, first=user)[0]}"}
    url = f"ws://127.0.0.1:{hub.port}/api/v1/ws"
    with connect(url, additional_headers=header, max_size=None, compression=None) as socket:
        socket.send(json.dumps({"type": "hello", "epoch": epoch, "cursor": cursor}))
        welcome = json.loads(socket.recv(timeout=30))
        if welcome.get("resume") != "replay":
            raise CannotMeasure(f"no replay, but {welcome}")
        at, expected = b'"cursor":%d' % head, cursor
        while expected < head:
            frame = bytes(socket.recv(timeout=30, decode=False))
            expected = head if at in frame[:64] or at in frame[-32:] else cursor
        return (time.perf_counter() - began) * 1000


# -- tables and plots --------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as markdown."""
    names = list(rows[0])
    head = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return head + ["| " + " | ".join(_number(row[name]) for name in names) + " |" for row in rows]


def plot(title: str, y_label: str, rows: Sequence[Row], names: Sequence[str], *, log_y: bool) -> str:
    """The named figures over the size."""
    size = next(iter(rows[0]))
    series: dict[str, Points] = {name: [(row[size], max(row[name], 1e-3)) for row in rows] for name in names}
    return lines(title, size, y_label, series, log_y=log_y)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _say(row: Row) -> None:
    print(" · ".join(f"{name} {_number(value)}" for name, value in row.items()), file=sys.stderr, flush=True)


_PARTS: Final[dict[str, tuple[Callable[[Bench, Sequence[int], list[Row]], None], Sequence[int], str, bool]]] = {
    "connections": (over_connections, CONNECTIONS, "Cost by connections of one node", True),
    "audience": (over_audience, AUDIENCES, "A broadcast by its audience, end to end", True),
    "streams": (over_streams, STREAMS, "One person's log by its length", True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(_PARTS), action="append")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes of each, to see that it works")
    given = parser.parse_args()
    for name in given.only or _PARTS:
        measure, sizes, title, log_y = _PARTS[name]
        machine = [f"- {what}: {value}" for what, value in described().items()]
        rows: list[Row] = []
        try:
            with bench() as run:
                measure(run, sizes[:2] if given.quick else sizes, rows)
        except CannotMeasure as error:
            # What was measured before stays; a table of nothing would say nothing.
            if not rows:
                raise SystemExit(str(error)) from None
            machine.append(f"- after these it could not go on: {str(error)[:300]}")
        command = f"`python -m loadtest.growth --only {name}`, {clock.now():%Y-%m-%d %H:%M} UTC."
        text = "\n".join([f"# {title}", "", command, "", *machine, "", *table(rows)]) + "\n"
        print(text)
        if not given.quick:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"growth-{name}.md").write_text(text)
            (ROOT / "docs" / f"growth-{name}.svg").write_text(plot(title, "", rows, list(rows[0])[1:], log_y=log_y))


if __name__ == "__main__":
    main()
