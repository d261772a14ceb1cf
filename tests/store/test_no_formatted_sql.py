"""No statement is made by putting text together: what a caller said goes as a parameter, never into SQL."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = frozenset({"execute", "executemany", "fetch", "fetchrow", "fetchval", "cursor", "prepare", "copy_from_query"})
FILES = sorted(path for room in ("hub/store", "hub/app", "hub/workers", "api") for path in (ROOT / room).rglob("*.py"))

DDL = {"hub/store/partitions.py": 2}
"""How many statements a file may put together: a partition's name is no parameter, and is made of a date's digits."""

FORMATTED = (
    'async def f(tx, x): await tx.fetch(f"SELECT {x}")',
    'async def f(tx, x): await tx.execute("SELECT %s" % x)',
    'async def f(tx, x): await tx.fetchval("SELECT {}".format(x))',
    'async def f(tx, x): await tx.fetchrow("SELECT " + x)',
    'async def f(tx, x): await tx.execute(query=f"SELECT {x}")',
)


def is_formatted(value: ast.expr) -> bool:
    match value:
        case ast.JoinedStr(values=parts):
            return any(isinstance(part, ast.FormattedValue) for part in parts)
        case ast.BinOp(op=ast.Mod() | ast.Add()):
            return True
        case ast.Call(func=ast.Attribute(attr="format" | "format_map" | "join" | "replace")):
            return True
        case _:
            return False


def formatted_statements(source: str) -> list[int]:
    """The lines where a statement that is run is put together there and then."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in RUNS
        and any(is_formatted(one) for one in (*node.args[:1], *(k.value for k in node.keywords if k.arg == "query")))
    ]


@pytest.mark.parametrize("source", FORMATTED)
def test_a_formatted_statement_is_found(source: str) -> None:
    assert formatted_statements(source) == [1]


def test_a_statement_with_parameters_is_not() -> None:
    assert formatted_statements('async def f(tx, x): await tx.fetch("SELECT $1", x + 1)') == []


def test_no_room_formats_a_statement() -> None:
    found = {str(path.relative_to(ROOT)): len(formatted_statements(path.read_text())) for path in FILES}
    assert {name: count for name, count in found.items() if count} == DDL
