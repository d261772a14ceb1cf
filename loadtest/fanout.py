"""One event to all, one event to one, the handshake, and memory: of one target, once.

    python -m loadtest.fanout [--connections 10000] [--events 10] [--target hub|c|node|starlette] [--rounds 1]

Prints what each round gave. `loadtest.bench` runs all targets by turns and keeps
the medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loadtest.hub_server import Hub, Services, Template, take_template
from loadtest.machine import CannotMeasure, Process, cores, raise_file_limit
from loadtest.targets import HubTarget, NodeTarget, Target, c_sender, install_node_packages, starlette
from loadtest.wsload import LoadClient, Report

FILES = 20_000
IN_FLIGHT = 4
"""Events to all that are on their way at once, in the second broadcast."""
_ONES_IN_FLIGHT = 1000
_ONES_AT_ONCE = 250
_TRIES = 4
_TEMPLATE_USER = 1_000_000
_SETTLED_CPU_SHARE = 0.05
"""An idle server uses less of its core than this."""


class Figures(msgspec.Struct, kw_only=True):
    """What one round gave. Rates are frames a second; costs are microseconds of the server's CPU a frame."""

    target: str
    connections: int
    handshakes_per_s: float
    idle_kb: float
    all_one_per_s: float
    all_one_cpu_us: float
    all_four_per_s: float
    all_four_cpu_us: float
    one_per_s: float
    one_cpu_us: float
    client_cpu_us: float
    """Of the load client, a frame of the first broadcast: its own limit is a million over this."""


class Stretch(msgspec.Struct):
    """One stretch of frames: how fast, and at what cost."""

    per_s: float
    cpu_us: float
    client_cpu_us: float
    latency_p50_us: float


def measure(target: Target, client: LoadClient, connections: int, events: int) -> Figures:
    """All figures of a target that has no sockets yet."""
    settle(target.process)
    before = target.process.pss_bytes()
    opened = client.open(connections)
    settle(target.process)
    idle_kb = (target.process.pss_bytes() - before) / connections / 1024
    one = broadcast(target, client, connections, events, in_flight=1)
    four = broadcast(target, client, connections, events, in_flight=IN_FLIGHT)
    ones = single(target, client, connections, events)
    return Figures(
        target=target.name,
        connections=connections,
        handshakes_per_s=opened.per_s,
        idle_kb=idle_kb,
        all_one_per_s=one.per_s,
        all_one_cpu_us=one.cpu_us,
        all_four_per_s=four.per_s,
        all_four_cpu_us=four.cpu_us,
        one_per_s=ones.per_s,
        one_cpu_us=ones.cpu_us,
        client_cpu_us=one.client_cpu_us,
    )


def broadcast(target: Target, client: LoadClient, connections: int, events: int, *, in_flight: int) -> Stretch:
    """Events to everyone, at most `in_flight` of them on their way."""

    def send(count: int) -> None:
        for index in range(count):
            client.wait_for(max(0, index - in_flight + 1) * connections)
            target.to_all(index)

    return _stretch(target, client, connections, events, every=connections, send=send)


def single(target: Target, client: LoadClient, connections: int, events: int) -> Stretch:
    """Events to one user each, in a shuffled order, `_ONES_IN_FLIGHT` of them on their way."""

    def send(count: int) -> None:
        total = connections * count
        for start in range(0, total, _ONES_AT_ONCE):
            stop = min(start + _ONES_AT_ONCE, total)
            client.wait_for(max(0, stop - _ONES_IN_FLIGHT) // _ONES_AT_ONCE * _ONES_AT_ONCE)
            target.to_ones(start, stop)

    return _stretch(target, client, connections, events, every=_ONES_AT_ONCE, send=send)


def _stretch(
    target: Target, client: LoadClient, connections: int, events: int, *, every: int, send: Callable[[int], None]
) -> Stretch:
    """What `send(events)` gave, or, where a sweep came between, half as many."""
    for left in range(_TRIES - 1, -1, -1):
        target.ready(connections, events)
        target.go()
        client.reset(every=every)
        cpu_before, began_ns = target.process.cpu_s(), time.monotonic_ns()
        send(events)
        total = connections * events
        client.wait_for(total // every * every)
        report = _await_total(client, total)
        cpu_s = target.process.cpu_s() - cpu_before
        try:
            target.settle()
        except CannotMeasure:
            if not left:
                raise
            events = max(1, events // 2)
            continue
        return Stretch(
            per_s=total / ((report.last_ns - began_ns) / 1e9),
            cpu_us=cpu_s / total * 1e6,
            client_cpu_us=report.cpu_s / total * 1e6,
            latency_p50_us=report.latency.p50_us,
        )
    raise AssertionError


def _await_total(client: LoadClient, total: int) -> Report:
    """The report once all have come: not one less, not one more, and nobody was told to begin again."""
    give_up_at = time.monotonic() + 120
    while (report := client.report()).events < total and time.monotonic() < give_up_at:
        time.sleep(0.01)
    if report.events != total or report.resets or report.lost:
        raise CannotMeasure(f"of {total} events came {report}")
    return report


def settle(process: Process) -> None:
    """Wait until the server does nothing any more."""
    before = process.cpu_s()
    for _ in range(60):
        time.sleep(0.5)
        now = process.cpu_s()
        if now - before < 0.5 * _SETTLED_CPU_SHARE:
            return
        before = now


# -- one after the other -----------------------------------------------------------------------------------------------


class Bench:
    """What the targets of a run share: servers, cores, and the frame that all of them send."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server_core, self.other_cores = cores()
        self.files = raise_file_limit(FILES)
        self.services = Services(directory, self.other_cores)
        try:
            with Hub(self.services, directory, self.server_core) as hub:
                self.template: Template = take_template(hub, _TEMPLATE_USER)
        except BaseException:
            self.services.stop()
            raise

    def target(self, name: str) -> Target:
        """A fresh server. `name` is hub, c, node or starlette."""
        size = self.template.frame_bytes
        if name == "hub":
            return HubTarget(self.services, self.directory, self.server_core, self.template)
        if name == "c":
            return c_sender(size, self.server_core)
        if name == "node":
            head = b'{"type":"event","seq":1,"cursor":1,"data":"'
            return NodeTarget(self.services, head + b"x" * (size - len(head) - 2) + b'"}', self.server_core)
        return starlette(size, self.server_core)

    def client(self, target: Target, connections: int) -> LoadClient:
        return LoadClient(target.port, target.tokens(connections), self.other_cores, scratch=self.directory)

    def round(self, name: str, connections: int, events: int) -> Figures:
        """All figures of a fresh server."""
        with self.target(name) as target, self.client(target, connections) as client:
            return measure(target, client, connections, events)


@contextmanager
def bench() -> Generator[Bench]:
    """Servers for one run, in a directory that goes with it."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        # PostgreSQL's own account passes through it.
        Path(directory).chmod(0o711)
        made = Bench(Path(directory))
        try:
            yield made
        finally:
            made.services.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--target", action="append", choices=["hub", "c", "node", "starlette"])
    given = parser.parse_args()
    names: list[str] = given.target or ["hub", "c"]
    if "node" in names and (reason := install_node_packages()):
        raise SystemExit(reason)
    try:
        with bench() as run:
            print(f"frames of {run.template.frame_bytes} bytes, {given.connections} connections")
            for _ in range(given.rounds):
                for name in names:
                    show(run.round(name, given.connections, given.events))
    except CannotMeasure as error:
        raise SystemExit(str(error)) from None


def show(one: Figures) -> None:
    print(
        f"{one.target:10} to all, one at a time {one.all_one_per_s:8,.0f}/s {one.all_one_cpu_us:6.1f} µs · "
        f"four in flight {one.all_four_per_s:8,.0f}/s {one.all_four_cpu_us:6.1f} µs · "
        f"to one {one.one_per_s:8,.0f}/s {one.one_cpu_us:6.1f} µs · "
        f"handshakes {one.handshakes_per_s:7,.0f}/s · idle {one.idle_kb:5.1f} KB · client {one.client_cpu_us:.1f} µs",
        flush=True,
    )


if __name__ == "__main__":
    main()
