"""schemathesis against a running hub: everything that the document allows, and much that it does not.

Owns how it is run, not what it finds. Every check is on; what is left out is named with its reason
in `schemathesis.toml` beside this.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from hub import clock
from tests.acceptance.processes import ROOT, token

HERE: Final = Path(__file__).parent

ALL_PHASES: Final = "examples,coverage,fuzzing,stateful"
QUICK_PHASES: Final = "fuzzing,stateful"
"""Without the walk over every bound of every member, which takes as long whoever calls."""

WHO: Final[tuple[tuple[str, int | None], ...]] = (
    ("admin", 700_001),
    ("supervisor", 700_002),
    ("agent", 700_003),
    ("service", None),
)
"""One run each, in one tenant: what one of them makes the next one meets."""


class Run:
    """What one run said. `report` is for its reader, the figures for the log."""

    def __init__(self, role: str, code: int, report: str) -> None:
        self.role, self.code, self.report = role, code, report

    @property
    def cases(self) -> int:
        """How many calls were made and judged."""
        found = re.search(r"(\d[\d,]*) generated", self.report)
        return int(found[1].replace(",", "")) if found else 0


def fuzz(
    hub_url: str, role: str, user: int | None, *, tenant: str, examples: int, seed: int, phases: str = ALL_PHASES
) -> Run:
    """Fuzz all operations as one caller. `examples` are those of each operation and phase."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"),
        "run", f"{hub_url}/openapi.json", "--header", f"Authorization: Bearer {token(user, tenant=tenant, role=role)}",
        "--max-examples", str(examples), "--seed", str(seed), "--phases", phases, "--no-color",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HUB_FUZZ_USER": str(user or 0)}
    # Elsewhere, since what Hypothesis keeps of the code it keeps where it runs.
    with tempfile.TemporaryDirectory(prefix="hub-fuzz-") as directory:
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    return Run(role, done.returncode, done.stdout + done.stderr)


def new_tenant() -> str:
    """A tenant that nobody else has."""
    return f"fuzz-{clock.token(6)}"
