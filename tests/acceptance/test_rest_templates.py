"""Templates: kept with every version, tried, refused where they do harm; and notifications worded by them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.rest import Tenant, good, note, paths, problem

pytestmark = pytest.mark.acceptance

FIELDS = {
    "id", "tenant_id", "name", "type", "locale", "channel", "subject", "body", "variables", "version", "is_active",
    "usage_count", "last_used_at", "created_by", "created_at", "updated_at",
}  # fmt: skip


def callback(**fields: Any) -> dict[str, Any]:
    return {
        "name": "callback",
        "channel": "in_app",
        "locale": "en",
        "subject": "Call {{ name }}",
        "body": "{{ name }} asked to be called back{% if at %} at {{ at }}{% endif %}.",
        "variables": ["name", "at"],
    } | fields


async def test_get_change_put_and_every_version_stays(tenant: Tenant) -> None:
    made = await tenant.admin.post("/templates", callback())
    assert set(made) == FIELDS
    assert (made["version"], made["usage_count"], made["is_active"], made["created_by"]) == (1, 0, True, 900)
    answer = good(await tenant.admin("GET", f"/templates/{made['id']}"))
    assert answer.json() == made
    assert answer.headers["etag"] == '"1"'
    changed = await tenant.admin.put(f"/templates/{made['id']}", made | {"body": "Now {{ name }}."})
    assert (changed["version"], changed["body"], changed["variables"]) == (2, "Now {{ name }}.", ["name", "at"])
    renamed = await tenant.admin.put(f"/templates/{made['id']}", changed | {"name": "renamed"})
    assert renamed["version"] == 2, "it says the same"
    versions = (await tenant.admin.get(f"/templates/{made['id']}/versions"))["items"]
    assert [(one["version"], one["body"]) for one in versions] == [(2, "Now {{ name }}."), (1, made["body"])]
    await tenant.admin.delete(f"/templates/{made['id']}")
    problem(await tenant.admin("GET", f"/templates/{made['id']}"), 404)


async def test_a_change_of_yesterday_is_refused(tenant: Tenant) -> None:
    made = await tenant.admin.post("/templates", callback())
    path = f"/templates/{made['id']}"
    good(await tenant.admin("PUT", path, made | {"body": "2"}, If_Match='"1"'))
    problem(await tenant.admin("PUT", path, made | {"body": "3"}, If_Match='"1"'), 412)
    problem(await tenant.admin("DELETE", path, If_Match='"1"'), 412)
    assert (await tenant.admin.get(path))["body"] == "2"


async def test_one_of_a_name_channel_and_locale(tenant: Tenant, stranger: Tenant) -> None:
    made = await tenant.admin.post("/templates", callback())
    assert "callback" in problem(await tenant.admin("POST", "/templates", callback()), 409)["detail"]
    other = await tenant.admin.post("/templates", callback(locale="de"))
    problem(await tenant.admin("PUT", f"/templates/{other['id']}", callback()), 409)
    await tenant.admin.post("/templates", callback(channel="sms"))
    await stranger.admin.post("/templates", callback())
    problem(await stranger.admin("GET", f"/templates/{made['id']}"), 404)


async def test_lists_by_filter_and_in_pages(tenant: Tenant) -> None:
    for locale in ("en", "de", "fr"):
        for name in ("alpha", "beta_100%"):
            await tenant.admin.post("/templates", callback(name=name, locale=locale, channel="push", type=name[0]))
    got = await tenant.admin.get("/templates", name="alpha", include="total")
    assert ([one["locale"] for one in got["items"]], got["total"]) == (["de", "en", "fr"], 3)
    assert len((await tenant.admin.get("/templates", q="100%"))["items"]) == 3
    assert len((await tenant.admin.get("/templates", locale="fr", type="b"))["items"]) == 1
    assert (await tenant.admin.get("/templates", channel="email,sms"))["items"] == []
    seen, cursor = [], None
    while True:
        page = await tenant.admin.get("/templates", limit=4, **({"cursor": cursor} if cursor else {}))
        seen += [(one["name"], one["locale"]) for one in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == sorted(seen)
    assert len(seen) == 6


async def test_what_is_not_declared_is_named(tenant: Tenant) -> None:
    answer = await tenant.admin("POST", "/templates", callback(subject="{{ nmae }}", body="{{ x.y }} {{ name }}"))
    assert paths(answer) == {"$.subject", "$.body"}
    assert "nmae" in answer.text


async def test_a_missing_variable_is_named(tenant: Tenant) -> None:
    made = await tenant.admin.post("/templates", callback())
    answer = await tenant.admin("POST", f"/templates/{made['id']}/preview", {"variables": {"at": "noon"}})
    assert paths(answer) == {"$.variables.name"}
    said = await tenant.admin.post(f"/templates/{made['id']}/preview", {"variables": {"name": "Ada <3", "at": None}})
    assert said == {"subject": "Call Ada <3", "body": "Ada <3 asked to be called back."}


async def test_an_email_is_html_and_its_subject_is_not(tenant: Tenant) -> None:
    mail = callback(channel="email", body="<p>{{ name }}</p>", variables=["name"])
    made = await tenant.admin.post("/templates", mail)
    said = await tenant.admin.post(f"/templates/{made['id']}/preview", {"variables": {"name": "<b>&"}})
    assert said == {"subject": "Call <b>&", "body": "<p>&lt;b&gt;&amp;</p>"}
    header = {"variables": {"name": "x\r\nBcc: all@example.org"}}
    assert paths(await tenant.admin("POST", f"/templates/{made['id']}/preview", header)) == {"$.variables"}


@pytest.mark.parametrize(
    "body",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ name.__class__ }}",
        "{{ name|attr('__class__') }}",
        "{% for a in range(10**9) %}x{% endfor %}",
        "{{ 'x' * 10**9 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self._TemplateReference__context }}",
        "{{ name",
        "{% if %}",
    ],
)
async def test_what_could_do_harm_is_no_template(tenant: Tenant, body: str) -> None:
    assert paths(await tenant.admin("POST", "/templates", callback(body=body))) == {"$.body"}


async def test_loops_that_would_not_end_are_stopped(tenant: Tenant) -> None:
    loops = "{% for a in rows %}{% for b in rows %}{% for c in rows %}{{ a }}{% endfor %}{% endfor %}{% endfor %}"
    made = await tenant.admin.post("/templates", callback(body=loops, variables=["rows", "name"]))
    variables = {"variables": {"rows": list(range(2000)), "name": "x"}}
    answer = await tenant.admin("POST", f"/templates/{made['id']}/preview", variables)
    assert paths(answer) == {"$.variables"}
    assert "work" in answer.text


# -- notifications worded by a template ------------------------------------------------------------------------------


async def tell(tenant: Tenant, **fields: Any) -> Any:
    return await tenant.service.post("/notifications", {"type": "system", "template": "callback"} | fields)


async def test_each_reads_it_in_their_language_or_the_nearest(tenant: Tenant) -> None:
    await tenant.admin.post("/templates", callback())
    await tenant.admin.post("/templates", callback(locale="de", subject="{{ name }} anrufen", body="Bitte, {{ name }}"))
    await tenant.admin.post("/templates", callback(locale="fr-CA", subject="Rappeler {{ name }}", body="A"))
    await tenant.admin.post("/templates", callback(locale="it", body="spento", is_active=False))
    for user, locale in ((1, "de-AT"), (2, "fr"), (3, "it"), (4, "pt")):
        await tenant.service.put(f"/users/{user}", {"locale": locale})
    await tenant.agent(5).patch("/notifications/preferences", {"locale": "de"})
    made = await tell(tenant, user_ids=[1, 2, 3, 4, 5, 6], variables={"name": "Ada", "at": None})
    assert [one["title"] for one in made["items"]] == [
        "Ada anrufen", "Rappeler Ada", "Call Ada", "Call Ada", "Ada anrufen", "Call Ada",
    ]  # fmt: skip
    assert made["items"][0]["message"] == "Bitte, Ada"
    assert (await tenant.agent(2).get("/notifications"))["items"][0]["title"] == "Rappeler Ada"
    used = (await tenant.admin.get("/templates", name="callback"))["items"]
    assert {one["locale"]: one["usage_count"] for one in used} == {"en": 3, "de": 2, "fr-CA": 1, "it": 0}
    assert all((one["last_used_at"] is not None) == (one["usage_count"] > 0) for one in used)


async def test_a_tenant_language_comes_before_english(tenant: Tenant) -> None:
    await tenant.admin.post("/templates", callback())
    await tenant.admin.post("/templates", callback(locale="de", body="Bitte"))
    await tenant.admin.patch("/settings", {"locale": "de"})
    assert (await tell(tenant, user_id=1, variables={"name": "Ada", "at": 1}))["message"] == "Bitte"


async def test_what_the_request_says_itself_stays(tenant: Tenant) -> None:
    made = await tenant.admin.post("/templates", callback())
    said = await tell(tenant, template=made["id"], user_id=1, title="Mine", variables={"name": "Ada", "at": None})
    assert (said["title"], said["message"]) == ("Mine", "Ada asked to be called back.")


async def test_a_group_is_told_in_its_languages(tenant: Tenant) -> None:
    await tenant.admin.post("/templates", callback())
    await tenant.admin.post("/templates", callback(locale="de", body="Bitte"))
    await tenant.service.put("/users/2", {"locale": "de"})
    await tenant.admin.put("/groups/night", {"members": [1, 2]})
    made = await tell(tenant, group="night", variables={"name": "Ada", "at": None})
    assert [one["message"] for one in made["items"]] == ["Ada asked to be called back.", "Bitte"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"variables": {"at": None}}, {"$.variables.name"}),
        ({}, {"$.variables.at", "$.variables.name"}),
        ({"template": "nothing"}, {"$.template"}),
        ({"template": 2**53 - 1}, {"$.template"}),
        ({"variables": {"name": "x" * 300, "at": None}}, {"$.title"}),
        ({"variables": {"name": "x" * 4001, "at": None}, "title": "t"}, {"$.message", "$.variables"}),
        ({"variables": {"name": "a\nb", "at": None}}, {"$.variables"}),
        ({"template": None}, {"$.title", "$.message"}),
        ({"template": None, "title": "t", "message": "m", "variables": {"name": "Ada"}}, {"$.variables"}),
        ({"template": "mail", "variables": {}}, {"$.template"}),
    ],
)
async def test_what_gives_no_text_is_refused_by_its_name(tenant: Tenant, fields: Any, wrong: set[str]) -> None:
    await tenant.admin.post("/templates", callback())
    await tenant.admin.post("/templates", callback(name="mail", channel="email"))
    body = {"type": "system", "user_id": 1, "template": "callback"} | fields
    found = paths(await tenant.service("POST", "/notifications", body))
    assert found
    assert found <= wrong
    bulk = paths(await tenant.service("POST", "/notifications/bulk", {"items": [note(user_id=1), body]}))
    assert bulk == {one.replace("$", "$.items[1]", 1) for one in found}
    assert (await tenant.agent().get("/notifications"))["items"] == []


async def test_a_repeated_request_is_not_worded_again(tenant: Tenant) -> None:
    made = await tenant.admin.post("/templates", callback())
    body = {"type": "system", "user_id": 1, "template": "callback", "variables": {"name": "Ada", "at": None}}
    first = good(await tenant.service("POST", "/notifications", body, Idempotency_Key="w"))
    await tenant.admin.delete(f"/templates/{made['id']}")
    again = good(await tenant.service("POST", "/notifications", body, Idempotency_Key="w"))
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    problem(await tenant.service("POST", "/notifications", body | {"user_id": 2}, Idempotency_Key="w"), 422)
