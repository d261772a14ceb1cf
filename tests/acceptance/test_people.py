"""Broadcasts and erasing on real processes: nodes die in the middle, devices hear of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.acceptance.processes import Device, Node, token

pytestmark = pytest.mark.acceptance

AUDIENCE = 3000
MUCH = 40_000
"""Of one person: a second or two of parts."""


async def _until(connection: asyncpg.Connection, question: str, within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not await connection.fetchval(question):
            await asyncio.sleep(0.005)


async def test_a_broadcast_whose_nodes_are_killed_is_told_to_each_exactly_once(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "INSERT INTO user_streams (tenant_id, user_id) SELECT 'acme', n FROM generate_series(1, $1::int) n",
            AUDIENCE,
        )
        told = "(SELECT count(*) FROM broadcast_audience WHERE fanned_out_at IS NOT NULL)"
        first = Node(database_url, redis_url, tmp_path)
        with first.running():
            await first.ready()
            async with httpx.AsyncClient() as client:
                answer = await client.post(
                    f"{first.url}/api/v1/notifications/broadcast",
                    json={"type": "system", "title": "All hands", "message": "m"},
                    headers={"Authorization": f"Bearer {token(9, role='admin')}"},
                )
            assert (answer.status_code, answer.json()["audience"]) == (202, AUDIENCE)
            first.kill()
        for part in (1, 2):
            node = Node(database_url, redis_url, tmp_path)
            with node.running():
                await _until(connection, f"SELECT {told} >= {AUDIENCE * part // 3}")
                node.kill()
                assert await connection.fetchval(f"SELECT {told} < {AUDIENCE}"), "killed in the middle"
        last = Node(database_url, redis_url, tmp_path)
        with last.running():
            await _until(connection, "SELECT completed_at IS NOT NULL FROM broadcasts")
        found = await connection.fetchrow(
            "SELECT count(*) AS rows, count(DISTINCT user_id) AS users FROM notifications WHERE title = 'All hands'"
        )
        assert tuple(found) == (AUDIENCE, AUDIENCE)
        heads = await connection.fetchrow(
            "SELECT min(head) AS least, max(head) AS most, sum(unread) AS all FROM user_streams"
        )
        assert tuple(heads) == (1, 1, AUDIENCE)
    finally:
        await connection.close()


async def test_an_erased_persons_devices_forget_and_presence_tells_who_is_there(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    one, two = Node(database_url, redis_url, tmp_path), Node(database_url, redis_url, tmp_path)
    with one.running(), two.running():
        await asyncio.gather(one.ready(), two.ready())
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token(9, role='admin')}"}) as admin:
            device = Device(7)
            async with device.on(one):
                await one.notify(admin, 7)
                await device.hear(1)
                async with asyncio.timeout(30):
                    while True:
                        seen = (await admin.get(f"{two.url}/api/v1/presence")).json()
                        if seen["nodes"] == 2:
                            break
                assert seen["is_complete"] is True
                assert [(here["user_id"], here["devices"]) for here in seen["items"]] == [(7, 1)]
                gone = await admin.delete(f"{two.url}/api/v1/users/7")
                assert gone.status_code == 204
                (event,) = await device.hear(1)
            assert (event["seq"], event["kind"], event["counts"]["unread"]) == (2, "inbox.erased", 0)
            async with device.on(two):
                assert (device.welcome["resume"], device.welcome["head"]) == ("replay", 2)
            device.cursor = 0
            async with device.on(two):
                assert device.welcome["resume"] == "reset"


async def test_an_erasing_whose_node_is_killed_is_finished_by_another_and_told_once(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(database_url)
    left = "SELECT count(*) FROM notifications WHERE user_id = 7"
    try:
        await connection.execute(
            "INSERT INTO user_streams (tenant_id, user_id, head, unread, unread_normal, unseen)"
            " VALUES ('acme', 7, $1::int, $1::int, $1::int, $1::int)",
            MUCH,
        )
        await connection.execute(
            "INSERT INTO notifications (tenant_id, user_id, type, title, message, state, live_seq)"
            " SELECT 'acme', 7, 'system', 't', 'm', 'live', n FROM generate_series(1, $1::int) n",
            MUCH,
        )
        await connection.execute(
            "INSERT INTO events (tenant_id, user_id, seq, kind, lane, at, tail)"
            " SELECT 'acme', 7, n, 'notification.created', 2, now(), '' FROM generate_series(1, $1::int) n",
            MUCH,
        )
        first, second = Node(database_url, redis_url, tmp_path), Node(database_url, redis_url, tmp_path)
        device = Device(7)
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token(9, role='admin')}"}) as admin:
            with first.running(), second.running():
                await asyncio.gather(first.ready(), second.ready())
                async with device.on(second):
                    asked = asyncio.create_task(admin.delete(f"{first.url}/api/v1/users/7"))
                    await _until(connection, f"SELECT ({left}) < {MUCH}")
                    first.kill()
                    with pytest.raises(httpx.TransportError):
                        await asked
                    assert await connection.fetchval(left) > 0, "killed in the middle"
                    mine = {"Authorization": f"Bearer {token(7)}"}
                    page = await admin.get(f"{second.url}/api/v1/notifications?include=total", headers=mine)
                    assert (page.json()["items"], page.json()["total"]) == ([], 0)
                    (event,) = await device.hear(1, within_s=60)
        assert (event["seq"], event["kind"], event["counts"]["unread"]) == (MUCH + 1, "inbox.erased", 0)
        assert await connection.fetchval(left) == 0
        assert [row[0] for row in await connection.fetch("SELECT seq FROM events WHERE user_id = 7")] == [MUCH + 1]
    finally:
        await connection.close()
