"""No statement is made of what a caller says: each that is run is a named query, a constant, or an exception below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
RUNS: Final = frozenset(
    {"execute", "executemany", "fetch", "fetchmany", "fetchrow", "fetchval", "cursor", "prepare", "copy_from_query"}
)
FILES: Final = sorted(path for room in ("hub", "api") for path in (ROOT / room).rglob("*.py"))

EXCEPTIONS: Final = {
    "hub/embedded/postgres.py:complete": "the name of the embedded database and its role are constants",
    "hub/store/migrations.py:_apply": "a migration is what it says",
    "hub/store/partitions.py:_drop": "a partition's name is no parameter; it is made of a date's digits",
    "hub/store/pool.py:_begin": "one of two constants: reading or writing",
    "hub/store/task_lists.py:read_page": "a dozen filters and eight orders, put together by hub/store/listing.py",
    "hub/store/task_lists.py:count_all": "the same filters",
    "hub/store/inbox_lists.py:read_page": "likewise",
    "hub/store/inbox_lists.py:count_all": "the same filters",
    "api/paging.py:page": "a place in a list, and no statement",
}
"""Where a statement is anything else, and why that may be."""


def _named(tree: ast.Module) -> set[str]:
    """The constants of a module that hold a statement, or the statements of a file of them."""
    found: set[str] = set()
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ) if isinstance(value, ast.Constant) or _is_queries(value):
                found.add(name)
            case _:
                pass
    return found


def _is_queries(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "queries"


def _is_fixed(statement: ast.expr, named: set[str]) -> bool:
    match statement:
        case ast.Constant():
            return True
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
            return name in named
        case _:
            return False


def _calls(node: ast.AST, within: str = "") -> Iterator[tuple[str, ast.expr]]:
    """Every statement that is run, with the function that runs it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr in RUNS:
            given = [*child.args[:1], *(one.value for one in child.keywords if one.arg in ("query", "command"))]
            yield from ((within, statement) for statement in given)
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _calls(child, child.name if is_function else within)


def free_statements(source: str) -> list[str]:
    """The functions that run a statement which is neither a constant nor named."""
    tree = ast.parse(source)
    named = _named(tree)
    return [within for within, statement in _calls(tree) if not _is_fixed(statement, named)]


@pytest.mark.parametrize(
    "planted",
    [
        'await tx.fetch(f"SELECT {x}")',
        'await tx.execute("SELECT %s" % x)',
        'await tx.fetchval("SELECT {}".format(x))',
        'await tx.fetchrow("SELECT " + x)',
        'await tx.execute(query=f"SELECT {x}")',
        'await tx.prepare("".join(["SELECT ", x]))',
        'await tx.fetch(_SQL["a"].replace("$1", x))',
        "await tx.fetch(x)",
        's = f"SELECT {x}"; await tx.fetch(s)',
        "await tx.fetch(_MADE)",
        "await self.pool.copy_from_query(x)",
    ],
)
def test_a_planted_one_is_found(planted: str) -> None:
    assert free_statements(f'_MADE = f"SELECT {{y}}"\nasync def f(tx, x): {planted}') == ["f"]


@pytest.mark.parametrize("fine", ['_SQL["a"], x + 1', '_SQL[f"a_{x}"]', '"SELECT $1", f"{x}"', "_ONE, x"])
def test_a_named_one_and_a_constant_are_not(fine: str) -> None:
    source = f'_SQL: Final = queries("tasks")\n_ONE = "SELECT 1"\nasync def f(tx, x): await tx.fetch({fine})'
    assert free_statements(source) == []


def test_every_statement_of_the_hub_is_named_or_excepted() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{within}"
        for path in FILES
        for within in free_statements(path.read_text())
    }
    assert found == set(EXCEPTIONS)
