"""A connection that is silent has no parser; one in the middle of something keeps its own."""

from __future__ import annotations

import pytest
from websockets.protocol import OPEN

from hub.gateway.connection import Connection
from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Hub, until
from tests.gateway.raw import CLOSE, CONT, PING, TEXT, Peer, frame, peer

WHOLE = frame(TEXT, b'{"type":"ping","id":"a"}')
PARTS = frame(TEXT, b'{"type":"ping",', fin=False), frame(CONT, b'"id":"b"}')


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(sweep_interval_s=60, frames_per_s_max=10_000)


def has_parser(connection: Connection) -> bool:
    return connection._ws is not None


async def answered(client: Peer, call_id: str) -> None:
    assert (await client.message("pong"))["id"] == call_id


async def test_a_silent_connection_has_none(hub: Hub) -> None:
    async with peer(hub) as client:
        (connection,) = hub.node.registry.connections()
        assert not has_parser(connection)
        for _ in range(3):
            client.send(WHOLE)
            await answered(client, "a")
            assert not has_parser(connection)
        client.send(frame(PING, b"x") + WHOLE)
        await answered(client, "a")
        assert not has_parser(connection)


async def test_wherever_a_message_is_cut_it_is_kept_until_its_end(hub: Hub) -> None:
    async with peer(hub) as client, peer(hub, user=8) as other:
        connection = hub.node.registry.of("acme", 7).connections[0]  # type: ignore[union-attr]
        for said, call_id in ((WHOLE, "a"), (b"".join(PARTS), "b")):
            for cut in range(1, len(said)):
                client.send(said[:cut])
                await until(lambda: has_parser(connection))
                # Another one is between messages, and gets a parser of its own.
                other.send(WHOLE)
                await answered(other, "a")
                client.send(said[cut:])
                await answered(client, call_id)
                assert not has_parser(connection)


async def test_between_the_parts_of_a_message_too(hub: Hub) -> None:
    async with peer(hub) as client:
        (connection,) = hub.node.registry.connections()
        client.send(PARTS[0])
        await until(lambda: has_parser(connection))
        client.send(frame(PING, b"x"))
        assert await client.frame() == (0xA, b"x")
        assert has_parser(connection)
        client.send(PARTS[1])
        await answered(client, "b")
        assert not has_parser(connection)


async def test_one_that_has_closed_is_never_lent_again(hub: Hub) -> None:
    async with peer(hub) as client:
        client.send(WHOLE)
        await answered(client, "a")
        client.send(frame(CLOSE))
        assert await client.end() == (1005, None)
    async with peer(hub) as client:
        client.send(frame(TEXT, b"x" * 65537))
        assert (await client.end())[0] == 1009
    assert all(parser.state is OPEN for parser in hub.node.parsers._kept)
    async with peer(hub) as client:
        client.send(WHOLE)
        await answered(client, "a")
