"""Old inbox and event make the new inbox: what each kind does to the notifications that a client keeps.

Owns the rule that lets events come out of order: one changes only what was last
changed by a lower number. Does not own which events are new (`hub.client.place`).
Pure; states are never changed in place, so an app may keep an older one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from hub.client.event import Event
from hub.core.counts import Counts
from hub.core.priority import RANK

Row = Mapping[str, Any]
"""A notification as REST and events carry it."""

KEPT_MAX: Final = 10_000
"""Events kept for pages that are on their way: a load that takes longer than these begins again."""


class Kept(msgspec.Struct, frozen=True):
    """One notification, the number that last changed it, and when it went live.

    `live_seq` is the number with which it went live, None where REST or a later change brought the
    row: then it is only known to have been live by `live_by`.
    """

    row: Row
    seq: int
    live_seq: int | None
    live_by: int
    is_held: bool = False
    """Snoozed: outside the inbox and the counts until it comes live again."""


class InboxState(msgspec.Struct, frozen=True):
    """What a client keeps of its person's notifications.

    `is_stale`: an event said something that these rows are not enough to follow; load over REST again.
    `counts` are those of the highest number had. `preferences` are None until an event brought them.
    """

    items: Mapping[int, Kept] = {}
    counts: Counts = Counts()
    counts_seq: int = -1
    preferences: Row | None = None
    preferences_seq: int = -1
    is_stale: bool = False
    since: tuple[Event, ...] | None = None
    """Events since `begin_load`, for the rows that an older page brings."""

    @property
    def rows(self) -> list[Row]:
        """What is live, the latest first."""
        live = [kept for kept in self.items.values() if not kept.is_held]
        live.sort(key=lambda kept: (kept.live_by, kept.row["id"]), reverse=True)
        return [kept.row for kept in live]


def begin_load(state: InboxState | None = None) -> InboxState:
    """Before the first page is asked for: from here on events are kept, for rows older than they are."""
    return replace(state or InboxState(), since=(), is_stale=False)


def merge_page(state: InboxState, rows: Iterable[Row], seq: int) -> InboxState:
    """Take rows that REST brought as of `seq` (of `Hub-Position`); what changed since stays changed."""
    items = dict(state.items)
    for row in rows:
        known = items.get(row["id"])
        if known is None or known.seq <= seq:
            live_seq = known.live_seq if known else None
            items[row["id"]] = Kept(row, seq, live_seq, seq if live_seq is None else live_seq)
    merged = replace(state, items=items)
    for event in state.since or ():
        if event.seq is not None and event.seq > seq:
            merged = _apply(merged, event, event.seq)
    return merged


def end_load(state: InboxState, counts: Counts | None = None, seq: int = -1) -> InboxState:
    """After the last page. `counts` as of `seq`, where they were asked for."""
    return replace(_count(state, counts, seq), since=None)


def load(rows: Iterable[Row], seq: int, counts: Counts | None = None) -> InboxState:
    """An inbox that one answer of REST holds whole, as of `seq`."""
    return end_load(merge_page(begin_load(), rows, seq), counts, seq)


def reduce(state: InboxState, event: Event) -> InboxState:
    """The inbox after an event. Idempotent; events of one connection may come in the order they were sent."""
    if event.seq is None:
        return state
    if state.since is not None:
        if len(state.since) >= KEPT_MAX:
            state = replace(state, is_stale=True, since=())
        state = replace(state, since=(*(state.since or ()), event))
    return _apply(state, event, event.seq)


def count(state: InboxState, seq: int | None = None) -> Counts:
    """The badge by the rows themselves: equal to `counts` wherever all unread ones are loaded.

    With `seq`: as it was then. What went live later and has overtaken it was not there, or held.
    """
    counts = Counts()
    for kept in state.items.values():
        row = kept.row
        if not kept.is_held and (seq is None or kept.seq <= seq) and not row["is_archived"] and row["priority"] in RANK:
            counts = counts.changed(row["priority"], unread=not row["is_read"], unseen=not row["is_seen"])
    return counts


def _apply(state: InboxState, event: Event, seq: int) -> InboxState:
    reducer = _REDUCERS.get(event.kind)
    if reducer is not None:
        state = reducer(state, event, seq)
    return _count(state, event.counts, seq)


def _count(state: InboxState, counts: Counts | None, seq: int) -> InboxState:
    if counts is None or seq <= state.counts_seq:
        return state
    return replace(state, counts=counts, counts_seq=seq)


# -- one kind each -----------------------------------------------------------------------------------------------------


def _created(state: InboxState, event: Event, seq: int) -> InboxState:
    known = state.items.get(event.data["id"])
    if known is None or known.seq < seq:
        # `released` is of the event: a row of REST has no such field.
        now = Kept({key: value for key, value in event.data.items() if key != "released"}, seq, seq, seq)
    elif known.live_seq is None or known.live_seq < seq:
        # The row is newer already, but only this event tells when it went live.
        now = replace(known, live_seq=seq, live_by=seq)
    else:
        return state
    return replace(state, items={**state.items, event.data["id"]: now})


def _updated(state: InboxState, event: Event, seq: int) -> InboxState:
    known = state.items.get(event.data["id"])
    if known is not None and known.seq >= seq:
        return state
    # An update never makes a known one live anew; one that is not known went live by now.
    is_held = event.data.get("held_until") is not None
    is_untouched = not (event.data["is_read"] or event.data["is_seen"] or event.data["is_archived"])
    if not is_held and is_untouched and (known is None or known.is_held):
        # Quiet without end has no instant to show. A hold ends by `created`, or by its person's hand, which
        # leaves a mark. Of one that is not known here only the hub can tell whether it is held.
        is_held = True
        state = replace(state, is_stale=state.is_stale or known is None)
    live_seq, live_by = (known.live_seq, known.live_by) if known else (None, seq)
    kept = Kept(event.data, seq, live_seq, live_by, is_held)
    return replace(state, items={**state.items, event.data["id"]: kept})


def _gone(state: InboxState, event: Event, seq: int) -> InboxState:
    known = state.items.get(event.data["id"])
    if known is None or known.seq >= seq:
        return state
    return replace(state, items={key: kept for key, kept in state.items.items() if key != event.data["id"]})


def _read_all(state: InboxState, event: Event, seq: int) -> InboxState:
    at = msgspec.to_builtins(event.at)

    def read(row: Row) -> Row:
        if row["is_read"]:
            return row
        return {**row, "is_read": True, "is_seen": True, "read_at": at, "updated_at": at}

    return _all_live_by(state, event, seq, read)


def _seen(state: InboxState, event: Event, seq: int) -> InboxState:
    at = msgspec.to_builtins(event.at)

    def see(row: Row) -> Row:
        return row if row["is_seen"] else {**row, "is_seen": True, "updated_at": at}

    return _all_live_by(state, event, seq, see)


def _all_live_by(state: InboxState, event: Event, seq: int, change: Callable[[Row], Row]) -> InboxState:
    before_seq: int = event.data["before_seq"]
    items, is_stale = dict(state.items), state.is_stale
    for key, kept in state.items.items():
        if kept.seq >= seq or kept.is_held:
            continue
        changed = change(kept.row)
        if changed is kept.row:
            continue
        if kept.live_by <= before_seq:
            items[key] = replace(kept, row=changed, seq=seq)
        elif kept.live_seq is None:
            # It may have gone live before or after: only the hub can tell.
            is_stale = True
    return replace(state, items=items, is_stale=is_stale)


def _cleaned(state: InboxState, event: Event, seq: int) -> InboxState:
    before = _instant(event.data["created_before"])

    def is_old(kept: Kept) -> bool:
        return kept.seq < seq and not kept.is_held and _instant(kept.row["created_at"]) < before

    def without(which: Callable[[Kept], bool]) -> InboxState:
        return replace(state, items={key: kept for key, kept in state.items.items() if not which(kept)})

    dealt_with = without(lambda kept: is_old(kept) and (kept.row["is_read"] or kept.row["is_archived"]))
    if event.counts is None:
        # What is unread was spared: else the counts would have changed.
        return dealt_with
    all_old = without(is_old)
    for after in (dealt_with, all_old):
        if count(after, seq) == event.counts:
            return after
    return replace(all_old, is_stale=True)


def _erased(state: InboxState, _event: Event, seq: int) -> InboxState:
    state = replace(state, items={key: kept for key, kept in state.items.items() if kept.seq > seq})
    if seq > state.preferences_seq:
        state = replace(state, preferences=None, preferences_seq=seq)
    return _count(state, Counts(), seq)


def _preferences(state: InboxState, event: Event, seq: int) -> InboxState:
    if seq <= state.preferences_seq:
        return state
    return replace(state, preferences=event.data, preferences_seq=seq)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


_REDUCERS: Final[dict[str, Callable[[InboxState, Event, int], InboxState]]] = {
    "notification.created": _created,
    "notification.updated": _updated,
    "notification.deleted": _gone,
    "notification.expired": _gone,
    "notifications.read_all": _read_all,
    "notifications.seen": _seen,
    "notifications.cleaned": _cleaned,
    "inbox.erased": _erased,
    "preferences.updated": _preferences,
}
"""`quiet_hours.ended` brings counts only; kinds of tasks, and those that are not known, change nothing here."""
