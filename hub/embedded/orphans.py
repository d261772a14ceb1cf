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
        for orphan in orphans:
            try:
                # psutil compares the time of the start, so that a pid that went to another process is not hit.
                orphan.send_signal(ending.signal)
                # One that is stopped hears nothing else but SIGKILL.
                orphan.send_signal(signal.SIGCONT)
            except psutil.Error:
                continue
        psutil.wait_procs(orphans, timeout=ending.patience_s)
    return found


def _works_in(process: psutil.Process, program: str, working_dir: Path) -> bool:
    import psutil

    try:
        return process.name() == program and Path(process.cwd()) == working_dir
    except psutil.Error:
        # Gone, a zombie, or another user's: none of them holds our directory.
        return False
