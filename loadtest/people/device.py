"""A device that says what it sees to Locust: connecting, events, calls, and anything that is lost.

Keeps a client's place by the rules of `docs/protocol.md`: the highest number below which
nothing is missing, and those above it that came early. A frame whose `cursor` is not where
the device stands is a failure: something was lost, or said too soon.
"""

from __future__ import annotations

import itertools
import json
import time
from datetime import datetime
from typing import Any

import gevent
import websocket
from gevent.event import AsyncResult
from locust.env import Environment

_CONNECT_WITHIN_S = 30.0
_ANSWER_WITHIN_S = 30.0


class Refused(Exception):
    """A call was answered by a problem."""


class Device:
    """One WebSocket of one person. All methods are called from greenlets of one process."""

    def __init__(self, environment: Environment, host: str, token: str, *, token_in_hello: bool = False) -> None:
        self._environment = environment
        self._url = host.replace("http", "ws", 1).rstrip("/") + "/api/v1/ws"
        self._token = token
        self._token_in_hello = token_in_hello
        self._socket: websocket.WebSocket | None = None
        self._reader: gevent.Greenlet[..., Any] | None = None
        self._calls: dict[str, AsyncResult[dict[str, Any]]] = {}
        self._call_ids = itertools.count(1)
        self._early: set[int] = set()
        self.epoch: str | None = None
        self.cursor = 0
        self.unread: list[int] = []
        """Ids of notifications that came and are not known to be read, the newest last."""

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    # -- coming and going --------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, say hello with the place of before, and listen. A failure is told to Locust, not raised."""
        began = time.perf_counter()
        name = "handshake to welcome" if self.epoch is None else "handshake to welcome, resumed"
        connected: websocket.WebSocket | None = None
        try:
            header = [] if self._token_in_hello else [f"Authorization: Bearer {self._token}"]
            connected = websocket.create_connection(self._url, timeout=_CONNECT_WITHIN_S, header=header)
            connected.send(json.dumps(self._hello()))
            welcome = json.loads(connected.recv())
            self._take_welcome(welcome)
            connected.settimeout(None)
        except Exception as error:
            if connected is not None:
                connected.shutdown()
            self._tell(name, began, failure=error)
            return
        self._tell(name, began)
        self._socket = connected
        self._reader = gevent.spawn(self._listen, connected)

    def _hello(self) -> dict[str, Any]:
        hello: dict[str, Any] = {"type": "hello", "device": "load", "can_ring": True}
        if self._token_in_hello:
            hello["token"] = self._token
        if self.epoch is not None:
            hello |= {"epoch": self.epoch, "cursor": self.cursor}
        return hello

    def _take_welcome(self, welcome: dict[str, Any]) -> None:
        if welcome.get("type") != "welcome":
            raise Refused(f"instead of a welcome came {str(welcome)[:200]}")
        if self.epoch is not None and welcome["resume"] != "replay":
            raise Refused(f"no replay, but {welcome['resume']}, from {self.cursor} of {welcome['head']}")
        self._stand_at(welcome["epoch"], welcome["cursor"])

    def _stand_at(self, epoch: str, cursor: int) -> None:
        self.epoch, self.cursor = epoch, cursor
        self._early.clear()

    def cut(self) -> None:
        """Lose the network: no close is said. Idempotent."""
        gone, self._socket = self._socket, None
        if gone is not None:
            gone.shutdown()
        if self._reader is not None:
            self._reader.kill()
            self._reader = None
        for waiting in self._calls.values():
            waiting.set_exception(Refused("the socket was cut"))
        self._calls.clear()

    # -- what comes --------------------------------------------------------------------------------------------------

    def _listen(self, heard: websocket.WebSocket) -> None:
        began = time.perf_counter()
        try:
            while True:
                text = heard.recv()
                if not text:
                    raise Refused("the hub closed the socket")
                self._take(json.loads(text))
        except gevent.GreenletExit:
            raise
        except Exception as error:
            if self._socket is heard:
                self._socket = None
                self._tell("listening", began, failure=error)

    def _take(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "event":
                self._take_events([frame], frame["cursor"])
            case "events":
                self._take_events(frame["items"], frame["cursor"])
            case "reset":
                self._stand_at(frame["epoch"], frame["cursor"])
            case "result" | "error" if frame.get("id") in self._calls:
                self._calls.pop(frame["id"]).set(frame)
            case "error":
                self._tell("a frame of ours", time.perf_counter(), failure=Refused(str(frame["error"])))
            case _:
                pass

    def _take_events(self, items: list[dict[str, Any]], cursor: int) -> None:
        now = time.time()
        for item in items:
            is_new = [self._take_seq(seq) for seq in (*item.get("merged", ()), item["seq"])][-1]
            # One that comes again rings again, or was said twice: it is no news, and not late.
            if is_new:
                self._remember(item)
                late_ms = max(0.0, (now - datetime.fromisoformat(item["at"]).timestamp()) * 1000)
                self._fire("event, from its `at`", late_ms)
        if self.cursor != cursor:
            self._tell("events", time.perf_counter(), failure=Refused(f"a hole: {self.cursor}, where {cursor} is said"))
            self._stand_at(self.epoch or "", cursor)

    def _take_seq(self, seq: int) -> bool:
        """False where it was had before."""
        if seq <= self.cursor or seq in self._early:
            return False
        self._early.add(seq)
        while self.cursor + 1 in self._early:
            self.cursor += 1
            self._early.discard(self.cursor)
        return True

    def _remember(self, event: dict[str, Any]) -> None:
        if event["kind"] == "notification.created":
            self.unread = [*self.unread[-49:], event["data"]["id"]]

    # -- what is said ------------------------------------------------------------------------------------------------

    def ack(self) -> None:
        """Say up to where everything was shown."""
        self._send({"type": "ack", "cursor": self.cursor})

    def focus(self, *, focused: bool) -> None:
        self._send({"type": "focus", "focused": focused})

    def call(self, method: str, **params: Any) -> dict[str, Any] | None:
        """The answer's data; None where it failed, which Locust is told."""
        call_id, began = f"c{next(self._call_ids)}", time.perf_counter()
        waiting = self._calls[call_id] = AsyncResult()
        try:
            self._send({"type": "call", "id": call_id, "method": method, "params": params})
            frame = waiting.get(timeout=_ANSWER_WITHIN_S)
            if frame["type"] == "error":
                raise Refused(str(frame["error"]))
        except (Exception, gevent.Timeout) as error:
            self._calls.pop(call_id, None)
            # One that is cut, as the storm does, is no failure of the hub's.
            if self.is_connected:
                self._tell(f"call {method}", began, failure=error)
            return None
        self._tell(f"call {method}", began)
        return frame["data"]

    def _send(self, frame: dict[str, Any]) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(json.dumps(frame))
        except (OSError, websocket.WebSocketException):
            # The reader sees that it is gone, and says so.
            return

    def _tell(self, name: str, began: float, *, failure: BaseException | None = None) -> None:
        self._fire(name, (time.perf_counter() - began) * 1000, failure)

    def _fire(self, name: str, ms: float, failure: BaseException | None = None) -> None:
        self._environment.events.request.fire(
            request_type="WS", name=name, response_time=ms, response_length=0, exception=failure, context={}
        )
