"""A hub in one thread and no time: real Session, Outbox and client check, everything else simulated.

One seed is one history: writers that commit and (perhaps) publish, hints that are
lost, doubled, late and reordered, nodes that die, sockets that are slow or cut,
reads of the log that take time or fail, retention, and restores to an earlier
point. After it all faults stop, and the promises must hold.

The choices that the mutations break are methods of `Rules`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hub.client.place import Place
from hub.core.counts import Counts
from hub.core.event import CREATED, Event, Hint, lane_of
from hub.core.outbox import Outbox, cost
from hub.core.session import Limits, Session, State
from tests.sim.inbox import Inbox

LIMITS = Limits(window_max=1500, window_low=400, page_count_max=7, early_max=4, starve_max_s=8.0)
SOCKET_HIGH = 600
BATCH = 300
SWEEP_S = 2.0


class Broken(AssertionError):
    """A promise does not hold."""


class Rules:
    """What the hub and its clients do right; each mutation does one of these wrong."""

    attach_first = True
    publish_after_commit = True

    def session(self) -> Session:
        return Session(LIMITS)

    def place(self) -> Place:
        return Place()

    def lane(self, kind: str, priority: str) -> int:
        return lane_of(kind, priority)  # type: ignore[arg-type]


@dataclass
class Record:
    """A committed event, with what it means."""

    event: Event
    kind: str
    data: dict[str, Any]
    counts: Counts


@dataclass(eq=False)
class Stream:
    """The truth about the one user that all clients of a world are."""

    epoch: int = 1
    records: list[Record] = field(default_factory=list)
    kept_from: int = 1
    inbox: Inbox = field(default_factory=Inbox)
    phantom: int = 0

    @property
    def head(self) -> int:
        return len(self.records)


class Link:
    """One TCP connection: the server's session, and bytes on their way to the client."""

    def __init__(self, world: World, node: Node, client: Client) -> None:
        self.node = node
        self.client = client
        self.session = world.rules.session()
        self.is_open = True
        self.is_welcomed = False
        self.is_attached = False
        self.is_reading = False
        self.buffer: list[tuple[str, Any, int]] = []
        self.buffered = 0
        self.speed = world.rng.choice((0.001, 0.01, 0.05, 0.3))

    @property
    def is_writable(self) -> bool:
        return self.buffered < SOCKET_HIGH


@dataclass(eq=False)
class Node:
    """A process with connections; deaf while its subscription is dead."""

    is_alive: bool = True
    is_deaf: bool = False
    heard: tuple[int, int] = (0, 0)
    links: list[Link] = field(default_factory=list)


class Client:
    """A device: the one check, an inbox, and what it has been shown."""

    def __init__(self, world: World) -> None:
        self.place = world.rules.place()
        self.inbox = Inbox()
        self.shown: Counter[tuple[int, int]] = Counter()
        self.loaded_at: tuple[int, int] = (0, 0)
        self.link: Link | None = None


class World:
    """One history. `run` raises `Broken` where a promise is broken."""

    def __init__(self, seed: int, rules: Rules | None = None, *, steps: int = 120) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.rules = rules or Rules()
        self.steps = steps
        self.now = 0.0
        self.seen: Counter[str] = Counter()
        self.stream = Stream()
        self.nodes = [Node() for _ in range(self.rng.randint(1, 3))]
        self.clients = [Client(self) for _ in range(self.rng.randint(1, 3))]
        self.faults = True
        self._histories: list[tuple[int, list[Record]]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._ids = itertools.count(1)
        self.loss = self.rng.choice((0.0, 0.1, 0.5))
        self.fault_rate = self.rng.choice((0.02, 0.1, 0.25))

    # -- time --------------------------------------------------------------------------------------------------------

    def later(self, delay: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._serial), do))

    def run(self) -> World:
        for _ in range(self.steps):
            self.later(self.rng.uniform(0, 30.0), self.write)
            if self.rng.random() < self.fault_rate:
                self.later(self.rng.uniform(0, 30.0), self.fault)
        for client in self.clients:
            self.later(self.rng.uniform(0, 5.0), lambda client=client: self.connect(client))
        for node in self.nodes:
            self.later(self.rng.uniform(0, SWEEP_S), lambda node=node: self.sweep(node))
        self._until(32.0)
        self.faults = False
        for node in self.nodes:
            node.is_alive, node.is_deaf = True, False
        self._until(75.0)
        self.check()
        return self

    def _until(self, end: float) -> None:
        while self._queue and self._queue[0][0] <= end:
            self.now, _, do = heapq.heappop(self._queue)
            do()
        self.now = end

    # -- writers -----------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """One transaction of one to three events, then its hint; the writer may die on the way."""
        made = [self._make(offset) for offset in range(self.rng.choice((1, 1, 1, 2, 3)))]
        dies_before_commit = self.faults and self.rng.random() < 0.05
        if not self.rules.publish_after_commit:
            self._publish(made)
            self._roll_back_or_commit(made, dies=dies_before_commit)
            return
        if dies_before_commit:
            self.seen["writer died before its commit"] += 1
            return
        self._roll_back_or_commit(made, dies=False)
        if self.faults and self.rng.random() < 0.05:
            self.seen["writer died between commit and publish"] += 1
            return
        self._publish(made)

    def _roll_back_or_commit(self, made: list[Record], *, dies: bool) -> None:
        if dies:
            return
        for record in made:
            # Numbers and counts are the transaction's; they were computed on the same head.
            self.stream.records.append(record)
            self.stream.inbox.apply(record.kind, record.event.seq, record.data)

    def _make(self, offset: int) -> Record:
        stream, rng = self.stream, self.rng
        seq = stream.head + 1 + offset
        preview = stream.inbox
        known = sorted(preview.items)
        kind = rng.choices(
            (CREATED, "notification.updated", "notification.deleted", "notifications.read_all", "task.updated"),
            (60, 15, 8, 7, 10),
        )[0]
        if kind in ("notification.updated", "notification.deleted") and not known:
            kind = CREATED
        data: dict[str, Any]
        priority = rng.choices(("critical", "high", "normal", "low"), (10, 20, 50, 20))[0]
        if kind == CREATED:
            data = {"id": next(self._ids)}
        elif kind == "notifications.read_all":
            data = {"before_seq": rng.randint(0, seq - 1)}
        elif kind == "task.updated":
            data = {}
        else:
            data = {"id": rng.choice(known), "is_read": rng.random() < 0.7}
        # Any figures do, as long as each number has its own.
        counts = Counts(unread=seq, unseen=self.stream.epoch)
        tail = b"x" * rng.choice((20, 80, 200))
        event = Event(seq, self.rules.lane(kind, priority), kind == CREATED, tail)
        return Record(event, kind, data, counts)

    def _publish(self, made: list[Record]) -> None:
        hint = Hint(str(self.stream.epoch), [record.event for record in made])
        for node in self.nodes:
            if self.faults and self.rng.random() < self.loss:
                self.seen["hint lost"] += 1
                continue
            copies = 2 if self.faults and self.rng.random() < 0.1 else 1
            self.seen["hint doubled"] += copies - 1
            for _ in range(copies):
                delay = self.rng.choice((0.001, 0.01, 0.5, 3.0)) if self.faults else 0.001
                self.later(delay, lambda node=node: self._hear(node, hint))

    def _hear(self, node: Node, hint: Hint) -> None:
        if not node.is_alive or node.is_deaf:
            self.seen["hint to a deaf or dead node"] += 1
            return
        if int(hint.epoch) == self.stream.epoch:
            node.heard = max(node.heard, (int(hint.epoch), hint.events[-1].seq))
        for link in list(node.links):
            if not link.is_open or not link.is_attached:
                continue
            session = link.session
            self.seen[f"hint while {session.state.name}"] += 1
            if hint.epoch != session.epoch and session.state is not State.OPENING:
                self.seen["hint of another epoch"] += 1
            if session.is_reading:
                self.seen["hint while reading"] += 1
            if session.state is State.LIVE:
                first, last = hint.events[0].seq, hint.events[-1].seq
                self.seen["hint all known"] += last <= session.admitted_seq
                self.seen["hint after a gap"] += first > session.admitted_seq + 1
            alone = hint.events[0] if len(hint.events) == 1 else None
            if alone is not None and link.is_writable and session.pass_by(hint.epoch, alone):
                self.seen["hint passed by"] += 1
                self._send(link, "event", (session.epoch, alone, alone.seq), cost(alone))
            else:
                session.hint(hint, self.now)
            self.flush(link)

    # -- connections -------------------------------------------------------------------------------------------------

    def connect(self, client: Client) -> None:
        alive = [node for node in self.nodes if node.is_alive]
        if not alive:
            self.later(0.5, lambda: self.connect(client))
            return
        node = self.rng.choice(alive)
        link = Link(self, node, client)
        client.link = link
        node.links.append(link)
        if client.place.had:
            self.seen["reconnected with a hole above the cursor"] += 1
        if self.rules.attach_first:
            link.is_attached = True
            self.later(self._delay(), lambda: self._open(link))
        else:
            self.later(self._delay(), lambda: self._open(link))

    def _delay(self) -> float:
        return self.rng.choice((0.001, 0.02, 0.3)) if self.faults else 0.001

    def _open(self, link: Link) -> None:
        """`begin_read`, a snapshot a while later, and the answer a while after that."""
        if not link.is_open:
            return
        link.session.begin_read()

        def snapshot() -> None:
            stream, cursor = self.stream, link.client.place.cursor
            head, kept, epoch = stream.head, stream.kept_from, str(stream.epoch)
            resumable = cursor is not None and (cursor == head or (cursor < head and cursor + 1 >= kept))
            inbox = stream.inbox.copy()
            self.later(self._delay(), lambda: answer(head, epoch, inbox, resumable=resumable))

        def answer(head: int, epoch: str, inbox: Inbox, *, resumable: bool) -> None:
            if not link.is_open:
                return
            place = link.client.place
            resume = link.session.open(epoch, head, resumable=resumable, client_epoch=place.epoch, cursor=place.cursor)
            self.seen[f"opened {resume}"] += 1
            if link.session.state is State.REPLAYING and resume != "replay":
                self.seen["heard more than was read while opening"] += 1
            link.is_attached = True
            link.is_welcomed = True
            start = link.session.cursor
            self._send(link, "welcome", (resume, epoch, start, inbox), 50)
            self.flush(link)

        self.later(self._delay(), snapshot)

    def cut(self, link: Link) -> None:
        """What was on its way is lost; the client comes back with what it has."""
        if not link.is_open:
            return
        link.is_open = False
        if link.buffer:
            self.seen["cut with frames on their way"] += 1
        if link.session.has_waiting:
            self.seen["cut with events waiting"] += 1
        link.session.close()
        link.node.links.remove(link)
        link.client.link = None
        self.later(self._delay(), lambda: self.connect(link.client))

    def _send(self, link: Link, what: str, content: Any, size: int) -> None:
        link.buffer.append((what, content, size))
        link.buffered += size
        if len(link.buffer) == 1:
            self.later(link.speed, lambda: self._deliver(link))

    def _deliver(self, link: Link) -> None:
        if not link.is_open or not link.buffer:
            return
        what, content, size = link.buffer.pop(0)
        was_writable = link.is_writable
        link.buffered -= size
        self._receive(link.client, what, content)
        if link.buffer:
            self.later(link.speed if self.faults else 0.001, lambda: self._deliver(link))
        if not was_writable and link.is_writable:
            self.flush(link)

    def flush(self, link: Link) -> None:
        """As `hub.gateway.connection.Connection.flush`."""
        session = link.session
        if not link.is_welcomed or not link.is_open:
            return
        while link.is_writable and session.has_waiting:
            before = session.state
            taken = session.take(BATCH, self.now)
            if not taken:
                raise Broken("the outbox holds something that can never leave")
            if before is State.LAGGING and session.state is State.LIVE:
                self.seen["drained to live"] += 1
            if before is State.LAGGING and session.state is State.REPLAYING:
                self.seen["drained to replay"] += 1
            for event, cursor in taken:
                self.seen["sent ahead of the cursor"] += event.seq > cursor
                self._send(link, "event", (str(session.epoch), event, cursor), cost(event))
        if session.state is State.LAGGING:
            self.seen["lagging"] += 1
        self._check_bounds(link.node, session)
        if session.wants_page and not link.is_reading:
            link.is_reading = True
            self._read(link)

    def _check_bounds(self, node: Node, session: Session) -> None:
        outbox = session.outbox or Outbox()
        if outbox.bytes_waiting > LIMITS.window_max + 300:
            raise Broken(f"the window holds {outbox.bytes_waiting} bytes")
        early = outbox._early
        if early is not None and len(early) > LIMITS.early_max:
            raise Broken(f"{len(early)} early ones wait")
        if session.state is State.LIVE and session.admitted_seq < session.head:
            raise Broken("live below the known head")
        if session.state is State.LIVE and session.epoch == str(node.heard[0]) and session.admitted_seq < node.heard[1]:
            raise Broken(f"live at {session.admitted_seq}, though {node.heard[1]} was heard here")

    def _read(self, link: Link) -> None:
        session = link.session
        session.begin_read()
        after, bytes_max = session.admitted_seq, session.page_bytes_max

        def snapshot() -> None:
            stream = self.stream
            events: list[Event] = []
            size = 0
            for record in stream.records[max(after, stream.kept_from - 1) :][: session.page_count_max]:
                size += cost(record.event)
                if events and size > bytes_max:
                    break
                events.append(record.event)
            head, epoch = stream.head, str(stream.epoch)
            critical = [r.event for r in stream.records[after:] if r.event.lane == 0][: LIMITS.early_max]
            self.later(self._delay(), lambda: answer(epoch, head, events, critical))

        def answer(epoch: str, head: int, events: list[Event], critical: list[Event]) -> None:
            link.is_reading = False
            if not link.is_open:
                return
            if self.faults and self.rng.random() < 0.05:
                self.seen["read failed"] += 1
                session.read_failed()
                self.later(0.5, lambda: self.flush(link))
                return
            if session.page(epoch, head, events, self.now):
                if events and session.head > session.admitted_seq and session.state is State.REPLAYING:
                    self.seen["page outrun by a hint or the head"] += 1
                if session.state is not State.LIVE:
                    session.offer_early(critical)
                self.flush(link)
                return
            self.seen["reset: another epoch" if epoch != session.epoch else "reset: a hole"] += 1
            session.begin_read()
            self.later(self._delay(), restart)

        def restart() -> None:
            if not link.is_open:
                return
            stream = self.stream
            session.restart(str(stream.epoch), stream.head)
            self._send(link, "welcome", ("reset", session.epoch, stream.head, stream.inbox.copy()), 50)
            self.flush(link)

        self.later(self._delay(), snapshot)

    def sweep(self, node: Node) -> None:
        self.later(SWEEP_S, lambda: self.sweep(node))
        if not node.is_alive or (self.faults and self.rng.random() < 0.1):
            return
        live = [link for link in node.links if link.is_open and link.session.state is State.LIVE]
        if not live:
            return
        told = min(link.session.admitted_seq for link in live)

        def answer(head: int, epoch: str) -> None:
            for link in list(node.links):
                session = link.session
                if not link.is_welcomed or not link.is_open:
                    continue
                was_live = session.state is State.LIVE
                if session.epoch != epoch or head < told:
                    session.suspect()
                elif head != told:
                    session.note_head(head)
                if was_live and session.state is not State.LIVE:
                    self.seen["sweep repaired"] += 1
                self.flush(link)

        def snapshot() -> None:
            head, epoch = self.stream.head, str(self.stream.epoch)
            self.later(self._delay(), lambda: answer(head, epoch))

        self.later(self._delay(), snapshot)

    # -- the client --------------------------------------------------------------------------------------------------

    def _receive(self, client: Client, what: str, content: Any) -> None:
        if what == "welcome":
            resume, epoch, cursor, inbox = content
            if resume == "replay":
                client.place.advance(cursor)
                return
            client.place.reset(epoch, cursor, Counts(unread=cursor, unseen=int(epoch)))
            client.inbox = inbox.copy()
            client.loaded_at = (int(epoch), cursor)
            return
        epoch, event, cursor = content
        record = self._record(epoch, event.seq)
        if record is None or record.event is not event:
            raise Broken(f"sent {event.seq}, which was never committed")
        if not client.place.offer(event.seq, cursor, counts=record.counts):
            self.seen["client dropped what it had had"] += 1
            return
        key = (int(epoch), event.seq)
        client.shown[key] += 1
        if client.shown[key] > 1 and client.loaded_at[0] == int(epoch) and client.loaded_at[1] < event.seq:
            raise Broken(f"{event.seq} was shown twice")
        if record.kind != CREATED:
            missing = [
                seq
                for seq in range(client.loaded_at[1] + 1, event.seq)
                if client.loaded_at[0] == int(epoch) and (int(epoch), seq) not in client.shown
            ]
            if missing:
                raise Broken(f"{record.kind} {event.seq} overtook {missing}")
        client.inbox.apply(record.kind, event.seq, record.data)

    def _record(self, epoch: str, seq: int) -> Record | None:
        for old_epoch, records in [*self._histories, (self.stream.epoch, self.stream.records)]:
            if str(old_epoch) == epoch and seq <= len(records):
                return records[seq - 1]
        return None

    # -- faults ------------------------------------------------------------------------------------------------------

    def fault(self) -> None:
        if not self.faults:
            return
        self.rng.choice((self._cut_one, self._cut_one, self._kill, self._deafen, self._retire, self._restore))()

    def _cut_one(self) -> None:
        links = [client.link for client in self.clients if client.link is not None]
        if links:
            self.cut(self.rng.choice(links))

    def _kill(self) -> None:
        node = self.rng.choice(self.nodes)
        if not node.is_alive:
            return
        node.is_alive = False
        self.seen["node died"] += 1
        for link in list(node.links):
            self.cut(link)

        def revive() -> None:
            node.is_alive = True

        self.later(self.rng.uniform(0.1, 5.0), revive)

    def _deafen(self) -> None:
        node = self.rng.choice(self.nodes)
        node.is_deaf = True
        self.seen["subscription died"] += 1

        def hear() -> None:
            node.is_deaf = False

        self.later(self.rng.uniform(0.5, 6.0), hear)

    def _retire(self) -> None:
        if self.rng.random() < 0.3:
            self.stream.kept_from = self.rng.randint(self.stream.kept_from, self.stream.head + 1)
            self.seen["retention"] += 1

    def _restore(self) -> None:
        """PostgreSQL comes back as it was a while ago: another history begins."""
        if self.rng.random() > 0.15:
            return
        stream = self.stream
        self._histories = [*self._histories, (stream.epoch, list(stream.records))]
        stream.epoch += 1
        del stream.records[self.rng.randint(0, stream.head) :]
        stream.kept_from = min(stream.kept_from, stream.head + 1)
        stream.inbox = Inbox()
        for record in stream.records:
            stream.inbox.apply(record.kind, record.event.seq, record.data)
        self.seen["restored to an earlier point"] += 1

    # -- the end -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Nothing lost, nothing twice, everyone in step, now that the faults have stopped."""
        stream = self.stream
        for number, client in enumerate(self.clients):
            if client.link is None or client.link.session.state is not State.LIVE:
                raise Broken(f"client {number} is not live in the end")
            if client.place.cursor != stream.head:
                raise Broken(f"client {number} stands at {client.place.cursor}, the head is {stream.head}")
            epoch, start = client.loaded_at
            if epoch != stream.epoch:
                raise Broken(f"client {number} trusts a history that did not happen")
            lost = [seq for seq in range(start + 1, stream.head + 1) if (epoch, seq) not in client.shown]
            if lost:
                raise Broken(f"client {number} lost {lost}")
            if client.inbox != stream.inbox:
                raise Broken(f"client {number} shows another inbox than PostgreSQL has")
            counts = client.place.counts
            if counts is None or counts.unread != stream.head:
                raise Broken(f"client {number} shows the counts {counts}, not those of {stream.head}")
