"""The log of what was sent outside: whose it is to read, and that reading it is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.rest import Tenant, paths, problem

pytestmark = pytest.mark.acceptance

FIELDS = {
    "id", "tenant_id", "user_id", "notification_id", "template_id", "channel", "recipient", "subject", "body", "status",
    "external_message_id", "sent_at", "delivered_at", "opened_at", "open_count", "clicked_at", "click_count",
    "response", "responded_at", "error", "created_at", "updated_at",
}  # fmt: skip


async def fill(tenant: Tenant) -> Any:
    """Ten e-mails made of a template, two SMS made of none, as a sender and a provider would leave them."""
    template = await tenant.admin.post("/templates", {"name": "t", "channel": "email", "body": "Hello"})
    await tenant.sql(
        """
        INSERT INTO communication_logs (tenant_id, user_id, template_id, channel, recipient, subject, body, status,
            sent_at, delivered_at, opened_at, open_count, clicked_at, click_count, created_at)
        SELECT $1, n % 3 + 1, $2, 'email', 'u' || n % 3 + 1 || '@example.org', 's', 'Hello',
            CASE WHEN n = 1 THEN 'bounced' WHEN n = 2 THEN 'queued' ELSE 'delivered' END,
            CASE WHEN n <> 2 THEN now() END, CASE WHEN n > 2 THEN now() END, CASE WHEN n > 6 THEN now() END,
            CASE WHEN n > 6 THEN n ELSE 0 END, CASE WHEN n > 8 THEN now() END, CASE WHEN n > 8 THEN 1 ELSE 0 END,
            now() - n * interval '1 hour'
        FROM generate_series(1, 10) n
        """,
        tenant.name,
        template["id"],
    )
    await tenant.sql(
        "INSERT INTO communication_logs (tenant_id, user_id, channel, status, error) VALUES ($1, 1, 'sms', 'failed',"
        " 'no route'), ($1, 2, 'sms', 'answered', null)",
        tenant.name,
    )
    return template


async def test_every_message_by_filter_and_in_pages(tenant: Tenant) -> None:
    template = await fill(tenant)
    everything = await tenant.admin.get("/communication-logs", include="total")
    assert everything["total"] == 12
    assert all(set(one) == FIELDS for one in everything["items"])
    times = [one["created_at"] for one in everything["items"]]
    assert times == sorted(times, reverse=True)
    for asked, count in [
        ({"channel": "sms"}, 2),
        ({"channel": "sms,email", "status": "bounced,failed"}, 2),
        ({"user_id": 1, "channel": "email"}, 3),
        ({"template_id": template["id"]}, 10),
        ({"notification_id": 1}, 0),
        ({"recipient": "u1@example.org"}, 3),
        ({"recipient": "u%"}, 0),
        ({"user_id": 1, "since": everything["items"][2]["created_at"]}, 1),
    ]:
        got = await tenant.admin.get("/communication-logs", **asked, include="total")
        assert (len(got["items"]), got["total"]) == (count, count), asked
    seen, cursor = [], None
    while True:
        page = await tenant.admin.get("/communication-logs", limit=5, **({"cursor": cursor} if cursor else {}))
        seen += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == everything["items"]
    assert await tenant.admin.get(f"/communication-logs/{seen[0]['id']}") == seen[0]
    wrong = await tenant.admin("GET", "/communication-logs", query={"status": "lost", "user_id": 0})
    assert paths(wrong) == {"query.status[0]", "query.user_id"}


async def test_figures_by_channel_and_template(tenant: Tenant) -> None:
    template = await fill(tenant)
    figures = await tenant.admin.get("/communication-logs/stats")
    email, sms = figures["items"]
    assert (email["channel"], email["template_id"], email["template_name"]) == ("email", template["id"], "t")
    assert [email[name] for name in ("messages", "sent", "delivered", "bounced", "opened", "clicked", "answered")] == [
        10, 9, 8, 1, 4, 2, 0,
    ]  # fmt: skip
    assert (email["delivery_rate"], email["bounce_rate"], email["open_rate"]) == (0.8889, 0.1111, 0.5)
    assert (sms["sent"], sms["failed"], sms["answered"], sms["answer_rate"], sms["template_id"]) == (1, 1, 1, 1.0, None)
    assert set(figures["by_channel"]) == {"email", "sms"}
    assert figures["by_channel"]["email"]["opened"] == 4
    assert (await tenant.admin.get("/communication-logs/stats", channel="push"))["items"] == []


async def test_each_reading_is_a_row_of_the_trail(tenant: Tenant) -> None:
    await fill(tenant)
    one = (await tenant.admin.get("/communication-logs", user_id=1, limit=1))["items"][0]
    await tenant.admin.get(f"/communication-logs/{one['id']}")
    await tenant.admin.get("/communication-logs/stats")
    trail = (await tenant.admin.get("/audit", entity_type="communication_log"))["items"]
    assert [(row["action"], row["entity_id"]) for row in trail] == [
        ("communication_logs.stats", None),
        ("communication_logs.read", str(one["id"])),
        ("communication_logs.read", None),
    ]
    assert trail[2]["changes"] == {"user_id": 1, "count": 1}


async def test_for_an_admin_of_that_tenant_only(tenant: Tenant, stranger: Tenant) -> None:
    await fill(tenant)
    one = (await tenant.admin.get("/communication-logs"))["items"][0]
    for path in ("/communication-logs", f"/communication-logs/{one['id']}", "/communication-logs/stats"):
        for caller in (tenant.agent(), tenant.supervisor, tenant.service):
            problem(await caller("GET", path), 403)
    problem(await stranger.admin("GET", f"/communication-logs/{one['id']}"), 404)
    assert (await stranger.admin.get("/communication-logs"))["items"] == []
