"""One write, however often it must be sent: what is repeated, with which key, and what is told."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from hub.client.errors import Refused, Unreachable
from hub.client.rest import Answer, HubRest, rest_url
from tests.client.fakes import WITHIN_S, FakeClock

Reply = httpx.Response | Exception


class Script:
    """Answers in turn, and keeps what was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


async def token() -> str:
    return "t"


async def post(script: Script, *waits_s: float) -> Answer:
    """Post once, letting the time pass as each wait begins; the waits are checked."""
    clock = FakeClock(*[0.5] * 9)
    async with HubRest("http://hub.test", token, clock=clock, transport=httpx.MockTransport(script)) as rest:
        posting = asyncio.ensure_future(rest.post("/notifications", {"title": "x"}))
        async with asyncio.timeout(WITHIN_S):
            for wait_s in waits_s:
                while not clock.armed:
                    await asyncio.sleep(0)
                assert clock.armed == [pytest.approx(wait_s)]
                clock.advance(wait_s)
            return await posting


async def test_a_write_and_the_place_that_it_brings() -> None:
    script = Script(httpx.Response(201, json={"id": 5}, headers={"Hub-Position": "a:b:12"}))
    answer = await post(script)
    assert (answer.status, answer.data) == (201, {"id": 5})
    assert answer.place is not None
    assert (answer.place.epoch, answer.place.cursor) == ("a:b", 12)
    (request,) = script.requests
    assert (request.method, request.url) == ("POST", "http://hub.test/api/v1/notifications")
    assert (request.headers["Authorization"], request.content) == ("Bearer t", b'{"title":"x"}')


@pytest.mark.parametrize(
    ("first", "wait_s"),
    [
        (httpx.Response(503, headers={"Retry-After": "2"}), 2),
        (httpx.Response(429, headers={"Retry-After": "3"}), 3),
        (httpx.Response(409, headers={"Retry-After": "1"}, json={"title": "the first is still running"}), 1),
        (httpx.Response(502, text="<html>"), 0.5),
        (httpx.ReadTimeout(""), 0.5),
        (httpx.ConnectError("refused"), 0.5),
    ],
)
async def test_what_brought_no_answer_is_repeated_with_its_key(first: Reply, wait_s: float) -> None:
    script = Script(first, httpx.Response(201, json={"id": 5}))
    assert (await post(script, wait_s)).data == {"id": 5}
    keys = [request.headers["Idempotency-Key"] for request in script.requests]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert len(keys[0]) > 15


async def test_what_was_refused_is_not_repeated() -> None:
    errors = [{"path": "$.title", "message": "Must not be blank."}, {"path": "$.type", "message": "Is no type."}]
    script = Script(httpx.Response(422, json={"title": "Invalid", "status": 422, "errors": errors}))
    with pytest.raises(Refused) as refused:
        await post(script)
    assert refused.value.sentences == ["title: Must not be blank.", "type: Is no type."]
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (httpx.Response(409, json={"title": "Conflict", "detail": "It is so already."}), "Conflict: It is so already."),
        (httpx.Response(404, json={"title": "Not found"}), "Not found"),
        (httpx.Response(418, text="?"), "I'm a teapot"),
        (httpx.Response(400, json=[1]), "Bad Request"),
    ],
)
async def test_a_refusal_in_a_sentence(response: httpx.Response, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        await post(Script(response))
    assert refused.value.sentences == [sentence]


@pytest.mark.parametrize(
    ("failures", "may_have_happened"),
    [
        ([httpx.ConnectError("refused")] * 4, False),
        ([httpx.ConnectError("refused")] * 3 + [httpx.ReadError("cut")], True),
        ([httpx.ReadError("cut")] + [httpx.ConnectError("refused")] * 3, True),
        ([httpx.Response(503)] + [httpx.ConnectTimeout("late")] * 3, True),
    ],
)
async def test_nobody_answers(failures: list[Any], may_have_happened: bool) -> None:
    with pytest.raises(Unreachable, match=r"no answer from hub\.test") as unreachable:
        await post(Script(*failures), 0.5, 1, 2)
    assert unreachable.value.may_have_happened is may_have_happened


async def test_an_answer_to_wait_for_too_long_is_told() -> None:
    with pytest.raises(Refused):
        await post(Script(httpx.Response(503, headers={"Retry-After": "3600"})))


async def test_reading() -> None:
    script = Script(httpx.Response(200, json={"items": []}, headers={"Hub-Position": "nonsense"}))
    async with HubRest("ws://hub.test/sub/api/v1/ws", token, transport=httpx.MockTransport(script)) as rest:
        answer = await rest.get("/notifications/unread", limit=5)
    assert answer == Answer(200, {"items": []}, None)
    assert str(script.requests[0].url) == "http://hub.test/sub/api/v1/notifications/unread?limit=5"
    assert "Idempotency-Key" not in script.requests[0].headers


@pytest.mark.parametrize("bad", ["hub", "ftp://hub", "http://"])
def test_what_is_no_address(bad: str) -> None:
    with pytest.raises(ValueError, match="not the address"):
        rest_url(bad)
