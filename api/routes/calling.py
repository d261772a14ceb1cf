"""Between a route and its use case: who calls, and how an outcome is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from api.route import Answer, Call
from hub.app.caller import Answer as Kept
from hub.app.caller import Caller, Once
from hub.app.unit import Outcome

T = TypeVar("T")
Render = Callable[[Any], Any]
"""From a use case's result to the body."""

_encode = msgspec.json.Encoder().encode


def caller_of(call: Call[Any, Any, Any], *, status: int = 200, render: Render | None = None) -> Caller:
    """The caller of a use case. With an `Idempotency-Key`, what is kept is `render` of the result, and `status`."""
    once: Once | None = None
    if call.idempotency is not None:
        body = render or _as_it_is
        once = Once(
            call.method,
            call.path,
            call.idempotency.key,
            call.idempotency.fingerprint,
            lambda result: Kept(status, _encode(body(result))),
        )
    return Caller(call.principal, call.request_id, call.address, once)


def answer_of(outcome: Outcome[Any], *, status: int = 200, render: Render | None = None) -> Answer:
    """What an outcome is answered by: the kept answer where there is one, so that both times the bytes are the same."""
    position = None if outcome.position is None else str(outcome.position)
    if outcome.answer is not None:
        kept = outcome.answer
        return Answer(kept.status, kept.body, position=position, is_replayed=outcome.repeated)
    if status == 204:
        return Answer(204, position=position)
    return Answer(status, (render or _as_it_is)(outcome.result), position=position)


def _as_it_is(result: Any) -> Any:
    return result
