"""What makes notifications: a CRM, a telephone system. Each POST has an Idempotency-Key, some are sent twice."""

from __future__ import annotations

import random
import uuid
from typing import Any

from locust import constant_throughput, task

from loadtest.people.crowd import PEOPLE, Caller, someone

_TWICE_SHARE = 0.02
"""Of all POSTs, those of which the producer did not hear the answer."""
_BULK = 100


def _notification(user_id: int) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "type": random.choice(["lead_assigned", "call_missed", "message_received", "system"]),
        "title": "New lead",
        "message": "Mrs. Ada Byron, +49 30 1234567",
        "priority": random.choices(["critical", "high", "normal", "low"], [1, 9, 80, 10])[0],
    }


class Producer(Caller):
    """Five requests a second: mostly one notification, sometimes a hundred, sometimes for a few people at once."""

    role = "service"
    wait_time = constant_throughput(5)

    @task(40)
    def tell_one(self) -> None:
        self._post("/notifications", _notification(someone()))

    @task(5)
    def tell_some(self) -> None:
        body = _notification(0)
        del body["user_id"]
        self._post(
            "/notifications", body | {"user_ids": random.sample(range(1, PEOPLE + 1), min(5, PEOPLE))}, "several"
        )

    @task(1)
    def tell_many(self) -> None:
        self._post("/notifications/bulk", {"items": [_notification(someone()) for _ in range(_BULK)]})

    @task(4)
    def hand_out_a_task(self) -> None:
        self._post("/tasks", {"title": "Call back", "assigned_to": someone(), "priority": "normal"})

    def _post(self, path: str, body: dict[str, Any], note: str = "") -> None:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        name = f"{path} ({note})" if note else path
        first = self.ask("POST", path, name, json=body, headers=headers)
        if first is not None and random.random() < _TWICE_SHARE:
            again = self.ask("POST", path, f"{name} again", json=body, headers=headers)
            if again != first:
                self.environment.events.request.fire(
                    request_type="POST", name=f"{name} again", response_time=0, response_length=0, context={},
                    exception=ValueError("a repeated request was answered otherwise than the first"),
                )  # fmt: skip
