"""The machine that measures: its cores, its compiler, and what a process costs on it.

Owns how processes are started, pinned and ended, and the figures that the kernel
keeps of them. Every process is ended by its own id.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent
ROOT = HERE.parent
_BUILD = HERE / ".build"
_STOP_WITHIN_S = 30.0


class CannotMeasure(Exception):
    """Something that the measurement needs is not there. The text says what, and what to do."""


def cores() -> tuple[set[int], set[int]]:
    """(the one of the server that is measured, those of everything else); the same one where there is no other."""
    first, *rest = sorted(os.sched_getaffinity(0))
    return {first}, set(rest) or {first}


def raise_file_limit(wanted: int) -> int:
    """As many open files as the machine allows, at most `wanted`; children inherit it. Returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def compiled(name: str) -> Path:
    """The C program of this directory, compiled if its source is newer.

    Raises:
        CannotMeasure: there is no C compiler, or it refuses.
    """
    source, program = HERE / f"{name}.c", _BUILD / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise CannotMeasure(f"There is no C compiler for {source.name}: install gcc or clang, or set CC.")
    _BUILD.mkdir(exist_ok=True)
    made = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(source)], check=False, capture_output=True, text=True
    )
    if made.returncode:
        raise CannotMeasure(f"{compiler} does not compile {source.name}: {made.stderr.strip()}")
    return program


class Process:
    """A process on given cores. Use as a context: leaving it ends the process, first politely."""

    def __init__(
        self,
        command: Sequence[str | Path],
        on: set[int],
        *,
        environ: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self._log: IO[bytes] | None = log.open("wb") if log is not None else None
        with _pinned(on):
            self._popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log or subprocess.DEVNULL,
                env={**os.environ, **(environ or {})},
                cwd=ROOT,
                # A Ctrl-C is for the measurement, which then ends what it has started, in order.
                start_new_session=True,
            )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self.stdin, self.stdout = self._popen.stdin, self._popen.stdout

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def cpu_s(self) -> float:
        """CPU seconds of the process so far, its main thread and all others, to the nanosecond."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def pss_bytes(self) -> int:
        """Memory that is the process's own, and its share of what it shares."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise CannotMeasure("this kernel tells no PSS")

    def stop(self) -> None:
        """End it, within `_STOP_WITHIN_S` by force. Idempotent."""
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        if self.is_running:
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def _pinned(on: set[int]) -> Generator[None]:
    """What is started meanwhile stays on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, on)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def described() -> dict[str, str]:
    """What a reader of the figures must know of the machine. Asked before the run: its own load is not of interest."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory_kb = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    node = shutil.which("node")
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory_kb / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "node": _said([node, "--version"]) if node else "none",
        "busy with other things": f"a load of {os.getloadavg()[2]:.1f} in the last 15 minutes",
        "commit": _said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]) or "unknown",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
