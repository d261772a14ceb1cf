"""Requests in figures, by the route that was declared: a path or a caller never makes a new series."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder

from api.route import Answer, Call, Route, route
from hub.core.principal import Role

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From an indexed query to the wait for a running twin of an idempotent request."""

NO_ROUTE: Final = "none"
GONE: Final = 499
"""The status that is counted where the caller went away before it was answered."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """`hub_http_requests_total` and `hub_http_request_seconds`, in the registry that is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "hub_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "hub_http_request_seconds",
            "From the request's first byte to its answer.",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=registry,
        )
        # `labels` takes a lock and builds a key at each call: too dear for every request.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, template: str, status: int, seconds: float) -> None:
        key = (method, template, status)
        known = self._known.get(key)
        if known is None:
            name = method if method in _METHODS else "other"
            known = (self._total.labels(name, template, str(status)), self._seconds.labels(name, template))
            if name == method:
                self._known[key] = known
        known[0].inc()
        known[1].observe(seconds)


def metrics_route(registry: CollectorRegistry, *, roles: tuple[Role, ...] | None) -> Route:
    """`GET /metrics`. `roles` None = open, for where the network itself keeps others out."""

    @route(
        "GET",
        "/metrics",
        summary="Figures for Prometheus",
        roles=roles,
        responses={200: str},
        media_type="text/plain",
        position=False,
    )
    async def metrics(call: Call[object, None, None]) -> Answer:
        encode, media_type = choose_encoder("")
        return Answer(200, encode(registry), media_type=media_type)

    return metrics
