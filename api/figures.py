"""What the rooms count, as Prometheus wants it.

Each room keeps plain integers in a struct; here they become families by their
names: `…_now` is a gauge, all else a counter. Nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
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


def _family(name: str, value: float) -> Metric:
    words = name.removeprefix("hub_").replace("_", " ")
    if name.endswith(("_now", "_s", "_size", "_idle", "_max", "_waiting", "_topics")):
        return GaugeMetricFamily(name, words, value=value)
    return CounterMetricFamily(name, words, value=value)
