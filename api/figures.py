"""What the rooms count, as Prometheus wants it.

Each room keeps plain integers in a struct; here they become families by their
names: `…_now` is a gauge, all else a counter. Nothing is counted twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Statistics = Callable[[], msgspec.Struct]


class RoomCollector(Collector):
    """Reads the rooms' structs when Prometheus asks, so that counting costs nothing in between.

    `rooms` maps a prefix such as `hub_gateway` to what answers its struct; `gauges` maps a whole name to
    what answers its figure now, with its help.
    """

    def __init__(
        self, rooms: dict[str, Statistics], gauges: dict[str, tuple[str, Callable[[], float]]] | None = None
    ) -> None:
        self._rooms = rooms
        self._gauges = gauges or {}

    def describe(self) -> list[Metric]:
        """Nothing ahead of time: a room may not have begun when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        for prefix, read in self._rooms.items():
            statistics = read()
            for name in statistics.__struct_fields__:
                value: Any = getattr(statistics, name)
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    continue
                yield _family(f"{prefix}_{name}", float(value))
        for name, (documentation, value_of) in self._gauges.items():
            yield GaugeMetricFamily(name, documentation, value=value_of())


class HistogramCollector(Collector):
    """A histogram that a room keeps: `counts` has one bucket more than `bounds`, for what is above all of them."""

    def __init__(
        self, name: str, documentation: str, bounds: Sequence[float], read: Callable[[], tuple[Sequence[int], float]]
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = [*(str(bound) for bound in bounds), "+Inf"]
        self._read = read

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        counts, total = self._read()
        buckets = list(zip(self._bounds, itertools.accumulate(map(float, counts)), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=total)


def _family(name: str, value: float) -> Metric:
    words = name.removeprefix("hub_").replace("_", " ")
    if name.endswith(("_now", "_s", "_size", "_idle", "_max", "_waiting", "_topics")):
        return GaugeMetricFamily(name, words, value=value)
    return CounterMetricFamily(name, words, value=value)
