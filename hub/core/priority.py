"""The four priorities, and the order they give to everything that waits."""

from __future__ import annotations

from typing import Final, Literal

Priority = Literal["critical", "high", "normal", "low"]

PRIORITIES: Final[tuple[Priority, ...]] = ("critical", "high", "normal", "low")
"""Most urgent first; the index is the rank."""

RANK: Final[dict[str, int]] = {name: rank for rank, name in enumerate(PRIORITIES)}
"""`critical` 0 … `low` 3: sort ascending to put the most urgent first."""
