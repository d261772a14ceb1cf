"""What a template may say: Jinja's syntax, of which only what cannot do harm.

An admin of a tenant writes templates, and the server of all tenants renders them: so
the language is cut down to what is listed here, before anything is compiled. There are
no calls, no arithmetic, no macros, no assignments, no imports, and no Python attributes.
What remains can run long only by its loops, and each turn of those is paid for
(`hub.templates.render`). A list of what is allowed fails closed: what a later Jinja
adds is refused until someone has thought about it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from jinja2 import nodes

SOURCE_CHARACTERS_MAX: Final = 64 * 1024
"""A long e-mail with its styles; what the parser reads is linear in it."""

NODES_MAX: Final = 1_000
"""Expressions and statements in one text: far more than a letter has, few enough to compile within milliseconds."""

DEPTH_MAX: Final = 40
"""Nesting of these: the compiler recurses once a level."""

FILTERS: Final = frozenset({"default", "e", "escape", "length", "lower", "round", "title", "trim", "truncate", "upper"})
"""None makes a text out of a number, repeats one, or reaches into an object. Not `join`, `replace`, `format`, `map`:
chained, they multiply."""

TESTS: Final = frozenset({"defined", "none"})

LOOP: Final = frozenset({"index", "index0", "first", "last", "length"})
"""What of `loop` may be read."""

_OPERATORS: Final = frozenset({"eq", "ne", "lt", "lteq", "gt", "gteq"})
"""Not `in`: its cost is the size of a text, at the price of one word."""

_ALLOWED: Final[tuple[type[nodes.Node], ...]] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Filter,
    nodes.Test,
    nodes.If,
    nodes.For,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Keyword,
)

_NAMES: Final[dict[type[nodes.Node], str]] = {
    nodes.Call: "calls",
    nodes.Mul: "multiplication",
    nodes.Pow: "powers",
    nodes.Mod: "`%`",
    nodes.Concat: "`~`",
    nodes.Add: "addition",
    nodes.Macro: "macros",
    nodes.Assign: "assignments",
    nodes.Include: "includes",
    nodes.Import: "imports",
    nodes.FromImport: "imports",
    nodes.Extends: "inheritance",
    nodes.Block: "blocks",
}


class Refused(Exception):
    """A template says what none may. The text names it."""


def check(tree: nodes.Template) -> None:
    """Pass what keeps to the grammar.

    Raises:
        Refused: naming the first thing that does not, with its line.
    """
    _check_node(tree, 0, [0])


def _check_node(node: nodes.Node, depth: int, count: list[int]) -> None:
    count[0] += 1
    if count[0] > NODES_MAX:
        raise Refused(f"has more than {NODES_MAX} expressions and statements")
    if depth > DEPTH_MAX:
        raise Refused(f"line {node.lineno}: is nested deeper than {DEPTH_MAX}")
    # The exact type: a subclass is another thing.
    if type(node) not in _ALLOWED:
        raise Refused(f"line {node.lineno}: {_NAMES.get(type(node), type(node).__name__.lower())} cannot be used")
    _check_words(node)
    for child in node.iter_child_nodes():
        _check_node(child, depth + 1, count)


def _check_words(node: nodes.Node) -> None:
    match node:
        case nodes.Filter() if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise Refused(f"line {node.lineno}: filter blocks and starred arguments cannot be used")
        case nodes.Filter():
            _check_name(node, "filter", node.name, FILTERS)
        case nodes.Test():
            _check_name(node, "test", node.name, TESTS)
        case nodes.Operand():
            _check_name(node, "operator", node.op, _OPERATORS)
        case nodes.Getattr() | nodes.Name() if (node.attr if isinstance(node, nodes.Getattr) else node.name)[:1] == "_":
            raise Refused(f"line {node.lineno}: names that begin with an underscore cannot be used")
        case nodes.For() if node.recursive or not isinstance(node.target, nodes.Name):
            raise Refused(f"line {node.lineno}: a loop is `for name in list`, and not recursive")
        case _:
            pass


def _check_name(node: nodes.Node, what: str, name: str, allowed: Collection[str]) -> None:
    if name not in allowed:
        raise Refused(f"line {node.lineno}: the {what} `{name}` cannot be used; there are {', '.join(sorted(allowed))}")


def cost_of(node: nodes.Node) -> int:
    """What one evaluation costs at most, its loops' further turns apart: the number of nodes."""
    return 1 + sum(cost_of(child) for child in node.iter_child_nodes())
