"""One hub a data directory.

The lock is the kernel's (`flock`), so it cannot outlive the process that holds
it: a file left by a killed hub is no lock. What is written in the file only
serves the sentence that refuses the second one.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hub.embedded.errors import DataDirectoryInUse


class DirectoryLock:
    """The right to run servers in one data directory. Not inherited by the servers."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "embedded.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise at once.

        Raises: `DataDirectoryInUse`, naming the process that holds it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise DataDirectoryInUse(
                f"another hub (process {holder or 'unknown'}) runs its servers in {self._path.parent}: "
                "stop it, or give another --data-dir"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back. Idempotent. The file stays: to remove it would let two hubs lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
