"""What a badge shows: a user's unread and unseen notifications.

The figures live in the user's stream row and change in the transaction that
makes the event which carries them, so they are true as of that event's `seq`.
"""

from __future__ import annotations

import msgspec

from hub.core.priority import Priority


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Absolute figures of what is live, not archived, and unread or unseen.

    The per-priority figures are of the unread, so they add up to `unread`.
    """

    unread: int = 0
    unseen: int = 0
    critical: int = 0
    high: int = 0
    normal: int = 0
    low: int = 0

    def changed(self, priority: Priority, *, unread: int = 0, unseen: int = 0) -> Counts:
        """These counts after `unread` and `unseen` (each may be negative) are added for one priority."""
        return msgspec.structs.replace(
            self,
            unread=self.unread + unread,
            unseen=self.unseen + unseen,
            **{priority: getattr(self, priority) + unread},
        )
