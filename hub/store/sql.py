"""The statements of this room, kept as SQL in `queries/<aggregate>.sql`.

Owns only the reading of those files. A file is a run of blocks, each begun by a
line `-- name: read_position`; what stands before the first one is a
comment on the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

_HEADING: Final = re.compile(r"^-- name:[ \t]*(\S+)[ \t]*$", re.MULTILINE)


@cache
def queries(aggregate: str) -> Mapping[str, str]:
    """The statements of `queries/<aggregate>.sql` by name; read once, from the wheel too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a name is given twice, or stands over nothing.
    """
    text = resources.files("hub.store").joinpath("queries", f"{aggregate}.sql").read_text("utf-8")
    return MappingProxyType(parse(text, aggregate))


def parse(text: str, source: str) -> dict[str, str]:
    """The blocks of one file. `source` names it in errors."""
    _, *parts = _HEADING.split(text)
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        statement = body.strip().removesuffix(";").rstrip()
        if not statement:
            raise ValueError(f"{source}: no statement follows the name {name}")
        if name in found:
            raise ValueError(f"{source}: the name {name} is given twice")
        found[name] = statement
    return found


def like(text: str) -> str:
    """The pattern by which ILIKE finds a text wherever it stands, whatever is in it."""
    literal = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"
