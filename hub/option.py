"""How one option of the hub is declared, read from text, and described.

Owns the rules of values (numbers, switches, lists, URLs) and their words; which
options there are is `hub.settings`. A rule reads text, since everything comes as
text from the environment or the command line, and raises `ValueError` with the
rest of the sentence "… must be …" where the text breaks it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from hub.core.principal import ROLES, Role

Rule = Callable[[str], Any]

_SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


class Option(msgspec.Struct, frozen=True):
    """What is known of an option beside its type and default.

    `help` is what it does; `why` the reason of its default or bound. `ge` and `le`
    bound a number. A `secret` is never shown, and may come in a file
    (`HUB_<NAME>_FILE`); `in_file` allows that for what is merely long.
    `rule` reads the text where the type alone does not say how.
    """

    help: str
    why: str = ""
    ge: float | None = None
    le: float | None = None
    secret: bool = False
    in_file: bool = False
    rule: Rule | None = None


def parse(kind: Any, option: Option, text: str) -> Any:
    """The value of `text` for an option of type `kind`.

    Raises:
        ValueError: with what the value must be, to follow "must be".
    """
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in text):
        raise ValueError("UTF-8 text without NUL")
    if option.rule is not None:
        return option.rule(text)
    kind = _without_none(kind)
    if get_origin(kind) is Literal:
        return _choice(get_args(kind), text)
    if kind is bool:
        if (value := _SWITCH.get(text.lower())) is None:
            raise ValueError("on or off")
        return value
    if kind is int or kind is float:
        return _number(kind, option, text)
    if kind is Path:
        return Path(text).expanduser()
    return text


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


def _choice(choices: tuple[str, ...], text: str) -> str:
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise ValueError(f"one of {', '.join(choices)}")


def _number(kind: type[int] | type[float], option: Option, text: str) -> float:
    words = "a whole number" if kind is int else "a number"
    if option.ge is not None and option.le is not None:
        words += f" from {option.ge:.15g} to {option.le:.15g}"
    elif option.ge is not None:
        words += f" of at least {option.ge:.15g}"
    # Twenty characters hold every 64-bit number; int() of a megabyte of digits would take long, and then be refused.
    pattern = r"[+-]?\d{1,20}" if kind is int else r"[+-]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})"
    if re.fullmatch(pattern, text, re.ASCII) is None:
        raise ValueError(words)
    value = kind(text)
    if not math.isfinite(value) or value < (option.ge or 0) or (option.le is not None and value > option.le):
        raise ValueError(words)
    return value


def items(text: str) -> tuple[str, ...]:
    """A list: separated by commas or spaces, or a JSON array of strings."""
    if text.startswith("["):
        try:
            return tuple(msgspec.json.decode(text, type=list[str]))
        except msgspec.DecodeError:
            raise ValueError("a list separated by commas, or a JSON array of strings") from None
    return tuple(item for item in re.split(r"[,\s]+", text) if item)


_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]+)(?::(\d{1,5}))?", re.ASCII)


def url(*schemes: str, host: bool = True) -> Rule:
    """A URL of one of these schemes; `host` says that it must name one. It may name several, separated by commas."""
    words = f"a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    def is_address(text: str) -> bool:
        found = _ADDRESS.fullmatch(text)
        return found is not None and int(found[1] or 0) <= 65535

    def rule(text: str) -> str:
        scheme, separator, rest = text.partition("://")
        addresses = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
        is_whole = all(is_address(address) for address in addresses.split(",")) if addresses else not host
        if scheme.lower() not in schemes or not separator or not is_whole or re.search(r"\s", text):
            raise ValueError(words)
        return text

    return rule


def matching(pattern: str, words: str) -> Rule:
    """Text of which the whole matches `pattern`; `words` say what that is."""

    def rule(text: str) -> str:
        if re.fullmatch(pattern, text, re.ASCII) is None:
            raise ValueError(words)
        return text

    return rule


def origins(text: str) -> tuple[str, ...]:
    """Browser origins, as browsers write them: lower case, no default port, no path."""
    found: list[str] = []
    for item in items(text):
        try:
            parts = urlsplit(item)
            port = parts.port
        except ValueError:
            raise ValueError("a list of origins such as https://crm.example.com") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("a list of origins such as https://crm.example.com")
        if parts.query or parts.fragment or "@" in parts.netloc or "*" in parts.netloc:
            raise ValueError("a list of origins such as https://crm.example.com, each written out")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        default = {"http": 80, "https": 443}[parts.scheme]
        found.append(f"{parts.scheme}://{host}" + ("" if port in (None, default) else f":{port}"))
    return tuple(found)


def networks(text: str) -> tuple[str, ...]:
    """IP addresses and networks (CIDR), in their canonical form."""
    try:
        return tuple(str(ip_network(item)) if "/" in item else str(ip_address(item)) for item in items(text))
    except ValueError:
        raise ValueError("a list of IP addresses or networks such as 10.0.0.0/8") from None


def bind(text: str) -> str:
    """`host:port`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or re.fullmatch(r"\d{1,5}", port, re.ASCII) is None or int(port) > 65535:
        raise ValueError("host:port, such as 127.0.0.1:9000")
    return text


def https_or_path(text: str) -> str:
    """An https URL, or the path of a file. Plain http is refused: who can change the answer could sign tokens."""
    if "://" not in text:
        return text
    return url("https")(text)


def role_map(text: str) -> dict[str, Role]:
    """Their name of a role to ours, from `agent=Agent,admin=Owner` or JSON `{"agent": "Agent", "admin": ["Owner"]}`."""
    words = f"ours=theirs pairs separated by commas, or JSON, where ours is one of {', '.join(ROLES)}"
    pairs: list[tuple[str, str]] = []
    if text.startswith("{"):
        try:
            found = msgspec.json.decode(text, type=dict[str, str | list[str]])
        except msgspec.DecodeError:
            raise ValueError(words) from None
        for ours, theirs in found.items():
            pairs += [(ours, name) for name in ([theirs] if isinstance(theirs, str) else theirs)]
    else:
        for item in filter(None, (part.strip() for part in text.split(","))):
            ours, _, theirs = item.partition("=")
            pairs.append((ours.strip(), theirs.strip()))
    known: dict[str, Role] = {role: role for role in ROLES}
    if not pairs or any(ours not in known or not theirs for ours, theirs in pairs):
        raise ValueError(words)
    if len({theirs for _, theirs in pairs}) < len(pairs):
        raise ValueError("a map in which each of their names stands once")
    return {theirs: known[ours] for ours, theirs in pairs}


def as_text(value: object) -> str:
    """A value as an operator would write it: the inverse of `parse`, for defaults and for values given in code."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(str(item) for item in cast("tuple[object, ...]", value))
    if isinstance(value, Mapping):
        ours: dict[str, list[str]] = {}
        for theirs, role in cast("Mapping[str, str]", value).items():
            ours.setdefault(role, []).append(theirs)
        return json.dumps(ours)
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)
