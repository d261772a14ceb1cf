"""Who of a tenant is connected, as one node can tell."""

from __future__ import annotations

import msgspec


class Online(msgspec.Struct, frozen=True):
    """Devices by user, of those who have some. `nodes` is how many nodes' devices are in it.

    Not `is_complete`: another node has not answered, or nothing can be heard of others now.
    """

    devices: dict[int, int]
    nodes: int
    is_complete: bool
