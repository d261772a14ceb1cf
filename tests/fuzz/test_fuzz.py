"""A short run of what `make fuzz` does at length: nothing that the document does not allow, and no 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.processes import Node
from tests.conftest import BackgroundLoop, Databases
from tests.fuzz.schemathesis_run import QUICK_PHASES, WHO, fuzz, new_tenant

EXAMPLES = 2
SEED = 20_261_123


@pytest.fixture(scope="module")
def node(
    databases: Databases,
    valkey_server: str,
    background_loop: BackgroundLoop,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    directory: Path = tmp_path_factory.mktemp("fuzz")
    with databases.fresh() as url, Node(url, valkey_server, directory).running() as node:
        background_loop.run(node.ready())
        yield node


@pytest.fixture(scope="module")
def tenant() -> str:
    """One for all roles: what one makes the next one meets."""
    return new_tenant()


@pytest.mark.acceptance
@pytest.mark.parametrize(("role", "user"), WHO)
def test_nothing_is_answered_that_the_document_does_not_allow(
    node: Node, tenant: str, role: str, user: int | None
) -> None:
    run = fuzz(node.url, role, user, tenant=tenant, examples=EXAMPLES, seed=SEED, phases=QUICK_PHASES)
    assert run.code == 0, run.report
    assert run.cases > 90, "hardly an operation was called"
    faults = [line for line in node.log.read_text().splitlines() if "Traceback" in line or " ERROR " in line]
    assert not faults, "\n".join(faults[:20])
