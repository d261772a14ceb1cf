"""Charts as SVG, written by hand: two kinds, no dependency, readable in light and dark.

Colours are told apart by those who see few of them (Okabe and Ito), and every
series is named where its line ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]

_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_WIDTH, _HEIGHT = 820, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 230, 50, 60
_TICKS = 5


def lines(
    title: str, x_label: str, y_label: str, series: Mapping[str, Points], *, log_y: bool = False, log_x: bool = True
) -> str:
    """A line a series. On a logarithmic axis every value is above 0."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    across = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT, is_log=log_x)
    up = _Axis(min(ys) if log_y else 0.0, max(ys), _HEIGHT - _BOTTOM, _TOP, is_log=log_y)
    parts = [*_frame(title, x_label, y_label), *_grid(across, up)]
    # Names stand beside the last points, pushed apart where these are close.
    lowest = float(_TOP)
    for place, (name, points) in enumerate(sorted(series.items(), key=lambda one: -one[1][-1][1])):
        colour = _COLOURS[place % len(_COLOURS)]
        path = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
        lowest = max(lowest, up.at(points[-1][1]))
        parts.append(_text(_WIDTH - _RIGHT + 10, lowest + 4, name, colour=colour, anchor="start"))
        lowest += 16
    return _svg(parts)


def bars(title: str, y_label: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """Groups of bars side by side; the bars of all groups have the same names."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    up = _Axis(0.0, max(value for group in groups.values() for value in group.values()), _HEIGHT - _BOTTOM, _TOP)
    parts = _frame(title, "", y_label) + _rows(up)
    room = (_WIDTH - _LEFT - _RIGHT) / len(groups)
    width = room * 0.8 / len(names)
    for place, (label, group) in enumerate(groups.items()):
        left = _LEFT + room * (place + 0.1)
        for index, name in enumerate(names):
            if name in group:
                top = up.at(group[name])
                parts.append(
                    f'<rect x="{left + index * width:.1f}" y="{top:.1f}" width="{width - 2:.1f}" '
                    f'height="{_HEIGHT - _BOTTOM - top:.1f}" fill="{_COLOURS[index % len(_COLOURS)]}"/>'
                )
        parts.append(_text(left + room * 0.4, _HEIGHT - _BOTTOM + 18, label))
    for index, name in enumerate(names):
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(_text(_WIDTH - _RIGHT + 10, _TOP + 16 * index + 10, name, colour=colour, anchor="start"))
    return _svg(parts)


class _Axis:
    """Where a value stands, in pixels, and which values are marked."""

    def __init__(self, low: float, high: float, first_px: float, last_px: float, *, is_log: bool = False) -> None:
        self._is_log = is_log
        if is_log:
            low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
            powers = range(round(math.log10(low)), round(math.log10(high)) + 1)
            self.ticks = [10.0**power for power in powers]
        else:
            step = _round_step((high - low) / _TICKS or 1.0)
            high = math.ceil(high / step) * step
            self.ticks = [low + step * place for place in range(round((high - low) / step) + 1)]
        self._low, self._high = self._scaled(low), self._scaled(high)
        self._first_px, self._last_px = first_px, last_px

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self._is_log else value

    def at(self, value: float) -> float:
        share = (self._scaled(value) - self._low) / ((self._high - self._low) or 1.0)
        return self._first_px + share * (self._last_px - self._first_px)


def _round_step(step: float) -> float:
    unit = 10 ** math.floor(math.log10(step))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= step)


def _frame(title: str, x_label: str, y_label: str) -> list[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [
        _text(_LEFT, 24, title, anchor="start", size=16),
        _text(middle, _HEIGHT - 14, x_label),
        _text(_LEFT, _TOP - 8, y_label, anchor="start"),
    ]


def _grid(across: _Axis, up: _Axis) -> list[str]:
    columns = [_text(across.at(tick), _HEIGHT - _BOTTOM + 18, _short(tick)) for tick in across.ticks]
    return _rows(up) + columns


def _rows(up: _Axis) -> list[str]:
    parts: list[str] = []
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#888" stroke-opacity="0.3"/>'
        )
        parts.append(_text(_LEFT - 8, y + 4, _short(tick), anchor="end"))
    return parts


def _short(value: float) -> str:
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def _text(x: float, y: float, words: str, *, colour: str = "#777", anchor: str = "middle", size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}">{escape(words)}</text>'


def _svg(parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">\n'
        f"{body}\n</svg>\n"
    )
