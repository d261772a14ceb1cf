"""The client that desktops use: a person's live stream as `async for`, whatever becomes of the connection.

Joins a `Link` (one socket) to an `Intake` (the way to the app), comes back when
one is cut, and keeps the token fresh. Does not own what events mean
(`hub.client.inbox`), nor HTTP (`hub.client.rest`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from hub.client.acks import Acks
from hub.client.calls import Calls, Pending
from hub.client.errors import HubStopped, NoToken, NotSent
from hub.client.event import Item
from hub.client.handshake import open_socket, socket_url
from hub.client.intake import Intake
from hub.client.link import Link
from hub.client.place import Place
from hub.client.renewal import Renewal
from hub.client.returning import End, Stop, plan_return
from hub.client.state import Phase, State
from hub.client.timing import Backoff, Clock, LoopClock, pause
from hub.client.tokens import GetToken, Tokens
from hub.client.tuning import Tuning
from hub.client.wire import FORMATS, ClientFrame, EventFrame, EventsFrame, ServerFrame
from hub.core import frames
from hub.core.counts import Counts

_DEVICE_MAX: Final = 64
_SUBPROTOCOLS: Final = {"json": frames.JSON, "msgpack": frames.MSGPACK}


class HubClient:
    """One device's connection to the hub, for as long as the `async with` lasts.

        async with HubClient("https://hub.example", get_token=sign_in, place=Place.restore(kept)) as client:
            async for item in client:
                show(item)
                store(client.place.snapshot())

    Iterating hands out each event exactly once in this process, in the order in which it came; a `Reset` where
    the app must load afresh; a `RingAgain`. `place` has moved past an item when it is handed out, so a snapshot
    that is stored after the app is done with it makes it exactly once over restarts too, and at least once
    where the process died in between. An app that does not iterate makes the client stop reading: nothing is
    dropped, the hub keeps the rest. The iteration ends with `aclose`, and raises `HubStopped` where the client
    will not come back by itself.

    `url` is the hub's address, http(s) or ws(s). `get_token` is called for a first token, before one expires,
    and when one was refused; it raises `NoToken` where nobody is signed in. `on_state` is called on the loop
    with each new `State`. Not for use from other threads.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        get_token: GetToken | None = None,
        place: Place | None = None,
        device: str | None = None,
        can_ring: bool = False,
        format: Literal["json", "msgpack"] = "json",
        on_state: Callable[[State], None] | None = None,
        auto_ack: bool = True,
        tuning: Tuning | None = None,
        clock: Clock | None = None,
    ) -> None:
        if device is not None and len(device) > _DEVICE_MAX:
            raise ValueError(f"a device's label has {_DEVICE_MAX} characters at most")
        self.url = socket_url(url)
        self.place = place or Place()
        self.state = State(phase="connecting")
        self._tuning = tuning or Tuning()
        self._clock = clock or LoopClock()
        self._device = device
        self._can_ring = can_ring
        self._focused = False
        self._subprotocol = _SUBPROTOCOLS[format]
        self._on_state = on_state
        self._auto_ack = auto_ack
        self._tokens = Tokens(self._clock, token, get_token)
        self._backoff = Backoff(self._tuning.backoff_base_s, self._tuning.backoff_max_s, self._tuning.stable_s)
        self._acks = Acks(
            self._clock, self._tuning.ack_interval_s, self.place, lambda cursor: self._say(frames.Ack(cursor))
        )
        self._calls = Calls(self._clock, self._tuning.call_timeout_s, self._send_call)
        self._intake = Intake(
            self.place, self._tuning.items_max, on_taken=self._taken, is_awaited=lambda: self._calls.is_waiting
        )
        self._link: Link | None = None
        self._runner: asyncio.Task[None] | None = None
        self._wake_signal = asyncio.Event()
        self._renewal = Renewal(self._tokens, self._clock, lambda token: self._say(frames.Token(token)))
        self._catch_up = range(0)

    # -- for the app ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise RuntimeError("a client is entered once")
        self._runner = asyncio.create_task(self._run(), name="hub-client")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection and end the iteration; what was not taken comes again from `place`. Idempotent."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        self._intake.discard()
        self._intake.end()
        self._calls.end("the client was closed")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await self._intake.take()

    @property
    def counts(self) -> Counts | None:
        """The badge as of the items that were handed out; None before the first welcome."""
        return self.place.counts

    @property
    def head(self) -> int:
        """The highest number that the hub is known to have committed for this user."""
        return self._intake.head

    async def call(self, method: str, /, **params: Any) -> Any:
        """Do something, as `notifications.read` with `id=5`; waits for a connection, up to the call's timeout.

        Raises:
            CallError: the hub refused.
            CallLost: it was sent, and no answer came: it may have been done, or not.
            NotSent: it was not sent: no connection came in time, the client has stopped, or it is too large.
        """
        size = len(FORMATS[self._subprotocol].write(frames.Call("c" * 20, method, params)))
        if size > self._tuning.sent_bytes_max:
            raise NotSent(f"{method}: {size} bytes are more than the {self._tuning.sent_bytes_max} that the hub takes")
        if self.state.phase == "stopped":
            raise NotSent(f"{method}: {self.state.why}; it was not sent")
        self._intake.nudge()
        return await self._calls.perform(method, params)

    async def ack(self) -> None:
        """Say now that what was handed out is with the person; only needed with `auto_ack=False`."""
        self._acks.now()

    async def focus(self, focused: bool, *, can_ring: bool | None = None) -> None:
        """Say whether this device is in front of its person, and can ring; said again after each reconnect."""
        self._focused = focused
        if can_ring is not None:
            self._can_ring = can_ring
        self._say(frames.Focus(focused, can_ring))

    def retry_now(self) -> None:
        """Do not wait out the back-off: the network is back, or a person asked."""
        self._wake_signal.set()

    # -- coming and going ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            stop = await self._keep_connected()
        except Exception as exc:
            # A fault here, or in a callback of the app: whoever iterates must hear of it.
            self._calls.end("the client failed")
            self._intake.end(exc)
        else:
            self._calls.end(stop.why)
            self._intake.end(HubStopped(stop.why, stop.code))
            self._show(State(phase="stopped", why=stop.why, welcome=self.state.welcome))

    async def _keep_connected(self) -> Stop:
        while True:
            end = await self._connection()
            self._backoff.held(end.opened_s)
            plan = plan_return(end, can_renew=self._tokens.can_renew, retry_after_max_s=self._tuning.retry_after_max_s)
            if isinstance(plan, Stop):
                return plan
            if plan.needs_token:
                self._tokens.forget()
            delay_s = self._backoff.next(self._clock.unit())
            if plan.retry_after_s is not None:
                delay_s = plan.retry_after_s
            self._wake_signal.clear()
            self._show_phase("waiting", why=plan.why, retry_in_s=delay_s)
            await pause(self._clock, delay_s, self._wake_signal)

    async def _connection(self) -> End:
        """One attempt, from the token to the end of the connection."""
        self._show_phase("connecting", why=self.state.why)
        try:
            token = await self._tokens.current()
        except NoToken as exc:
            return End(reason=str(exc) or "nobody is signed in", is_final=True)
        except Exception as exc:
            # The app's coroutine may fail in any way; it is asked again.
            return End(reason=f"no token could be fetched: {exc or type(exc).__name__}")
        socket = await open_socket(self.url, token, self._subprotocol, self._tuning)
        if isinstance(socket, End):
            return socket
        wire = FORMATS[socket.subprotocol or frames.JSON]
        hello = frames.Hello(None, self._intake.heard.epoch, self._intake.heard.cursor, self._device, self._can_ring)
        try:
            return await Link(socket, wire, self._clock, self._tuning, self).run(hello)
        finally:
            self._link = None
            self._acks.closed()
            self._calls.closed()
            await self._renewal.closed()

    # -- what comes: the `Receiver` of a `Link` ------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        return self._intake.is_full

    @property
    def is_behind(self) -> bool:
        return self._intake.is_behind

    @property
    def news(self) -> int:
        return self._intake.news

    async def room(self) -> None:
        await self._intake.room()

    def receive(self, link: Link, frame: ServerFrame) -> None:
        """Take one frame of an open connection."""
        match frame:
            case EventFrame():
                self._intake.event(frame)
                self._progress()
            case EventsFrame():
                self._intake.events(frame)
                self._progress()
            case frames.Welcome():
                self._welcome(link, frame)
            case frames.Reset():
                self._intake.reset(frame)
                self._acks.opened(frame.epoch)
                self._catch_up = range(0)
                self._show_phase("live", why="the hub's history is another now")
            case frames.Heartbeat() | frames.Pong():
                self._intake.note_head(frame.head)
            case frames.Renewed():
                self._renewal.answered()
            case frames.Failed(id=None):
                self._renewal.refused()
            case frames.Result() | frames.Failed():
                self._calls.answered(frame)
            case frames.Bye():
                pass

    def _welcome(self, link: Link, frame: frames.Welcome) -> None:
        self._link = link
        self._intake.welcome(frame)
        self._acks.opened(frame.epoch)
        self._renewal.opened()
        if self._focused:
            link.say(frames.Focus(True))
        self._calls.opened()
        self._catch_up = range(frame.cursor, frame.head if frame.resume == "replay" else frame.cursor)
        self.state = msgspec.structs.replace(self.state, welcome=frame)
        self._progress()

    def _progress(self) -> None:
        """Show how far the replay has come; once it is through, only that it is live."""
        done = (self._intake.heard.cursor or 0) - self._catch_up.start
        total = len(self._catch_up)
        if done < total:
            self._show_phase("catching_up", done=done, total=total)
        elif self.state.phase != "live":
            self._show_phase("live")

    def _taken(self, is_burst_over: bool) -> None:
        if self._auto_ack:
            self._acks.taken(is_burst_over=is_burst_over)

    # -- what goes -----------------------------------------------------------------------------------------------------

    def _say(self, frame: ClientFrame) -> None:
        if self._link is not None:
            self._link.say(frame)

    def _send_call(self, pending: Pending) -> None:
        if self._link is not None:
            self._link.call(pending)

    def _show_phase(self, phase: Phase, **fields: Any) -> None:
        self._show(State(phase=phase, attempt=self._backoff.attempt, welcome=self.state.welcome, **fields))

    def _show(self, state: State) -> None:
        if state != self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(state)
