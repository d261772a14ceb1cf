"""How a command learns that it should stop."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def wait_for_stop() -> signal.Signals:
    """Return when Ctrl-C or SIGTERM comes; a second one then has its usual effect."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[signal.Signals] = loop.create_future()

    def note(which: signal.Signals) -> None:
        if not came.done():
            came.set_result(which)

    for which in STOP_SIGNALS:
        loop.add_signal_handler(which, note, which)
    try:
        return await came
    finally:
        for which in STOP_SIGNALS:
            loop.remove_signal_handler(which)
