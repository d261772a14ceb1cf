"""What this node's gateway counts. Plain integers; `api` gives them to Prometheus."""

from __future__ import annotations

import msgspec


class GatewayStatistics(msgspec.Struct):
    """Totals since the start of the process, but for the two `…_now`."""

    connections_opened: int = 0
    connections_closed: int = 0
    handshakes_refused: int = 0
    hints_received: int = 0
    hints_bad: int = 0
    events_sent: int = 0
    frames_sent: int = 0
    pages_read: int = 0
    log_unavailable: int = 0
    replays: int = 0
    resets: int = 0
    lagged: int = 0
    sweeps: int = 0
    sweep_repairs: int = 0
    acks: int = 0
    calls: int = 0
    calls_failed: int = 0
    rings: int = 0
    rings_again: int = 0
    peers_gone: int = 0
    connections_now: int = 0
    users_now: int = 0
