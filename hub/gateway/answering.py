"""What the frames of a client do, once they are read.

Owns the order of the phases: nothing before the hello, and what is said between it and the welcome waits. Does not
own what a call does (`calling`), nor who gets in (`entrance`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.core.closing import Close
from hub.core.frames import Ack, Call, ClientFrame, Failed, Focus, Hello, Ping, Pong, Token
from hub.gateway.calling import CallQueue
from hub.gateway.handshake import problem
from hub.gateway.phase import Phase

if TYPE_CHECKING:
    from hub.gateway.connection import Connection


def handle(connection: Connection, frame: ClientFrame, size: int) -> None:
    """Do what a frame that came in `size` bytes asks for."""
    match frame:
        case Hello() if connection.phase is Phase.HELLO:
            connection.phase = Phase.OPENING
            connection.node.spawn(connection.node.entrance.open(connection, frame))
        case _ if connection.phase is Phase.HELLO:
            connection.close(Close.BAD_FRAME, "the first frame is a hello")
        case Hello():
            connection.say(Failed(problem(409, "Already open", "a connection says hello once")))
        case _ if connection.phase is Phase.OPENING:
            _hold(connection, frame, size)
        case Ack():
            _acknowledge(connection, frame.cursor)
        case Ping():
            connection.say(Pong(frame.id, max(connection.session.head, connection.session.admitted_seq)))
        case Focus():
            _focus(connection, frame)
        case Call():
            if connection.calls is None:
                connection.calls = CallQueue(connection)
            connection.calls.add(frame, size)
        case Token():
            _renew(connection, frame)


def _hold(connection: Connection, frame: ClientFrame, size: int) -> None:
    # Answered after the welcome, for before it there is no head to tell and nobody to act for.
    held = connection.held = [] if connection.held is None else connection.held
    is_full = len(held) >= connection.limits.calls_waiting_max
    if is_full or (held and sum(of for _, of in held) + size > connection.limits.calls_bytes_max):
        call_id = frame.id if isinstance(frame, Call) else None
        connection.say(Failed(problem(429, "Too many requests", "too much was said before the welcome"), call_id))
    else:
        held.append((frame, size))


def _acknowledge(connection: Connection, cursor: int) -> None:
    # At most up to what this connection was sent.
    cursor = min(cursor, connection.session.cursor)
    if cursor > connection.acked_seq and connection.phase is Phase.OPEN:
        connection.acked_seq = cursor
        connection.node.acknowledged(connection, cursor)


def _focus(connection: Connection, focus: Focus) -> None:
    if focus.can_ring is not None:
        connection.can_ring = focus.can_ring
    if focus.focused:
        connection.focused_at = connection.node.clock.now().timestamp()
    connection.node.ringer.reconsider(connection.audience)


def _renew(connection: Connection, renewal: Token) -> None:
    # One at a time: of two that are looked at together the older could be the last to hold.
    if connection.is_renewing:
        connection.say(Failed(problem(429, "Too many requests", "another token is being looked at")))
        return
    connection.is_renewing = True

    def renewed(_: object) -> None:
        connection.is_renewing = False

    connection.node.spawn(connection.node.entrance.renew(connection, renewal.token)).add_done_callback(renewed)
