"""Tokens on an open connection: renewed, refused, of another role, and what of them is kept."""

from __future__ import annotations

import asyncio

import pytest

from hub.core.log import LogUnavailable
from hub.gateway.expiry import Expiries
from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Hub, device, until


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(sweep_interval_s=60, frames_per_s_max=100_000, heartbeat_ms=1000)


class One:
    """Stands for a connection; has no order."""


class TestExpiries:
    def test_each_is_due_once_at_its_last_instant(self) -> None:
        expiries, one, two = Expiries(), One(), One()
        expiries.put(one, 10.0)
        expiries.put(two, 10.0)
        expiries.put(one, 20.0)
        assert expiries.due(9.9) == []
        assert expiries.due(10.0) == [two]
        assert expiries.due(19.9) == []
        assert expiries.due(30.0) == [one]
        assert expiries.due(99.0) == []

    def test_an_instant_may_come_nearer(self) -> None:
        expiries, one = Expiries(), One()
        expiries.put(one, 20.0)
        expiries.put(one, 10.0)
        assert expiries.due(10.0) == [one]
        assert expiries.due(20.0) == []

    def test_going_back_to_an_instant_is_due_once(self) -> None:
        expiries, one = Expiries(), One()
        for at in (10.0, 20.0, 10.0):
            expiries.put(one, at)
        assert expiries.due(30.0) == [one]

    def test_without_an_instant_it_never_ends(self) -> None:
        expiries, one = Expiries(), One()
        expiries.put(one, 10.0)
        expiries.put(one, None)
        assert expiries.due(1e12) == []

    def test_renewals_and_those_who_went_cost_at_most_as_much_as_those_who_are_there(self) -> None:
        expiries = Expiries()
        there = [One() for _ in range(100)]
        for renewal in range(1000):
            for one in there:
                expiries.put(one, 1000.0 + renewal)
            gone = One()
            expiries.put(gone, 1e12)
            expiries.put(gone, None)
            assert len(expiries) <= 2 * len(there) + 70
        assert expiries.due(1998.9) == []
        assert expiries.due(1999.0) == there


async def test_a_hundred_renewals_leave_one_expiry_and_who_goes_none(hub: Hub) -> None:
    async with device(hub) as client:
        for number in range(200):
            await client.send(type="token", token=f"acme:7::{3600 + number}")
            await client.frame("token")
        assert len(hub.node.entrance._expiries) < 70
    await until(lambda: not hub.node.sockets)
    assert not hub.node.entrance._expiries._at


async def test_a_shorter_token_ends_when_it_says(hub: Hub) -> None:
    async with device(hub) as client:
        await client.send(type="token", token="acme:7::0.2")
        await client.frame("token")
        assert (await client.closed())[0] == 4401


@pytest.mark.parametrize(
    ("token", "code"),
    [("bad", 4401), ("acme:8", 4403), ("other:7", 4403), ("acme:7:service", 4403)],
    ids=["refused", "of another user", "of another tenant", "of a service"],
)
async def test_a_token_that_will_not_do_closes(hub: Hub, token: str, code: int) -> None:
    async with device(hub) as client:
        await client.send(type="token", token=token)
        assert (await client.closed())[0] == code


async def test_a_token_that_cannot_be_judged_now_changes_nothing(hub: Hub) -> None:
    async with device(hub) as client:
        for error, status in ((LogUnavailable("away"), 503), (RuntimeError("nobody foresaw this"), 500)):
            hub.tokens.error = error
            await client.send(type="token", token="acme:7::0.1")
            assert (await client.frame("error"))["error"]["status"] == status
        hub.tokens.error = None
        await client.send(type="token", token="acme:7")
        await client.frame("token")


async def test_one_token_is_looked_at_at_a_time(hub: Hub) -> None:
    async with device(hub) as client:
        hub.tokens.gate = asyncio.Event()
        await client.send(type="token", token="acme:7")
        await client.send(type="token", token="acme:7")
        assert (await client.frame())["error"]["status"] == 429
        hub.tokens.gate.set()
        assert (await client.frame())["type"] == "token"
        await client.send(type="token", token="acme:7")
        assert (await client.frame())["type"] == "token"


async def test_who_goes_while_its_token_is_looked_at_is_forgotten(hub: Hub) -> None:
    async with device(hub) as client:
        hub.tokens.gate = asyncio.Event()
        hub.tokens.asked.clear()
        await client.send(type="token", token="acme:7::9999")
        await hub.tokens.asked.wait()
    await until(lambda: not hub.node.sockets)
    hub.tokens.gate.set()
    await until(lambda: not hub.node._runners)
    assert not hub.node.entrance._expiries._at


async def test_a_supervisor_who_becomes_an_agent_watches_no_more(hub: Hub) -> None:
    async with device(hub, 1, token="acme:1:supervisor") as boss, device(hub, 2, token="acme:2:supervisor") as other:
        for watcher in (boss, other):
            await watcher.send(type="call", id=1, method="presence.subscribe", params={})
            await watcher.frame("result")
        await boss.send(type="token", token="acme:1:agent")
        await boss.frame("token")
        async with device(hub, 7):
            assert (await other.frame("event"))["data"]["user_id"] == 7
            await boss.send(type="ping")
            assert (await boss.frame())["type"] == "pong"
