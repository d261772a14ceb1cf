"""A few hundred of the histories that `python -m tests.sim` runs by the ten thousand."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.mutations import MUTATIONS, caught_by
from tests.sim.world import World

RARE = {
    "client dropped what it had had",
    "cut with events waiting",
    "cut with frames on their way",
    "drained to live",
    "drained to replay",
    "heard more than was read while opening",
    "hint after a gap",
    "hint all known",
    "hint doubled",
    "hint lost",
    "hint passed by",
    "hint of another epoch",
    "hint while LAGGING",
    "hint while LIVE",
    "hint while OPENING",
    "hint while REPLAYING",
    "node died",
    "opened fresh",
    "opened replay",
    "opened reset",
    "page outrun by a hint or the head",
    "read failed",
    "reconnected with a hole above the cursor",
    "reset: a hole",
    "reset: another epoch",
    "sent ahead of the cursor",
    "sweep repaired",
    "writer died before its commit",
    "writer died between commit and publish",
}


def test_no_history_loses_doubles_or_disorders_anything_and_the_rare_ones_are_reached() -> None:
    seen: Counter[str] = Counter()
    for seed in range(200):
        seen += World(seed).run().seen
    assert not RARE - set(seen)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_hub_made_wrong_on_purpose_is_caught(name: str) -> None:
    caught_by(name, range(200))
