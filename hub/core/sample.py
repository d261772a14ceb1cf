"""The tenant and the people that a newcomer meets: on loopback, with the development key, nowhere else."""

from __future__ import annotations

from typing import Final

import msgspec

from hub.core.principal import Role

SAMPLE_TENANT: Final = "demo"


class SamplePerson(msgspec.Struct, frozen=True):
    """One who may be signed in as."""

    user_id: int
    role: Role
    name: str


SAMPLE_PEOPLE: Final = (
    SamplePerson(1, "agent", "Ada Agent"),
    SamplePerson(2, "agent", "Bela Agent"),
    SamplePerson(3, "supervisor", "Sam Supervisor"),
    SamplePerson(4, "admin", "Alex Admin"),
)
