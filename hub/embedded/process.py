"""Processes of the embedded servers: started so that they do not outlive the hub, ended in order, found when they did.

A server is never taken for ours by its pid alone, which another process may
have by now: it is ours where its program and its working directory are.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from hub.embedded.account import Account

_LAUNCH = Path(__file__).with_name("launch.py")

# Nothing of the hub's own environment: PGPORT, PGOPTIONS and their like would change what the servers do.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class Ending(msgspec.Struct, frozen=True):
    """A signal that asks a server to end, and how long it gets before the next one is sent."""

    signal: int
    patience_s: float


class Command(msgspec.Struct, frozen=True):
    """A program to run: what it is told, where it writes, and how it is asked to end."""

    arguments: tuple[str, ...]
    account: Account
    log_path: Path
    endings: tuple[Ending, ...]
    stdin: bytes = b""


async def spawn(command: Command) -> asyncio.subprocess.Process:
    """Start a program in a session of its own, so that a Ctrl-C at the terminal reaches the hub alone.

    On Linux it is asked to end when the hub dies, however that dies; more
    precisely, when the thread that spawns it does: call this from a thread that
    lives as long as the program shall.
    """
    account = command.account
    search = not all(account.may_reach(path) for path in (Path(command.arguments[0]), command.log_path.parent))
    who = "-" if account.is_self else f"{account.uid}:{account.gid}"
    launch = ("-I", "-S", str(_LAUNCH), str(os.getpid()), str(int(command.endings[0].signal)), who, str(int(search)))
    with _open_log(command.log_path) as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *launch,
            *command.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(command.stdin)
    process.stdin.close()
    return process


def _open_log(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


async def end(process: asyncio.subprocess.Process, endings: Sequence[Ending]) -> None:
    """Ask a child to end, more firmly each time, and return when it has. Idempotent, also for one that is dead.

    Cancelling it kills the child at once; what it had committed stays.
    """
    try:
        for ending in endings:
            if process.returncode is not None:
                return
            _signal(process, ending.signal)
            try:
                async with asyncio.timeout(ending.patience_s):
                    await process.wait()
            except TimeoutError:
                continue
        _signal(process, signal.SIGKILL)
        await process.wait()
    except asyncio.CancelledError:
        _signal(process, signal.SIGKILL)
        raise


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    try:
        process.send_signal(number)
        # One that is stopped hears nothing else but SIGKILL.
        process.send_signal(signal.SIGCONT)
    except ProcessLookupError:
        pass
