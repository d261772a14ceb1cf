"""Connections to PostgreSQL, and the transactions in which everything happens.

Owns how a transaction begins (as hub_serve, for one tenant, with its limits: all
of it transaction-local, so that nothing leaks through a pooler) and how it ends,
whatever became of the connection, the statement or the caller. Does not own any
statement of the domain, nor what is published after a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol
from weakref import WeakSet

import asyncpg
import msgspec

from hub.store.errors import Conflicted, DatabaseUnavailable, TransactionLost, judged

_log = logging.getLogger(__name__)

_ENTER: Final = """
SELECT set_config('role', 'hub_serve', true), set_config('hub.tenant_id', $1, true),
       set_config('statement_timeout', $2, true), set_config('lock_timeout', $3, true),
       set_config('idle_in_transaction_session_timeout', $4, true)
"""
_BEGIN_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_LISTING: Final = f"{_BEGIN_READING}; SET LOCAL plan_cache_mode = force_custom_plan"
_CONNECT_S: Final = 5.0
_ACQUIRE_S: Final = 5.0
"""A request that waited this long for a connection is better told to come again."""
_CLEAN_UP_S: Final = 1.0
"""What a rollback may take before the connection is thrown away instead."""
_ANSWER_SLACK_S: Final = 2.0
"""How much later than the server's own timeout the client gives up: then the server is not there any more."""

_DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class Tx(Protocol):
    """A connection within its transaction, as far as this room uses it: asyncpg's, typed.

    An error of a statement ends the transaction. Let it pass through, or wrap what may fail in `savepoint`.
    """

    async def execute(self, query: str, *args: Any) -> str: ...
    async def executemany(self, command: str, args: Sequence[Sequence[Any]]) -> None: ...
    async def fetch(self, query: str, *args: Any) -> list[Any]: ...
    async def fetchrow(self, query: str, *args: Any) -> Any: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...


class _Connection(asyncpg.Connection):
    """asyncpg's, which also knows whether a transaction has it."""

    is_taken = False

    def take(self, *, is_taken: bool) -> None:
        # A method, since the pool's proxy passes calls on, but no assignment.
        self.is_taken = is_taken


class PoolStatistics(msgspec.Struct, frozen=True):
    """`size` connections are open, `idle` of them free, `max` allowed, `waiting` callers want one."""

    size: int
    idle: int
    max: int
    waiting: int


class Database:
    """PostgreSQL as the hub uses it. Made without connecting, so that a node starts while PostgreSQL is away."""

    def __init__(
        self, pool: Any, connections: WeakSet[_Connection], *, acquire_s: float, limits: tuple[str, str, str]
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._acquire_s = acquire_s
        self._limits = limits
        self._waiting = 0
        self._is_closed = False
        self._endings: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        pool_max: int = 10,
        statement_cache: int = 100,
        statement_timeout_s: float = 5.0,
        lock_timeout_s: float = 4.0,
        idle_in_transaction_timeout_s: float = 2.0,
        acquire_s: float = _ACQUIRE_S,
    ) -> Database:
        """A pool of at most `pool_max` connections, each opened when it is first needed.

        `statement_cache` is 0 behind a transaction pooler. A process that is stopped within a
        transaction holds its locks for `idle_in_transaction_timeout_s`, then PostgreSQL ends it.
        """
        connections: WeakSet[_Connection] = WeakSet()

        async def prepare(connection: _Connection) -> None:
            connections.add(connection)
            await _prepare(connection)

        pool = await asyncpg.create_pool(
            url,
            connection_class=_Connection,
            min_size=0,
            max_size=pool_max,
            max_inactive_connection_lifetime=300,
            timeout=_CONNECT_S,
            command_timeout=statement_timeout_s + _ANSWER_SLACK_S,
            statement_cache_size=statement_cache,
            # Nothing outlives a transaction, so there is nothing to reset: this saves a round trip each.
            reset=_nothing_to_reset,
            init=prepare,
            server_settings={"application_name": "hub"},
        )
        limits = (_in_ms(statement_timeout_s), _in_ms(lock_timeout_s), _in_ms(idle_in_transaction_timeout_s))
        return cls(pool, connections, acquire_s=acquire_s, limits=limits)

    def transaction(self, tenant_id: str, *, lock_timeout_s: float | None = None) -> AbstractAsyncContextManager[Tx]:
        """A transaction (READ COMMITTED) that sees one tenant's rows and no others.

        `lock_timeout_s`: less patience than usual for a lock that another has.
        Leaving the block commits; leaving it by an exception, or by cancelling, rolls back. Either way the
        connection is free again, or thrown away. Cancelled while it commits, it may stand.

        Raises:
            DatabaseUnavailable: and its kinds; also for what a statement of the block met. Where
                `maybe_committed` is set, the commit's answer was lost.
            TransactionLost: the block swallowed the error of a statement.
        """
        if not tenant_id:
            raise ValueError("a transaction belongs to a tenant")
        limits = self._limits
        if lock_timeout_s is not None:
            limits = (limits[0], _in_ms(lock_timeout_s), limits[2])
        return self._transaction(tenant_id, limits=limits)

    def snapshot(self, tenant_id: str, *, plans_anew: bool = False) -> AbstractAsyncContextManager[Tx]:
        """The same for reading only, in which all statements see one instant: a position and the rows as of it.

        `plans_anew`: for lists, whose best plan depends on whose they are; a kept one takes all inboxes to be alike.
        """
        if not tenant_id:
            raise ValueError("a transaction belongs to a tenant")
        return self._transaction(tenant_id, _BEGIN_LISTING if plans_anew else _BEGIN_READING)

    def system(self) -> AbstractAsyncContextManager[Tx]:
        """A transaction of no tenant, which sees no rows: for the functions that span tenants. Raises likewise."""
        return self._transaction("")

    async def ping(self) -> None:
        """Return where PostgreSQL takes writes now and the schema is there. Raises `DatabaseUnavailable`."""
        try:
            async with self.system() as tx:
                await tx.fetchval("SELECT hub_epoch()")
        except asyncpg.PostgresError as error:
            raise DatabaseUnavailable(f"the schema is not there: {error}") from error

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(
            size=self._pool.get_size(),
            idle=self._pool.get_idle_size(),
            max=self._pool.get_max_size(),
            waiting=self._waiting,
        )

    async def close(self, grace_s: float = 5.0) -> None:
        """Wait up to `grace_s` seconds for what runs, then cut it off. Idempotent; cancelling cuts off at once."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            async with asyncio.timeout(grace_s):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()
        except asyncio.CancelledError:
            self._pool.terminate()
            raise

    @asynccontextmanager
    async def _transaction(
        self, tenant_id: str, begin: str = "BEGIN", *, limits: tuple[str, str, str] | None = None
    ) -> AsyncGenerator[Tx]:
        connection = await self._begin(tenant_id, begin, limits or self._limits)
        is_committing = False
        try:
            yield connection
            is_committing = True
            answer = await connection.execute("COMMIT")
        except BaseException as error:
            unavailable = judged(error, is_lost=_is_lost(connection))
            await self._in_peace(self._abandon(connection, error))
            if unavailable is None:
                raise
            # Only a conflict is known to have undone a commit that was under way.
            unavailable.maybe_committed = is_committing and not isinstance(unavailable, Conflicted)
            if unavailable is error:
                raise
            raise unavailable from error
        await self._in_peace(self._release(connection))
        if answer != "COMMIT":
            raise TransactionLost(f"the transaction had failed already: COMMIT was answered by {answer}")

    async def _begin(self, tenant_id: str, begin: str, limits: tuple[str, str, str]) -> Any:
        """A connection within a transaction that has been entered."""
        # One that died while it lay in the pool is found out here, where nothing has happened yet.
        for is_last in (False, True):
            connection = await self._acquire()
            try:
                await connection.execute(begin)
                await connection.fetchrow(_ENTER, tenant_id, *limits)
            except BaseException as error:
                is_lost = _is_lost(connection)
                await self._in_peace(self._abandon(connection, error))
                if is_lost and not is_last and isinstance(error, _DRIVER_ERRORS):
                    continue
                if isinstance(error, _DRIVER_ERRORS):
                    # Not even this is allowed: away, or not migrated, or a login that may not be hub_serve.
                    raise judged(error, is_lost=is_lost) or DatabaseUnavailable(
                        f"PostgreSQL does not let the hub serve: {error}"
                    ) from error
                raise
            return connection
        raise AssertionError("the last try returns or raises")

    async def _acquire(self) -> Any:
        if self._is_closed:
            raise DatabaseUnavailable("the pool is closed")
        self._waiting += 1
        try:
            connection = await self._pool.acquire(timeout=self._acquire_s)
        except TimeoutError as error:
            raise DatabaseUnavailable(f"no connection to PostgreSQL within {self._acquire_s:g} s") from error
        except _DRIVER_ERRORS as error:
            raise DatabaseUnavailable(f"no connection to PostgreSQL: {type(error).__name__}") from error
        finally:
            self._waiting -= 1
        connection.take(is_taken=True)
        return connection

    async def _in_peace(self, ending: Coroutine[Any, Any, None]) -> None:
        # In a task of its own, so that a caller who is cancelled (again) does not leave a transaction open.
        runner = asyncio.ensure_future(ending)
        self._endings.add(runner)
        runner.add_done_callback(self._endings.discard)
        await asyncio.shield(runner)

    async def _abandon(self, connection: Any, error: BaseException) -> None:
        if isinstance(error, TimeoutError):
            # The server's own timeout came first, were it there: the free ones lead to the same silence.
            connection.terminate()
            for other in list(self._connections):
                if not other.is_taken:
                    other.terminate()
        elif not _is_lost(connection):
            try:
                async with asyncio.timeout(_CLEAN_UP_S):
                    await connection.execute("ROLLBACK")
            except _DRIVER_ERRORS:
                connection.terminate()
        await self._release(connection)

    async def _release(self, connection: Any) -> None:
        try:
            if not _is_lost(connection):
                connection.take(is_taken=False)
            await self._pool.release(connection, timeout=_CLEAN_UP_S)
        except _DRIVER_ERRORS:
            # The pool has thrown it away by itself.
            _log.debug("a connection was not fit to be used again", exc_info=True)


def _is_lost(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back already
        return True


async def enter(tx: Tx, tenant_id: str) -> None:
    """From here on `tx` sees this tenant's rows: for one transaction that serves several in turn."""
    if not tenant_id:
        raise ValueError("a transaction belongs to a tenant")
    await tx.fetchval("SELECT set_config('hub.tenant_id', $1, true)", tenant_id)


@asynccontextmanager
async def savepoint(tx: Tx) -> AsyncGenerator[None]:
    """What fails within is undone, and the transaction lives on; the exception passes. May be nested."""
    await tx.execute("SAVEPOINT hub")
    try:
        yield
    except Exception:
        await tx.execute("ROLLBACK TO SAVEPOINT hub; RELEASE SAVEPOINT hub")
        raise
    await tx.execute("RELEASE SAVEPOINT hub")


def _in_ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


async def _nothing_to_reset(_connection: Any) -> None:
    pass


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_encode_jsonb, decoder=_decode_jsonb
    )
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=msgspec.json.encode, decoder=msgspec.json.decode
    )


def _encode_jsonb(value: Any) -> bytes:
    # The binary format of jsonb is its text after the number of the format.
    return b"\x01" + msgspec.json.encode(value)


def _decode_jsonb(value: bytes) -> Any:
    return msgspec.json.decode(value[1:])
