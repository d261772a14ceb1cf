"""What the state machines of this folder share: whoever asks over REST, and how the steps are taken."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.acceptance.rest import Caller
from tests.api.whole import Whole, whole_hub
from tests.conftest import Databases

PICK: Final = st.integers(0, 1_000_000)
"""One of those that there are by then."""
EXAMPLES: Final = int(os.environ.get("HUB_TEST_EXAMPLES", "20"))
"""More by command: each takes a second or less."""
_STEPS: Final = 30
_REFUSALS: Final = (403, 404, 409, 422)


class Machine(RuleBasedStateMachine):
    """Each step is a request of one of `callers`, or time. `reached` is what has happened in any example."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    hub: ClassVar[Whole]
    reached: ClassVar[set[str]]
    callers: list[Caller]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def ask(self, who: int, method: str, path: str, *body: Any) -> Any:
        return self.run(self.callers[who](method, path, *body))

    def attempt(self, what: str, who: int, method: str, path: str, *body: Any) -> Any:
        """The answer's body where it went well; a refusal by a rule is no fault."""
        answer = self.ask(who, method, path, *body)
        if answer.is_success:
            self.reached.add(what)
            return answer.json() if answer.content else None
        assert answer.status_code in _REFUSALS, answer.text
        self.reached.add(f"{what}: {answer.status_code}")
        return None


M = TypeVar("M", bound="Machine")


@contextmanager
def on_a_hub(machine: type[M], databases: Databases) -> Iterator[type[M]]:
    """The machine with a hub and a database of its own."""
    with databases.fresh() as url:
        machine.loop, machine.reached = asyncio.new_event_loop(), set()
        whole = whole_hub(url)
        machine.hub = machine.loop.run_until_complete(whole.__aenter__())
        # Each answer's shape is judged by the tests of REST; here thousands would be judged again.
        machine.hub.client.event_hooks = {"response": []}
        try:
            yield machine
        finally:
            machine.loop.run_until_complete(whole.__aexit__(None, None, None))
            machine.loop.close()


def run_examples(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=_STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def step(take: Any, **given: Any) -> Callable[[Any], None]:
    """A rule, and what chance would have drawn for it."""
    return partial(take, **given)


def walk(machine: type[Machine], steps: Iterable[Callable[[Any], None]]) -> set[str]:
    """Take these steps once, the law held after each; answers what was reached. Chance alone may miss what is rare."""
    walker: Any = machine()
    walker.begin()
    for step in steps:
        step(walker)
        walker.the_law()
    return machine.reached
