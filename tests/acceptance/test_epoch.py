"""After a restore nobody trusts a number of a history that did not happen."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.acceptance.processes import HUB, ROOT, Device, Node

pytestmark = pytest.mark.acceptance


async def test_a_new_epoch_resets_open_and_returning_devices(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with Node(database_url, redis_url, tmp_path).running() as node:
        await node.ready()
        device, away = Device(), Device()
        async with device.on(node), httpx.AsyncClient() as producer:
            await node.notify(producer)
            await device.hear(1)
            async with away.on(node):
                pass
            begun = await asyncio.to_thread(
                subprocess.run,
                [*HUB, "epoch", "new", "--database-url", database_url],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            assert begun.returncode == 0, begun.stderr
            assert device.socket is not None
            async with asyncio.timeout(5):
                reset = json.loads(await device.socket.recv())
            assert reset["type"] == "reset"
            assert reset["epoch"] != device.epoch
            async with away.on(node):
                assert away.welcome["resume"] == "reset"
                assert away.welcome["epoch"] == reset["epoch"]
