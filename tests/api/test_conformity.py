"""What holds every answer to the document can itself say no."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conformity import Conformity
from tests.api.whole import CONFORMITY, DOCUMENT

PERSON = {"user_id": 1, "display_name": None, "locale": None, "timezone": None, "external_id": None,
          "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}  # fmt: skip
IDENTIFIED = {"x-request-id": "r"}


def fault(method: str, path: str, status: int, body: Any = None, **headers: str) -> str | None:
    answer = httpx.Response(
        status,
        json=body,
        headers=IDENTIFIED | {name.replace("_", "-"): value for name, value in headers.items()},
        request=httpx.Request(method, f"http://hub{path}"),
    )
    return CONFORMITY.fault(answer)


def test_what_is_described_is_taken() -> None:
    assert fault("GET", "/api/v1/users/1", 200, PERSON) is None


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (201, PERSON, {}, "status"),
        (200, PERSON | {"user_id": "1"}, {}, "user_id"),
        (200, PERSON | {"created_at": "yesterday"}, {}, "created_at"),
        (200, PERSON, {"hub_position": "e:1"}, "hub-position"),
        (200, PERSON, {"etag": '"1"'}, "etag"),
        (401, {"type": "/problems/unauthorized"}, {}, "www-authenticate"),
        (200, PERSON, {"content_type": "text/html"}, "media type"),
    ],
)
def test_what_is_not_described_is_a_fault(status: int, body: Any, headers: dict[str, str], words: str) -> None:
    assert words in (fault("GET", "/api/v1/users/1", status, body, **headers) or "")


def test_an_answer_without_a_request_id_is_a_fault() -> None:
    bare = httpx.Response(200, json=PERSON, request=httpx.Request("GET", "http://hub/api/v1/users/1"))
    assert "x-request-id" in (CONFORMITY.fault(bare) or "")


def test_another_method_must_be_refused_by_405() -> None:
    assert "405" in (fault("PATCH", "/api/v1/users/1", 404) or "")
    assert fault("PATCH", "/api/v1/users/1", 405, allow="GET, PUT") is None


def test_a_fixed_segment_wins_over_a_parameter() -> None:
    """`/tasks/stats` is no task: judged as one, its figures would be a fault."""
    first = next(
        template for pattern, template in Conformity(DOCUMENT)._paths if pattern.fullmatch("/api/v1/tasks/stats")
    )
    assert first == "/api/v1/tasks/stats"
