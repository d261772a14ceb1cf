"""Why a use case refuses, in the domain's words.

Owns the family that every caller of `hub.app` handles: `api` renders each as an
RFC 9457 problem, the gateway puts the same object into its `error` frames. Does
not own HTTP statuses, and no error here tells of a row that its caller may not
know of: that is `NotFound`, never `Forbidden`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Violation = tuple[str, str]
"""Where and what: a path such as `$.items[3].title`, and one sentence for its author."""


class AppError(Exception):
    """A use case refuses. Nothing of it was written. `detail` is one sentence for the caller."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(AppError):
    """There is no such row, or none that this caller may know of."""


class Forbidden(AppError):
    """A known thing that this caller may not do."""


class Conflict(AppError):
    """The state of the row does not allow it. `extra` are further members of the problem, such as `winner`."""

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.extra = extra


class Invalid(AppError):
    """The values are well-formed, but not acceptable. `errors` has every violation that was found, at least one."""

    def __init__(self, errors: Iterable[Violation], detail: str = "The request has invalid values.") -> None:
        super().__init__(detail)
        self.errors = list(errors)


class IdempotencyMismatch(AppError):
    """The key was used before with other bytes."""

    def __init__(self, detail: str = "This Idempotency-Key was used before with a different request.") -> None:
        super().__init__(detail)


class IdempotencyBusy(AppError):
    """The first request with this key still runs: ask again after `retry_after_s` seconds."""

    def __init__(
        self, retry_after_s: float = 1, detail: str = "A request with this Idempotency-Key is still running."
    ) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class PreconditionFailed(AppError):
    """The row has changed since the version that the caller named."""

    def __init__(self, detail: str = "The resource has changed since the version given in If-Match.") -> None:
        super().__init__(detail)


class Unavailable(AppError):
    """Something that this needs cannot be reached now. It may have happened: repeat it with its key."""

    def __init__(self, retry_after_s: float = 1, detail: str = "The hub cannot do this now.") -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
