"""Rate limits in Redis and in memory by one suite; and that a Redis that is away limits nobody, and holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from hub import clock
from hub.broker.rates import MemoryRates, RedisRates
from hub.core.rates import Bucket
from tests.broker.harness import Valkey, eventually
from tests.faults import FaultyProxy

PATIENT_S = 30.0
"""Where the server is there, so that a slow machine is no fault."""


@pytest.fixture(params=["memory", "redis"])
async def rates(request: pytest.FixtureRequest) -> AsyncIterator[MemoryRates | RedisRates]:
    if request.param == "memory":
        yield MemoryRates()
        return
    valkey: Valkey = request.getfixturevalue("valkey")
    made = RedisRates(valkey.url, within_s=PATIENT_S)
    yield made
    await made.close()


def bucket(key: str = "u", per_minute: int = 60, name: str = "user") -> Bucket:
    return Bucket(name, f"hub:r:{{t}}:{key}", per_minute)


async def test_as_many_as_the_limit_says_come_at_once(rates: Any) -> None:
    # One a minute comes back, so that the time this takes gives nothing.
    taken = await asyncio.gather(*(rates.take([bucket(per_minute=20)], 1) for _ in range(50)))
    assert [one.is_admitted for one in taken].count(True) in (20, 21)
    refused = next(one for one in taken if not one.is_admitted)
    assert 0 < refused.retry_after_ms <= 3000
    assert refused.rooms[0].remaining == 0
    assert (rates.statistics.checked, rates.statistics.open) == (50, 0)
    assert rates.statistics.refused in (29, 30)


async def test_all_or_none(rates: Any) -> None:
    whole, one, other = bucket("t", 30, "tenant"), bucket("a", 20), bucket("b", 20)
    for _ in range(20):
        assert (await rates.take([one, whole], 1)).is_admitted
    refused = await rates.take([one, whole], 5)
    assert not refused.is_admitted
    assert refused.rooms[1].remaining >= 10, "what the user is refused is not taken from the tenant"
    assert [(await rates.take([other, whole], 5)).is_admitted for _ in range(3)][:2] == [True, True]
    assert not (await rates.take([other, whole], 10)).is_admitted, "the tenant's is used up, whoever asks"


async def test_a_cost_above_the_limit_takes_all_there_is(rates: Any) -> None:
    assert (await rates.take([bucket(per_minute=10)], 1000)).is_admitted
    assert not (await rates.take([bucket(per_minute=10)], 1)).is_admitted


async def test_nodes_share_what_there_is(valkey: Valkey) -> None:
    nodes = [RedisRates(valkey.url, within_s=PATIENT_S) for _ in range(3)]
    taken = await asyncio.gather(*(nodes[n % 3].take([bucket(per_minute=30)], 1) for n in range(90)))
    assert [one is not None and one.is_admitted for one in taken].count(True) in (30, 31)
    for node in nodes:
        await node.close()


async def test_what_is_kept_goes_by_itself(valkey: Valkey) -> None:
    rates = RedisRates(valkey.url, within_s=PATIENT_S)
    await rates.take([bucket(per_minute=60_000)], 1)
    await rates.take([bucket("slow", per_minute=1)], 1)
    client = Redis.from_url(valkey.url)
    assert 0 < await client.pttl("hub:r:{t}:slow") <= 60_000
    await client.aclose()
    await rates.close()


async def is_known(rates: RedisRates) -> bool:
    return await rates.take([bucket("again")], 1) is not None


async def test_a_stopped_redis_lets_everyone_through_and_is_asked_again(valkey: Valkey) -> None:
    rates = RedisRates(valkey.url, within_s=0.2)
    assert await rates.take([bucket(per_minute=1)], 1) is not None
    valkey.freeze()
    try:
        assert await asyncio.gather(*(rates.take([bucket()], 1) for _ in range(20))) == [None] * 20
        # From now on nobody waits for it: not one turn of the loop.
        later = rates.take([bucket()], 1)
        with pytest.raises(StopIteration) as ended:
            later.send(None)  # type: ignore[attr-defined]
        assert ended.value.value is None
        assert rates.statistics.open == 21
    finally:
        valkey.thaw()
    await eventually(lambda: is_known(rates))
    await rates.close()


async def test_a_redis_that_was_killed_and_comes_back(valkey: Valkey) -> None:
    rates = RedisRates(valkey.url, within_s=PATIENT_S)
    assert await rates.take([bucket()], 1) is not None
    valkey.kill()
    assert await rates.take([bucket()], 1) is None
    valkey.start()
    valkey.wait()
    await eventually(lambda: is_known(rates))
    await rates.close()


async def test_a_redis_that_was_emptied_gets_the_script_again(valkey: Valkey) -> None:
    rates = RedisRates(valkey.url, within_s=PATIENT_S)
    assert await rates.take([bucket()], 1) is not None
    client = Redis.from_url(valkey.url)
    await client.script_flush()
    assert await rates.take([bucket()], 1) is None
    assert await rates.take([bucket()], 1) is not None
    # One that may not be written to is no reason to refuse anybody either.
    await client.set("hub:r:{t}:odd", "no number")
    assert await rates.take([bucket("odd")], 1) is None
    assert await rates.take([bucket()], 1) is not None
    await client.aclose()
    await rates.close()


async def test_a_half_open_connection_is_found_by_its_deadline(valkey: Valkey, proxy: FaultyProxy) -> None:
    url = valkey.url.replace(f":{valkey.port}/", f":{proxy.port}/")
    rates = RedisRates(url, within_s=0.3)
    assert await rates.take([bucket()], 1) is not None
    proxy.freeze()
    assert await rates.take([bucket()], 1) is None
    proxy.thaw()
    await eventually(lambda: is_known(rates))
    await rates.close()


async def test_closed_it_lets_through() -> None:
    rates = RedisRates("redis://127.0.0.1:1/0", within_s=0.2, clock=clock)
    assert await rates.take([bucket()], 1) is None
    await rates.close()
    assert await rates.take([bucket()], 1) is None
