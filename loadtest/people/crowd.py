"""Who the people of a load test are: their numbers, their tokens, and what all of them do alike.

`LOAD_TENANT` (load) and `LOAD_PEOPLE` (500) say who there is; tokens are minted as `hub token`
mints them, by `HUB_JWT_SECRET` or by the development key in `HUB_DATA_DIR`, or are read from
`LOAD_TOKENS`, a file of `hub token --user 1-500 --out tokens.csv`, where another issuer signs.
"""

from __future__ import annotations

import csv
import itertools
import os
import random
from functools import cache
from pathlib import Path
from typing import Any

from locust import FastHttpUser

from hub import clock, settings
from hub.auth.minting import Minter, minter_of
from hub.core.principal import Role
from loadtest.people.device import Device

TENANT = os.environ.get("LOAD_TENANT", "load")
PEOPLE = int(os.environ.get("LOAD_PEOPLE", "500"))
_TOKENS = os.environ.get("LOAD_TOKENS")
_TOKEN_TTL_S = 86_400
_next_person = itertools.cycle(range(1, PEOPLE + 1))


@cache
def _minter() -> Minter:
    return minter_of(settings.load(os.environ), clock.token)


@cache
def _given_tokens(path: str) -> dict[str, str]:
    with Path(path).open(newline="") as file:
        return {row["user"]: row["token"] for row in csv.DictReader(file)}


def token_of(user_id: int | None, role: Role) -> str:
    """A token for this run."""
    if _TOKENS is not None:
        return _given_tokens(_TOKENS)["" if user_id is None else str(user_id)]
    return _minter().mint(tenant_id=TENANT, user_id=user_id, role=role, now=clock.now(), ttl_s=_TOKEN_TTL_S)


def someone() -> int:
    """Any of the people, each as likely as the other."""
    return random.randint(1, PEOPLE)


class Caller(FastHttpUser):
    """Someone with a token. `role` and whether it is a person's are for the subclass."""

    abstract = True
    host = "http://127.0.0.1:8000"
    role: Role = "agent"

    def on_start(self) -> None:
        self.user_id = None if self.role == "service" else next(_next_person)
        self.token = token_of(self.user_id, self.role)

    def ask(self, method: str, path: str, name: str | None = None, **options: Any) -> Any:
        """The answer's JSON, None where it failed or is empty; Locust has counted it."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        with self.client.request(
            method, f"/api/v1{path}", name=f"{method} {name or path}", headers=headers, **options
        ) as response:
            return response.json() if 200 <= response.status_code < 300 and response.content else None


class Connected(Caller):
    """Someone with a device that is connected for as long as they are there."""

    abstract = True
    token_in_hello = False

    def on_start(self) -> None:
        super().on_start()
        self.device = Device(self.environment, self.host or "", self.token, token_in_hello=self.token_in_hello)
        self.device.connect()

    def on_stop(self) -> None:
        self.device.cut()

    def come_back(self) -> None:
        """Connect again where the socket is gone."""
        if not self.device.is_connected:
            self.device.connect()
