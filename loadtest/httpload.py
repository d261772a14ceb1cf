"""The load client `httpload.c`, as a function: POSTs on kept connections, closed loop or at a rate."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from loadtest.machine import CannotMeasure, Process, compiled


class Load(msgspec.Struct, frozen=True):
    """What was answered in the counted time. Latencies at a rate count from when the request was due."""

    answered: int
    refused: int
    seconds: float
    cpu_s: float
    bytes_in: int
    late: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    why: str

    @property
    def per_s(self) -> float:
        return self.answered / self.seconds


def post(
    port: int,
    path: str,
    bodies: Iterable[dict[str, Any]],
    tokens: list[str],
    on: set[int],
    *,
    scratch: Path,
    connections: int,
    seconds: float,
    warm_s: float = 2.0,
    rate: float = 0.0,
) -> Load:
    """POST the bodies in turn. `rate` 0: each connection asks again once it is answered.

    Raises:
        CannotMeasure: something was answered that is not 2xx, or the server hung up.
    """
    body_file, token_file = scratch / "bodies.txt", scratch / "post-tokens.txt"
    body_file.write_text("".join(json.dumps(body, separators=(",", ":")) + "\n" for body in bodies))
    token_file.write_text("\n".join(tokens) + "\n")
    token_file.chmod(0o600)
    command = [compiled("httpload"), str(port), path, body_file, token_file, str(connections), str(rate), str(warm_s)]
    with Process([*command, str(seconds)], on, log=scratch / "httpload.log") as process:
        line = process.stdout.readline()
    if not line:
        raise CannotMeasure((scratch / "httpload.log").read_text().strip() or "httpload has ended")
    load = msgspec.convert(json.loads(line), Load)
    if load.refused or not load.answered:
        raise CannotMeasure(f"{load.refused} requests were refused, {load.answered} answered: {load.why}")
    return load
