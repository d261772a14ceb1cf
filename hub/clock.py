"""The only place that asks the machine for the time, for randomness and for ids.

Everything else is given these as arguments, so that tests and the simulator can
hand in their own. What decides about notifications (quiet hours, expiry) uses
the database's clock, read in the transaction, never this one.
"""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime

_rng = random.SystemRandom()


def now() -> datetime:
    """The wall clock, aware, UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never steps; only differences mean anything."""
    return time.monotonic()


def unit() -> float:
    """A float in [0, 1), for jitter."""
    return _rng.random()


def token(bytes_of_entropy: int = 16) -> str:
    """An unguessable URL-safe id."""
    return secrets.token_urlsafe(bytes_of_entropy)
