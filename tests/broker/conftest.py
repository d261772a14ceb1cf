from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.broker.harness import MemoryWorld, Nodes, RedisWorld, Valkey
from tests.faults import FaultyProxy


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server for one test, which may do with it what it likes."""
    server = Valkey(tmp_path)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=["memory", "redis"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    """Nodes of either world."""
    world = MemoryWorld() if request.param == "memory" else RedisWorld(request.getfixturevalue("valkey"))
    async with Nodes(world) as made:
        yield made


@pytest.fixture
async def redis_nodes(valkey: Valkey) -> AsyncIterator[Nodes]:
    """Nodes on a real server only."""
    async with Nodes(RedisWorld(valkey)) as made:
        yield made


@pytest.fixture
async def proxy(valkey: Valkey) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy("127.0.0.1", valkey.port) as made:
        yield made
