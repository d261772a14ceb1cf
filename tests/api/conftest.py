from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.api.toy import running
from tests.api.whole import Whole, whole_hub
from tests.conftest import Databases


@pytest.fixture
async def toy():
    async with running() as made:
        yield made


@pytest.fixture(scope="module")
def url(databases: Databases) -> Iterator[str]:
    """One migrated database for all tests of a module: each takes tenants of its own."""
    with databases.fresh() as url:
        yield url


@pytest.fixture
async def hub(url: str) -> AsyncIterator[Whole]:
    async with whole_hub(url) as hub:
        yield hub
