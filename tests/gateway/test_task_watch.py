"""Who watches a scope hears of changes in it, and of no other's."""

from __future__ import annotations

from typing import Any

import msgspec

from hub.core.principal import Principal
from hub.core.task_news import BoardChange
from hub.core.topics import tasks_topic
from hub.gateway import task_watch
from hub.gateway.ports import CallFailed
from tests.gateway.harness import Device, Hub, device


def allow(hub: Hub, groups: list[str] | None) -> None:
    """As the use case answers: overseers watch everything, agents what is free in these groups."""

    async def call(principal: Principal, method: str, params: dict[str, Any]) -> Any:
        assert method == "tasks.subscribe"
        is_overseer = principal.role == "supervisor"
        if params["scope"] != "unassigned" and not is_overseer:
            raise CallFailed({"type": "about:blank", "title": "Forbidden", "status": 403})
        everything = params["scope"] == "tenant" or (is_overseer and params["scope"] == "unassigned")
        return {"scope": params["scope"], "groups": None if everything else groups}

    hub.methods.call = call  # type: ignore[method-assign]


async def watch(client: Device, scope: str, method: str = "tasks.subscribe") -> Any:
    await client.send(type="call", id=1, method=method, params={"scope": scope})
    return await client.frame()


def change(task_id: int, *, free: bool = True, group: str | None = None) -> BoardChange:
    return BoardChange(task_id, 2, "pending", None if free else 9, (group,), free)


def say(hub: Hub, *changes: BoardChange, tenant: str = "acme") -> None:
    hub.bus.say(tasks_topic(tenant), msgspec.msgpack.encode(list(changes)))


async def heard(client: Device) -> list[int]:
    """Tasks of `tasks.changed` until the answer to a ping."""
    await client.send(type="ping", id="p")
    ids: list[int] = []
    while (frame := await client.frame())["type"] != "pong":
        assert (frame["kind"], "seq" in frame) == ("tasks.changed", False)
        assert set(frame["data"]) == {"id", "version", "status", "assigned_to"}
        ids.append(frame["data"]["id"])
    return ids


async def test_an_agent_hears_of_what_is_free_in_their_groups(hub: Hub) -> None:
    allow(hub, ["sales"])
    async with device(hub, 7) as agent:
        assert (await watch(agent, "unassigned"))["data"] == {"scope": "unassigned"}
        say(hub, change(1), change(2, group="sales"), change(3, group="other"), change(4, free=False))
        say(hub, change(5), tenant="globex")
        assert await heard(agent) == [1, 2]
        assert (await watch(agent, "tenant"))["error"]["status"] == 403
        await watch(agent, "unassigned", "tasks.unsubscribe")
        say(hub, change(1))
        assert await heard(agent) == []
        assert tasks_topic("acme") not in hub.ear.topics


async def test_a_supervisor_hears_of_a_group_or_of_everything(hub: Hub) -> None:
    allow(hub, ["sales"])
    changes = (change(1), change(2, group="sales", free=False), change(3, group="other"))
    async with device(hub, 1, token="acme:1:supervisor") as boss, device(hub, 2, token="acme:2:supervisor") as chief:
        await watch(boss, "group")
        await watch(chief, "tenant")
        say(hub, *changes)
        assert await heard(boss) == [2]
        assert await heard(chief) == [1, 2, 3]
        hub.bus.say(tasks_topic("acme"), b"no such message")
        assert await heard(chief) == []


async def test_a_slow_watcher_gets_the_newest_of_each_task_once_it_reads(hub: Hub, monkeypatch: Any) -> None:
    allow(hub, None)
    async with device(hub, 7) as agent:
        await watch(agent, "unassigned")
        connection = next(iter(hub.node.registry.connections()))
        monkeypatch.setattr(task_watch, "MISSED_MAX", 2)
        monkeypatch.setattr(type(connection), "is_writable", property(lambda _: False))
        say(hub, change(1), change(2), change(1), change(3))
        monkeypatch.undo()
        hub.node.task_watch.catch_up()
        assert await heard(agent) == [1, 3]
