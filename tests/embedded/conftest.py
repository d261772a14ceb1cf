from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import clock
from tests.conftest import fast_directory
from tests.embedded.harness import Words, anyone_works


@pytest.fixture
def new_data_dir() -> Iterator[Path]:
    """A data directory without anything; nothing may run in it when the test is over."""
    with tempfile.TemporaryDirectory(prefix="hub-test-", dir=fast_directory()) as directory:
        data_dir = Path(directory).resolve() / "data of a hub"
        data_dir.mkdir()
        yield data_dir
        assert not anyone_works(data_dir)


@pytest.fixture(scope="session")
def used_data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hub-test-", dir=fast_directory()) as directory:
        yield Path(directory).resolve() / "data of a hub"


@pytest.fixture
def data_dir(used_data_dir: Path) -> Iterator[Path]:
    """A data directory that other tests have used before; nothing may run in it when the test is over."""
    yield used_data_dir
    assert not anyone_works(used_data_dir)


@pytest.fixture
def words() -> Words:
    """What this test writes into a database, apart from what others did."""
    return Words(f"words_{clock.token(6).lower().replace('-', '_')}")
