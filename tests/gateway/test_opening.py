"""Between the hello and the welcome anything may happen; nothing stays half open, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from websockets.asyncio.client import connect

from hub.core.topics import user_topic
from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Device, Gate, Hub, device, until

TOPIC = user_topic("acme", 7)


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(
        sweep_interval_s=60,
        connections_per_user_max=2,
        opening_timeout_s=0.3,
        hello_timeout_s=2,
        calls_waiting_max=4,
        heartbeat_ms=1000,
        replays_at_once=8,
    )


class Patient:
    @pytest.fixture
    def limits(self) -> GatewayLimits:
        return GatewayLimits(sweep_interval_s=60, connections_per_user_max=2, calls_waiting_max=4, heartbeat_ms=1000)


@contextlib.asynccontextmanager
async def opening(hub: Hub, user: int = 7, **fields: Any):
    """A device that has said hello and has not been answered."""
    async with device(hub, user, hello=False) as client:
        await client.send(type="hello", token=fields.pop("token", f"acme:{user}"), **fields)
        yield client


async def nothing_is_left(hub: Hub) -> None:
    node = hub.node
    await until(lambda: not node.sockets and not node._runners)
    assert not node.registry.connection_count
    await until(lambda: TOPIC not in hub.ear.topics)
    assert not len(node.registry)
    assert not any(node._wheel._slots)
    assert not node.entrance._waiting
    assert not node.entrance._expiries._at


class TestGone(Patient):
    """The peer hangs up at each step."""

    async def test_while_its_token_is_looked_at(self, hub: Hub) -> None:
        hub.tokens.gate = asyncio.Event()
        async with opening(hub):
            await hub.tokens.asked.wait()
        await until(lambda: not hub.node.sockets)
        hub.tokens.gate.set()
        await nothing_is_left(hub)
        assert not hub.ear.subscribed.count(TOPIC), "who is gone is not attached"

    async def test_while_its_topic_is_subscribed(self, hub: Hub) -> None:
        hub.ear.gate = asyncio.Event()
        async with opening(hub):
            await until(lambda: TOPIC in hub.ear.subscribed)
        await until(lambda: not hub.node.sockets)
        hub.ear.gate.set()
        await nothing_is_left(hub)

    async def test_while_its_stream_is_read(self, hub: Hub) -> None:
        gate = Gate(hub.log, "state")
        async with opening(hub):
            await until(lambda: gate.waiting)
        await until(lambda: not hub.node.sockets)
        gate.open()
        await nothing_is_left(hub)

    async def test_after_the_welcome(self, hub: Hub) -> None:
        async with device(hub):
            pass
        await nothing_is_left(hub)


class TestOneTopic(Patient):
    """One subscription serves all of a user's connections, in whatever order they come and go."""

    async def test_a_second_one_waits_for_the_same_subscription(self, hub: Hub) -> None:
        hub.ear.gate = asyncio.Event()
        async with opening(hub) as first, opening(hub) as second:
            await until(lambda: hub.node.registry.connection_count == 2)
            assert hub.ear.subscribed.count(TOPIC) == 1
            hub.ear.gate.set()
            for client in (first, second):
                await client.frame("welcome")
            hub.commit()
            for client in (first, second):
                assert (await client.events(1))[0]["seq"] == 1

    async def test_the_second_outlives_the_first_that_began_it(self, hub: Hub) -> None:
        hub.ear.gate = asyncio.Event()
        async with opening(hub) as second:
            await until(lambda: hub.node.registry.connection_count == 1)
            async with opening(hub):
                await until(lambda: hub.node.registry.connection_count == 2)
            await until(lambda: hub.node.registry.connection_count == 1)
            hub.ear.gate.set()
            await second.frame("welcome")
            hub.commit()
            assert (await second.events(1))[0]["seq"] == 1

    async def test_who_comes_back_while_the_last_one_is_being_forgotten_hears(self, hub: Hub) -> None:
        hub.ear.gate = asyncio.Event()
        async with opening(hub):
            await until(lambda: TOPIC in hub.ear.subscribed)
        await until(lambda: not len(hub.node.registry))
        # The first subscription is still on its way, and its end waits to unsubscribe.
        async with opening(hub) as back:
            await until(lambda: hub.node.registry.connection_count)
            hub.ear.gate.set()
            await back.frame("welcome")
            hub.commit()
            assert (await back.events(1))[0]["seq"] == 1
            assert TOPIC in hub.ear.topics

    async def test_who_comes_and_goes_a_hundred_times_leaves_nothing_and_hears_in_the_end(self, hub: Hub) -> None:
        for _ in range(100):
            async with connect(hub.url, compression=None) as socket:
                await Device(socket).send(type="hello", token="acme:7")
                socket.transport.abort()
        async with device(hub) as client:
            hub.commit()
            assert (await client.events(1))[0]["seq"] == 1
        await nothing_is_left(hub)

    async def test_a_subscription_that_fails_costs_the_hints_not_the_socket(self, hub: Hub) -> None:
        hub.ear.error = RuntimeError("no broker")
        async with device(hub) as first:
            hub.commit()
            await hub.node.catch_up.sweep()
            assert (await first.events(1))[0]["seq"] == 1
            hub.ear.error = None
            # The next one of this user tries again, for both.
            async with device(hub) as second:
                hub.commit()
                for client in (first, second):
                    assert (await client.events(1))[0]["seq"] == 2


async def test_one_connection_too_many_closes_the_oldest_even_while_it_opens(hub: Hub) -> None:
    gate = Gate(hub.log, "state")
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for count in range(1, 4):
            clients.append(await stack.enter_async_context(opening(hub)))
            await until(lambda: gate.waiting == count)  # noqa: B023
        assert (await clients[0].closed())[0] == 4409
        gate.open()
        for client in clients[1:]:
            await client.frame("welcome")
        assert hub.node.registry.connection_count == 2


async def test_a_subscription_that_never_ends_is_4503(hub: Hub) -> None:
    hub.ear.gate = asyncio.Event()
    async with opening(hub) as client:
        code, bye = await client.closed()
        assert code == 4503
        assert bye is not None
        assert bye["retry_after_ms"] > 0
    hub.ear.gate.set()
    await nothing_is_left(hub)


async def test_a_read_that_never_ends_is_4503(hub: Hub) -> None:
    Gate(hub.log, "state")
    async with opening(hub) as client:
        assert (await client.closed())[0] == 4503
    await nothing_is_left(hub)


async def test_a_token_that_is_never_judged_is_4503(hub: Hub) -> None:
    hub.tokens.gate = asyncio.Event()
    async with opening(hub) as client:
        assert (await client.closed())[0] == 4503


@pytest.mark.parametrize("where", ["verifier", "log"])
async def test_a_failure_that_nobody_foresaw_is_4503(hub: Hub, where: str) -> None:
    if where == "verifier":
        hub.tokens.error = RuntimeError("out of order")
    else:

        def fail(_: str) -> None:
            raise RuntimeError("out of order")

        hub.log.before_read = fail
    async with opening(hub) as client:
        assert (await client.closed())[0] == 4503
    hub.log.before_read = None
    await nothing_is_left(hub)


class TestThrownOut(Patient):
    async def test_revoked_while_opening(self, hub: Hub) -> None:
        gate = Gate(hub.log, "state")
        async with opening(hub) as client, opening(hub, 8) as other:
            await until(lambda: gate.waiting == 2)
            hub.node.revoke("acme", 7, hub.node.clock.now().timestamp())
            assert (await client.closed())[0] == 4403
            gate.open()
            await other.frame("welcome")
        await nothing_is_left(hub)

    async def test_revoked_between_the_handshake_and_the_hello(self, hub: Hub) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                Device(
                    await stack.enter_async_context(
                        connect(hub.url, additional_headers={"Authorization": f"Bearer {token}"})
                    )
                )
                for token in ("acme:7", "acme:8", "other:7")
            ]
            hub.node.revoke("acme", 7, hub.node.clock.now().timestamp())
            assert (await clients[0].closed())[0] == 4403
            for client in clients[1:]:
                await client.send(type="hello")
                await client.frame("welcome")

    async def test_a_token_issued_after_the_revocation_stays(self, hub: Hub) -> None:
        revoked_at = hub.node.clock.now().timestamp() - 1
        async with device(hub) as client:
            hub.node.revoke("acme", 7, revoked_at)
            await client.send(type="ping")
            assert (await client.frame())["type"] == "pong"

    async def test_expired_while_opening(self, hub: Hub) -> None:
        gate = Gate(hub.log, "state")
        async with opening(hub, token="acme:7::0.2") as client:
            await until(lambda: gate.waiting)
            assert (await client.closed())[0] == 4401
        gate.open()
        await nothing_is_left(hub)


class TestEagerly(Patient):
    """A client need not wait for the welcome."""

    async def test_what_it_says_then_is_answered_after_the_welcome_and_in_order(self, hub: Hub) -> None:
        hub.commit(hint=False)
        gate = Gate(hub.log, "state")
        async with opening(hub, can_ring=False) as client:
            await client.send(type="ping", id="early")
            await client.send(type="call", id=1, method="echo", params={"n": 1})
            await client.send(type="token", token="acme:7")
            await client.send(type="ack", cursor=1)
            await until(lambda: gate.waiting)
            await (await client.socket.ping())  # all of it has arrived
            gate.open()
            frames = [await client.frame() for _ in range(4)]
            assert frames[0]["type"] == "welcome"
            assert frames[1] == {"type": "pong", "id": "early", "head": 1}
            assert sorted(f["type"] for f in frames[2:]) == ["result", "token"]
            await hub.node.flush_acks()
            assert hub.log.delivered == {("acme", 7): 1}

    async def test_only_so_much_is_kept_for_then(self, hub: Hub) -> None:
        gate = Gate(hub.log, "state")
        async with opening(hub) as client:
            for number in range(6):
                await client.send(type="call", id=number, method="echo", params={})
            refused = [await client.frame("error") for _ in range(2)]
            assert [(f["id"], f["error"]["status"]) for f in refused] == [(4, 429), (5, 429)]
            gate.open()
            await client.frame("welcome")
            assert [(await client.frame("result"))["id"] for _ in range(4)] == [0, 1, 2, 3]
