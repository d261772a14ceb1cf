"""Templates: what they may say, and that no one of them takes more than its share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.templates.grammar import NODES_MAX, SOURCE_CHARACTERS_MAX
from hub.templates.render import (
    STEPS_MAX,
    VARIABLES_BYTES_MAX,
    BadTemplate,
    MissingVariables,
    Unrenderable,
    render,
    used_variables,
)

BYTES_MAX = 10_000


def text_of(source: str, html: bool = False, **variables: Any) -> str:
    return render(source, variables, html=html, bytes_max=BYTES_MAX)


@pytest.mark.parametrize(
    ("source", "variables", "text"),
    [
        ("Hello {{ name }}!", {"name": "Ada"}, "Hello Ada!"),
        ("{{ lead.name|upper }}", {"lead": {"name": "Ada"}}, "ADA"),
        ("{{ lead['items'] }}", {"lead": {"items": 3}}, "3"),
        ("{{ lead.items }}", {"lead": {"items": 3}}, "3"),
        ("{{ names[1] }}", {"names": ["Ada", "Bo"]}, "Bo"),
        ("{% if n > 1 %}many{% else %}one{% endif %}", {"n": 2}, "many"),
        ("{% for x in xs %}{{ loop.index }}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}", {"xs": ["a", "b"]},
         "1a, 2b"),
        ("{{ lead.phone|default('none') }}", {"lead": {}}, "none"),
        ("{{ n|round(2) }}", {"n": 1.005001}, "1.01"),
        ("{{ 'yes' if a is none else 'no' }}", {"a": None}, "yes"),
        ("<b>{{ name }}</b>\n", {"name": "<i>"}, "<b><i></b>\n"),
    ],
)  # fmt: skip
def test_a_template_says(source: str, variables: dict[str, Any], text: str) -> None:
    assert text_of(source, **variables) == text


def test_html_escapes_what_variables_hold_and_not_what_the_author_wrote() -> None:
    assert text_of("<b>{{ name }}</b>", html=True, name="<i>&'") == "<b>&lt;i&gt;&amp;&#39;</b>"


def test_missing_variables_are_all_named() -> None:
    with pytest.raises(MissingVariables) as caught:
        text_of("{{ b }}{{ a.x }}{{ c }}", c=1)
    assert caught.value.names == ["a", "b"]


def test_used_variables_are_those_from_outside() -> None:
    assert used_variables("{% for x in xs %}{{ x }}{{ y.z }}{{ loop.index }}{% endfor %}") == {"xs", "y"}


ATTACKS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ x.__class__ }}",
    "{{ _budget }}",
    "{{ x['__class__']() }}",
    "{{ x|attr('__class__') }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '%s' % x }}",
    "{{ x|format(x) }}",
    "{{ 'x' * 1000000000 }}",
    "{{ 9 ** 999999999 }}",
    "{{ x ~ x }}",
    "{{ x + x }}",
    "{{ [x, x] }}",
    "{{ {'a': x} }}",
    "{{ range(1000000000) }}",
    "{% for i in range(1000000000) %}{% endfor %}",
    "{% for i in xs recursive %}{{ loop(xs) }}{% endfor %}",
    "{% for a, b in xs %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set y = x %}{{ y }}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% block b %}{% endblock %}",
    "{% filter upper %}x{% endfilter %}",
    "{{ x|join(x) }}",
    "{{ x|replace('a', 'aaaa') }}",
    "{{ x|center(1000000000) }}",
    "{{ x|map('upper') }}",
    "{{ x|safe }}",
    "{{ x|_each(1) }}",
    "{{ x|upper(*xs) }}",
    "{{ x in xs }}",
    "{{ x[1:2] }}",
    "{{ cycler }}{{ lipsum() }}",
    "{{ self }}{{ self.__init__() }}",
    "{{ " + "9" * 5000 + " }}",
    "{{ " + "(" * 3000 + "x" + ")" * 3000 + " }}",
    "{{ " + "not " * 200 + "x }}",
    "{% if x %}" * 60 + "{% endif %}" * 60,
    "{{ x }}" * (NODES_MAX + 1),
    "x" * (SOURCE_CHARACTERS_MAX + 1),
    "{{ x",
    "{% nonsense %}",
    "{{ x|nonsense }}",
]


@pytest.mark.parametrize("source", ATTACKS, ids=lambda source: source[:40])
def test_what_no_template_may_say_is_refused_before_it_runs(source: str) -> None:
    with pytest.raises(BadTemplate):
        used_variables(source)
    with pytest.raises(BadTemplate):
        text_of(source, x="x", xs=["x"])


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        ("{% for a in xs %}{% for b in xs %}{% for c in xs %}{% endfor %}{% endfor %}{% endfor %}", {"xs": [0] * 200}),
        ("{% for a in xs %}" + "{% if a == 1 %}{% endif %}" * 100 + "{% endfor %}", {"xs": [0] * 200}),
        ("{% for a in text %}{{ a }}{% endfor %}", {"text": "abc"}),
        ("{% for a in lead %}{{ a }}{% endfor %}", {"lead": {"a": 1}}),
        ("{{ text }}" * 3, {"text": "x" * (BYTES_MAX // 2)}),
        ("{{ text }}", {"text": "é" * (BYTES_MAX // 2 + 1)}),
        ("{% for x in xs %}{{ text }}{% endfor %}", {"xs": [0] * 100, "text": "x" * 200}),
        ("{{ 1 if text < n else 2 }}", {"text": "x", "n": 1}),
        ("{{ lead.name }}", {"lead": {}}),
        ("{{ lead.append }}{{ lead.clear }}", {"lead": []}),
        ("{{ text.upper }}", {"text": "x"}),
        ("{{ n.real }}", {"n": 1}),
        ("{{ text|round }}", {"text": "x"}),
        ("{{ n|round(999999999999) }}", {"n": "x"}),
        ("{{ n|round(999999999, 'ceil') }}", {"n": 1.5}),
        ("{{ n|round(999999999) }}", {"n": 1.5}),
        ("{{ n|round(digits) }}", {"n": 5, "digits": -999999999}),
        ("{{ text|truncate(1) }}", {"text": "a long text indeed"}),
        ("{{ text|truncate(text) }}", {"text": "x"}),
        ("{{ n|length }}", {"n": 1}),
        ("{{ text|upper(1, 2, 3) }}", {"text": "x"}),
        ("{{ text }}", {"text": "x" * VARIABLES_BYTES_MAX}),
        ("{% for x in xs %}{{ loop.changed }}{% endfor %}", {"xs": [1]}),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_what_does_not_fit_its_variables_or_its_bounds_is_stopped(source: str, variables: dict[str, Any]) -> None:
    with pytest.raises(Unrenderable) as caught:
        text_of(source, **variables)
    assert str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)
expressions = st.sampled_from(
    ["a", "b.c", "a[0]", "a|upper", "b|length", "a|e|upper", "a|truncate(5)", "b|default('d')"]
)


@st.composite
def sources(draw: st.DrawFn, depth: int = 3) -> str:
    parts: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["text", "put", "if", "for"] if depth else ["text", "put"]))
        expression = draw(expressions)
        if kind == "text":
            parts.append(draw(st.text(alphabet="xyzäß ", max_size=30)))
        elif kind == "put":
            parts.append("{{ " + expression + " }}")
        else:
            head = f"if {expression}" if kind == "if" else f"for a in {expression}"
            parts.append("{% " + head + " %}" + draw(sources(depth - 1)) + "{% end" + kind + " %}")
    return "".join(parts)


@given(sources(), values, values, st.booleans(), st.integers(0, 2_000))
def test_a_rendering_is_within_its_bytes_or_is_stopped(source: str, a: Any, b: Any, html: bool, most: int) -> None:
    try:
        text = render(source, {"a": a, "b": b}, html=html, bytes_max=most)
    except Unrenderable:
        return
    assert len(text.encode()) <= most


@given(st.integers(1, 4), st.integers(0, 60))
def test_the_turns_of_nested_loops_are_within_the_budget(depth: int, count: int) -> None:
    source = "{% for x in xs %}" * depth + "." + "{% endfor %}" * depth
    try:
        text = render(source, {"xs": [0] * count}, html=False, bytes_max=10**9)
    except Unrenderable:
        assert count**depth * 4 * depth > STEPS_MAX / 10
        return
    assert len(text) == count**depth
    assert len(text) <= STEPS_MAX


@given(st.text(alphabet="{}%#abc._[]()'\"|*+-~ \n0123456789", max_size=60))
def test_any_text_is_a_template_or_is_refused(source: str) -> None:
    try:
        used_variables(source)
    except BadTemplate:
        return
    with_all: dict[str, Any] = dict.fromkeys(used_variables(source), "v")
    try:
        render(source, with_all, html=False, bytes_max=BYTES_MAX)
    except Unrenderable:
        pass
