"""The users' streams as writers see them: locking, what decides, and appending.

Owns laws 1 and 2 in SQL. How readers see streams is `hub.store.log`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from hub.core.changes import Inbox
from hub.core.counts import Counts
from hub.core.creation import Recipient
from hub.core.notification import Channel, Row
from hub.core.preferences import Preferences
from hub.store.people import TenantDefaults, in_force
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("streams")


class Facts(msgspec.Struct, kw_only=True):
    """What decides, as of one snapshot taken under the locks.

    `heads` are those of the callers who have a stream. `unread` are those that a newer one of the keys asked
    about would replace; `names` those of the authors asked about; `ids` ascend.
    """

    now: datetime
    epoch: str
    heads: dict[int, int]
    tenant: TenantDefaults | None
    preferences: list[dict[str, Any]]
    reachable: list[tuple[int, Channel]]
    unread: list[Row]
    names: dict[int, str]
    ids: list[int]

    def recipients(self, user_ids: Iterable[int]) -> dict[int, Recipient]:
        """What decides for each of those whose preferences were asked for."""
        own = {row["user_id"]: row for row in self.preferences}
        channels: dict[int, set[Channel]] = {}
        for user_id, channel in self.reachable:
            channels.setdefault(user_id, set()).add(channel)
        # Most people have no row: what holds for them is made once.
        usual: Preferences = in_force(None, self.tenant)
        return {
            user_id: Recipient(
                in_force(own[user_id], self.tenant) if user_id in own else usual,
                frozenset(channels.get(user_id, ())),
            )
            for user_id in user_ids
        }


_decode: Final = msgspec.json.Decoder(Facts).decode


async def claim_users(tx: Tx, tenant_id: str, user_ids: Sequence[int]) -> list[int]:
    """Those of the users whom no other worker has in hand; they are this transaction's until it ends."""
    return [row["user_id"] for row in await tx.fetch(_SQL["claim_users"], tenant_id, list(user_ids))]


async def lock_streams(tx: Tx, tenant_id: str, user_ids: Collection[int], known: Collection[int] = ()) -> list[Inbox]:
    """Lock these users' streams, ascending; make those that are missing. Where each stands, as of the lock.

    Those of `known` are locked where there are any, and not made.
    """
    return [
        Inbox(row["user_id"], row["head"], counts_of(row))
        for row in await tx.fetch(_SQL["lock_streams"], tenant_id, list(user_ids), list(known))
    ]


def counts_of(row: Any) -> Counts:
    """The badge in a row of `user_streams`."""
    return Counts(
        row["unread"],
        row["unseen"],
        row["unread_critical"],
        row["unread_high"],
        row["unread_normal"],
        row["unread_low"],
    )


async def read_facts(
    tx: Tx,
    tenant_id: str,
    callers: Collection[int] = (),
    deciding: Collection[int] = (),
    keys: Collection[str] = (),
    fresh: int = 0,
    authors: Collection[int] = (),
) -> Facts:
    """What decides. After the lock, so that the snapshot is no older than the locks.

    For `callers` the heads; for `deciding` users preferences and addresses, and what newer ones of the collapse
    `keys` would replace. `fresh` ids are taken for notifications to come. For `authors` the names.
    """
    text = await tx.fetchval(
        _SQL["read_facts"], tenant_id, list(callers), list(deciding), list(keys), fresh, list(authors)
    )
    facts = _decode(text)
    facts.ids.sort()
    return facts


class Standing(msgspec.Struct, frozen=True):
    """A user's stream as a reader sees it; head 0 and no counts where there is none.

    `is_erasing`: the inbox is to be read as empty, for what is left of it is a part; no counts either.
    """

    epoch: str
    head: int
    counts: Counts
    is_erasing: bool


async def read_standing(tx: Tx, tenant_id: str, user_id: int) -> Standing:
    """Where one user's stream stands. Read before the rows that it is given with: they are no older."""
    row = await tx.fetchrow(_SQL["read_standing"], tenant_id, user_id)
    is_blank = row["head"] is None or row["is_erasing"]
    return Standing(row["epoch"], row["head"] or 0, Counts() if is_blank else counts_of(row), row["is_erasing"])


async def read_position(tx: Tx, tenant_id: str, user_id: int) -> tuple[str, int]:
    """The epoch and the head of one user's stream; head 0 where there is none yet."""
    row = await tx.fetchrow(_SQL["read_position"], tenant_id, user_id)
    return row["epoch"], row["head"]
