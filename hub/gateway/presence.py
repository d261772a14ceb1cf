"""Who of a tenant is connected, for those who ask to watch.

Each node says on the tenant's presence topic how many devices a user has there,
whenever that changes, and all of it when a node that has begun to watch asks. A
node that falls silent counts no more. Nothing is stored: while the broker is away
each node shows its own.

Owns the board and its gossip. Does not own who may watch beyond the role.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hub.core.presence import Online
from hub.core.topics import NODES, presence_topic
from hub.gateway.ports import CallFailed

if TYPE_CHECKING:
    from hub.gateway.connection import Connection
    from hub.gateway.node import Node
    from hub.gateway.registry import Audience

_WATCHERS = frozenset({"supervisor", "admin"})
_USERS_PER_MESSAGE = 1000
ANSWER_S: Final = 1.0
"""How long other nodes are waited for: one that lives answers within milliseconds."""
KEPT_S: Final = 60.0
"""How long a board that was read is kept up to date for the next who asks."""
ASK_MARK = b"P"
"""The first byte, on `NODES`, of a node's wish to hear all about the tenant that follows."""


class _Devices(msgspec.Struct, array_like=True):
    """These users have so many devices on this node. `is_all`: with what was said before, these are all."""

    node: str
    users: dict[int, int]
    is_all: bool = False


class PresenceChanged(msgspec.Struct, tag_field="type", tag="event"):
    """An event without a number: after a reconnect the watcher subscribes again."""

    kind: str
    data: dict[str, Any]
    priority: str = "low"


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Devices)


class _Board:
    """One tenant: devices by user and node, and who watches."""

    def __init__(self) -> None:
        self.devices: dict[int, dict[str, int]] = {}
        self.watchers: list[Connection] = []
        self.answered: set[str] = set()
        """Other nodes that have said all of theirs."""
        self.heard = asyncio.Event()
        """Set anew whenever a node has."""
        self.kept_until = 0.0
        """Without watchers it stays until then, so that who asks often does not begin anew each time."""

    def total(self, user_id: int) -> int:
        return sum(self.devices.get(user_id, {}).values())

    def put(self, user_id: int, node: str, devices: int) -> bool:
        """True where the user's total is another now."""
        before = self.total(user_id)
        by_node = self.devices.setdefault(user_id, {})
        if devices:
            by_node[node] = devices
        else:
            by_node.pop(node, None)
        if not by_node:
            del self.devices[user_id]
        return self.total(user_id) != before


class Presence:
    """The boards of those tenants that somebody on this node watches."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._boards: dict[str, _Board] = {}

    # -- watching ----------------------------------------------------------------------------------------------------

    async def subscribe(self, connection: Connection) -> dict[str, Any]:
        """Begin to watch; answers who is known to be online now, and `presence.changed` follows.

        Raises:
            CallFailed: 403, the role may not.
        """
        board = await self._board(self._tenant_of_watcher(connection))
        # Meanwhile it may have gone, or have got a token of another role.
        self._tenant_of_watcher(connection)
        if connection.audience is not None and connection not in board.watchers:
            board.watchers.append(connection)
        return {"items": [_shown(user_id, board.total(user_id)) for user_id in sorted(board.devices)]}

    async def _board(self, tenant_id: str) -> _Board:
        """The tenant's board, with this node's own; the others are asked where it is a new one."""
        board = self._boards.get(tenant_id)
        if board is None:
            board = self._boards[tenant_id] = _Board()
            # Not thrown away while its topic is being subscribed.
            board.kept_until = self._node.clock.monotonic() + KEPT_S
            for audience in self._node.registry:
                if audience.tenant_id == tenant_id:
                    board.put(audience.user_id, self._node.node_id, len(audience.connections))
            await self._node.subscriptions.subscribe(presence_topic(tenant_id))
            self._node.publish_soon(NODES, ASK_MARK + tenant_id.encode())
        return board

    async def read(self, tenant_id: str) -> Online:
        """Who is connected now, on all nodes, as far as they answer within `ANSWER_S`; never an error."""
        is_old = tenant_id in self._boards
        board = await self._board(tenant_id)
        board.kept_until = self._node.clock.monotonic() + KEPT_S
        if is_old and not self._is_complete(board):
            # A node that began after the board did has not been asked.
            self._node.publish_soon(NODES, ASK_MARK + tenant_id.encode())
        try:
            async with asyncio.timeout(ANSWER_S):
                while self._node.subscriptions.is_connected and not self._is_complete(board):
                    board.heard.clear()
                    await board.heard.wait()
        except TimeoutError:
            pass
        devices = {user_id: board.total(user_id) for user_id in sorted(board.devices)}
        nodes = 1 + len(board.answered & set(self._node.ringer.peers()))
        return Online(devices, nodes, self._node.subscriptions.is_connected and self._is_complete(board))

    def _is_complete(self, board: _Board) -> bool:
        return board.answered.issuperset(self._node.ringer.peers())

    def ask_again(self, node_id: str | None = None) -> None:
        """The broker is back, or this node is: what was said meanwhile was not heard."""
        for tenant_id, board in self._boards.items():
            if node_id is None:
                board.answered.clear()
            else:
                board.answered.discard(node_id)
            self._node.publish_soon(NODES, ASK_MARK + tenant_id.encode())

    async def unsubscribe(self, connection: Connection) -> dict[str, Any]:
        """Watch no more. Idempotent."""
        self._tenant_of_watcher(connection)
        self.forget(connection)
        return {}

    def forget(self, connection: Connection) -> None:
        """The connection is over, or has had enough."""
        connection.presence_missed = None
        if connection.principal is None:
            return
        tenant_id = connection.principal.tenant_id
        board = self._boards.get(tenant_id)
        if board is None or connection not in board.watchers:
            return
        board.watchers.remove(connection)
        self._drop_unused(tenant_id, board)

    def role_changed(self, connection: Connection) -> None:
        """A new token: who may no longer watch does not."""
        if connection.principal is not None and connection.principal.role not in _WATCHERS:
            self.forget(connection)

    def _drop_unused(self, tenant_id: str, board: _Board) -> None:
        if not board.watchers and board.kept_until <= self._node.clock.monotonic():
            del self._boards[tenant_id]
            self._node.spawn(self._leave(tenant_id))

    async def _leave(self, tenant_id: str) -> None:
        if tenant_id not in self._boards:
            await self._node.subscriptions.unsubscribe(presence_topic(tenant_id))

    def _tenant_of_watcher(self, connection: Connection) -> str:
        principal = connection.principal
        if principal is None or principal.role not in _WATCHERS:
            raise CallFailed(
                {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "presence is for supervisors"}
            )
        return principal.tenant_id

    # -- hearing -----------------------------------------------------------------------------------------------------

    def changed(self, audience: Audience) -> None:
        """The user has come, or gone, or has another number of devices on this node."""
        devices = len(audience.connections)
        self._put(audience.tenant_id, self._node.node_id, {audience.user_id: devices})
        if self._node.is_draining:
            # Everyone has heard that this node goes, and with it all of its devices.
            return
        self._node.publish_soon(
            presence_topic(audience.tenant_id), _encode(_Devices(self._node.node_id, {audience.user_id: devices}))
        )

    def heard(self, tenant_id: str, payload: bytes) -> None:
        """Another node spoke on the presence topic."""
        try:
            said = _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._node.statistics.hints_bad += 1
            return
        if said.node != self._node.node_id:
            self._node.ringer.noted(said.node)
            self._put(tenant_id, said.node, said.users)
            board = self._boards.get(tenant_id)
            if board is not None and said.is_all:
                board.answered.add(said.node)
                board.heard.set()

    def asked(self, payload: bytes) -> None:
        """A node has begun to watch a tenant: say all that this one has of it."""
        tenant_id = payload.removeprefix(ASK_MARK).decode(errors="replace")
        users = {a.user_id: len(a.connections) for a in self._node.registry if a.tenant_id == tenant_id}
        rows = sorted(users.items())
        # Said at once, in the order of all that is said: what changes from now on is heard after it, and the last
        # one is the last one heard. Who has nobody says so.
        for start in range(0, max(len(rows), 1), _USERS_PER_MESSAGE):
            end = start + _USERS_PER_MESSAGE
            said = _Devices(self._node.node_id, dict(rows[start:end]), is_all=end >= len(rows))
            self._node.publish_soon(presence_topic(tenant_id), _encode(said))

    def drop_silent_nodes(self, alive: set[str]) -> None:
        """Nodes that have not been heard count no more."""
        alive = alive | {self._node.node_id}
        for tenant_id, board in list(self._boards.items()):
            self._drop_unused(tenant_id, board)
            # One that comes back says all anew only when it is asked.
            board.answered &= alive
            silent = {node for by_node in board.devices.values() for node in by_node} - alive
            for node in silent:
                users = {user_id: 0 for user_id, by_node in board.devices.items() if node in by_node}
                self._put(tenant_id, node, users)

    def _put(self, tenant_id: str, node: str, users: dict[int, int]) -> None:
        board = self._boards.get(tenant_id)
        if board is None:
            return
        for user_id, devices in users.items():
            if board.put(user_id, node, devices):
                for watcher in board.watchers:
                    if watcher.is_writable:
                        watcher.say(_changed(user_id, board.total(user_id)))
                    elif watcher.presence_missed is None:
                        watcher.presence_missed = {user_id}
                    else:
                        # Bounded by the users of its tenant, whatever happens meanwhile.
                        watcher.presence_missed.add(user_id)

    def catch_up(self, connection: Connection) -> None:
        """A slow watcher reads again: tell it how those stand now that changed meanwhile."""
        if connection.principal is None or (board := self._boards.get(connection.principal.tenant_id)) is None:
            connection.presence_missed = None
            return
        while connection.presence_missed and connection.is_writable and connection.is_open:
            user_id = connection.presence_missed.pop()
            connection.say(_changed(user_id, board.total(user_id)))


def _changed(user_id: int, devices: int) -> PresenceChanged:
    return PresenceChanged("presence.changed", _shown(user_id, devices))


def _shown(user_id: int, devices: int) -> dict[str, Any]:
    return {"user_id": user_id, "online": devices > 0, "devices": devices}
