"""Forgetting a person: every table of the catalog is looked through for what was left."""

from __future__ import annotations

import asyncpg
import msgspec
import pytest

from hub.app import broadcasts, contacts, directory, erasure, own
from hub.app.contacts import Contacts
from hub.app.create import create
from hub.app.errors import Forbidden
from hub.core.counts import Counts
from hub.core.task_changes import BoardChange
from hub.core.topics import tasks_topic
from hub.store.directory import Person
from tests.app.world import TENANT, World, draft, once
from tests.store.catalog import tenant_tables

MARK = "Zwxqvortex"
"""A word that stands in everything that is this person's content."""

USER = 777_000_777
"""An id that is nobody else's, and part of no other number."""

SEEDS = {
    "people": "UPDATE people SET locale = 'de' WHERE user_id = $2 AND tenant_id = $1",
    "notification_preferences": "INSERT INTO notification_preferences (tenant_id, user_id, muted_categories)"
    " VALUES ($1, $2, ARRAY['zwxqvortex'])",
    "tasks": "INSERT INTO tasks (tenant_id, id, title, assigned_to, created_by, priority) VALUES"
    " ($1, 801, 'shared', 5, $2, 'normal'), ($1, 802, 'theirs', $2, 5, 'critical'), ($1, 803, 'watched', 5, 5, 'low')",
    "task_assignments": "INSERT INTO task_assignments (tenant_id, task_id, user_id, assigned_by) VALUES"
    " ($1, 803, $2, 5), ($1, 801, 6, $2)",
    "task_comments": "INSERT INTO task_comments (tenant_id, task_id, user_id, comment) VALUES ($1, 801, $2, 'shared')",
    "task_history": "INSERT INTO task_history (tenant_id, task_id, actor_id, actor_role, action, version)"
    " VALUES ($1, 801, $2, 'agent', 'create', 1)",
    "communication_templates": "INSERT INTO communication_templates (tenant_id, id, name, channel, body, created_by)"
    " VALUES ($1, 801, 'n', 'email', 'b', $2)",
    "template_versions": "INSERT INTO template_versions (tenant_id, template_id, version, body, created_by)"
    " VALUES ($1, 801, 1, 'b', $2)",
    "communication_logs": "INSERT INTO communication_logs (tenant_id, user_id, channel, recipient, subject, body,"
    " response, error, external_message_id)"
    f" VALUES ($1, $2, 'email', '{MARK}@e.org', '{MARK}', '{MARK}', '{MARK}', '{MARK}', '{MARK}')",
    "webhooks": "INSERT INTO webhooks (tenant_id, url, secret, created_by) VALUES ($1, 'https://w', '', $2)",
    "api_keys": "INSERT INTO api_keys (tenant_id, name, secret_hash, created_by) VALUES ($1, 'k', '', $2)",
    "revocations": "INSERT INTO revocations (tenant_id, user_id) VALUES ($1, $2)",
    "delivery": "UPDATE notification_delivery SET last_error = 'Zwxqvortex' WHERE tenant_id = $1 AND user_id = $2",
}

NOBODY_IN = {"groups", "tenant_settings", "escalation_rules", "channel_senders"}
"""Tables without a person in them."""

KEEPS_IDS = {"audit_log", "revocations", "user_streams"}
"""The fact, whose tokens are refused, and where the log stands: ids and numbers, never content."""


async def found_in(owner: asyncpg.Connection, text: str) -> set[str]:
    """Tables with a row in which `text` stands, in whatever column, bytes read as text."""
    found: set[str] = set()
    for table in await tenant_tables(owner):
        rows = await owner.fetch(f'SELECT t.* FROM "{table}" t')
        if any(text.lower() in repr(tuple(row)).lower() for row in rows):
            found.add(table)
    return found


async def fill(world: World) -> None:
    """Put the person into every table."""
    admin = world.caller(USER, "admin")
    await directory.put_person(
        world.deps, world.producer, Person(user_id=USER, display_name=MARK, external_id=f"{MARK}-1")
    )
    await contacts.put_contacts(world.deps, admin, Contacts(user_id=USER, email=f"{MARK}@example.org"))
    await contacts.subscribe(world.deps, admin, f"https://push/{MARK}", MARK, MARK)
    await directory.put_group(world.deps, admin, "night", [USER, 5])
    await world.send(USER, title=MARK, data={"a": MARK})
    await world.send(USER, deliver_at=None, collapse_key=MARK)
    # Of another, who keeps the answer under a key.
    await create(world.deps, world.caller(5, "supervisor", once=once("k1")), [draft(USER, title=MARK)])
    await create(world.deps, world.caller(USER, once=once("k2")), [draft(USER, title=MARK)])
    # What the person told others.
    await create(world.deps, admin, [draft(5, created_by=USER, created_by_key=None)])
    text = draft(0, title="All hands", created_by=USER, created_by_key=None)
    begun = await broadcasts.broadcast(world.deps, admin, text, "night")
    assert begun.result is not None
    await broadcasts.fan_out(world.deps, TENANT, [begun.result.broadcast_id])
    for statement in SEEDS.values():
        await world.sql(statement, TENANT, USER)


async def erase(world: World) -> None:
    await erasure.erase_user(world.deps, world.caller(1, "admin"), USER)


async def test_no_table_keeps_a_trace_but_ids(world: World, owner: asyncpg.Connection):
    await fill(world)
    everywhere = set(await tenant_tables(owner))
    assert await found_in(owner, str(USER)) == everywhere - NOBODY_IN, "the person is put into every table that can"
    head = await world.head(USER)
    other = await world.head(5)

    await erase(world)

    # Copies in the logs of others go with retention: here nothing of the person's own words was told to any other.
    assert await found_in(owner, MARK) == set()
    assert await found_in(owner, str(USER)) - KEEPS_IDS == {"events"}
    told = await owner.fetch("SELECT user_id, kind FROM events WHERE user_id = $1", USER)
    assert [tuple(row) for row in told] == [(USER, "inbox.erased")]

    # The stream goes on, and its badge is empty.
    events = await world.events(USER)
    assert [(event["seq"], event["kind"], event["data"]) for event in events] == [(head + 1, "inbox.erased", {})]
    assert events[0]["counts"] == msgspec.to_builtins(Counts())
    assert await world.counts(USER) == Counts()

    # The tasks live on without them, and whoever is on one is told.
    rows = await world.sql("SELECT id, assigned_to, created_by, version FROM tasks ORDER BY id")
    assert [tuple(row) for row in rows] == [(801, 5, None, 2), (802, None, 5, 2), (803, 5, 5, 2)]
    assert await world.kinds(5, after=other) == ["task.updated"] * 3
    assert [event["data"]["assigned_to"] for event in await world.events(5, after=other)] == [5, None, 5]
    watched = [payload for topic, payload in world.broker.messages if topic == tasks_topic(TENANT)]
    changes = msgspec.msgpack.decode(watched[-1], type=list[BoardChange])
    assert [(one.id, one.assigned_to, one.was_free) for one in changes] == [
        (801, 5, False),
        (802, None, True),
        (803, 5, False),
    ]
    trail = await world.sql("SELECT count(*) FROM audit_log WHERE action = 'user.erase' AND entity_id = $1", str(USER))
    assert trail[0][0] == 1


async def test_erased_twice_nothing_is_left_either_and_being_addressed_begins_anew(world: World):
    await erase(world)
    assert await world.kinds(USER) == ["inbox.erased"]
    head = await world.head(USER)
    assert not await in_audience(world)
    await world.send(USER)
    assert [event["seq"] for event in await world.events(USER)] == [head, head + 1]
    assert (await world.counts(USER)).unread == 1
    assert await in_audience(world)


async def in_audience(world: World) -> bool:
    begun = await broadcasts.broadcast(world.deps, world.caller(1, "admin"), draft(0), None)
    assert begun.result is not None
    rows = await world.sql(
        "SELECT FROM broadcast_audience WHERE broadcast_id = $1 AND user_id = $2", begun.result.broadcast_id, USER
    )
    return bool(rows)


async def test_what_an_erased_person_told_is_nobody_elses_to_take_back(world: World):
    author, nobody = USER + 3, world.caller(None, "service")
    made = await create(world.deps, world.caller(author, "admin"), [draft(8, created_by=author, created_by_key=None)])
    assert made.result is not None
    begun = await broadcasts.broadcast(
        world.deps, world.caller(author, "admin"), draft(0, created_by=author, created_by_key=None), None
    )
    assert begun.result is not None
    broadcast_id = begun.result.broadcast_id
    await erasure.erase_user(world.deps, world.caller(1, "admin"), author)
    row = await world.row(made.result[0].id)
    assert row is not None
    assert row.created_by is None
    assert not own.is_known_to(nobody, row)
    await broadcasts.stop(world.deps, nobody, broadcast_id)
    told = await broadcasts.fan_out(world.deps, TENANT, [broadcast_id])
    assert told > 0
    rows = await world.sql("SELECT DISTINCT created_by_key FROM notifications WHERE broadcast_id = $1", broadcast_id)
    assert [row[0] for row in rows] == [0]


async def test_another_tenants_user_of_the_same_id_is_not_touched(world: World):
    made = await create(world.deps, world.caller(USER, tenant="other"), [draft(USER, title=MARK)])
    assert made.result is not None
    await erase(world)
    rows = await world.sql("SELECT title FROM notifications WHERE user_id = $1", USER, tenant="other")
    assert [row["title"] for row in rows] == [MARK]
    assert await world.sql("SELECT FROM events WHERE user_id = $1", USER, tenant="other")


async def test_an_export_has_what_is_known_and_no_secret(world: World):
    user = USER + 2
    agent = world.caller(user)
    await directory.put_person(world.deps, world.producer, Person(user_id=user, display_name="Ana"))
    await contacts.subscribe(world.deps, agent, "https://push/export", "a-key-of-a-browser", "a-secret-of-a-browser")
    await contacts.put_contacts(world.deps, agent, Contacts(user_id=user, slack="@ana"))
    sent = await world.send(user, data={"sent_at": "not an instant"})
    found = await erasure.export_user(world.deps, world.caller(1, "admin"), user)
    sections = found.sections
    assert sections["person"][0]["display_name"] == "Ana"
    assert sections["contacts"][0]["address"] == "@ana"
    assert sections["notifications"][0]["id"] == sent.id
    assert sections["notifications"][0]["data"] == {"sent_at": "not an instant"}
    assert {name for name, rows in sections.items() if not rows} >= {"tasks", "groups", "communication_logs"}
    document = msgspec.json.encode(found)
    assert b"of-a-browser" not in document
    assert b'Z"' in document
    assert b"+00:00" not in document
    assert found.truncated == []
    trail = await world.sql("SELECT FROM audit_log WHERE action = 'user.export' AND entity_id = $1", str(user))
    assert len(trail) == 1


async def test_only_an_admin_erases_and_exports(world: World):
    for role in ("agent", "supervisor", "service"):
        caller = world.caller(USER, role)  # pyright: ignore[reportArgumentType]
        with pytest.raises(Forbidden):
            await erasure.erase_user(world.deps, caller, USER)
        with pytest.raises(Forbidden):
            await erasure.export_user(world.deps, caller, USER)
