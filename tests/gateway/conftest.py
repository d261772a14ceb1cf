from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Bus, Hub, MemoryLog


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(sweep_interval_s=60, node_beat_s=0.05, node_silence_max_s=1.0)


@pytest.fixture
def memory_log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
async def hub(memory_log: MemoryLog, bus: Bus, limits: GatewayLimits) -> AsyncIterator[Hub]:
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(Hub(memory_log, bus, limits).serving())
