"""The habits of every route, over ASGI."""

from __future__ import annotations

import asyncio
import json
import logging
from hashlib import sha256
from typing import Any

import pytest

from api.problems import Refused, too_many
from api.request import idempotency_of
from api.route import Idempotency
from hub.app import errors
from hub.store.errors import DatabaseUnavailable
from tests.api.toy import Thing, Toy, running

GOOD = {"title": "x", "owner": 1}
V1 = "/api/v1"


def said(answer: Any) -> dict[str, str]:
    """The errors of a 422, by path."""
    assert answer.status_code == 422, answer.text
    return {one["path"]: one["message"] for one in answer.json()["errors"]}


async def test_a_good_request_reaches_its_handler_whole(toy: Toy):
    answer = await toy.client.post(f"{V1}/things", json=GOOD, headers={"x-request-id": "mine.1"})
    assert answer.status_code == 201
    assert answer.json() == {"ok": True}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    call = toy.last
    assert call.body == Thing(title="x", owner=1)
    assert call.principal.tenant_id == "acme"
    assert (call.method, call.path, call.template) == ("POST", f"{V1}/things", f"{V1}/things")
    assert (call.request_id, call.address) == ("mine.1", "127.0.0.1")
    assert (call.idempotency, call.if_match) == (None, None)


# -- the shape of a refusal -----------------------------------------------------------------------------------------


async def test_a_refusal_is_a_problem(toy: Toy):
    answer = await toy.client.post(f"{V1}/things?x=1", json={}, headers={"x-request-id": "r1"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/problems/invalid",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "The request has invalid values.",
        "instance": f"{V1}/things",
        "request_id": "r1",
        "errors": [
            {"path": "query", "message": "This address takes no query parameters."},
            {"path": "$.title", "message": "Required."},
            {"path": "$.owner", "message": "Required."},
        ],
    }


async def test_faults_of_path_query_body_and_headers_come_together(toy: Toy):
    answer = await toy.client.put(f"{V1}/things/x?y=1", json={"title": ""}, headers={"if-match": "3"})
    assert set(said(answer)) == {"path.id", "query", "$.title", "$.owner", "header.If-Match"}


REFUSALS = [
    (errors.NotFound("No such thing."), 404, "not-found", {}),
    (errors.Forbidden("Not yours."), 403, "forbidden", {}),
    (errors.Conflict("It is claimed.", winner=5), 409, "conflict", {}),
    (errors.Invalid([("$.user_id", "Unknown.")]), 422, "invalid", {}),
    (errors.IdempotencyMismatch(), 422, "idempotency-mismatch", {}),
    (errors.IdempotencyBusy(1.2), 409, "idempotency-busy", {"retry-after": "2"}),
    (errors.PreconditionFailed(), 412, "precondition-failed", {}),
    (errors.Unavailable(0.1), 503, "unavailable", {"retry-after": "1"}),
    (DatabaseUnavailable("secret.host refused"), 503, "unavailable", {"retry-after": "2"}),
]


@pytest.mark.parametrize(("error", "status", "slug", "headers"), REFUSALS, ids=lambda one: type(one).__name__)
async def test_each_refusal_of_a_use_case_has_its_problem(
    toy: Toy, error: Exception, status: int, slug: str, headers: dict[str, str]
):
    toy.deps.error = error
    answer = await toy.client.get(f"{V1}/things")
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert problem["type"] == f"/problems/{slug}"
    assert headers.items() <= dict(answer.headers).items()
    assert "secret" not in answer.text
    if isinstance(error, errors.Conflict):
        assert problem["winner"] == 5
    if isinstance(error, errors.Invalid):
        assert problem["errors"] == [{"path": "$.user_id", "message": "Unknown."}]


async def test_a_fault_of_the_hub_tells_nothing_and_is_logged_with_its_request_id(
    toy: Toy, caplog: pytest.LogCaptureFixture
):
    toy.deps.error = RuntimeError("secret")
    with caplog.at_level(logging.ERROR):
        answer = await toy.client.get(f"{V1}/things", headers={"x-request-id": "r1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    (record,) = caplog.records
    assert record.__dict__["request_id"] == "r1"
    assert record.exc_info is not None


async def test_an_answer_that_was_not_declared_is_a_fault(toy: Toy):
    assert (await toy.client.get(f"{V1}/undeclared")).status_code == 500


# -- who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "status", "challenge"),
    [
        (None, 401, 'Bearer realm="hub"'),
        ("", 401, 'Bearer realm="hub"'),
        ("Bearer", 401, 'Bearer realm="hub"'),
        ("Basic YTpi", 401, 'Bearer realm="hub"'),
        ("Bearer nobody", 401, 'error="invalid_token"'),
        ("Bearer agent, Bearer admin", 401, 'error="invalid_token"'),
        ("Bearer \u00fc", 401, 'error="invalid_token"'),
        ("Bearer agent", 403, 'error="insufficient_scope"'),
        ("bearer admin", 204, None),
        ("Bearer unreachable", 503, None),
    ],
)
async def test_the_caller_is_proven_before_anything_is_read(
    toy: Toy, authorization: str | None, status: int, challenge: str | None
):
    del toy.client.headers["authorization"]
    headers = {} if authorization is None else {b"authorization": authorization.encode()}
    answer = await toy.client.request("DELETE", f"{V1}/things/5", headers=headers)
    assert answer.status_code == status
    assert len(toy.deps.calls) == (status == 204)
    assert (challenge is None) == ("www-authenticate" not in answer.headers)
    assert challenge is None or challenge in answer.headers["www-authenticate"]


async def test_an_open_route_has_no_caller(toy: Toy):
    answer = await toy.client.get(f"{V1}/dressed", headers={"authorization": ""})
    assert answer.status_code == 200
    assert answer.json() == {"raw": 1}
    assert answer.headers["etag"] == '"3"'
    assert answer.headers["hub-position"] == "01J:7"
    assert answer.headers["idempotency-replayed"] == "true"


async def test_room_is_asked_for_before_the_body_is_read():
    class Full:
        async def admit(self, principal: Any, route: Any, address: str | None):
            assert principal.role == "agent"
            if route.method == "POST":
                raise Refused(too_many(0.2, "Later.", (("ratelimit", "r=0"),)))
            return (("ratelimit", "r=9"),)

    async with running(limiter=Full()) as toy:
        refused = await toy.client.post(f"{V1}/things", content=b"{")
        assert refused.status_code == 429
        assert (refused.headers["retry-after"], refused.headers["ratelimit"]) == ("1", "r=0")
        assert refused.json()["detail"] == "Later."
        assert (await toy.client.get(f"{V1}/things")).headers["ratelimit"] == "r=9"


# -- paths, methods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/api/v1/nothing", "/api/v1/things/", "/api/v1//things", "/api/v1/things/5/6", "/api", "/%zz", "/things"],
)
async def test_an_unknown_path_is_a_problem(toy: Toy, path: str):
    answer = await toy.client.get(path, headers={"x-request-id": "r1"})
    assert answer.status_code == 404
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r1"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", f"{V1}/things", "GET, HEAD, OPTIONS, POST"),
        ("GET", f"{V1}/things/seen", "OPTIONS, POST"),
        ("POST", f"{V1}/things/5", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("TRACE", f"{V1}/things", "GET, HEAD, OPTIONS, POST"),
        ("HEAD", f"{V1}/things/seen", "OPTIONS, POST"),
        ("get", f"{V1}/things", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("POST", "/", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_says_which_are_right(toy: Toy, method: str, path: str, allow: str):
    request = toy.client.build_request(method, path)
    request.method = method
    answer = await toy.client.send(request)
    assert answer.status_code == 405
    assert sorted(answer.headers["allow"].split(", ")) == allow.split(", ")
    assert "x-request-id" in answer.headers


async def test_head_is_get_without_its_body(toy: Toy):
    get = await toy.client.get(f"{V1}/things")
    head = await toy.client.head(f"{V1}/things")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
    assert toy.last.method == "GET"
    # The client above drops a body by itself.
    messages = await asked(toy, "HEAD", {})
    assert [message["body"] for message in messages[1:]] == [b""]


async def test_options_says_what_a_path_takes_without_a_token(toy: Toy):
    answer = await toy.client.options(f"{V1}/things", headers={"authorization": ""})
    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize(
    "given", ["0", "-1", "x", "9007199254740992", "1e3", "%31x", "%ff", "99999999999999999999999", "+5", "%00"]
)
async def test_an_id_that_is_none_is_invalid(toy: Toy, given: str):
    assert set(said(await toy.client.get(f"{V1}/things/{given}"))) == {"path.id"}


async def test_a_path_is_decoded_by_segment(toy: Toy):
    assert (await toy.client.get(f"{V1}/named/a%2Fb%20%C3%BC/email")).status_code == 200
    assert toy.last.text("name") == "a/b ü"
    assert (await toy.client.get(f"{V1}/%74hings/%35")).status_code == 200
    assert toy.last.id() == 5
    assert set(said(await toy.client.get(f"{V1}/named/%00/fax"))) == {"path.name", "path.channel"}


@pytest.mark.parametrize("root", ["", "/hub"])
async def test_a_proxys_prefix_is_taken_off(root: str):
    async with running() as toy:
        toy.client._transport.root_path = root  # type: ignore[attr-defined]
        assert (await toy.client.get(f"{root}{V1}/things")).status_code == 200


# -- queries --------------------------------------------------------------------------------------------------------


async def test_a_query_is_read_by_its_types(toy: Toy):
    query = "limit=5&is_read=true&since=2026-01-01T00:00:00%2B01:00&q=a+b%20%C3%BC&include=high,low"
    assert (await toy.client.get(f"{V1}/things?{query}")).status_code == 200
    read = toy.last.query
    assert (read.limit, read.is_read, read.q, read.include) == (5, True, "a b ü", ("high", "low"))
    assert read.since.isoformat() == "2026-01-01T00:00:00+01:00"


@pytest.mark.parametrize(
    ("query", "path", "words"),
    [
        ("limit=0", "query.limit", "at least 1"),
        ("limit=201", "query.limit", "at most 200"),
        ("limit=", "query.limit", "an integer"),
        ("limit=5.5", "query.limit", "an integer"),
        ("limit=1e1", "query.limit", "an integer"),
        ("limit=%D9%A5", "query.limit", "an integer"),
        ("limit=5&limit=6", "query.limit", "only once"),
        ("limt=5", "query.limt", "Unknown query parameter. Did you mean `limit`?"),
        ("nonsense=5", "query.nonsense", "Unknown query parameter."),
        ("a&b", "query.a", "Unknown"),
        ("is_read=yes", "query.is_read", "true or false"),
        ("since=2026-01-01T00:00:00", "query.since", "offset"),
        ("since=2026-01-01T00:00:00+01:00", "query.since", "%2B"),
        ("since=1700000000", "query.since", "offset"),
        ("since=null", "query.since", "offset"),
        ("q=%00", "query.q", "U+0000"),
        ("q=%ED%A0%80", "query", "UTF-8"),
        ("q=%ff", "query", "UTF-8"),
        ("include=high,urgent", "query.include[1]", "one of"),
        ("&".join(["q=1"] * 65), "query", "at most 64"),
    ],
)
async def test_a_wrong_query_is_invalid(toy: Toy, query: str, path: str, words: str):
    request = toy.client.build_request("GET", f"{V1}/things")
    request.url = request.url.copy_with(raw_path=f"{V1}/things?{query}".encode())
    assert words in said(await toy.client.send(request))[path]


# -- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=UTF-8", 201),
        ('Application/JSON;charset="utf-8"', 201),
        ("application/json; profile=x", 201),
        ("application/json; charset=latin-1", 415),
        ("application/merge-patch+json", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
        ("\u00ff;;=", 415),
    ],
)
async def test_a_body_must_say_that_it_is_json(toy: Toy, content_type: str, status: int):
    headers = {b"content-type": content_type.encode("latin-1")}
    answer = await toy.client.post(f"{V1}/things", content=json.dumps(GOOD), headers=headers)
    assert answer.status_code == status


async def test_a_compressed_body_is_refused_and_a_merge_patch_is_taken_for_a_patch(toy: Toy):
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    assert (await toy.client.post(f"{V1}/things", content=b"x", headers=packed)).status_code == 415
    merge = {"content-type": "application/merge-patch+json"}
    answer = await toy.client.patch(f"{V1}/things/1", content=b'{"title": "new", "priority": null}', headers=merge)
    assert answer.json() == {"title": "new", "owner": 7, "priority": "normal"} | dict.fromkeys(
        ["starts_at", "ends_at", "data"]
    )
    wrong = await toy.client.patch(f"{V1}/things/1", json={"title": None, "owner": "me", "x": 1})
    assert set(said(wrong)) == {"$.title", "$.owner", "$.x"}


@pytest.mark.parametrize("body", [b"", b"{", b"{} {}", b"\xff", b"[" * 900, b'{"title": NaN}'])
async def test_a_body_that_is_not_json_is_malformed(toy: Toy, body: bytes):
    answer = await toy.client.post(f"{V1}/things", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/malformed"


@pytest.mark.parametrize(("path", "bytes_max"), [("things", 1000), ("things/bulk", 5000)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_its_bound_is_refused_as_soon_as_that_is_known(
    toy: Toy, path: str, bytes_max: int, chunked: bool
):
    async def parts():
        for _ in range(100):
            yield b" " * 500

    headers = {"content-type": "application/json"}
    content = parts() if chunked else b" " * (bytes_max + 1)
    answer = await toy.client.post(f"{V1}/{path}", content=content, headers=headers)
    assert answer.status_code == 413
    assert str(bytes_max) in answer.json()["detail"]
    assert answer.headers["connection"] == "close"
    assert (await toy.client.post(f"{V1}/{path}", content=b" " * bytes_max, headers=headers)).status_code == 400


@pytest.mark.parametrize("length", ["1001", "9" * 5000, None])
async def test_a_body_that_is_too_large_is_answered_before_it_is_read_on_and_then_within_bounds(
    toy: Toy, length: str | None
):
    sent: list[dict[str, Any]] = []
    unread: list[int] = []

    async def receive():
        if sent:
            unread.append(1 << 20)
            return {"type": "http.request", "body": b" " * (1 << 20), "more_body": True}
        assert length is None
        return {"type": "http.request", "body": b" " * 600, "more_body": True}

    headers = {"content-type": "application/json"}
    headers |= {"transfer-encoding": "chunked"} if length is None else {"content-length": length}
    await asked(toy, "POST", headers, receive, sent)
    assert (sent[0]["status"], sent[1]["more_body"], "more_body" in sent[-1]) == (413, True, False)
    assert sum(unread) == (64 << 20) + (1 << 20)


async def test_a_body_that_waits_to_be_asked_for_is_not_asked_for_where_it_is_too_large(toy: Toy):
    async def receive():
        raise AssertionError

    headers = {"content-length": "1001", "content-type": "application/json", "expect": "100-continue"}
    assert (await asked(toy, "POST", headers, receive))[0]["status"] == 413


async def test_a_body_that_does_not_come_is_given_up(toy: Toy):
    async def receive():
        await asyncio.Event().wait()

    headers = {"content-length": "5", "content-type": "application/json"}
    assert (await asked(toy, "POST", headers, receive))[0]["status"] == 408


async def test_a_caller_that_goes_away_is_not_answered(toy: Toy):
    async def receive():
        return {"type": "http.disconnect"}

    assert await asked(toy, "POST", {"content-length": "5", "content-type": "application/json"}, receive) == []
    assert toy.registry.get_sample_value(
        "hub_http_requests_total", {"method": "POST", "route": f"{V1}/things", "status": "499"}
    )


async def asked(
    toy: Toy,
    method: str,
    headers: dict[str, str],
    receive: Any = None,
    sent: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """What is sent to a request of `/things` by a server that leaves everything to the application."""
    sent = [] if sent is None else sent

    async def send(message: Any):
        sent.append(message)

    headers = {"authorization": "Bearer agent"} | headers
    scope = {
        "type": "http",
        "method": method,
        "path": f"{V1}/things",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await toy.app(scope, receive, send)
    return sent


@pytest.mark.parametrize(("body", "status"), [(b"", 200), (b"{}", 200), (b'{"before": 5}', 200), (b"null", 422)])
async def test_a_body_of_which_nothing_is_required_may_be_left_out(toy: Toy, body: bytes, status: int):
    headers = {"content-type": "application/json"} if body else {}
    assert (await toy.client.post(f"{V1}/things/seen", content=body, headers=headers)).status_code == status


@pytest.mark.parametrize(("body", "status"), [(b"", 200), (b" {} ", 200), (b'{"a": 1}', 422)])
async def test_a_route_without_a_body_takes_none(toy: Toy, body: bytes, status: int):
    answer = await toy.client.request("GET", f"{V1}/things/5", content=body)
    assert answer.status_code == status


# -- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 128])
async def test_a_sane_request_id_is_kept(toy: Toy, given: str):
    assert (await toy.client.get("/healthz", headers={"x-request-id": given})).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\u00fc", "a;b", 'a"', "a,b"])
@pytest.mark.parametrize("path", ["/healthz", f"{V1}/things", f"{V1}/nothing", "/", "/nothing", "/broken"])
async def test_any_other_is_replaced_on_every_answer(toy: Toy, given: str, path: str):
    answer = await toy.client.get(path, headers={b"x-request-id": given.encode()})
    assert answer.headers["x-request-id"] == "new-1"
    if answer.headers["content-type"] == "application/problem+json":
        assert answer.json()["request_id"] == "new-1"
        assert "secret" not in answer.text


async def test_an_idempotency_key_comes_with_the_fingerprint_of_its_bytes(toy: Toy):
    body = b'{"title": "x", "owner": 1}'
    headers = {"content-type": "application/json", "idempotency-key": "k-1"}
    await toy.client.post(f"{V1}/things", content=body, headers=headers)
    assert toy.last.idempotency == Idempotency("k-1", sha256(body).digest())


def test_a_fingerprint_is_also_of_the_query():
    prints = [
        idempotency_of({b"idempotency-key": b"k"}, query, body)
        for query, body in ((b"", b"a"), (b"q", b"a"), (b"q", b""))
    ]
    assert len({one.fingerprint for one in prints if one}) == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "\u00fc"])
async def test_a_key_that_is_none_is_invalid(toy: Toy, key: str):
    answer = await toy.client.post(f"{V1}/things", json=GOOD, headers={b"idempotency-key": key.encode()})
    assert set(said(answer)) == {"header.Idempotency-Key"}


@pytest.mark.parametrize(
    ("header", "versions"),
    [("*", None), ('"3"', (3,)), ('"3", "4"', (3, 4)), ('W/"3"', ()), ('"x"', ()), ('"' + "9" * 50 + '"', ())],
)
async def test_if_match_names_versions(toy: Toy, header: str, versions: tuple[int, ...] | None):
    await toy.client.put(f"{V1}/things/1", json=GOOD, headers={"if-match": header})
    assert toy.last.if_match == versions


@pytest.mark.parametrize("header", ["3", "", '"3', "3, 4"])
async def test_if_match_without_quotes_is_invalid(toy: Toy, header: str):
    assert set(said(await toy.client.put(f"{V1}/things/1", json=GOOD, headers={"if-match": header}))) == {
        "header.If-Match"
    }
