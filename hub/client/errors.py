"""What can go wrong for an app that uses the client, named by what happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class HubStopped(Exception):
    """The client will not come back by itself. `code` is the hub's close code, or the status of its refusal."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class NoToken(Exception):
    """Raised by an app's `get_token` where there will be none: nobody is signed in. The client stops."""


class Refused(Exception):
    """The hub said no. `problem` is its RFC 9457 object; `status` is the HTTP status, or what it would have been."""

    def __init__(self, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.problem = problem
        self.retry_after_s = retry_after_s
        super().__init__("; ".join(self.sentences))

    @property
    def status(self) -> int:
        status = self.problem.get("status")
        return status if isinstance(status, int) else 0

    @property
    def sentences(self) -> list[str]:
        """One for each field that is wrong; where none is named, one for the whole."""
        errors = self.problem.get("errors")
        if isinstance(errors, list) and errors:
            return [f"{str(e.get('path', '$')).removeprefix('$.')}: {e.get('message')}" for e in errors]
        title, detail = self.problem.get("title"), self.problem.get("detail")
        return [f"{title}: {detail}" if title and detail else str(detail or title or "refused without a word")]


class CallError(Refused):
    """A call on the socket was refused; nothing was changed."""


class CallLost(Exception):
    """A call was sent and its answer never came: it may have been done, or not."""


class NotSent(Exception):
    """A call was not sent: it was not done."""


class Unreachable(Exception):
    """No answer of the hub over HTTP.

    `may_have_happened`: a write left and its answer did not come; repeat it with the same `Idempotency-Key`.
    """

    def __init__(self, why: str, *, may_have_happened: bool) -> None:
        super().__init__(why)
        self.may_have_happened = may_have_happened
