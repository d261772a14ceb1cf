"""All that `make bench` measures: the hub and its references by turns, medians and ratios, one table.

    python -m loadtest.bench [--quick] [--rounds 5] [--connections 10000] [--seconds 8]

Writes `loadtest/results/bench.md` and `docs/bench-fanout.svg` (not with `--quick`, which takes a minute and is
for seeing that it works) and prints the same.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Generator, Iterable
from typing import Any, Final

import msgspec

from hub import clock
from loadtest import writes
from loadtest.fanout import IN_FLIGHT, Figures, bench, show
from loadtest.machine import HERE, ROOT, CannotMeasure, described
from loadtest.plot import bars
from loadtest.targets import install_node_packages
from loadtest.writes import Committed

RESULTS: Final = HERE / "results"
_NAMES: Final = {"hub": "hub", "c": "C sender", "node": "Node ws", "starlette": "Starlette"}
_FIGURES: Final = {
    "all_one_per_s": "to all, one at a time: frames/s",
    "all_one_cpu_us": "µs CPU a frame",
    "all_four_per_s": f"to all, {IN_FLIGHT} in flight: frames/s",
    "all_four_cpu_us": "µs CPU a frame",
    "one_per_s": "to one: frames/s",
    "one_cpu_us": "µs CPU a frame",
    "handshakes_per_s": "handshakes/s",
    "idle_kb": "KB an idle connection",
}


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    rounds: int
    connections: int
    events: int
    seconds: float


QUICK: Final = Plan(rounds=1, connections=1000, events=5, seconds=2.0)


class Run(msgspec.Struct):
    """Every round's figures, by target and the round's number, and what could not be measured."""

    plan: Plan
    machine: dict[str, str]
    frame_bytes: int
    fanout: dict[str, dict[int, Figures]]
    committed: list[Committed]
    skipped: list[str]

    def median(self, target: str, figure: str) -> float | None:
        """Of a target's rounds; None where it was not measured."""
        rounds: Iterable[Any] = self.committed if target == "committed" else self.fanout.get(target, {}).values()
        values = [value for one in rounds if (value := getattr(one, figure)) is not None]
        return statistics.median(values) if values else None

    def ratio(self, figure: str, other: str) -> float | None:
        """The hub's figure over the other's, each in its round; the median of these."""
        ours, theirs = self.fanout.get("hub", {}), self.fanout.get(other, {})
        values = [getattr(ours[at], figure) / getattr(theirs[at], figure) for at in ours.keys() & theirs.keys()]
        return statistics.median(values) if values else None


def measure(plan: Plan) -> Run:
    """All rounds, the targets by turns within each."""
    machine = described()
    skipped: list[str] = []
    names = ["c", "hub", "starlette"]
    if reason := install_node_packages():
        skipped.append(f"Node `ws` is left out: {reason}")
    else:
        names.insert(2, "node")
    with bench() as run:
        found = Run(plan, machine, run.template.frame_bytes, {name: {} for name in names}, [], skipped)
        for number in range(1, plan.rounds + 1):
            print(f"round {number} of {plan.rounds}", file=sys.stderr, flush=True)
            for name in names:
                with _said(found, name):
                    found.fanout[name][number] = run.round(name, plan.connections, plan.events)
                    show(found.fanout[name][number])
            with _said(found, "committing"):
                found.committed.append(writes.measure(run, plan.seconds, plan.connections))
    return found


@contextlib.contextmanager
def _said(found: Run, what: str) -> Generator[None]:
    """One round that cannot be measured is said so, and does not cost the others."""
    try:
        yield
    except CannotMeasure as error:
        print(f"{what}: {error}", file=sys.stderr, flush=True)
        found.skipped.append(f"A round of {what} failed: {str(error)[:300]}")


# -- tables ------------------------------------------------------------------------------------------------------------


def report(run: Run, command: str) -> str:
    """All of it as markdown."""
    plan = run.plan
    lines = [
        "# What the hub does on one core",
        "",
        f"`{command}`, {clock.now():%Y-%m-%d %H:%M} UTC, {plan.rounds} rounds, all targets by turns in each.",
        "",
        "The server is on one core; the load client, PostgreSQL, Redis and what publishes share the rest.",
        f"{plan.connections:,} connections, each with a `hello` and a `welcome`, the hub's with a token of their own;",
        f"frames of {run.frame_bytes} bytes, for all targets. The hub's events are committed beforehand, and told of",
        "by the hints that writers publish over Redis: one for a hundred of a broadcast, or one a user.",
        "",
        "Ratios are medians of each round's own, so that what else the machine did falls on both.",
        "",
        *(f"- {name}: {value}" for name, value in run.machine.items()),
        *(f"- {sentence}" for sentence in run.skipped),
        "",
        "## Goals",
        "",
        *_goals(run),
        "",
        "## Side by side",
        "",
        *_side_by_side(run),
        "",
        "## Committed",
        "",
        *_committed(run),
    ]
    return "\n".join(lines) + "\n"


def _goals(run: Run) -> list[str]:
    rows = [
        ("one event to all, one at a time, of the C sender", "≥ 0.95", run.ratio("all_one_per_s", "c"), 0.95),
        (f"one event to all, {IN_FLIGHT} in flight, of the C sender", "> 1", run.ratio("all_four_per_s", "c"), 1.0),
        ("one event to all, one at a time, of Node `ws`", "> 1", run.ratio("all_one_per_s", "node"), 1.0),
        ("one event each to one, of the C sender", "≥ 0.75", run.ratio("one_per_s", "c"), 0.75),
        ("one event each to one, of Node `ws` with Redis", "> 1", run.ratio("one_per_s", "node"), 1.0),
        ("idle connection, KB of the process", "≤ 4", run.median("hub", "idle_kb"), -4.0),
        ("handshake to `welcome`, a second", "≥ 5,000", run.median("hub", "handshakes_per_s"), 5000.0),
        ("… or of Node `ws`", "≥ 0.6", run.ratio("handshakes_per_s", "node"), 0.6),
        ("committed single POSTs, of a bare route", "≥ 0.5", _posts_of_bare(run), 0.5),
        ("notifications by bulk of 1,000, rows a second", "≥ 30,000", run.median("committed", "bulk_rows_per_s"), 3e4),
        ("tasks by bulk of 1,000, rows a second", "≥ 10,000", run.median("committed", "task_rows_per_s"), 1e4),
        ("commit → socket at 1,000/s, p50 in ms", "≤ 1.5", run.median("committed", "steady_p50_ms"), -1.5),
        ("commit → socket at 1,000/s, p99 in ms", "≤ 10", run.median("committed", "steady_p99_ms"), -10.0),
    ]
    lines = ["| | goal | measured | |", "| --- | --- | --- | --- |"]
    for what, goal, value, bound in rows:
        # A bound below zero is the most that it may be.
        met = "" if value is None else "met" if (value <= -bound if bound < 0 else value >= bound) else "not met"
        lines.append(f"| {what} | {goal} | {_number(value)} | {met} |")
    return lines


def _posts_of_bare(run: Run) -> float | None:
    values = [one.posts_per_s / one.bare_per_s for one in run.committed]
    return statistics.median(values) if values else None


def _side_by_side(run: Run) -> list[str]:
    lines = [
        f"| server | {' | '.join(_FIGURES.values())} |",
        "|" + " --- |" * (1 + len(_FIGURES)),
    ]
    for name in run.fanout:
        cells = " | ".join(_number(run.median(name, figure)) for figure in _FIGURES)
        lines.append(f"| {_NAMES[name]} | {cells} |")
    client_us = min((one.client_cpu_us for rounds in run.fanout.values() for one in rounds.values()), default=0.0)
    if client_us:
        lines += [
            "",
            f"The load client used {client_us:.1f} µs of CPU a frame at the least, which is {1e6 / client_us:,.0f} a",
            "second with a core of its own.",
        ]
    return lines


def _committed(run: Run) -> list[str]:
    about = {
        "posts_per_s": "single POSTs on 64 connections, a second",
        "post_cpu_us": "µs of the hub's CPU a POST",
        "post_p99_ms": "p99 of a POST, ms",
        "bare_per_s": "a bare Starlette route that answers an empty 201, a second",
        "bulk_rows_per_s": "notifications by bulk of 1,000, rows a second",
        "bulk_row_cpu_us": "µs of the hub's CPU a row",
        "task_rows_per_s": "tasks by bulk of 1,000, rows a second",
        "task_row_cpu_us": "µs of the hub's CPU a row",
        "assigned_rows_per_s": "tasks by bulk of 1,000, each assigned, so that its person is told: rows a second",
        "assigned_row_cpu_us": "µs of the hub's CPU a row",
        "steady_per_s": f"POSTs answered a second, where {writes.STEADY_PER_S:,} are due",
        "steady_p50_ms": "commit → socket, p50 in ms, the hub's histogram",
        "steady_p99_ms": "commit → socket, p99 in ms, the hub's histogram",
        "seen_p50_ms": "the event's `at` → the load client, p50 in ms",
        "seen_p99_ms": "the event's `at` → the load client, p99 in ms",
        "broadcast_per_s": "a broadcast end to end, from its POST to the last of all sockets, frames a second",
    }
    rows = (f"| {words} | {_number(run.median('committed', name))} |" for name, words in about.items())
    return ["| | median |", "| --- | --- |", *rows]


def chart(run: Run) -> str:
    """The fan-out of all servers side by side."""
    shown = {"all_one_per_s": "to all", "all_four_per_s": f"to all, {IN_FLIGHT} in flight", "one_per_s": "to one"}
    groups = {
        label: {_NAMES[name]: value for name in run.fanout if (value := run.median(name, figure)) is not None}
        for figure, label in shown.items()
    }
    return bars("Frames a second of one core", "frames/s", groups)


def _number(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute: one round of a thousand connections")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    plan = QUICK if given.quick else Plan(given.rounds, given.connections, given.events, given.seconds)
    try:
        found = measure(plan)
    except CannotMeasure as error:
        raise SystemExit(str(error)) from None
    text = report(found, " ".join(["python -m loadtest.bench", *sys.argv[1:]]))
    print(text)
    if not given.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "bench.md").write_text(text)
        (RESULTS / "bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
        (ROOT / "docs" / "bench-fanout.svg").write_text(chart(found))


if __name__ == "__main__":
    main()
