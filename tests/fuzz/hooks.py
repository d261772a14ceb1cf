"""What schemathesis is told of the hub beyond the document; loaded by it, see `schemathesis.toml`.

Owns how a valid value of a form without a pattern is made, and which refusals of a request that fits its
schema are right: those that depend on what is stored, or that no schema says. Any other is a fault.
"""

from __future__ import annotations

import itertools
import os
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.core.failures import Failure
from schemathesis.generation.meta import TestPhase

from hub.core.wall_clock import zone_names

SELF: Final = int(os.environ.get("HUB_FUZZ_USER", "0"))
"""Whom the token is of: to revoke oneself would end the run at its beginning."""
ANYONE: Final = 424_242

IN_STATE: Final = {"/problems/precondition-failed", "/problems/idempotency-mismatch"}
"""What a header says of another call."""

BEYOND_SCHEMAS: Final = tuple(
    (re.compile(path), re.compile(message))
    for path, message in (
        (r"query\.cursor", "Must be the `next_cursor`"),
        (r"query\.offset", "Must not be given with `cursor`"),
        (r".*", r"^There is no (such (task|group)\b|active template)"),
        # schemathesis takes the quotes off a header's value.
        (r"header\.If-Match", "Must be a version in quotes"),
        # Rules between fields, and of how an instant stands to the clock or to another.
        (r".*", r"^Give (one of|either) "),
        (r".*", r"^Is needed where|^Are those of a `template`"),
        (r".*", r"go together|^Must be (after|in the future|before)"),
        (r".*", r"^Is locked"),
        # A template's own language.
        (r"\$(\.items\[\d+\])?\.(subject|body|variables)\b.*", r"."),
        (r".*\.(title|message)", r"^The template makes "),
        # What a tenant's defaults may be is what preferences may be; the names are those of preferences.
        (r"\$\.preferences.*", r"."),
        (r"\$\.locked\[\d+\]", r"^Must be the name of a preference"),
        (r".*", r"^Must be at most 16 KiB|^Must be nested at most|beyond the range of a double"),
    )
)

_KEY: Final = re.compile(r"[!-~]{1,200}")
_calls: Final = itertools.count()

_EARLIEST: Final = datetime(1970, 1, 2)
_LATEST: Final = datetime(9998, 12, 30)


def _instants() -> st.SearchStrategy[str]:
    offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    zones = st.one_of(st.just(UTC), offsets)
    return st.datetimes(_EARLIEST, _LATEST, timezones=zones).map(lambda at: at.isoformat().replace("+00:00", "Z"))


schemathesis.openapi.format("iana-timezone", st.sampled_from(sorted(zone_names())))
schemathesis.openapi.format("date-time", _instants())


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Erase and revoke others; and say nothing twice: what a key has made may be gone when its answer is repeated."""
    key = (case.headers or {}).get("Idempotency-Key")
    is_stateful = case.meta is not None and case.meta.phase.name == TestPhase.STATEFUL
    if is_stateful and isinstance(key, str) and _KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key}-{next(_calls)}"
    parameters = case.path_parameters
    harms = case.operation.path.endswith("/revoke") or case.operation.method.upper() == "DELETE"
    if harms and parameters and str(parameters.get("user_id")) == str(SELF):
        parameters["user_id"] = ANYONE


@schemathesis.check
def what_fits_is_taken(ctx: Any, response: Any, case: Any) -> None:
    """`positive_data_acceptance`, but for refusals that no schema could have foretold."""
    try:
        CHECKS.get_one("positive_data_acceptance")(ctx, response, case)
    except Failure:
        problem = response.json()
        if problem.get("type") in IN_STATE or _is_told(problem.get("errors") or []):
            return
        raise


def _is_told(faults: list[dict[str, str]]) -> bool:
    return bool(faults) and all(
        any(path.fullmatch(fault["path"]) and message.search(fault["message"]) for path, message in BEYOND_SCHEMAS)
        for fault in faults
    )
