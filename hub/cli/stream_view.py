"""How `hub tail` shows a stream: on a screen, as lines, or as JSON.

Owns the words for events and states. Whatever comes of a producer is made safe
first: a title must not be able to move the cursor of the terminal, or pose as
another line.
"""

from __future__ import annotations

import sys
import unicodedata
from types import TracebackType
from typing import Any, Final, Protocol, Self

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from hub import clock
from hub.client.event import Event, Item, Reset, RingAgain
from hub.client.state import State
from hub.core.counts import Counts

_STYLES: Final = {"critical": "bold white on red", "high": "bold yellow", "normal": "cyan", "low": "dim"}
_PHASE_STYLES: Final = {"live": "green", "catching_up": "cyan", "connecting": "yellow", "waiting": "yellow"}
_SHOWN_MAX: Final = 500
"""Characters of one text: a message of 4,000 would fill the screen."""


class View(Protocol):
    """What is shown, and where. Entered once, around all calls."""

    can_ring: bool

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def state(self, state: State) -> None: ...
    def item(self, item: Item, counts: Counts | None) -> None: ...


class _Plain:
    """A view that holds nothing open."""

    can_ring = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class JsonView(_Plain):
    """For scripts: items as JSON on stdout, each line written out at once; states in words on stderr."""

    def __init__(self) -> None:
        self._last = ""

    def state(self, state: State) -> None:
        self._last = _say_state(state, self._last)

    def item(self, item: Item, counts: Counts | None) -> None:
        kind = {Event: "event", Reset: "reset", RingAgain: "ring_again"}[type(item)]
        sys.stdout.buffer.write(msgspec.json.encode({"type": kind, **msgspec.structs.asdict(item)}) + b"\n")
        sys.stdout.buffer.flush()


class LinesView(_Plain):
    """For a pipe that a person reads: items as text on stdout, states on stderr."""

    def __init__(self) -> None:
        self._last = ""

    def state(self, state: State) -> None:
        self._last = _say_state(state, self._last)

    def item(self, item: Item, counts: Counts | None) -> None:
        sys.stdout.write(line_of(item, counts).plain + "\n")
        sys.stdout.flush()


class ScreenView:
    """For a terminal: items scroll, the last line is the connection."""

    can_ring = True

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._state = State(phase="connecting")
        self._since = 0.0
        self._counts: Counts | None = None
        # Drawn anew four times a second, so that the seconds to the next attempt count down.
        self._live = Live(console=self._console, get_renderable=self._status, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def state(self, state: State) -> None:
        self._state, self._since = state, clock.monotonic()
        if state.welcome is not None and state.phase in ("live", "catching_up"):
            self._counts = self._counts or state.welcome.counts
        self._live.refresh()

    def item(self, item: Item, counts: Counts | None) -> None:
        self._counts = counts or self._counts
        if isinstance(item, RingAgain) or (isinstance(item, Event) and item.ring):
            self._console.bell()
        self._console.print(line_of(item, counts), soft_wrap=True)

    def _status(self) -> Text:
        state = self._state
        left_s = None
        if state.retry_in_s is not None:
            left_s = max(state.retry_in_s - (clock.monotonic() - self._since), 0.0)
        text = Text("● " + words_of(state, left_s), style=_PHASE_STYLES.get(state.phase, "red"))
        if state.welcome is not None:
            text.append(f"  user {state.welcome.user_id} of {safe(state.welcome.tenant_id)}", style="dim")
        if self._counts is not None:
            text.append(f"  {self._counts.unread} unread, {self._counts.unseen} unseen", style="bold")
        return text


def words_of(state: State, left_s: float | None = None) -> str:
    """The connection in one clause. `left_s` is what remains of `retry_in_s`."""
    why = f" ({safe(state.why)})" if state.why else ""
    match state.phase:
        case "connecting":
            return f"connecting{why}"
        case "catching_up":
            return f"catching up {state.done} of {state.total}"
        case "live":
            return "live"
        case "waiting":
            left_s = state.retry_in_s if left_s is None else left_s
            return f"reconnecting in {left_s or 0:.1f} s{why}"
        case "stopped":
            return f"stopped{why}"


def line_of(item: Item, counts: Counts | None = None) -> Text:
    """One item as a line."""
    if isinstance(item, Reset):
        what = "from here on" if item.cause == "fresh" else "what was shown is no longer the whole: from here on"
        unread = f", {counts.unread} unread" if counts else ""
        return Text(f"-- {what} (after {item.cursor}{unread}) --", style="dim")
    if isinstance(item, RingAgain):
        return Text(f"ring again: nobody has answered {item.id if item.id is not None else item.seq}", style="bold red")
    data: dict[str, Any] = item.data if isinstance(item.data, dict) else {}
    at = item.at.astimezone().strftime("%H:%M:%S") if item.at else "--:--:--"
    text = Text(f"{at} ", style="dim")
    text.append(f"{item.seq if item.seq is not None else '-':>6} ", style="dim")
    text.append(f"{safe(item.priority):<8} ", style=_STYLES.get(item.priority, ""))
    text.append(_words_of_kind(item.kind, data))
    marks = [name for name in ("replayed", "released", "ring") if getattr(item, name)]
    if marks:
        text.append(f"  [{', '.join(marks)}]", style="dim")
    return text


def _words_of_kind(kind: str, data: dict[str, Any]) -> Text:
    number = f" {safe(data['id'])}" if "id" in data else ""
    if kind == "notification.created":
        text = Text(safe(data.get("title", "")), style="bold")
        text.append(f"  {safe(data.get('message', ''))}", style="not bold")
        return text.append(f"  ({safe(data.get('type', ''))}{number})", style="not bold dim")
    if kind == "notification.updated":
        marks = [mark for mark in ("is_read", "is_archived") if data.get(mark)]
        if data.get("held_until"):
            marks.append(f"held until {data['held_until']}")
        state = ", ".join(safe(mark).removeprefix("is_") for mark in marks) or "unread"
        return Text(f"{kind}{number}: {state}  {safe(data.get('title', ''))}")
    if "title" in data:
        return Text(f"{safe(kind)}{number}: {safe(data['title'])}")
    told = ", ".join(f"{safe(key)} {safe(value)}" for key, value in data.items() if key != "id")
    return Text(f"{safe(kind)}{number}" + (f": {told}" if told else ""))


def safe(value: Any) -> str:
    """Text for a terminal: without controls, escape sequences, line breaks, or overrides of the direction."""
    text = str(value)[:_SHOWN_MAX]
    return "".join(
        character if unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") and not _turns(character) else " "
        for character in text
    )


def _turns(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")


def _say_state(state: State, last: str) -> str:
    """On the error stream, once for each change of words; how far a replay has come is not worth a line each."""
    words = words_of(state) if state.phase != "catching_up" else f"catching up on {state.total}"
    # The end is told by the command itself.
    if words != last and state.phase != "stopped":
        sys.stderr.write(words + "\n")
        sys.stderr.flush()
    return words
