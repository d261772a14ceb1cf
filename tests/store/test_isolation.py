"""Nobody gets in: one tenant sees nothing of another, by the catalog's own list of tables and functions."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from hub.store.pool import Database, enter
from tests.conftest import Databases
from tests.store.catalog import tenant_tables

# One row a table, for tenant $1; ids of what they refer to are 1. In an order that foreign keys allow.
ROWS = {
    "user_streams": "(tenant_id, user_id) VALUES ($1, 1)",
    "events": "(tenant_id, user_id, seq, kind, lane, at, tail) VALUES ($1, 1, 1, 'k', 0, clock_timestamp(), '')",
    "idempotency_keys": "(tenant_id, user_id, method, path, key, fingerprint) VALUES ($1, 1, 'POST', '/', 'k', '')",
    "broadcasts": "(tenant_id, id, draft) VALUES ($1, 1, '{}')",
    "broadcast_audience": "(tenant_id, broadcast_id, user_id) VALUES ($1, 1, 1)",
    "notifications": "(tenant_id, id, user_id, type, title, message, state, live_seq) "
    "VALUES ($1, 1, 1, 'system', 't', 'm', 'live', 1)",
    "notification_delivery": "(tenant_id, notification_id, user_id, channel, status) "
    "VALUES ($1, 1, 1, 'email', 'planned')",
    "notification_preferences": "(tenant_id, user_id) VALUES ($1, 1)",
    "tasks": "(tenant_id, id, title) VALUES ($1, 1, 't')",
    "task_comments": "(tenant_id, task_id, user_id, comment) VALUES ($1, 1, 1, 'c')",
    "task_assignments": "(tenant_id, task_id, user_id) VALUES ($1, 1, 1)",
    "task_history": "(tenant_id, task_id, actor_role, action, version) VALUES ($1, 1, 'agent', 'create', 1)",
    "communication_templates": "(tenant_id, id, name, channel, body) VALUES ($1, 1, 'n', 'email', 'b')",
    "template_versions": "(tenant_id, template_id, version, body) VALUES ($1, 1, 1, 'b')",
    "communication_logs": "(tenant_id, notification_id, template_id, channel) VALUES ($1, 1, 1, 'email')",
    "contacts": "(tenant_id, user_id, channel, address) VALUES ($1, 1, 'email', 'a@example.org')",
    "push_subscriptions": "(tenant_id, user_id, endpoint, p256dh, auth) VALUES ($1, 1, 'https://e', 'p', 'a')",
    "webhooks": "(tenant_id, url, secret) VALUES ($1, 'https://w', '')",
    "escalation_rules": "(tenant_id, priority, after_min, channel) VALUES ($1, 'high', 5, 'sms')",
    "channel_senders": "(tenant_id, channel, provider) VALUES ($1, 'email', 'smtp')",
    "people": "(tenant_id, user_id, external_id) VALUES ($1, 1, 'e')",
    "groups": "(tenant_id, name) VALUES ($1, 'g')",
    "group_members": "(tenant_id, group_name, user_id) VALUES ($1, 'g', 1)",
    "tenant_settings": "(tenant_id) VALUES ($1)",
    "api_keys": "(tenant_id, name, secret_hash) VALUES ($1, 'n', '')",
    "revocations": "(tenant_id, user_id) VALUES ($1, 1)",
    "audit_log": "(tenant_id, actor_role, action) VALUES ($1, 'admin', 'a')",
}

ACROSS_TENANTS = {
    "hub_epoch",
    "hub_sweep",
    "hub_due_releases",
    "hub_due_expiries",
    "hub_due_broadcasts",
    "hub_due_tasks",
    "hub_due_erasures",
    "hub_revocations",
    "hub_forget_keys",
    "hub_make_partitions",
}


@pytest.fixture(scope="module")
def filled_url(databases: Databases, background_loop: Any) -> Any:
    """A database in which the tenants a and b have a row in every table."""
    with databases.fresh() as url:
        background_loop.run(_fill(url))
        yield url


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for tenant in ("a", "b"):
            for table, values in ROWS.items():
                await connection.execute(f"INSERT INTO {table} {values}", tenant)
    finally:
        await connection.close()


@pytest.fixture
async def owner(filled_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(filled_url)
    yield connection
    await connection.close()


@pytest.fixture
async def database(filled_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(filled_url, pool_max=2)
    yield database
    await database.close()


async def test_every_table_of_tenants_is_tried_here(owner: Any):
    assert set(await tenant_tables(owner)) == set(ROWS)


async def test_every_table_has_the_one_policy_and_nothing_for_everyone(owner: Any):
    rows = await owner.fetch("SELECT tablename, policyname, roles::text, cmd, qual, with_check FROM pg_policies")
    assert {row["tablename"] for row in rows} == set(ROWS)
    assert {tuple(row)[1:4] for row in rows} == {("tenant", "{hub_serve}", "ALL")}
    (condition,) = {row["qual"] for row in rows} | {row["with_check"] for row in rows}
    assert condition == "(tenant_id = NULLIF(current_setting('hub.tenant_id'::text, true), ''::text))"
    assert not await owner.fetch(
        "SELECT FROM information_schema.table_privileges WHERE grantee = 'PUBLIC' AND table_schema = 'public' "
        "AND table_name <> 'schema_migrations'"
    )


async def test_every_table_has_row_level_security_and_who_serves_is_bound_by_it(owner: Any):
    """Who owns a table is not bound by its policies: so who serves owns none, and is no member of who does."""
    rows = await owner.fetch(
        """SELECT relname, relrowsecurity, pg_has_role('hub_serve', relowner, 'MEMBER') AS owns FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relname = ANY($1::text[])""",
        list(ROWS),
    )
    assert {tuple(row) for row in rows} == {(table, True, False) for table in ROWS}


@pytest.mark.parametrize("table", ROWS)
async def test_a_tenant_sees_its_own_row_and_no_other(database: Database, table: str):
    for tenant in ("a", "b"):
        async with database.transaction(tenant) as tx:
            assert [row[0] for row in await tx.fetch(f"SELECT tenant_id FROM {table}")] == [tenant]
    async with database.transaction("neither") as tx:
        assert await tx.fetch(f"SELECT tenant_id FROM {table}") == []


@pytest.mark.parametrize("table", ROWS)
async def test_without_a_tenant_nothing_is_seen(database: Database, owner: Any, table: str):
    async with database.system() as tx:
        assert await tx.fetch(f"SELECT FROM {table}") == []
    async with owner.transaction():
        await owner.execute("SET LOCAL ROLE hub_serve")
        assert await owner.fetchval("SELECT current_setting('hub.tenant_id', true)") in (None, "")
        assert await owner.fetch(f"SELECT FROM {table}") == []


@pytest.mark.parametrize("table", ROWS)
async def test_a_tenant_cannot_write_for_another(database: Database, table: str):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with database.transaction("c") as tx:
            await tx.execute(f"INSERT INTO {table} {ROWS[table]}", "a")
    for statement in (f"UPDATE {table} SET tenant_id = tenant_id", f"DELETE FROM {table}"):
        try:
            async with database.transaction("neither") as tx:
                answer = await tx.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        assert answer.endswith(" 0")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET action = 'b'",
        "DELETE FROM audit_log",
        "UPDATE events SET tail = ''",
        "DELETE FROM user_streams",
        "DELETE FROM api_keys",
        "SELECT epoch FROM hub_meta",
        "UPDATE schema_migrations SET checksum = ''",
        "CREATE TABLE public.mine ()",
        "SELECT setval('notifications_id_seq', 1)",
        *(f"TRUNCATE {table} CASCADE" for table in ROWS),
        *(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY" for table in ROWS),
        *(f"DROP POLICY tenant ON {table}" for table in ROWS),
    ],
)
async def test_the_serving_role_may_not(database: Database, statement: str):
    # Not the trigger's word, nor an empty answer: it has no such right at all.
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"permission denied|must be owner"):
        async with database.transaction("a") as tx:
            await tx.execute(statement)


async def test_the_serving_role_cannot_turn_the_policies_off(database: Database, owner: Any):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security policy"):
        async with database.transaction("a") as tx:
            await tx.execute("SET LOCAL row_security = off; SELECT FROM notifications")
    role = await owner.fetchrow("SELECT * FROM pg_roles WHERE rolname = 'hub_serve'")
    assert not any(role[name] for name in ("rolsuper", "rolbypassrls", "rolcanlogin", "rolcreaterole", "rolcreatedb"))


async def test_the_serving_role_cannot_touch_a_partition(database: Database, owner: Any):
    partitions = [row[0] for row in await owner.fetch("SELECT inhrelid::regclass::text FROM pg_inherits "
                                                      "WHERE inhparent = 'events'::regclass")]  # fmt: skip
    assert len(partitions) >= 9
    for partition in partitions:
        for statement in (f"SELECT FROM {partition}", f"DELETE FROM {partition}", f"DROP TABLE {partition}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with database.transaction("a") as tx:
                    await tx.execute(statement)
        # A right that somebody grants by mistake shows nothing either.
        assert await owner.fetchval("SELECT relrowsecurity FROM pg_class WHERE oid = $1::text::regclass", partition)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET action = 'b'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
async def test_not_even_the_owner_changes_the_audit_trail(owner: Any, statement: str):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit_log is append only"):
        await owner.execute(statement)


async def test_only_the_named_functions_look_across_tenants(owner: Any):
    rows = await owner.fetch(
        """SELECT proname, prosecdef, proconfig, proacl::text AS rights,
                  has_function_privilege('hub_serve', p.oid, 'EXECUTE') AS may
           FROM pg_proc p WHERE pronamespace = 'public'::regnamespace"""
    )
    assert {row["proname"] for row in rows if row["prosecdef"]} == ACROSS_TENANTS
    assert {row["proname"] for row in rows if row["may"]} == ACROSS_TENANTS | {"hub_lock_streams"}
    for row in rows:
        assert row["proconfig"] == ["search_path=pg_catalog, pg_temp"], row["proname"]
        # An entry without a name before the "=" would be PUBLIC's.
        assert not re.search(r"[{,]=", row["rights"]), row["proname"]


async def test_what_looks_across_tenants_answers_keys_heads_and_times_only(owner: Any):
    rows = await owner.fetch(
        """SELECT coalesce(proargnames[pronargs + 1:], '{}') AS columns
           FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef AND proretset"""
    )
    answered = {name for row in rows for name in row["columns"]}
    assert answered == {"tenant_id", "user_id", "head", "due_at", "broadcast_id", "task_id", "revoked_at"}


async def test_one_transaction_may_serve_several_tenants_in_turn(database: Database):
    async with database.transaction("a") as tx:
        assert await tx.fetchval("SELECT tenant_id FROM notifications") == "a"
        await enter(tx, "b")
        assert await tx.fetchval("SELECT tenant_id FROM notifications") == "b"
        with pytest.raises(ValueError, match="belongs to a tenant"):
            await enter(tx, "")


async def test_an_empty_tenant_is_refused_before_anything_is_asked(database: Database):
    with pytest.raises(ValueError, match="belongs to a tenant"):
        database.transaction("")


async def test_a_login_without_any_power_serves_and_still_sees_one_tenant_only(filled_url: str, owner: Any):
    name = "hub_login_" + await owner.fetchval("SELECT substr(md5(current_database()), 1, 8)")
    await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    try:
        await owner.execute(f"GRANT hub_serve TO {name}")
        parts = urlsplit(filled_url)
        address = parts.netloc.rpartition("@")[2]
        database = await Database.connect(parts._replace(netloc=f"{name}:x@{address}").geturl())
        try:
            async with database.transaction("a") as tx:
                assert await tx.fetchval("SELECT session_user::text") == name
                assert await tx.fetchval("SELECT tenant_id FROM notifications") == "a"
        finally:
            await database.close()
    finally:
        await owner.execute(f"DROP ROLE {name}")
