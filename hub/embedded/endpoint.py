"""Where an embedded server listens and what opens it, remembered in the data directory.

So that URLs that a person copied stay true over a restart. Owns the choice of
ports: two hubs on one machine never get the same one.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec

from hub import clock

HOST = "127.0.0.1"

# Below the ranges that kernels take ports of outgoing connections from (32768 on Linux, 49152 elsewhere): a port in
# them may be gone in the instant in which a crashed server is started again.
_PORT_MIN = 15_000
_PORT_MAX = 32_000
_CHOICES_MAX = 100


class Endpoint(msgspec.Struct, frozen=True):
    """A port on the loopback, and the password that opens the server there."""

    port: int
    password: str


class Addressed:
    """A server that has an endpoint from when it is prepared."""

    _endpoint: Endpoint | None = None

    @property
    def port(self) -> int:
        return self._known.port

    @property
    def _known(self) -> Endpoint:
        if self._endpoint is None:
            raise RuntimeError("prepare it first")
        return self._endpoint


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do; else a port would seem taken while connections of the last run linger in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            # Linux lets two sockets with SO_REUSEADDR bind one port as long as neither listens.
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_port() -> int:
    """A port that is free now. Random, so that two hubs that look at once do not find the same one."""
    for _ in range(_CHOICES_MAX):
        port = _PORT_MIN + int(clock.unit() * (_PORT_MAX - _PORT_MIN))
        if is_free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def recall(path: Path) -> Endpoint | None:
    """The endpoint of the last run; None where there was none, or its file is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoint)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def choose_endpoint(known: Endpoint | None, *, another_port: bool = False) -> Endpoint:
    """The known one, as far as it serves: with another port where that one is taken, or has just been found to be."""
    if known is not None and not another_port and is_free(known.port):
        return known
    return Endpoint(port=choose_port(), password=known.password if known else clock.token(24))


def remember(path: Path, endpoint: Endpoint) -> None:
    """Replace the file at once or not at all, readable by its owner alone."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(endpoint))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
