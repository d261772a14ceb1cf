"""The smallest inbox that can drift: which notifications there are, and which are read.

Used twice: as the truth (events applied in order) and in each simulated client
(events applied as they come, by the rules of the protocol).
"""

from __future__ import annotations

from typing import Any

from hub.core.event import CREATED


class Inbox:
    """`items` maps an id to [went live at, is read, last changed by]."""

    def __init__(self) -> None:
        self.items: dict[int, list[int]] = {}
        self.deleted: dict[int, int] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inbox) and self._shown() == other._shown()

    __hash__ = None  # type: ignore[assignment]

    def _shown(self) -> dict[int, tuple[int, int]]:
        return {key: (value[0], value[1]) for key, value in self.items.items()}

    def copy(self) -> Inbox:
        new = Inbox()
        new.items = {key: list(value) for key, value in self.items.items()}
        new.deleted = dict(self.deleted)
        return new

    def apply(self, kind: str, seq: int, data: dict[str, Any]) -> None:
        """An event changes only what was last changed by a lower number."""
        if kind == CREATED:
            known = self.items.get(data["id"])
            if self.deleted.get(data["id"], 0) < seq and (known is None or known[2] < seq):
                self.items[data["id"]] = [seq, 0, seq]
        elif kind == "notification.updated":
            item = self.items.get(data["id"])
            if item is not None and item[2] < seq:
                item[1], item[2] = int(data["is_read"]), seq
        elif kind == "notification.deleted":
            self.deleted[data["id"]] = seq
            item = self.items.get(data["id"])
            if item is not None and item[2] < seq:
                del self.items[data["id"]]
        elif kind == "notifications.read_all":
            for item in self.items.values():
                if item[0] <= data["before_seq"] and item[2] < seq:
                    item[1], item[2] = 1, seq
