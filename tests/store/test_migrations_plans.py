"""No statement of the hub scans a large table: every named query, and what the functions across tenants run.

The plans are generic ones, made without knowing the parameters, since that is
what a prepared statement comes to.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import asyncpg
import pytest

from hub.store import inbox_lists, task_lists
from hub.store.sql import queries
from tests.conftest import Databases

AGGREGATES = sorted(
    file.name.removesuffix(".sql")
    for file in resources.files("hub.store").joinpath("queries").iterdir()
    if file.name.endswith(".sql")
)
STATEMENTS = [(aggregate, name) for aggregate in AGGREGATES for name in queries(aggregate)]

FILL = """
INSERT INTO user_streams (tenant_id, user_id, erasing_at)
    SELECT t, u, CASE WHEN u % 100 = 0 THEN now() - interval '1 hour' END
    FROM unnest('{a,b}'::text[]) t, generate_series(1, 2000) u;
INSERT INTO notification_preferences (tenant_id, user_id)
    SELECT t, u FROM unnest('{a,b}'::text[]) t, generate_series(1, 2000) u;
INSERT INTO contacts (tenant_id, user_id, channel, address)
    SELECT t, u, 'email', u || '@example.org' FROM unnest('{a,b}'::text[]) t, generate_series(1, 2000) u;
INSERT INTO people (tenant_id, user_id, external_id)
    SELECT t, u, 'x' || u FROM unnest('{a,b}'::text[]) t, generate_series(1, 2000) u;
INSERT INTO push_subscriptions (tenant_id, user_id, endpoint, p256dh, auth)
    SELECT t, u, 'https://push/' || u, '', '' FROM unnest('{a,b}'::text[]) t, generate_series(1, 2000) u;
INSERT INTO notifications (tenant_id, id, user_id, type, title, message, category, priority, state, live_seq,
        hold_reason, due_at, expires_at, collapse_key, related_entity_type, related_entity_id, is_read, read_at,
        created_at)
    SELECT CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, n, n % 2000 + 1, 'system', 't', 'm', 'c' || n % 20,
           (ARRAY['critical', 'high', 'normal', 'low'])[n % 4 + 1], CASE WHEN n % 50 < 2 THEN 'held' ELSE 'live' END, n,
           CASE WHEN n % 50 < 2 THEN 'quiet' END,
           CASE WHEN n % 50 < 2 THEN clock_timestamp() + interval '1 hour' * (n % 900 - 2) END,
           CASE WHEN n % 10 = 0 THEN clock_timestamp() + interval '1 hour' * (n % 900 - 2) END,
           CASE WHEN n % 5 = 0 THEN 'key' || n % 977 END, 'task', (n % 999)::text, n % 50 >= 9,
           CASE WHEN n % 50 >= 9 THEN clock_timestamp() END, clock_timestamp() - interval '1 minute' * n
    FROM generate_series(1, 40000) n;
INSERT INTO notifications (tenant_id, id, user_id, type, title, message, category, priority, state, live_seq, is_read,
        read_at, is_archived, archived_at, hold_reason, due_at, created_at)
    SELECT 'a', n, 7777, (ARRAY['system', 'call_missed', 'task_assigned'])[n % 3 + 1], 't', 'm', 'c' || n % 20,
        (ARRAY['critical', 'high', 'normal', 'low'])[n % 4 + 1], s.state, CASE WHEN s.state <> 'held' THEN n END,
        n % 7 > 2 AND s.state <> 'held', CASE WHEN n % 7 > 2 AND s.state <> 'held' THEN clock_timestamp() END,
        n % 3 = 0 AND s.state <> 'held', CASE WHEN n % 3 = 0 AND s.state <> 'held' THEN clock_timestamp() END,
        CASE WHEN s.state = 'held' THEN 'quiet' END,
        CASE WHEN s.state = 'held' THEN clock_timestamp() + interval '1 day' END,
        clock_timestamp() - interval '1 minute' * n
    FROM generate_series(100001, 108000) n, LATERAL (
        SELECT (ARRAY['live', 'live', 'live', 'live', 'held', 'muted', 'expired'])[n % 5 + n % 3 + 1] AS state) s;
INSERT INTO notification_delivery (tenant_id, notification_id, user_id, channel, status, sent_at)
    SELECT tenant_id, id, user_id, 'email', CASE WHEN id % 50 = 0 THEN 'planned' ELSE 'sent' END, created_at
    FROM notifications;
INSERT INTO events (tenant_id, user_id, seq, kind, lane, at, tail)
    SELECT t, u, s, 'k', s % 8, clock_timestamp() + interval '1 day' * (s % 9 - 1), ''
    FROM unnest('{a,b}'::text[]) t, generate_series(1, 500) u, generate_series(1, 45) s;
INSERT INTO idempotency_keys (tenant_id, user_id, method, path, key, fingerprint, created_at)
    SELECT 'a', n % 2000, 'POST', '/', n::text, '', clock_timestamp() - interval '1 minute' * n
    FROM generate_series(1, 20000) n;
INSERT INTO audit_log (tenant_id, actor_id, actor_role, action, entity_type, entity_id)
    SELECT 'a', n % 2000, 'agent', 'x', 'task', n::text FROM generate_series(1, 20000) n;
INSERT INTO revocations (tenant_id, user_id, revoked_at)
    SELECT 'a', n, clock_timestamp() - interval '1 minute' * n FROM generate_series(1, 5000) n;
INSERT INTO api_keys (tenant_id, name, secret_hash) SELECT 'a', 'n', n::text::bytea FROM generate_series(1, 5000) n;
INSERT INTO tasks (tenant_id, id, assigned_to, created_by, lead_id, parent_task_id, "group", title, priority, status,
        overdue_from, task_type, due_date, completed_at, cancelled_at, wake_at, created_at)
    SELECT CASE WHEN n % 10 = 0 THEN 'a' ELSE 'b' || n % 10 END, n,
        CASE WHEN n / 10 % 20 > 1 THEN n % 2000 + 1 END, n % 300 + 1,
        CASE WHEN n % 3 = 0 THEN n % 5000 END, CASE WHEN n > 20 AND n % 5 = 0 THEN n - 10 END,
        CASE WHEN n % 4 < 2 THEN 'g' || n % 40 END, 't',
        (ARRAY['critical', 'high', 'normal', 'low'])[n / 10 % 4 + 1], s.status,
        CASE WHEN s.status = 'overdue' THEN 'pending' END, CASE WHEN n % 2 = 0 THEN 'y' || n % 25 END,
        clock_timestamp() + (n % 2000 - 1500) * interval '1 hour',
        CASE WHEN s.status = 'completed' THEN clock_timestamp() END,
        CASE WHEN s.status = 'cancelled' THEN clock_timestamp() END,
        CASE WHEN n % 100 = 0 THEN clock_timestamp() - interval '1 minute' END,
        clock_timestamp() - n * interval '1 minute'
    FROM generate_series(1, 40000) n,
        LATERAL (SELECT (ARRAY['completed', 'completed', 'completed', 'completed', 'completed', 'cancelled', 'pending',
            'pending', 'in_progress', 'overdue'])[n / 10 % 10 + 1] AS status) s;
INSERT INTO task_assignments (tenant_id, task_id, user_id)
    SELECT tenant_id, id, assigned_to FROM tasks WHERE assigned_to IS NOT NULL;
INSERT INTO task_comments (tenant_id, task_id, user_id, comment) SELECT tenant_id, id, created_by, 'c' FROM tasks;
INSERT INTO task_history (tenant_id, task_id, actor_id, actor_role, action, version)
    SELECT tenant_id, id, created_by, 'agent', 'create', 1 FROM tasks;
INSERT INTO communication_logs (tenant_id, user_id, notification_id, channel, recipient, status, created_at)
    SELECT t.tenant_id, n % 2000 + 1,
        (SELECT max(id) FROM notifications m WHERE m.tenant_id = t.tenant_id AND m.id <= n), 'email',
        n % 2000 || '@example.org', 'sent', clock_timestamp() - n * interval '1 minute'
    FROM generate_series(20, 40000) n, LATERAL (SELECT CASE WHEN n % 10 = 0 THEN 'a' ELSE 'b' END AS tenant_id) t;
INSERT INTO groups (tenant_id, name) SELECT 'a', 'g' || n FROM generate_series(0, 39) n;
INSERT INTO group_members (tenant_id, group_name, user_id)
    SELECT 'a', 'g' || n % 40, n FROM generate_series(1, 4000) n;
"""
LARGE_INBOX = 7777
LARGE = {
    "user_streams", "events", "notifications", "notification_delivery", "notification_preferences", "contacts",
    "people", "push_subscriptions", "idempotency_keys", "audit_log", "revocations", "api_keys", "tasks",
    "task_assignments", "task_comments", "task_history", "communication_logs", "group_members",
}  # fmt: skip


@pytest.fixture(scope="module")
def large_url(databases: Databases, background_loop: Any) -> Iterator[str]:
    with databases.fresh() as url:
        background_loop.run(_fill(url))
        yield url


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILL)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


@pytest.fixture
async def serving(large_url: str) -> AsyncIterator[Any]:
    """A connection as hub_serve, for tenant a, that plans without knowing parameters."""
    connection = await asyncpg.connect(large_url)
    await connection.execute("SET ROLE hub_serve; SET hub.tenant_id = 'a'; SET plan_cache_mode = force_generic_plan")
    yield connection
    await connection.close()


@pytest.mark.parametrize(("aggregate", "name"), STATEMENTS, ids=[f"{one}.{two}" for one, two in STATEMENTS])
async def test_a_statement_finds_its_rows_by_an_index(serving: Any, aggregate: str, name: str):
    statement = queries(aggregate)[name]
    await serving.execute(f"PREPARE it AS {statement}")
    count = await serving.fetchval("SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'it'")
    given = f"({', '.join(['NULL'] * count)})" if count else ""
    plan = json.loads(await serving.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE it{given}"))
    assert _scanned(plan[0]["Plan"]) & LARGE == set(), json.dumps(plan, indent=1)


_NOW = datetime.now(UTC)
LISTS = [
    {}, {"unassigned": True}, {"past_due": True}, {"groups": ["g1"]}, {"statuses": ["pending"]},
    {"priorities": ["high"]}, {"task_types": ["y2"]}, {"lead_id": 6}, {"assigned_to": 3}, {"due_before": _NOW},
    {"due_after": _NOW}, {"text": "x"}, {"sort": "due_date"}, {"sort": "-due_date"}, {"sort": "-updated_at"},
    {"sort": "priority"}, {"sort": "created_at", "after": ("2026-01-01T00:00:00+00:00", 1)},
]  # fmt: skip


class Explaining:
    """Explains what a list runs."""

    def __init__(self, serving: Any) -> None:
        self._serving = serving
        self.plans: list[Any] = []

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        self.plans += json.loads(await self._serving.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values))
        return []

    async def fetchval(self, statement: str, *values: Any) -> int:
        await self.fetch(statement, *values)
        return 0


@pytest.mark.parametrize("visible_to", [None, 3], ids=["supervisor", "agent"])
@pytest.mark.parametrize("asked", LISTS, ids=str)
async def test_a_list_of_tasks_finds_its_rows_by_an_index(serving: Any, asked: dict[str, Any], visible_to: int | None):
    of_caller = task_lists.Asked(**asked, visible_to=visible_to)
    tx: Any = Explaining(serving)
    await task_lists.read_page(tx, "a", of_caller)
    await task_lists.count_all(tx, "a", of_caller)
    for plan in tx.plans:
        assert _scanned(plan["Plan"]) & LARGE == set(), json.dumps(plan, indent=1)


INBOXES: list[tuple[dict[str, Any], str]] = [
    ({}, "notifications_inbox"), ({"states": ["held"]}, "notifications_"),
    ({"states": ["live", "muted", "expired"]}, "notifications_inbox"), ({"types": ["system"]}, "notifications_"),
    ({"types": ["system", "call_missed"], "states": ["live", "muted"]}, "notifications_"),
    ({"categories": ["c7"]}, "notifications_"), ({"priorities": ["low", "high"]}, "notifications_"),
    ({"is_archived": True}, "notifications_"), ({"is_read": False}, "notifications_"),
    ({"is_read": False, "is_archived": False}, "notifications_"), ({"since": _NOW}, "notifications_inbox"),
    ({"text": "x"}, "notifications_inbox"), ({"after": (_NOW, 1)}, "notifications_inbox"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "index"), INBOXES, ids=str)
async def test_a_list_of_notifications_is_read_in_its_order_by_an_index(
    serving: Any, asked: dict[str, Any], index: str
):
    tx: Any = Explaining(serving)
    await inbox_lists.read_page(tx, "a", LARGE_INBOX, inbox_lists.Asked(**asked))
    plan = tx.plans[0]["Plan"]
    # Found by its own index, and then shown by their ids.
    assert all(used.startswith(index) for used in _indexes(plan) - {"notifications_pkey"}), json.dumps(plan, indent=1)
    # What is sorted is at most what the page may hold, never an inbox.
    assert not _has_sorted_rows(plan), json.dumps(plan, indent=1)
    await inbox_lists.count_all(tx, "a", LARGE_INBOX, inbox_lists.Asked(**asked))
    assert _scanned(tx.plans[1]["Plan"]) & LARGE == set(), json.dumps(tx.plans[1], indent=1)


@pytest.mark.parametrize(
    "call",
    [
        "SELECT * FROM hub_due_releases(50)",
        "SELECT * FROM hub_due_expiries(50)",
        "SELECT * FROM hub_due_erasures(50, '1 minute')",
        "SELECT * FROM hub_sweep(array_fill('a'::text, '{50}'), ARRAY(SELECT generate_series(1, 50)), '{9}')",
        "SELECT * FROM hub_revocations(clock_timestamp() - interval '5 minutes')",
        "SELECT hub_forget_keys('300 hours', 50)",
        "SELECT * FROM hub_lock_streams('a', ARRAY(SELECT generate_series(1, 50)))",
    ],
)
async def test_a_function_reads_little_more_than_it_answers(serving: Any, call: str):
    read = """SELECT t.relname, t.seq_tup_read + coalesce((
                  SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid), 0)::bigint
              FROM pg_stat_user_tables t"""
    before = dict(await serving.fetch(read))
    assert await serving.fetch(call)
    await serving.execute("SELECT pg_stat_force_next_flush()")
    after = dict(await serving.fetch(read))
    # Each answers 50 at most; a table, or an index of it, has thousands.
    assert {table: after[table] - before[table] for table in LARGE if after[table] - before[table] > 300} == {}


def _indexes(node: dict[str, Any]) -> set[str]:
    own = {node["Index Name"]} if "Index Name" in node else set()
    return own.union(*(_indexes(child) for child in node.get("Plans", [])))


def _has_sorted_rows(node: dict[str, Any]) -> bool:
    """Whether rows of the table itself are sorted, anywhere below the merging of arms."""
    children = node.get("Plans", [])
    if node["Node Type"] == "Sort" and any("Index Name" in child for child in _below(node)):
        return not any(child["Node Type"] == "Limit" for child in _below(node))
    return any(_has_sorted_rows(child) for child in children)


def _below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in node.get("Plans", []):
        yield child
        yield from _below(child)


def _scanned(node: dict[str, Any]) -> set[str]:
    """The tables that a plan reads whole, partitions by their parent's name."""
    found: set[str] = set()
    if node["Node Type"] == "Seq Scan":
        found.add("events" if node["Relation Name"].startswith("events_") else node["Relation Name"])
    for child in node.get("Plans", []):
        found |= _scanned(child)
    return found
