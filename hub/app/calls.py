"""The use cases that a socket may call: the same as REST's, by the names of the protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from hub.app import own, task_scopes
from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Invalid, NotFound
from hub.app.own import Done, Swept
from hub.app.unit import Outcome
from hub.core.notification import Notification
from hub.core.transitions import Action

T = TypeVar("T")

ID_MAX: Final = 2**53 - 1
ACTIONS_MAX: Final = 200

Id = Annotated[int, Meta(ge=1, le=ID_MAX)]


class One(msgspec.Struct):
    """Names one notification. Unknown params are ignored within a version of the protocol."""

    id: Id


class SnoozeOne(msgspec.Struct):
    id: Id
    until: Annotated[datetime, Meta(tz=True)]


class UpTo(msgspec.Struct):
    before: Id | None = None


class Several(msgspec.Struct):
    ids: Annotated[list[Id], Meta(min_length=1, max_length=ACTIONS_MAX)]
    action: Action


class Watched(msgspec.Struct):
    scope: task_scopes.Scope


Call = Callable[[Deps, Caller, dict[str, Any]], Awaitable[Any]]


class Method(msgspec.Struct, frozen=True):
    """One that may be called: what does it, and the types of its params and of its result."""

    call: Call
    params: Any
    result: Any


class SocketCalls:
    """Performs calls by name. Answers are msgspec-encodable, as JSON and as MessagePack."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def perform(self, caller: Caller, method: str, params: dict[str, Any]) -> Any:
        """Perform one. The answer is what REST would answer as its body.

        Raises:
            NotFound: there is no such method.
            AppError, DatabaseUnavailable: what the use case raises.
        """
        found = METHODS.get(method)
        if found is None:
            raise NotFound("There is no such method.")
        return await found.call(self._deps, caller, params)


def read_params(kind: type[T], params: dict[str, Any]) -> T:
    """The params as a typed value.

    Raises:
        Invalid: they are not such a value.
    """
    try:
        return msgspec.convert(params, kind, strict=True)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        raise Invalid([(where.rstrip("`") or "$", f"{message}.")]) from None


def _on_one(action: Action) -> Call:
    async def call(deps: Deps, caller: Caller, params: dict[str, Any]) -> Any:
        outcome = await own.act(deps, caller, [read_params(One, params).id], action)
        return _only(outcome)

    return call


def _only(outcome: Outcome[Done]) -> Any:
    done = outcome.result
    return done.items[0] if done is not None and done.items else None


async def _snooze(deps: Deps, caller: Caller, params: dict[str, Any]) -> Any:
    asked = read_params(SnoozeOne, params)
    return _only(await own.snooze(deps, caller, asked.id, asked.until))


async def _unsnooze(deps: Deps, caller: Caller, params: dict[str, Any]) -> Any:
    return _only(await own.unsnooze(deps, caller, read_params(One, params).id))


async def _actions(deps: Deps, caller: Caller, params: dict[str, Any]) -> Done | None:
    asked = read_params(Several, params)
    return (await own.act(deps, caller, asked.ids, asked.action)).result


async def _read_all(deps: Deps, caller: Caller, params: dict[str, Any]) -> Swept | None:
    return (await own.sweep(deps, caller, "read_all", read_params(UpTo, params).before)).result


async def _seen(deps: Deps, caller: Caller, params: dict[str, Any]) -> Swept | None:
    return (await own.sweep(deps, caller, "seen", read_params(UpTo, params).before)).result


async def _watch_tasks(deps: Deps, caller: Caller, params: dict[str, Any]) -> task_scopes.Scoped:
    return await task_scopes.scope_of(deps, caller, read_params(Watched, params).scope)


METHODS: Final[dict[str, Method]] = {
    "notifications.read": Method(_on_one("read"), One, Notification),
    "notifications.unread": Method(_on_one("unread"), One, Notification),
    "notifications.archive": Method(_on_one("archive"), One, Notification),
    "notifications.unarchive": Method(_on_one("unarchive"), One, Notification),
    "notifications.delete": Method(_on_one("delete"), One, None),
    "notifications.snooze": Method(_snooze, SnoozeOne, Notification),
    "notifications.unsnooze": Method(_unsnooze, One, Notification),
    "notifications.actions": Method(_actions, Several, Done),
    "notifications.read_all": Method(_read_all, UpTo, Swept),
    "notifications.seen": Method(_seen, UpTo, Swept),
    "tasks.subscribe": Method(_watch_tasks, Watched, task_scopes.Scoped),
}
