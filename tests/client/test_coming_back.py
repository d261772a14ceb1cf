"""When a connection ends: every close code, every refusal, and how long the client stays away."""

from __future__ import annotations

import asyncio
import json

import pytest

from hub.client.client import HubClient
from hub.client.errors import HubStopped, NoToken
from hub.client.place import Place
from hub.client.state import State
from tests.client.fakes import FakeClock, ScriptedHub, States, take, take_seqs


def client_of(scripted: ScriptedHub, clock: FakeClock, states: States, **options: object) -> HubClient:
    fields = {"token": "t", **options} if "get_token" not in options else options
    return HubClient(scripted.url, clock=clock, on_state=states, place=Place("e1", 0), **fields)  # type: ignore[arg-type]


class SignIn:
    """The app's way to tokens: the next name of the list; the last for ever."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.calls = 0
        self.fault: Exception | None = None

    async def __call__(self) -> str:
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        return self.names.pop(0) if len(self.names) > 1 else self.names[0]


# -- on a socket ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_close_frame", [True, False])
async def test_it_obeys_a_bye(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States, with_close_frame: bool
) -> None:
    async with client_of(scripted, fake_clock, states) as client:
        peer = await scripted.accept()
        await peer.welcome()
        if with_close_frame:
            await peer.close(1012, "restarting", 1840)
        else:
            await peer.say({"type": "bye", "code": 1012, "reason": "restarting", "retry_after_ms": 1840})
            await peer.gone()
        state = await states.until("waiting")
        assert (state.retry_in_s, state.why) == (1.84, "the hub is restarting: restarting")
        fake_clock.advance(1.83)
        assert client.state.phase == "waiting"
        fake_clock.advance(0.02)
        peer = await scripted.accept()
        await peer.welcome()
        await states.until("live", count=2)


@pytest.mark.parametrize("code", [4403, 4409])
async def test_it_stops_and_says_why(scripted: ScriptedHub, fake_clock: FakeClock, states: States, code: int) -> None:
    async with client_of(scripted, fake_clock, states) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1)
        await peer.close(code, "told so")
        assert await take_seqs(client, 1) == [1]
        for _ in range(2):
            with pytest.raises(HubStopped, match="told so") as stopped:
                await take(client, 1)
            assert stopped.value.code == code
        assert client.state.phase == "stopped"
        fake_clock.advance(1000)
        assert scripted.attempts == 1


async def test_a_close_code_without_a_bye_counts(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    async with client_of(scripted, fake_clock, states) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.close(4403, "revoked", bye=False)
        with pytest.raises(HubStopped, match="revoked"):
            await take(client, 1)


async def test_cuts_are_followed_by_full_jitter_that_grows(scripted: ScriptedHub, states: States) -> None:
    clock = FakeClock(0.5, 0.25, 1.0, 0.5, 0.0)
    async with client_of(scripted, clock, states):
        waits: list[float | None] = []
        for count in range(1, 6):
            peer = await scripted.accept()
            await peer.welcome()
            await states.until("live", count=count)
            if count == 4:
                clock.advance(10)
            peer.cut()
            state = await states.until("waiting", count=count)
            waits.append(state.retry_in_s)
            clock.advance(60)
        assert waits == [0.5, 0.5, 4.0, 0.5, 0.0], "the fourth had held, so the doubling began again"


async def test_nobody_there(fake_clock: FakeClock, states: States) -> None:
    async with HubClient("http://127.0.0.1:1", token="t", clock=fake_clock, on_state=states) as client:
        state = await states.until("waiting")
        assert state.retry_in_s == 0.5
        assert state.why == "nobody listens there"
        client.retry_now()
        assert (await states.until("waiting", count=2)).attempt == 2
        for _ in range(100):
            await asyncio.sleep(0)
        assert states.phases.count("waiting") == 2, "only that one wait was cut short"


async def test_a_refused_upgrade_says_why_and_when(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    problem = json.dumps({"title": "Unavailable", "detail": "this node is stopping"}).encode()
    scripted.refusals = [(503, {"Retry-After": "3"}, problem), (502, {}, b"<html>bad gateway</html>"), (404, {}, b"")]
    async with client_of(scripted, fake_clock, states):
        state = await states.until("waiting")
        assert (state.retry_in_s, state.why) == (3.0, "this node is stopping (HTTP 503)")
        fake_clock.advance(3)
        assert "HTTP 502" in (await states.until("waiting", count=2)).why
        fake_clock.advance(30)
        assert "HTTP 404" in (await states.until("waiting", count=3)).why
        fake_clock.advance(30)
        await (await scripted.accept()).welcome()


async def test_a_forbidden_upgrade_stops(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    scripted.refusals = [(403, {}, b"")]
    async with client_of(scripted, fake_clock, states) as client:
        with pytest.raises(HubStopped) as stopped:
            await take(client, 1)
        assert stopped.value.code == 403


async def test_no_welcome(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    async with client_of(scripted, fake_clock, states):
        peer = await scripted.accept()
        await peer.hear("hello")
        fake_clock.advance(20)
        assert "no welcome" in (await states.until("waiting")).why


async def test_the_hub_cannot_reach_its_database(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    async with client_of(scripted, fake_clock, states) as client:
        peer = await scripted.accept()
        await peer.hear("hello")
        await peer.close(4503, "", 700)
        assert (await states.until("waiting")).retry_in_s == 0.7
        fake_clock.advance(0.7)
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1)
        assert await take_seqs(client, 1) == [1]


# -- liveness ---------------------------------------------------------------------------------------------------------


async def test_a_hub_that_falls_silent_is_left(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    async with client_of(scripted, fake_clock, states) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await states.until("live")
        fake_clock.advance(49)
        await peer.say({"type": "heartbeat", "head": 0})
        await peer.event(1)
        assert await take_seqs(client, 1) == [1]
        fake_clock.advance(49)
        assert scripted.attempts == 1
        fake_clock.advance(20)
        assert "nothing came for 50 s" in (await states.until("waiting")).why
        fake_clock.advance(1)
        await (await scripted.accept()).welcome("replay", 1)


async def test_a_cursor_that_stays_behind_is_not_trusted(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    async with client_of(scripted, fake_clock, states) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1)
        assert await take_seqs(client, 1) == [1]
        fake_clock.advance(40)
        for _ in range(3):
            await peer.say({"type": "heartbeat", "head": 4})
            await peer.event(1)
            await peer.say({"type": "event", "kind": "presence.changed", "data": {}})
            await take(client, 1)
            assert client.head == 4
            fake_clock.advance(24)
        assert "the hub has more" in (await states.until("waiting")).why


async def test_a_long_replay_is_not_taken_for_a_stale_one(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    async with client_of(scripted, fake_clock, states) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 10)
        await states.until("catching_up")
        for seq in range(1, 11):
            fake_clock.advance(40)
            await peer.event(seq)
            assert await take_seqs(client, 1) == [seq]
        assert scripted.attempts == 1


async def test_it_shows_how_far_it_has_come(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    async with client_of(scripted, fake_clock, states):
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 3)
        for seq in (1, 2, 3, 4):
            await peer.event(seq)
        live = await states.until("live")
        steps = [(s.done, s.total) for s in states.seen if s.phase == "catching_up"]
        assert steps == [(0, 3), (1, 3), (2, 3)]
        assert states.phases == ["catching_up", "catching_up", "catching_up", "live"]
        assert live.welcome is not None
        assert live.welcome.user_id == 7


# -- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_http", [True, False])
async def test_a_refused_token_is_fetched_anew(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States, by_http: bool
) -> None:
    sign_in = SignIn("first", "second")
    if by_http:
        scripted.refusals = [(401, {}, b"")]
    async with client_of(scripted, fake_clock, states, get_token=sign_in):
        if not by_http:
            peer = await scripted.accept()
            assert peer.token == "first"
            await peer.hear("hello")
            await peer.close(4401, "expired")
        await states.until("waiting")
        fake_clock.advance(1)
        peer = await scripted.accept()
        assert peer.token == "second"
        await peer.welcome()
        peer.cut()
        await states.until("waiting", count=2)
        fake_clock.advance(2)
        assert (await scripted.accept()).token == "second"
        assert sign_in.calls == 2


async def test_a_fixed_token_that_is_refused_is_the_end(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    scripted.refusals = [(401, {}, b"")]
    async with client_of(scripted, fake_clock, states) as client:
        with pytest.raises(HubStopped) as stopped:
            await take(client, 1)
        assert stopped.value.code == 401


async def test_nobody_is_signed_in(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    sign_in = SignIn("x")
    sign_in.fault = NoToken("signed out")
    async with client_of(scripted, fake_clock, states, get_token=sign_in) as client:
        with pytest.raises(HubStopped, match="signed out"):
            await take(client, 1)


async def test_a_login_service_that_is_away_is_asked_again(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    sign_in = SignIn("x")
    sign_in.fault = OSError("no route")
    async with client_of(scripted, fake_clock, states, get_token=sign_in):
        assert "no route" in (await states.until("waiting")).why
        sign_in.fault = None
        fake_clock.advance(1)
        await (await scripted.accept()).welcome()


async def test_a_fault_of_the_apps_callback_reaches_the_app(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    def on_state(state: State) -> None:
        if state.phase == "live":
            raise RuntimeError("the window is gone")

    client = HubClient(scripted.url, token="t", clock=fake_clock, on_state=on_state, place=Place("e1", 0))
    async with client:
        await (await scripted.accept()).welcome()
        with pytest.raises(RuntimeError, match="the window is gone"):
            await take(client, 1)


async def test_closing_ends_the_iteration(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    client = client_of(scripted, fake_clock, states)
    async with client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1)
        await states.until("live")
    assert await peer.gone() == 1000
    assert [item async for item in client] == []
    await client.aclose()
