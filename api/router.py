"""From a path to its routes: a tree of segments, built once.

Segments are compared as they came, each percent-decoded by itself, so that `%2F`
is part of a name and never a separator. A fixed segment wins over a parameter.
A path with a slash too many is another path, and not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from api.route import Route


class Place:
    """Where a path leads: its routes by method, and what it takes in words for `Allow`."""

    __slots__ = ("allow", "routes", "template")

    def __init__(self, template: str) -> None:
        self.template = template
        self.routes: dict[str, Route] = {}
        self.allow = ""

    def add(self, route: Route) -> None:
        if route.method in self.routes:
            raise ValueError(f"{route.method} {self.template} is declared twice")
        self.routes[route.method] = route
        heads = {"HEAD"} if "GET" in self.routes else set[str]()
        self.allow = ", ".join(sorted({*self.routes, *heads, "OPTIONS"}))


class _Node:
    __slots__ = ("fixed", "parameter", "place")

    def __init__(self) -> None:
        self.fixed: dict[bytes, _Node] = {}
        self.parameter: _Node | None = None
        self.place: Place | None = None


class Router:
    """Every declared route, under its prefix."""

    def __init__(self) -> None:
        self._root = _Node()
        self._fixed: dict[bytes, Place] = {}
        self.routes: list[tuple[str, Route]] = []
        """With the whole template, prefix included, in the order of declaration."""

    def add(self, prefix: str, routes: Iterable[Route]) -> None:
        """Raises:
        ValueError: a method of a path is declared twice.
        """
        for route in routes:
            template = prefix + route.path
            place = self._place(template)
            place.add(route)
            self.routes.append((template, route))
            if "{" not in template:
                self._fixed[template.encode()] = place

    def _place(self, template: str) -> Place:
        node = self._root
        for segment in template.encode().split(b"/"):
            if segment.startswith(b"{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.place = node.place or Place(template)
        return node.place

    def find(self, path: bytes) -> tuple[Place, list[bytes]] | None:
        """The place of a raw path with the raw segments of its parameters, or None."""
        place = self._fixed.get(path)
        if place is not None:
            return place, []
        segments = path.split(b"/")
        taken: list[bytes] = []
        found = _walk(self._root, segments, 0, taken)
        return None if found is None else (found, taken)


def _walk(node: _Node, segments: list[bytes], at: int, taken: list[bytes]) -> Place | None:
    """No deeper than the longest template, however long the path."""
    if at == len(segments):
        return node.place
    segment = segments[at]
    below = node.fixed.get(unquote_to_bytes(segment) if b"%" in segment else segment)
    if below is not None and (place := _walk(below, segments, at + 1, taken)) is not None:
        return place
    if node.parameter is None or not segment:
        return None
    taken.append(segment)
    place = _walk(node.parameter, segments, at + 1, taken)
    if place is None:
        taken.pop()
    return place
