"""The hub's own histogram: from a commit to the write to the sockets."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from api.figures import HistogramCollector
from hub import clock
from hub.core.event import encode_hint
from hub.core.topics import user_topic
from hub.gateway.latency import BOUNDS_S, Latency
from tests.gateway.harness import Hub, device


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (-3.0, 0), (0.0005, 0), (0.00051, 1), (0.0015, 2), (0.010, 7), (5.0, 16), (5.1, 17)],
    ids=["at once", "a writer ahead", "a bound", "just above", "the median's goal", "p99's goal", "last", "beyond"],
)
def test_a_time_is_counted_where_it_fits(seconds: float, bucket: int) -> None:
    latency = Latency()
    latency.observe(seconds)
    assert [place for place, count in enumerate(latency.counts) if count] == [bucket]
    assert latency.total_s == max(seconds, 0.0)


async def test_a_hint_is_timed_once_its_event_is_written(hub: Hub) -> None:
    latency = hub.node.hearing.latency
    async with device(hub) as client:
        event = hub.commit(hint=False)
        committed_at = clock.now().timestamp() - 0.3
        hub.bus.say(user_topic("acme", 7), encode_hint(hub.log.epoch, [event], committed_at))
        assert sum(latency.counts) == 0, "nothing is written before the turn ends"
        await client.events(1)
    assert sum(latency.counts) == 1
    assert latency.total_s >= 0.3


async def test_one_that_says_no_time_is_not_timed(hub: Hub) -> None:
    async with device(hub) as client:
        hub.commit()
        await client.events(1)
    assert sum(hub.node.hearing.latency.counts) == 0


def test_prometheus_reads_it_with_buckets_that_add_up() -> None:
    latency, registry = Latency(), CollectorRegistry()
    registry.register(HistogramCollector("hub_x_seconds", "x", BOUNDS_S, lambda: (latency.counts, latency.total_s)))
    for seconds in (0.0004, 0.0014, 9.0):
        latency.observe(seconds)
    lines = generate_latest(registry).decode().splitlines()
    assert 'hub_x_seconds_bucket{le="0.0005"} 1.0' in lines
    assert 'hub_x_seconds_bucket{le="0.0015"} 2.0' in lines
    assert 'hub_x_seconds_bucket{le="5.0"} 2.0' in lines
    assert 'hub_x_seconds_bucket{le="+Inf"} 3.0' in lines
    assert "hub_x_seconds_count 3.0" in lines
