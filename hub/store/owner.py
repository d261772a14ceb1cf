"""A connection of the role that owns the tables: for migrations and retention, never for a request.

Owns its opening, and that nothing of it stays behind: no lock, and no statement
that goes on after its caller was cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from hub.store.errors import judged
from hub.store.pool import Tx

_CONNECT_S: Final = 10
_CLOSE_S: Final = 5


@asynccontextmanager
async def owning(url: str) -> AsyncGenerator[Tx]:
    """A connection with the rights of its login and no statement timeout, in no transaction.

    Leaving the block, or cancelling, stops the statement that runs and gives up every lock.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot be reached; also for what a statement of the block met.
    """
    connection: Any = None
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_S, statement_cache_size=0)
        await connection.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        unavailable = judged(error, is_lost=connection is None or connection.is_closed())
        if unavailable is None:
            raise
        raise unavailable from error
    finally:
        if connection is not None:
            await _close(connection)


async def _close(connection: Any) -> None:
    try:
        # Unlike `terminate`, this waits until a statement that was cancelled has stopped, and its locks are free.
        await connection.close(timeout=_CLOSE_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()


async def begin_epoch(url: str) -> None:
    """Replace the stored part of the epoch, so that no number given before is trusted again.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot be reached, or this login may not.
    """
    async with owning(url) as tx:
        await tx.execute(
            "UPDATE hub_meta SET epoch = replace(gen_random_uuid()::text, '-', ''), epoch_at = clock_timestamp()"
        )
