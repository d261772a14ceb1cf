"""The data set adds up: what the streams say is what SQL counts, and what the log last told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from loadtest.dataset import NOTIFICATIONS, TASKS, NotEmpty, fill, plan_tenants
from tests.conftest import BackgroundLoop, Databases

SCALE = 0.002

OFF = """
SELECT s.tenant_id, s.user_id FROM user_streams s
WHERE (s.unread::bigint, s.unseen::bigint, s.unread_critical::bigint, s.unread_high::bigint,
    s.unread_normal::bigint, s.unread_low::bigint) IS DISTINCT FROM (
    SELECT ROW(count(*) FILTER (WHERE NOT is_read), count(*) FILTER (WHERE NOT is_seen),
        count(*) FILTER (WHERE NOT is_read AND priority = 'critical'),
        count(*) FILTER (WHERE NOT is_read AND priority = 'high'),
        count(*) FILTER (WHERE NOT is_read AND priority = 'normal'),
        count(*) FILTER (WHERE NOT is_read AND priority = 'low'))
    FROM notifications n
    WHERE (n.tenant_id, n.user_id) = (s.tenant_id, s.user_id) AND n.state = 'live' AND NOT n.is_archived)
"""
HOLES = """
SELECT s.tenant_id, s.user_id FROM user_streams s
LEFT JOIN LATERAL (
    SELECT count(*) AS n, coalesce(max(e.seq), 0) AS last, coalesce(min(e.seq), 1) AS first FROM events e
    WHERE e.tenant_id = s.tenant_id AND e.user_id = s.user_id) e ON true
WHERE (e.n, e.last, e.first) IS DISTINCT FROM (s.head, s.head, 1::bigint)
"""


@pytest.fixture(scope="module")
def filled(databases: Databases, background_loop: BackgroundLoop) -> Iterator[tuple[str, dict[str, int]]]:
    with databases.fresh() as url:
        yield url, background_loop.run(fill(url, scale=SCALE))


@pytest.fixture
async def connection(filled: tuple[str, dict[str, int]]) -> Any:
    connection = await asyncpg.connect(filled[0])
    yield connection
    await connection.close()


async def test_counts_are_what_sql_counts(connection: Any):
    assert await connection.fetch(OFF) == []
    assert await connection.fetchval("SELECT sum(unread) FROM user_streams") > 0


async def test_every_log_goes_from_one_to_its_head(connection: Any):
    assert await connection.fetch(HOLES) == []


async def test_the_last_event_carries_the_counts_of_its_stream(connection: Any):
    told = await connection.fetch("""
        SELECT s.unread, convert_from('{'::bytea || e.tail, 'UTF8')::json -> 'counts' ->> 'unread' AS told
        FROM user_streams s JOIN events e ON (e.tenant_id, e.user_id, e.seq) = (s.tenant_id, s.user_id, s.head)
    """)
    assert told
    assert [row for row in told if str(row["unread"]) != row["told"]] == []


async def test_every_kind_of_row_is_there(filled: tuple[str, dict[str, int]], connection: Any):
    assert all(filled[1].values()), filled[1]
    states = {row["state"] for row in await connection.fetch("SELECT DISTINCT state FROM notifications")}
    assert states == {"live", "held", "muted", "expired"}
    statuses = {row["status"] for row in await connection.fetch("SELECT DISTINCT status FROM tasks")}
    assert statuses == {"pending", "in_progress", "completed", "cancelled", "overdue"}
    assert await connection.fetchval("SELECT count(*) FROM tasks WHERE parent_task_id IS NOT NULL") > 0


async def test_it_does_not_mix_with_what_is_there(filled: tuple[str, dict[str, int]]):
    with pytest.raises(NotEmpty):
        await fill(filled[0], scale=SCALE)


def test_the_whole_set_is_as_large_as_promised():
    tenants = plan_tenants(1)
    assert len(tenants) == 200
    assert sum(sum(tenant.inboxes) for tenant in tenants) == pytest.approx(NOTIFICATIONS, rel=0.01)
    assert sum(tenant.tasks for tenant in tenants) == pytest.approx(TASKS, rel=0.01)
    assert max(tenants[0].inboxes) >= 50_000
