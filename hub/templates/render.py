"""One template and its variables, made into text: within a bound of work, and a bound of bytes.

Why in this process, without a time-out: the grammar leaves loops as the only way to run
long, and every loop takes its turns from `_each`, which is paid for each by the number
of nodes in the loop's body. So the work is bounded by count, the same on every machine,
and nothing has to be killed. Text cannot grow but by being put out, which is counted
as it leaves. Attributes are keys of the variables given, never Python's: there is no
way from a value to its class. Jinja's own sandbox stands behind all this.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, cast

import msgspec
from jinja2 import TemplateError, TemplateSyntaxError, nodes, pass_context
from jinja2.exceptions import UndefinedError
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context, LoopContext, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hub.templates.grammar import FILTERS, LOOP, SOURCE_CHARACTERS_MAX, TESTS, Refused, check, cost_of

STEPS_MAX: Final = 5_000
"""Evaluations of nodes in loops: some hundred lines of a list. Usually a microsecond each; the worst that was found
(filters on the largest variable, as often as it goes) took a third of a second, so render in a thread."""

VARIABLES_BYTES_MAX: Final = 16 * 1024
"""As the `data` of a notification; it bounds what one evaluation can cost."""

DIGITS_MAX: Final = 10
"""After the point: money and rates have fewer."""

_MISFITS: Final = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError, RecursionError)
"""What Jinja's filters raise at values that they were not made for."""

_BUDGET: Final = "_budget"
_EACH: Final = "_each"


class BadTemplate(Exception):
    """It cannot be kept: the text says why."""


class MissingVariables(Exception):
    """It uses what was not given. `names` are sorted."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = sorted(names)
        super().__init__(f"missing: {', '.join(self.names)}")


class Unrenderable(Exception):
    """With these variables it makes no text: too much work, too many bytes, or what cannot be done to a value."""


class _Budget:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise Unrenderable("its loops do too much work")


class _Room(ImmutableSandboxedEnvironment):
    """Looks into mappings and lists only: an attribute is a key."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, LoopContext):
            if argument in LOOP:
                return getattr(obj, argument)
        elif isinstance(obj, dict):
            if isinstance(argument, str) and argument in obj:
                return cast("dict[str, Any]", obj)[argument]
        elif isinstance(obj, list) and type(argument) is int and 0 <= argument < len(cast("list[Any]", obj)):
            return cast("list[Any]", obj)[argument]
        return self.undefined(obj=obj, name=str(argument))


@pass_context
def _each(context: Context, items: Any, cost: int) -> Iterator[Any]:
    if not isinstance(items, list):
        raise Unrenderable("a loop goes over a list, and this is none")
    budget: _Budget = context[_BUDGET]
    budget.spend(cost)
    return _paid(cast("list[Any]", items), budget, cost)


def _paid(items: list[Any], budget: _Budget, cost: int) -> Iterator[Any]:
    for item in items:
        budget.spend(cost)
        yield item


def _round(value: Any, digits: Any = 0) -> float:
    # Not Jinja's: it raises ten to any power that a template names.
    if not isinstance(value, int | float) or type(digits) is not int or not 0 <= digits <= DIGITS_MAX:
        raise Unrenderable(f"`round` takes a number, and 0 to {DIGITS_MAX} digits")
    return round(value, digits)


def _room(*, html: bool) -> _Room:
    room = _Room(autoescape=html, undefined=StrictUndefined, cache_size=0, keep_trailing_newline=True)
    room.globals.clear()
    filters = cast("dict[str, Any]", room.filters)
    for name in set(filters) - FILTERS:
        del filters[name]
    filters["round"] = _round
    filters[_EACH] = _each
    tests = cast("dict[str, Any]", room.tests)
    for name in set(tests) - TESTS:
        del tests[name]
    return room


_ROOMS: Final = {False: _room(html=False), True: _room(html=True)}


def used_variables(source: str) -> frozenset[str]:
    """The variables that a template uses.

    Raises:
        BadTemplate: it is too long, no template, or says what none may.
    """
    return frozenset(find_undeclared_variables(_parse(source, _ROOMS[False])))


def render(source: str, variables: Mapping[str, Any], *, html: bool, bytes_max: int) -> str:
    """The text, at most `bytes_max` of UTF-8; with `html`, what variables hold is escaped.

    Variables are values as JSON has them. The work is bounded, and the same for the same input.

    Raises:
        BadTemplate: as `used_variables`.
        MissingVariables: naming all that are not given.
        Unrenderable: it would be too long, or take too long; or a key or an operation does not fit a value.
    """
    room = _ROOMS[html]
    tree = _parse(source, room)
    if missing := find_undeclared_variables(tree) - set(variables):
        raise MissingVariables(missing)
    if len(msgspec.json.encode(variables)) > VARIABLES_BYTES_MAX:
        raise Unrenderable(f"its variables take more than {VARIABLES_BYTES_MAX} bytes")
    for loop in list(tree.find_all(nodes.For)):
        # Before any is wrapped the cost counts what stands in the body, inner loops once: these pay for their turns.
        price = nodes.Const(cost_of(loop), lineno=loop.lineno)
        loop.iter = nodes.Filter(loop.iter, _EACH, [price], [], None, None, lineno=loop.lineno)
    tree.set_environment(room)
    try:
        template = room.from_string(tree)
        return _collect(template.generate({**variables, _BUDGET: _Budget(STEPS_MAX)}), bytes_max)
    except UndefinedError as error:
        raise Unrenderable(error.message or "something is not defined") from error
    except (TemplateError, *_MISFITS) as error:
        raise Unrenderable(f"something does not fit a value: {error}") from error


def _collect(parts: Iterator[str], bytes_max: int) -> str:
    taken: list[str] = []
    size = 0
    for part in parts:
        size += len(part.encode("utf-8", "surrogatepass"))
        if size > bytes_max:
            raise Unrenderable(f"it is longer than {bytes_max} bytes")
        taken.append(str(part))
    return "".join(taken)


def _parse(source: str, room: _Room) -> nodes.Template:
    if len(source) > SOURCE_CHARACTERS_MAX:
        raise BadTemplate(f"is longer than {SOURCE_CHARACTERS_MAX} characters")
    try:
        tree = room.parse(source)
        check(tree)
    except TemplateSyntaxError as error:
        raise BadTemplate(f"line {error.lineno}: {error.message}") from error
    except (Refused, ValueError) as error:
        raise BadTemplate(str(error)) from error
    except RecursionError as error:
        raise BadTemplate("is nested too deep") from error
    return tree
