"""What the documents say is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from hub.settings import described, table_markdown

ROOT = Path(__file__).resolve().parents[1]


def test_the_readme_lists_every_option_from_the_settings() -> None:
    text = (ROOT / "README.md").read_text()
    table = re.search(r"<!-- settings -->\n(.*)<!-- /settings -->", text, re.DOTALL)
    assert table is not None
    assert table[1] == table_markdown()


def test_no_lock_file_names_an_index() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert "://" not in lock.read_text(), lock.name


def test_the_limits_page_names_settings_that_exist() -> None:
    named = set(re.findall(r"`(HUB_[A-Z_]+)`", (ROOT / "docs" / "limits.md").read_text()))
    assert named
    assert named <= {one.variable for one in described()}
