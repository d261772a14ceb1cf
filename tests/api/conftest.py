from __future__ import annotations

import pytest

from tests.api.toy import running


@pytest.fixture
async def toy():
    async with running() as made:
        yield made
