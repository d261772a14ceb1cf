from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from hub.store.pool import Database
from tests.app.world import World
from tests.conftest import Databases


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> Iterator[str]:
    """One migrated database for all tests of a module: each takes users of its own."""
    with databases.fresh() as url:
        yield url


@pytest.fixture
async def world(module_database_url: str) -> AsyncIterator[World]:
    database = await Database.connect(module_database_url, pool_max=8)
    yield World(database)
    await database.close()


@pytest.fixture
async def owner(module_database_url: str) -> AsyncIterator[Any]:
    """A connection that sees every tenant's rows."""
    connection = await asyncpg.connect(module_database_url)
    yield connection
    await connection.close()


@pytest.fixture
def user(request: pytest.FixtureRequest) -> int:
    """A user nobody else in this module has."""
    taken = request.node.module.__dict__
    taken["_users"] = taken.get("_users", 0) + 10
    return taken["_users"]
