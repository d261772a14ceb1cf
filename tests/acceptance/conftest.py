"""One hub for all the tests of its REST surface; each test has a tenant of its own."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from hub import clock
from tests.acceptance.processes import Node
from tests.acceptance.rest import Tenant
from tests.api.whole import CONFORMITY
from tests.conftest import BackgroundLoop, Databases


@pytest.fixture(scope="session")
def rest_database_url(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        yield url


@pytest.fixture(scope="session")
def rest_node(rest_database_url: str, valkey_server: str, background_loop: BackgroundLoop) -> Iterator[Node]:
    with (
        tempfile.TemporaryDirectory(prefix="hub-rest-") as directory,
        Node(rest_database_url, valkey_server, Path(directory)).running() as node,
    ):
        background_loop.run(node.ready())
        yield node
        assert node.process.poll() is None, f"the hub ended by itself:\n{node.log.read_text()}"
        faults = [line for line in node.log.read_text().splitlines() if "Traceback" in line or " ERROR " in line]
        assert not faults, "\n".join(faults[:20])


NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here speaks TLS, and to load the world's authorities for each test would cost more than most tests."""


@pytest.fixture
async def client(rest_node: Node) -> AsyncIterator[httpx.AsyncClient]:
    hooks = {"response": [CONFORMITY]}
    async with httpx.AsyncClient(base_url=rest_node.url, timeout=30, verify=NO_TLS, event_hooks=hooks) as client:
        yield client


@pytest.fixture
def tenant(rest_node: Node, client: httpx.AsyncClient, rest_database_url: str) -> Tenant:
    return Tenant(rest_node, client, rest_database_url, "t-" + clock.token(6))


@pytest.fixture
def stranger(rest_node: Node, client: httpx.AsyncClient, rest_database_url: str) -> Tenant:
    """Another tenant of the same hub."""
    return Tenant(rest_node, client, rest_database_url, "t-" + clock.token(6))
