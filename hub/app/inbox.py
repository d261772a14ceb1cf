"""Looking: pages, one notification, its deliveries, figures, and why something would be told or not.

Reads take no lock. Each comes from one snapshot, the caller's position with the rows: a client that listens from
there on misses nothing, and sees nothing older than its page undone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Forbidden, NotFound
from hub.app.names import Signed, with_names
from hub.app.own import inbox_owner, is_known_to
from hub.app.unit import Outcome, Position, Unit
from hub.core.counts import Counts
from hub.core.creation import subject_of
from hub.core.notification import Channel, Draft, Row
from hub.core.verdict import Finding, Verdict, explain, simulate_go_at
from hub.store import deliveries, inbox_lists, notifications, people, streams
from hub.store.deliveries import Delivered
from hub.store.inbox_lists import Asked
from hub.store.pool import Tx


class Page(msgspec.Struct):
    """One page, newest first: at most as many as were asked for. `total` only where it was asked for."""

    items: list[Signed]
    total: int | None


class Figures(msgspec.Struct):
    """What `GET /notifications/stats` answers. `unread` by priority is the badge's own figure."""

    user_id: int
    total: int
    unread: Counts
    unread_by_type: dict[str, int]
    read_rate: float | None
    median_read_s: float | None


class Step(msgspec.Struct, frozen=True):
    """One time that it would be asked about."""

    at: datetime
    action: Literal["send", "hold", "drop"]
    rule: str
    until: datetime | None


class Explanation(msgspec.Struct):
    """Every rule in its order, which one decides, and when it would go (`goes_at`; None = never, as things are)."""

    verdict: Verdict
    rules: list[Finding]
    steps: list[Step]
    goes_at: datetime | None


async def list_notifications(deps: Deps, caller: Caller, asked: Asked, *, with_total: bool) -> Outcome[Page]:
    """One page of one's own history. Raises `Forbidden` for a service, which has none."""
    user_id = inbox_owner(caller)
    async with deps.database.snapshot(caller.tenant_id, plans_anew=True) as tx:
        standing = await streams.read_standing(tx, caller.tenant_id, user_id)
        if standing.is_erasing:
            return Outcome(Page([], 0 if with_total else None), None, Position(standing.epoch, standing.head))
        rows = await inbox_lists.read_page(tx, caller.tenant_id, user_id, asked)
        total = await inbox_lists.count_all(tx, caller.tenant_id, user_id, asked) if with_total else None
        items = await with_names(tx, caller.tenant_id, Signed, rows)
    return Outcome(Page(items, total), None, Position(standing.epoch, standing.head))


async def list_unread(deps: Deps, caller: Caller, asked: Asked, *, with_total: bool) -> Outcome[Page]:
    """One page of what the badge counts as unread; `total` is the badge's figure."""
    user_id = inbox_owner(caller)
    async with deps.database.snapshot(caller.tenant_id, plans_anew=True) as tx:
        standing = await streams.read_standing(tx, caller.tenant_id, user_id)
        is_blank = standing.is_erasing
        rows = [] if is_blank else await inbox_lists.read_page(tx, caller.tenant_id, user_id, asked)
        items = await with_names(tx, caller.tenant_id, Signed, rows)
    total = standing.counts.unread if with_total else None
    return Outcome(Page(items, total), None, Position(standing.epoch, standing.head))


async def read_notification(deps: Deps, caller: Caller, notification_id: int) -> Outcome[Signed]:
    """One that the caller may know of: their own, or one that they created. Raises `NotFound`."""
    async with deps.database.snapshot(caller.tenant_id) as tx:
        position = await Unit(tx, caller).position()
        row = await _known_row(tx, caller, notification_id)
        items = await with_names(tx, caller.tenant_id, Signed, [row])
    return Outcome(items[0], None, position)


async def read_delivery(deps: Deps, caller: Caller, notification_id: int) -> list[Delivered]:
    """Every channel's plan, attempts and outcome, of one that the caller may know of. Raises `NotFound`."""
    async with deps.database.snapshot(caller.tenant_id) as tx:
        await _known_row(tx, caller, notification_id)
        return await deliveries.read_delivery(tx, caller.tenant_id, notification_id)


async def read_figures(deps: Deps, caller: Caller, user_id: int | None) -> Outcome[Figures]:
    """One's own inbox in figures, or, for a supervisor, anyone's. Raises `Forbidden`."""
    if user_id is not None and user_id != caller.principal.user_id:
        if caller.principal.role not in ("supervisor", "admin"):
            raise Forbidden("Only a supervisor sees the figures of others.")
        owner = user_id
    else:
        owner = inbox_owner(caller)
    async with deps.database.snapshot(caller.tenant_id, plans_anew=True) as tx:
        position = await Unit(tx, caller).position()
        standing = await streams.read_standing(tx, caller.tenant_id, owner)
        if standing.is_erasing:
            return Outcome(Figures(owner, 0, standing.counts, {}, None, None), None, position)
        stats = await notifications.read_stats(tx, caller.tenant_id, owner)
    rate = stats.read / stats.total if stats.total else None
    figures = Figures(owner, stats.total, standing.counts, stats.unread_by_type, rate, stats.median_read_s)
    return Outcome(figures, None, position)


async def explain_for(deps: Deps, caller: Caller, draft: Draft, channel: Channel, at: datetime | None) -> Explanation:
    """What would become of `draft` on `channel` at an instant (by default now): nothing is sent.

    Raises:
        Forbidden: an agent asks for themselves only.
    """
    if caller.principal.role == "agent" and draft.user_id != caller.principal.user_id:
        raise Forbidden("An agent asks for themselves only.")
    async with deps.database.snapshot(caller.tenant_id) as tx:
        chosen = await people.read_preferences(tx, caller.tenant_id, draft.user_id)
        now = at.astimezone(UTC) if at is not None else await notifications.read_days_ago(tx, 0)
    subject = subject_of(draft, channel)
    journey = simulate_go_at(subject, chosen.in_force, now)
    return Explanation(
        verdict=journey.steps[0][1],
        rules=explain(subject, chosen.in_force, now),
        steps=[Step(when, verdict.action, verdict.rule, verdict.until) for when, verdict in journey.steps],
        goes_at=journey.goes_at,
    )


async def _known_row(tx: Tx, caller: Caller, notification_id: int) -> Row:
    row = await notifications.read_row(tx, caller.tenant_id, notification_id)
    if row is None or not is_known_to(caller, row):
        raise NotFound("There is no such notification.")
    return row
