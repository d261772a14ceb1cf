from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from tests.client.fakes import FakeClock, ScriptedHub, States


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedHub]:
    async with ScriptedHub().serving() as hub:
        yield hub
    gc.collect()
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("hub-client")]
    assert not left, "the client left tasks behind"


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def states() -> States:
    return States()
