"""Every bound of the client, with its reason."""

from __future__ import annotations

import msgspec


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What an app may want otherwise. Seconds unless named otherwise."""

    backoff_base_s: float = 1.0
    """The range of the first wait after a cut: short for a person, long enough to spread a crowd."""
    backoff_max_s: float = 30.0
    """Nobody should look at "reconnecting" for longer once the hub is back."""
    stable_s: float = 10.0
    """A connection that held for this long ends the doubling."""
    retry_after_max_s: float = 300.0
    """The longest that a `bye` is obeyed: a wrong one must not silence a desktop for a day."""
    open_timeout_s: float = 10.0
    """From TCP to the upgrade."""
    welcome_timeout_s: float = 20.0
    """From the upgrade to the welcome; the hub may be reading for ten thousand at once."""
    close_timeout_s: float = 2.0
    """What a polite end is worth."""
    call_timeout_s: float = 10.0
    """Longer than the hub waits for a lock; a person has given up by then."""
    ack_interval_s: float = 1.0
    """Between two acks: a tenth of the 10 s after which a critical one rings elsewhere."""
    items_max: int = 1_000
    """Items that wait for the app; past it the socket is not read, and the hub keeps the rest."""
    frame_bytes_max: int = 4 * 1024 * 1024
    """The largest message taken: a batch of 48 KiB may end with one event of any size, and text grows when escaped."""
    sent_bytes_max: int = 65_536
    """The largest message sent: the hub closes with 1009 past it."""
