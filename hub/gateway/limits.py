"""Every bound of the gateway, with its reason."""

from __future__ import annotations

import msgspec


class GatewayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection, one user and one node may take. Times in seconds unless named otherwise."""

    heartbeat_ms: int = 25_000
    """Below the 30 s at which proxies and NATs begin to drop idle connections."""
    hello_timeout_s: float = 10.0
    """A peer that has nothing to say should not hold a socket."""
    opening_timeout_s: float = 30.0
    """From the hello to the welcome: longer than any one read may take, and than ten thousand that come together."""
    close_timeout_s: float = 5.0
    """How long a peer may take to answer a close before the socket is cut."""
    connections_per_user_max: int = 20
    """A person has a handful of devices; more is a loop in a client."""
    frame_bytes_max: int = 65_536
    """No frame of a client is larger than a call with its parameters."""
    frames_per_s_max: int = 100
    """Far above what a person causes, far below what hurts others."""
    calls_waiting_max: int = 64
    """Calls of one connection run one after another; past this many they are refused."""
    calls_bytes_max: int = 262_144
    """What waiting calls may have come in: parsed, they take several times that."""
    window_bytes_max: int = 65_536
    """Events waiting for one socket; past it they stay in PostgreSQL."""
    window_bytes_low: int = 16_384
    """At which a socket that fell behind takes events again."""
    write_buffer_bytes_max: int = 32_768
    """Bytes given to the socket and not yet taken by the kernel: what a critical event cannot overtake."""
    batch_bytes_max: int = 49_152
    """A batch leaves as one message; clients bound those too."""
    page_count_max: int = 200
    """Events of one read of the log."""
    early_max: int = 64
    """Critical events that may wait ahead of a backlog."""
    starve_max_s: float = 30.0
    """Half of the 60 s that are promised: the other half is the page's way from the log."""
    replays_at_once: int = 4
    """Reads of the log after a `hello`, at once on this node: ten thousand may come back together."""
    opened_together_max: int = 500
    """Hellos whose streams are read by one query: more would hold up the rest of a storm for the first of it."""
    subscribes_at_once: int = 16
    """Commands to the broker that are not answered yet; while it is away each ends by itself within a second."""
    catch_ups_at_once: int = 4
    """Reads of the log for sockets that are live already; their own share, so that a storm does not starve them."""
    sweep_interval_s: float = 2.0
    """Bounds how long a lost hint matters, with room within the promised 5 s."""
    sweep_users_max: int = 5_000
    """Users a sweep asks about in one query."""
    ack_flush_interval_s: float = 1.0
    """Acknowledgements are written lazily, many at once."""
    retry_s: float = 1.0
    """Between reads of the log while PostgreSQL is away; jittered."""
    node_beat_s: float = 0.5
    """Between a node's signs of life."""
    node_silence_max_s: float = 1.5
    """Without a sign for this long another node's devices ring no more: so that ours do, within 2 s."""
    ring_silence_max_s: float = 30.0
    """A device from which nothing came for this long is not asked to ring."""
    ring_again_s: float = 10.0
    """A critical event that was not acknowledged for this long rings once more, on another device."""
    ring_burst_s: float = 3.0
    """Replayed and released events ring once; a pause of this length ends the burst."""
