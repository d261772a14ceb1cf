from __future__ import annotations

import pytest

from hub.broker import topics


@pytest.mark.parametrize(("tenant", "user"), [("acme", 7), ("a:b", 0), ("", 9223372036854775807), ("köln:1", 2)])
def test_a_users_topic_is_read_back(tenant: str, user: int) -> None:
    topic = topics.user_topic(tenant, user)
    assert topics.parse_user_topic(topic) == (tenant, user)
    assert topics.parse_tenant_topic(topic) is None
    assert topics.parse_canary_topic(topic) is None


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "hub:u:",
        "hub:u:7",
        "hub:u:acme:",
        "hub:u:acme:-1",
        "hub:u:acme:+1",
        "hub:u:acme: 1",
        "hub:u:acme:1_0",
        "hub:u:acme:٣",
        "hub:u:acme:²",
        "hub:u:acme:" + "9" * 20,
        "hub:p:acme:1",
        topics.NODES,
    ],
)
def test_no_other_topic_is_a_users(topic: str) -> None:
    assert topics.parse_user_topic(topic) is None


def test_tenants_and_canaries_are_read_back_and_told_apart() -> None:
    assert topics.parse_tenant_topic(topics.tenant_topic("a:b")) == "a:b"
    assert topics.parse_canary_topic(topics.canary_topic("n1")) == "n1"
    assert topics.parse_tenant_topic(topics.canary_topic("n1")) is None
    assert topics.parse_canary_topic(topics.tenant_topic("n1")) is None
    names = [topics.tenant_topic("x"), topics.canary_topic("x"), topics.presence_topic("x"), topics.user_topic("x", 1)]
    assert len({*names, topics.NODES}) == 5
