"""Why PostgreSQL did not do what it was asked, as far as a caller can act on it.

Owns the names and the judgement of an asyncpg error. What a statement breaks
(a unique key, a check) is not here: it passes through as asyncpg raised it.
"""

from __future__ import annotations

import asyncpg

from hub.core.log import LogUnavailable


class DatabaseUnavailable(LogUnavailable):
    """PostgreSQL cannot be reached, or cannot do this now. Try again later.

    `maybe_committed`: the connection was lost while it committed, so that what
    was written may stand. Repeat it with its idempotency key.
    """

    def __init__(self, message: str, *, maybe_committed: bool = False) -> None:
        super().__init__(message)
        self.maybe_committed = maybe_committed


class StatementTimedOut(DatabaseUnavailable):
    """A statement ran longer than the statement timeout; its transaction is rolled back."""


class LockTimedOut(DatabaseUnavailable):
    """A lock was not to be had within the lock timeout; the transaction is rolled back."""


class Conflicted(DatabaseUnavailable):
    """PostgreSQL chose this transaction to end a deadlock or a write conflict; it is rolled back."""


class TransactionLost(Exception):
    """The body caught a statement's error and went on, though PostgreSQL had rolled back: a fault of the caller."""


# SQLSTATE classes and codes, from appendix A of PostgreSQL's manual.
_AWAY = ("08", "53", "57P", "58")
"""Connection, resources (disk, memory, connections), operator intervention, system error."""
_AWAY_EXACTLY = frozenset({"25006", "25P03", "25P04"})
"""A standby; a transaction idle or open for too long, which the server has ended."""


def judged(error: BaseException, *, is_lost: bool = False) -> DatabaseUnavailable | None:
    """What `error` means to a caller, or None where it is no matter of PostgreSQL's availability.

    `is_lost` says that the connection is closed, which makes an `InterfaceError` or an `OSError`
    a loss rather than a fault of the code that used it.
    """
    match error:
        case DatabaseUnavailable():
            return error
        case asyncpg.InvalidCachedStatementError() | asyncpg.OutdatedSchemaCacheError():
            return Conflicted("a migration changed the schema under a running transaction")
        case asyncpg.PostgresError():
            return _of_state(error)
        case TimeoutError():
            return DatabaseUnavailable("PostgreSQL did not answer in time")
        case OSError() | asyncpg.InterfaceError() | asyncpg.InternalClientError() if is_lost:
            return DatabaseUnavailable(f"the connection to PostgreSQL was lost: {type(error).__name__}")
        case _:
            return None


def _of_state(error: asyncpg.PostgresError) -> DatabaseUnavailable | None:
    state = str(getattr(error, "sqlstate", None) or "")
    match state:
        case "57014":
            return StatementTimedOut("a statement was cancelled by its timeout")
        case "55P03":
            return LockTimedOut("a lock was not to be had in time")
        case "40P01" | "40001":
            return Conflicted("the transaction was chosen to end a conflict")
        case _ if state.startswith(_AWAY) or state in _AWAY_EXACTLY:
            return DatabaseUnavailable(f"PostgreSQL answered {type(error).__name__}")
        case _:
            return None
