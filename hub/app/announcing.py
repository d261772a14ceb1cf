"""What the broker is told after a commit: the events themselves, so that a live socket needs no read (law 3).

Each person's on a topic of theirs; what many were told alike is said once, for all of the tenant to hear.
Does not own the commit, nor who hears it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from hub.app.deps import Deps
from hub.core.changes import Changes, Inbox
from hub.core.event import Event, encode_hint
from hub.core.shared_hint import CROWD_MIN, encode_shared, share
from hub.core.topics import crowd_topic, user_topic

HINT_BYTES_MAX: Final = 64 * 1024
"""A session takes no more than this at once; the rest it reads from the log, which a hint need not repeat."""


class News(msgspec.Struct, frozen=True):
    """What the streams of one tenant grew by in one transaction: (user, events), each user once."""

    tenant_id: str
    epoch: str
    grown: list[tuple[int, list[Event]]]


def news_of(tenant_id: str, epoch: str, changes: Changes) -> News | None:
    """None where no stream grew."""
    grown = [(inbox.user_id, last_events(inbox)) for inbox in changes.inboxes.values() if inbox.events]
    return News(tenant_id, epoch, grown) if grown else None


def last_events(inbox: Inbox) -> list[Event]:
    """The end of what was appended, within `HINT_BYTES_MAX` but at least one: who misses the rest reads the log."""
    size = 0
    taken: list[Event] = []
    for _, event in reversed(inbox.events):
        size += len(event.tail)
        if taken and size > HINT_BYTES_MAX:
            break
        taken.append(event)
    return taken[::-1]


def messages_of(news: News, committed_at: float) -> list[tuple[str, bytes]]:
    """(topic, payload) of what is to be published; `committed_at` in seconds of this node's wall clock."""
    messages: list[tuple[str, bytes]] = []
    tenant_id, epoch = news.tenant_id, news.epoch
    alone: list[tuple[int, Event]] = []
    for user_id, events in news.grown:
        if len(events) == 1 and len(news.grown) >= CROWD_MIN:
            alone.append((user_id, events[0]))
        else:
            messages.append((user_topic(tenant_id, user_id), encode_hint(epoch, events, committed_at)))
    if alone:
        shared, others = share(epoch, committed_at, alone)
        messages += [(crowd_topic(tenant_id), encode_shared(hint)) for hint in shared]
        messages += [
            (user_topic(tenant_id, user_id), encode_hint(epoch, [event], committed_at)) for user_id, event in others
        ]
    return messages


async def announce_news(deps: Deps, news: News | None, said: Sequence[tuple[str, bytes]] = ()) -> None:
    """Hand all to the broker right after the commit, with its time, and count what it took."""
    if news is None and not said:
        return
    messages = list(said)
    if news is not None:
        messages += messages_of(news, deps.clock.now().timestamp())
    taken = await deps.broker.publish_many(messages)
    deps.hints.published += taken
    deps.hints.failed += len(messages) - taken
