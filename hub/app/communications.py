"""Reading what was sent outside. Each reading is a row of the trail, in its own transaction: it shows content."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import require
from hub.app.errors import NotFound
from hub.app.unit import Outcome, Unit, perform
from hub.store import communications
from hub.store.communications import Asked, Message, OutsideChannel, Tally

T = TypeVar("T")


class MessagePage(msgspec.Struct):
    """One page, newest first. `total` only where it was asked for."""

    items: list[Message]
    total: int | None


class Rates(Tally, kw_only=True):
    """The same, with shares from 0 to 1: delivered and bounced of what was sent, the rest of what was delivered;
    null where that is none."""

    delivery_rate: float | None
    bounce_rate: float | None
    open_rate: float | None
    click_rate: float | None
    answer_rate: float | None


class Figures(msgspec.Struct):
    """`items` by channel and template; `by_channel` the same of all of a channel's."""

    items: list[Rates]
    by_channel: dict[str, Rates]


async def read_logs(deps: Deps, caller: Caller, asked: Asked, page: int, *, with_total: bool) -> MessagePage:
    """What is asked for, of which so many as a `page` are shown. Raises `Forbidden` but for an admin."""
    require(caller, ("admin",))

    async def work(unit: Unit) -> MessagePage:
        items = await communications.read_logs(unit.tx, unit.tenant_id, asked)
        total = await communications.count_logs(unit.tx, unit.tenant_id, asked) if with_total else None
        unit.audit(
            "communication_logs.read", "communication_log", None, user_id=asked.user_id, count=min(len(items), page)
        )
        return MessagePage(items, total)

    return _read(await perform(deps, caller, work))


async def read_log(deps: Deps, caller: Caller, log_id: int) -> Message:
    """Raises `Forbidden` but for an admin, `NotFound`."""
    require(caller, ("admin",))

    async def work(unit: Unit) -> Message:
        found = await communications.read_log(unit.tx, unit.tenant_id, log_id)
        if found is None:
            raise NotFound("There is no such message.")
        unit.audit("communication_logs.read", "communication_log", log_id, user_id=found.user_id, count=1)
        return found

    return _read(await perform(deps, caller, work))


async def read_figures(
    deps: Deps,
    caller: Caller,
    *,
    channels: tuple[OutsideChannel, ...] | None,
    since: datetime | None,
    until: datetime | None,
) -> Figures:
    """What became of it all, by channel and template. Raises `Forbidden` but for an admin."""
    require(caller, ("admin",))

    async def work(unit: Unit) -> Figures:
        tallies = await communications.read_stats(unit.tx, unit.tenant_id, channels, since, until)
        unit.audit("communication_logs.stats", "communication_log", None, count=len(tallies))
        return figures_of(tallies)

    return _read(await perform(deps, caller, work))


def _read(outcome: Outcome[T]) -> T:
    # Reading takes no idempotency key, so there is always a result.
    assert outcome.result is not None
    return outcome.result


def figures_of(tallies: Iterable[Tally]) -> Figures:
    """The tallies with their rates, and the same by channel."""
    by_channel: dict[str, Tally] = {}
    items: list[Rates] = []
    for tally in tallies:
        items.append(_with_rates(tally))
        known = by_channel.get(tally.channel)
        by_channel[tally.channel] = tally if known is None else _sum(known, tally)
    whole = {name: _with_rates(msgspec.structs.replace(one, template_id=None, template_name=None))
             for name, one in by_channel.items()}  # fmt: skip
    return Figures(items, whole)


def _sum(one: Tally, other: Tally) -> Tally:
    counts = ("messages", "sent", "delivered", "bounced", "failed", "opened", "clicked", "answered")
    return msgspec.structs.replace(one, **{name: getattr(one, name) + getattr(other, name) for name in counts})


def _with_rates(tally: Tally) -> Rates:
    return Rates(
        **msgspec.structs.asdict(tally),
        delivery_rate=_share(tally.delivered, tally.sent),
        bounce_rate=_share(tally.bounced, tally.sent),
        open_rate=_share(tally.opened, tally.delivered),
        click_rate=_share(tally.clicked, tally.delivered),
        answer_rate=_share(tally.answered, tally.delivered),
    )


def _share(part: int, whole: int) -> float | None:
    # A provider that reports openings but no deliveries has opened more than it delivered: that is all of it.
    return None if whole == 0 else round(min(part / whole, 1.0), 4)
