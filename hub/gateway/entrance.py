"""Who gets in, and for how long: hello, token, attaching, expiry, revocation.

Owns every wait between the first byte and the welcome, each with its end, so that
no connection stays half open; and what a token means once it is. Does not own
where a session stands, nor what it hears afterwards.

Keeps law 4: attached and heard, and only then read.
"""

from __future__ import annotations

import asyncio
import http
import logging
from typing import TYPE_CHECKING

from websockets.http11 import Request

from hub.core.closing import Close
from hub.core.frames import Failed, Hello, Renewed
from hub.core.log import LogUnavailable, StreamState
from hub.core.principal import Principal
from hub.core.topics import crowd_topic
from hub.gateway.expiry import Expiries
from hub.gateway.handshake import Refusal, problem, why_refused
from hub.gateway.phase import Phase
from hub.gateway.ports import Log, TokenRefused, Verifier
from hub.gateway.registry import Audience
from hub.gateway.together import Together

if TYPE_CHECKING:
    from hub.gateway.connection import Connection
    from hub.gateway.node import Node

_log = logging.getLogger("hub.gateway")
_NO_INBOX = "a service has no inbox, and so no socket"


class Entrance:
    """The way in of one node's connections, and what can throw them out again."""

    def __init__(self, node: Node, log: Log, verifier: Verifier) -> None:
        self._node = node
        self._log = log
        self._verifier = verifier
        # By deadline, since all have the same time.
        self._waiting: dict[Connection, float] = {}
        self._expiries = Expiries()
        limits = node.limits
        self._topics = Together(
            self._subscribe, node.spawn, calls_max=limits.subscribes_at_once, count_max=limits.opened_together_max
        )
        self._states = Together(
            self._read_states, node.spawn, calls_max=limits.replays_at_once, count_max=limits.opened_together_max
        )

    # -- before the hello --------------------------------------------------------------------------------------------

    def knock(self, connection: Connection, request: Request) -> None:
        """A handshake: look at where it goes and comes from, then at its token, where it brings one. Never raises."""
        try:
            refusal = why_refused(self._node, request)
        except Exception:
            # Raised from here it would reach uvicorn halfway between two protocols, and this one would never end.
            _log.exception("a handshake could not be looked at")
            refusal = Refusal(
                http.HTTPStatus.INTERNAL_SERVER_ERROR,
                problem(500, "Internal Server Error", "the hub failed to look at this handshake"),
            )
        if refusal is not None:
            self._node.statistics.handshakes_refused += 1
            connection.refuse(*refusal)
            return
        authorization = request.headers.get("Authorization")
        if authorization is None:
            connection.start(request)
        else:
            self.expect(connection)
            self._node.spawn(self._prove(connection, request, authorization))

    async def _prove(self, connection: Connection, request: Request, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise TokenRefused("the scheme is Bearer")
            connection.principal = await self._verifier.verify(token.strip())
        except TokenRefused as exc:
            self._node.statistics.handshakes_refused += 1
            connection.refuse(
                http.HTTPStatus.UNAUTHORIZED,
                problem(401, "Unauthorized", str(exc)),
                {"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        except LogUnavailable:
            connection.refuse(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                problem(503, "Unavailable", "the hub cannot reach its database"),
                {"Retry-After": "2"},
            )
        except Exception:
            connection.refuse(
                http.HTTPStatus.INTERNAL_SERVER_ERROR,
                problem(500, "Internal Server Error", "the hub failed to look at the token"),
            )
            raise
        else:
            connection.start(request)

    def expect(self, connection: Connection) -> None:
        """Its token is being looked at, or its handshake is done: the next step must come in time."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = self._node.clock.monotonic() + self._node.limits.hello_timeout_s

    # -- the hello ---------------------------------------------------------------------------------------------------

    async def open(self, connection: Connection, hello: Hello) -> None:
        """Prove who it is, attach, then read, then answer. Whatever fails closes the connection, with its reason."""
        self._waiting.pop(connection, None)
        try:
            async with asyncio.timeout(self._node.limits.opening_timeout_s):
                await self._open(connection, hello)
        except TokenRefused as exc:
            connection.close(Close.UNAUTHENTICATED, str(exc))
        except LogUnavailable:
            self._node.statistics.log_unavailable += 1
            connection.close(Close.UNAVAILABLE, "the hub cannot reach its database")
        except TimeoutError:
            connection.close(Close.UNAVAILABLE, "too many are opening at once, or the database is slow")
        except Exception:
            connection.close(Close.UNAVAILABLE, "the hub failed to open this connection")
            raise

    async def _open(self, connection: Connection, hello: Hello) -> None:
        if connection.principal is None:
            if hello.token is None:
                raise TokenRefused("no token came, neither in the handshake nor in the hello")
            connection.principal = await self._verifier.verify(hello.token)
        principal = connection.principal
        if principal.role == "service" or principal.user_id is None:
            connection.close(Close.FORBIDDEN, _NO_INBOX)
        elif self._node.is_draining:
            connection.close(Close.RESTARTING, "restarting")
        elif connection.phase is Phase.OPENING:
            await self._attach(connection, principal, principal.user_id, hello)

    async def _attach(self, connection: Connection, principal: Principal, user_id: int, hello: Hello) -> None:
        node = self._node
        connection.session_id = node.clock.token()
        connection.device = hello.device
        connection.can_ring = hello.can_ring
        connection.connected_at = node.clock.now().timestamp()
        audience = node.registry.add(connection, principal.tenant_id, user_id)
        connection.audience = audience
        self._evict(audience)
        self._expire(connection, principal)
        await self._heard(audience)
        # Law 4: attached and heard, and only then read.
        state = await self._states.ask((connection, hello.cursor))
        if connection.phase is not Phase.OPENING or state is None:
            return
        session = connection.session
        resume = session.open(
            state.epoch, state.head, resumable=state.resumable, client_epoch=hello.epoch, cursor=hello.cursor
        )
        connection.phase = Phase.OPEN
        node.opened(connection, audience, resume)
        connection.welcome(state, resume)

    async def _heard(self, audience: Audience) -> None:
        """Return once the user's topic, and their tenant's for crowds, reach this node, or cannot: then the sweep is
        what there is (law 3)."""
        if audience.is_heard:
            return
        if audience.subscribed is None:
            audience.subscribed = self._topics.ask(audience)
        # Not `await subscribed`: who goes meanwhile must not end what others of this user wait for.
        await asyncio.wait([audience.subscribed])

    async def _subscribe(self, audiences: list[Audience]) -> list[None]:
        try:
            topics = [audience.topic for audience in audiences]
            topics += {crowd_topic(audience.tenant_id) for audience in audiences}
            await self._node.subscriptions.subscribe_many(topics)
        except Exception:
            _log.exception("topics could not be subscribed; the next one of each user tries again")
        else:
            for audience in audiences:
                audience.is_heard = True
        for audience in audiences:
            audience.subscribed = None
        return [None] * len(audiences)

    async def _read_states(self, asked: list[tuple[Connection, int | None]]) -> list[StreamState | None]:
        """The streams of those who have said hello; None for who has gone meanwhile."""
        # Bounded, though each of those who wait is too: they do not end what all of them wait for.
        async with asyncio.timeout(self._node.limits.opening_timeout_s), self._node.catch_up.replay_share:
            states: list[StreamState | None] = [None] * len(asked)
            places: list[int] = []
            streams: list[tuple[str, int, int | None]] = []
            for place, (connection, cursor) in enumerate(asked):
                audience = connection.audience
                if audience is not None and connection.phase is Phase.OPENING:
                    connection.session.begin_read()
                    places.append(place)
                    streams.append((audience.tenant_id, audience.user_id, cursor))
            if streams:
                for place, state in zip(places, await self._log.read_states(streams), strict=True):
                    states[place] = state
            return states

    def _evict(self, audience: Audience) -> None:
        while len(audience.connections) > self._node.limits.connections_per_user_max:
            audience.connections[0].close(
                Close.TOO_MANY_CONNECTIONS,
                f"more than {self._node.limits.connections_per_user_max} connections of one user: the oldest is closed",
            )

    def forget(self, connection: Connection) -> None:
        """The connection is over. Idempotent."""
        self._waiting.pop(connection, None)
        self._expiries.put(connection, None)

    # -- tokens ------------------------------------------------------------------------------------------------------

    async def renew(self, connection: Connection, token: str) -> None:
        """A new token for the same user on an open connection; any other closes it."""
        try:
            principal = await self._verifier.verify(token)
        except TokenRefused as exc:
            connection.close(Close.UNAUTHENTICATED, str(exc))
            return
        except LogUnavailable:
            connection.say(Failed(problem(503, "Unavailable", "the hub cannot reach its database")))
            return
        except Exception:
            _log.exception("a token could not be looked at")
            connection.say(Failed(problem(500, "Internal Server Error", "the hub failed to look at the token")))
            return
        old = connection.principal
        if connection.phase is not Phase.OPEN or old is None:
            return
        if principal.role == "service":
            connection.close(Close.FORBIDDEN, _NO_INBOX)
        elif (principal.tenant_id, principal.user_id) != (old.tenant_id, old.user_id):
            connection.close(Close.FORBIDDEN, "the new token is of another user")
        else:
            connection.principal = principal
            self._expire(connection, principal)
            self._node.presence.role_changed(connection)
            connection.say(Renewed(principal.expires_at))

    def revoke(self, tenant_id: str, user_id: int, revoked_at: float) -> None:
        """Close this user's sockets whose tokens were issued no later than `revoked_at` (seconds, wall clock)."""
        audience = self._node.registry.of(tenant_id, user_id)
        # Those too whose token came with the handshake, and who have not said hello.
        for connection in [*(audience.connections if audience else ()), *self._waiting]:
            principal = connection.principal
            if principal is None or (principal.tenant_id, principal.user_id) != (tenant_id, user_id):
                continue
            if principal.issued_at is None or principal.issued_at.timestamp() <= revoked_at:
                connection.close(Close.FORBIDDEN, "the token was revoked")

    def _expire(self, connection: Connection, principal: Principal) -> None:
        expires_at = principal.expires_at
        self._expiries.put(connection, None if expires_at is None else expires_at.timestamp())

    # -- the clock ---------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Close those whose time is over."""
        now = self._node.clock.monotonic()
        late: list[Connection] = []
        for connection, deadline in self._waiting.items():
            if deadline > now:
                break
            late.append(connection)
        for connection in late:
            connection.close(Close.TIMED_OUT, f"no hello within {self._node.limits.hello_timeout_s:g} s")
        for connection in self._expiries.due(self._node.clock.now().timestamp()):
            connection.close(Close.UNAUTHENTICATED, "the token has expired")
