"""Requests a minute: who shares which limit, and what is said about it.

Owns the names of the limits and their headers. How much there is of each is the operator's word, and below it the
tenant's (`limits` in its settings). Where they are kept is `hub.broker.rates`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from api.problems import Headers, Refused, too_many
from api.route import Route
from hub.broker.rates import Rates
from hub.core.principal import Principal
from hub.core.rates import WINDOW_MS, Bucket, Taken
from hub.core.tenant import TenantLimits

_log = logging.getLogger(__name__)

BULK_COST: Final = 10
"""What a bulk request counts for: it takes about as long as so many single ones, for up to a hundred times the rows."""
REFRESH_S: Final = 30.0
"""A tenant's own limits are obeyed by every node within this time."""
TENANTS_MAX: Final = 10_000
"""Whose limits a node remembers; the one not asked about for longest is forgotten."""


class RateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Requests a minute: of a whole tenant, of one person, of one producer."""

    tenant_per_minute: int
    user_per_minute: int
    service_per_minute: int


ReadLimits = Callable[[str], Awaitable[TenantLimits]]


class RateLimiter:
    """`api.dispatch.Limiter`. A tenant's own limits are read beside the requests, which never wait for them."""

    def __init__(self, rates: Rates, settings: RateSettings, read_limits: ReadLimits, clock: Any) -> None:
        self._rates = rates
        self._settings = settings
        self._read_limits = read_limits
        self._clock = clock
        self._known: OrderedDict[str, tuple[TenantLimits, float]] = OrderedDict()
        self._readers: set[asyncio.Task[None]] = set()

    async def admit(self, principal: Principal | None, route: Route, address: str | None) -> Headers:
        """The headers that tell how much room is left. Raises `Refused`. Who needs no token is not limited here."""
        if principal is None:
            return ()
        buckets = self._buckets(principal)
        taken = await self._rates.take(buckets, BULK_COST if route.bulk else 1)
        if taken is None:
            return ()
        if not taken.is_admitted:
            place = min(range(len(buckets)), key=lambda at: taken.rooms[at].remaining)
            detail = f"A {buckets[place].name} may make {buckets[place].per_minute} requests a minute."
            raise Refused(too_many(taken.retry_after_ms / 1000, detail, headers_of(buckets, taken)))
        return headers_of(buckets, taken)

    def _buckets(self, principal: Principal) -> list[Bucket]:
        settings, own = self._settings, self._limits_of(principal.tenant_id)
        # The braces keep the keys of a tenant together in a Redis Cluster.
        whole = f"hub:r:{{{principal.tenant_id}}}"
        if principal.role == "service":
            name, who, each = (
                "service",
                f"k{principal.api_key_id or principal.user_id or 0}",
                settings.service_per_minute,
            )
        else:
            name, who, each = "user", f"u{principal.user_id}", settings.user_per_minute
            each = min(each, own.requests_per_user_per_minute or each)
        tenant = min(settings.tenant_per_minute, own.requests_per_minute or settings.tenant_per_minute)
        return [Bucket(name, f"{whole}:{who}", each), Bucket("tenant", whole, tenant)]

    def _limits_of(self, tenant_id: str) -> TenantLimits:
        known = self._known.get(tenant_id)
        now = self._clock.monotonic()
        if known is None or now - known[1] >= REFRESH_S:
            limits = TenantLimits() if known is None else known[0]
            # Asked once, whoever else comes meanwhile.
            self._remember(tenant_id, limits)
            reader = asyncio.create_task(self._read(tenant_id), name="tenant-limits")
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
            return limits
        self._known.move_to_end(tenant_id)
        return known[0]

    async def _read(self, tenant_id: str) -> None:
        try:
            self._remember(tenant_id, await self._read_limits(tenant_id))
        except Exception as error:
            _log.info("the limits of a tenant cannot be read now: %s", type(error).__name__)

    def _remember(self, tenant_id: str, limits: TenantLimits) -> None:
        self._known[tenant_id] = (limits, self._clock.monotonic())
        self._known.move_to_end(tenant_id)
        if len(self._known) > TENANTS_MAX:
            self._known.popitem(last=False)


def headers_of(buckets: list[Bucket], taken: Taken) -> Headers:
    """What is left of each limit (draft-ietf-httpapi-ratelimit-headers), the tightest by the older names too."""
    window = WINDOW_MS // 1000
    tightest = min(range(len(buckets)), key=lambda at: taken.rooms[at].remaining)
    room = taken.rooms[tightest]
    return (
        ("ratelimit-policy", ", ".join(f'"{one.name}";q={one.per_minute};w={window}' for one in buckets)),
        (
            "ratelimit",
            ", ".join(
                f'"{one.name}";r={left.remaining};t={_seconds(left.full_in_ms)}'
                for one, left in zip(buckets, taken.rooms, strict=True)
            ),
        ),
        ("ratelimit-limit", str(buckets[tightest].per_minute)),
        ("ratelimit-remaining", str(room.remaining)),
        ("ratelimit-reset", str(_seconds(room.full_in_ms))),
    )


def _seconds(milliseconds: int) -> int:
    return math.ceil(milliseconds / 1000)
