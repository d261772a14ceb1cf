"""Servers that a killed hub left behind, found and ended.

A process is never taken for ours by its pid alone, which another one may have
by now: it is ours where its program and its working directory are. Both kinds
of server, and every process of PostgreSQL's, work in their data directory.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hub.embedded.process import Ending

if TYPE_CHECKING:
    import psutil

# A process in the kernel's hands may take a while to go, even after SIGKILL.
_LAST = Ending(signal.SIGKILL, 5.0)
# To each of PostgreSQL's processes other signals mean other things than to the server; this one ends them all at once.
_TO_PARTS = Ending(signal.SIGQUIT, 2.0)


async def end_orphans(program: str, working_dir: Path, endings: Sequence[Ending]) -> list[int]:
    """End every process of `program` that works in `working_dir`, more firmly each time; their pids.

    Only for one who holds the directory's lock and has no such child: then each
    was left by a hub that was killed. Returns when none is left.
    """
    return await asyncio.to_thread(_end_orphans, program, working_dir, endings)


def _end_orphans(program: str, working_dir: Path, endings: Sequence[Ending]) -> list[int]:
    # Of the extra `embedded`, without which no server got this far; a hub that is given URLs does without.
    import psutil

    working_dir = working_dir.resolve()
    found: list[int] = []
    for ending in (*endings, _LAST):
        orphans = [each for each in psutil.process_iter() if _works_in(each, program, working_dir)]
        if not orphans:
            break
        found += [orphan.pid for orphan in orphans if orphan.pid not in found]
        servers = [each for each in orphans if _is_server(each, program)]
        # A server ends its own processes, in the right order; those of a dead one have nobody who would.
        step = ending if servers or ending is _LAST else _TO_PARTS
        for orphan in orphans if step is _LAST else servers or orphans:
            _signal(orphan, step.signal)
        psutil.wait_procs(orphans, timeout=step.patience_s)
    return found


def _signal(process: psutil.Process, number: int) -> None:
    import psutil

    try:
        # psutil compares the time of the start, so that a pid that went to another process is not hit.
        process.send_signal(number)
        # One that is stopped hears nothing else but SIGKILL.
        process.send_signal(signal.SIGCONT)
    except psutil.Error:
        pass


def _is_server(process: psutil.Process, program: str) -> bool:
    """Whether it still calls itself by the path that it was started by, as PostgreSQL's children do not."""
    import psutil

    try:
        return Path((process.cmdline() or [""])[0]).name == program
    except psutil.Error:
        return False


def _works_in(process: psutil.Process, program: str, working_dir: Path) -> bool:
    import psutil

    try:
        return process.name() == program and Path(process.cwd()) == working_dir
    except psutil.Error:
        # Gone, a zombie, or another user's: none of them holds our directory.
        return False
