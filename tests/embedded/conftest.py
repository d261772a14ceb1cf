from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.harness import anyone_works


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory; nothing may run in it when the test is over."""
    with tempfile.TemporaryDirectory(prefix="hub-test-") as directory:
        data_dir = Path(directory).resolve() / "data of a hub"
        data_dir.mkdir()
        yield data_dir
        assert not anyone_works(data_dir)
