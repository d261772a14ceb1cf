"""The document says what the declarations say, of every route, and opens without a network."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from api.app import BASE
from api.asyncapi import asyncapi_document
from api.documents import document_pages, page_of
from api.openapi import openapi_document
from api.routes import api_routes
from tests.api.toy import ROUTES, running

DOCUMENT = openapi_document({BASE: api_routes()})
TOY = openapi_document({BASE: ROUTES})


def every(value: Any):
    yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from every(one)


def operations(document: dict[str, Any]):
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            yield path, method, one


def test_every_declared_route_is_there_and_no_other() -> None:
    assert {(m.upper(), p) for p, m, _ in operations(DOCUMENT)} == {(r.method, BASE + r.path) for r in api_routes()}


def test_it_is_openapi() -> None:
    validate(DOCUMENT)
    validate(TOY)


def test_names_of_types_are_short() -> None:
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in DOCUMENT["components"]["schemas"])


def test_headers_are_told_where_they_are_sent_and_nowhere_else() -> None:
    def headers(path: str, method: str, status: str) -> set[str]:
        return set(DOCUMENT["paths"][BASE + path][method]["responses"][status]["headers"])

    assert {"ETag", "Hub-Position"} <= headers("/tasks/{id}", "get", "200")
    assert "Hub-Position" not in headers("/audit", "get", "200")
    assert "ETag" not in headers("/notifications/{id}", "get", "200")
    assert "Idempotency-Replayed" in headers("/tasks", "post", "201")
    assert "Idempotency-Replayed" not in headers("/tasks/{id}", "put", "200")


def test_if_match_is_told_where_it_is_honoured() -> None:
    told = {
        (method, path)
        for path, method, one in operations(DOCUMENT)
        if "If-Match" in [each["name"] for each in one.get("parameters", [])]
    }
    assert told == {(r.method.lower(), BASE + r.path) for r in api_routes() if 412 in r.errors and not r.bulk}
    assert ("delete", f"{BASE}/tasks/{{id}}") in told


def test_another_method_is_told_of_those_that_there_are() -> None:
    assert all("405" in one["responses"] for _, _, one in operations(DOCUMENT))
    assert "Allow" in DOCUMENT["components"]["responses"]["Problem405"]["headers"]


def test_forms_are_told_that_a_rule_checks() -> None:
    types = DOCUMENT["components"]["schemas"]

    def of(name: str, member: str) -> dict[str, Any]:
        return next(one for one in types[name]["properties"][member]["anyOf"] if one != {"type": "null"})

    assert of("NamedTask", "due_date")["format"] == "date-time"
    assert of("TaskBody", "due_date")["format"] == "date-time"
    assert re.fullmatch(of("ContactsBody", "phone")["pattern"], "+4915112345678")
    assert not re.fullmatch(of("ContactsBody", "phone")["pattern"], "0151\n")
    assert of("PersonBody", "timezone")["format"] == "iana-timezone"
    assert re.fullmatch(of("PersonBody", "locale")["pattern"], "pt-BR")
    assert of("Preferences", "quiet_hours_days")["uniqueItems"] is True
    assert "nested at most 32" in of("NewNotification", "data")["description"]


def test_a_list_in_a_query_has_an_item_at_least_and_no_null() -> None:
    parameters = {one["name"]: one["schema"] for one in DOCUMENT["paths"][f"{BASE}/tasks"]["get"]["parameters"]}
    assert parameters["group"]["minItems"] == 1
    assert parameters["group"]["items"]["pattern"] == "^[^,]+$"
    assert parameters["lead_id"]["type"] == "integer"


def test_every_reference_leads_somewhere() -> None:
    references = {one["$ref"] for one in every(DOCUMENT) if isinstance(one, dict) and "$ref" in one}
    assert references
    for reference in references:
        at: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


def test_operations_have_names_of_their_own() -> None:
    names = [one["operationId"] for _, _, one in operations(DOCUMENT)]
    assert len(names) == len(set(names))


def test_the_parameters_of_each_path_are_described() -> None:
    for path, _, one in operations(DOCUMENT):
        described = {each["name"] for each in one.get("parameters", []) if each["in"] == "path"}
        assert described == set(re.findall(r"\{(\w+)\}", path)), path


def test_every_answer_that_a_route_may_give_is_described() -> None:
    for route in api_routes():
        described = DOCUMENT["paths"][BASE + route.path][route.method.lower()]["responses"]
        assert {int(status) for status in described} == {*route.responses, *route.problem_statuses}


def test_who_may_call_is_told() -> None:
    delete = TOY["paths"][f"{BASE}/things/{{id}}"]["delete"]
    assert delete["x-roles"] == ["admin"]
    assert delete["security"] == [{"bearer": []}]
    assert TOY["paths"][f"{BASE}/dressed"]["get"]["security"] == []


def test_limits_and_defaults_are_those_of_the_structs() -> None:
    parameters = TOY["paths"][f"{BASE}/things"]["get"]["parameters"]
    limit = next(one for one in parameters if one["name"] == "limit")["schema"]
    assert limit == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    thing = TOY["components"]["schemas"]["Thing"]
    assert thing["properties"]["title"]["maxLength"] == 200
    assert thing["required"] == ["title", "owner"]
    assert thing["additionalProperties"] is False
    assert thing["properties"]["created_at"] == {"readOnly": True}


def test_a_merge_patch_requires_nothing() -> None:
    body = TOY["paths"][f"{BASE}/things/{{id}}"]["patch"]["requestBody"]
    reference = body["content"]["application/merge-patch+json"]["schema"]["$ref"]
    patch = TOY["components"]["schemas"][reference.rpartition("/")[2]]
    whole = TOY["components"]["schemas"]["Thing"]
    assert "required" not in patch
    assert patch["additionalProperties"] is False
    assert patch["properties"]["title"] == whole["properties"]["title"], "what is required cannot be taken away"
    assert {"type": "null"} in patch["properties"]["priority"]["anyOf"]


def test_a_merge_patch_reaches_into_what_is_nested() -> None:
    settings = DOCUMENT["components"]["schemas"]["TenantSettingsPatch"]["properties"]
    assert {"$ref": "#/components/schemas/RetentionPatch"} in settings["retention"]["anyOf"]


def test_a_repeated_post_is_told_of_its_key() -> None:
    create = TOY["paths"][f"{BASE}/things"]["post"]
    assert "Idempotency-Key" in [one["name"] for one in create["parameters"]]
    assert create["responses"]["429"] == {"$ref": "#/components/responses/Problem429"}
    assert "Retry-After" in TOY["components"]["responses"]["Problem429"]["headers"]


def test_the_page_takes_nothing_from_elsewhere() -> None:
    page = page_of(DOCUMENT, asyncapi_document())
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import", page.split("</style>")[0])
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert "<script" not in page


def test_words_cannot_become_markup() -> None:
    document = openapi_document({BASE: ROUTES})
    document["info"]["title"] = "<script>alert(1)</script>"
    live = asyncapi_document()
    live["components"]["messages"]["Hello"]["summary"] = "<script>alert(2)</script>"
    assert "<script" not in page_of(document, live)


def test_the_page_shows_every_call_every_type_and_every_frame() -> None:
    live = asyncapi_document()
    page = page_of(DOCUMENT, live)
    assert all(f'id="{one["operationId"]}"' in page for _, _, one in operations(DOCUMENT))
    assert all(f'id="{name}"' in page for name in DOCUMENT["components"]["schemas"])
    assert all(f'id="live-{name}"' in page for name in live["components"]["messages"])
    assert len(set(links := re.findall(r'href="#([^"]+)"', page))) > 50
    assert {f'id="{link}"' for link in links} <= set(re.findall(r'id="[^"]+"', page)), "a link that leads nowhere"


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json", "/docs"])
async def test_each_is_served_and_known_again_by_their_tag(path: str) -> None:
    async with running(pages=document_pages(DOCUMENT, asyncapi_document())) as toy:
        first = await toy.client.get(path)
        again = await toy.client.get(path, headers={"if-none-match": first.headers["etag"]})
        other = await toy.client.get(path, headers={"if-none-match": '"other"'})
    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
    assert again.content == b""


async def test_the_page_s_policy_allows_its_own_style_alone() -> None:
    async with running(pages=document_pages(DOCUMENT, asyncapi_document())) as toy:
        policy = (await toy.client.get("/docs")).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("body", "is_right"),
    [
        ({"title": "t", "message": "m"}, True),
        ({"template": "welcome"}, True),
        ({"template": 5, "title": "t"}, True),
        ({"title": "t"}, False),
        ({"title": "t", "message": None}, False),
        ({"title": None, "message": "m", "template": None}, False),
        ({}, False),
    ],
)
def test_what_is_required_unless_another_is_given_is_told(body: dict[str, Any], is_right: bool) -> None:
    whole = {**DOCUMENT["components"]["schemas"]["NewNotification"], "components": DOCUMENT["components"]}
    assert Draft202012Validator(whole).is_valid({"type": "system", "user_id": 7, **body}) is is_right


@pytest.mark.parametrize(
    ("item", "is_right"),
    [
        ({"title": "t"}, True),
        ({"id": 5}, True),
        ({"id": 5, "version": 2, "description": None, "status": "completed"}, True),
        ({}, False),
        ({"title": "t", "status": "completed"}, False),
        ({"title": "t", "version": 2}, False),
        ({"id": 5, "title": None}, False),
        ({"id": 5, "sise": None}, False),
        ({"id": None, "title": "t"}, False),
    ],
)
def test_items_of_a_bulk_are_told_to_be_tasks_or_patches_of_tasks(item: dict[str, Any], is_right: bool) -> None:
    whole = {**DOCUMENT["components"]["schemas"]["BulkBody"], "components": DOCUMENT["components"]}
    assert Draft202012Validator(whole).is_valid({"items": [item]}) is is_right
