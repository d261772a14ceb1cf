"""New tokens on the open connection, and when they are asked for."""

from __future__ import annotations

import asyncio

import pytest

from hub.client.client import HubClient
from hub.client.errors import HubStopped, NoToken
from hub.client.place import Place
from hub.client.tokens import Tokens
from hub.client.tuning import Tuning
from tests.client.fakes import FakeClock, ScriptedHub, States, eventually, jwt, take, take_seqs


def client_of(scripted: ScriptedHub, clock: FakeClock, **options: object) -> HubClient:
    fields: dict[str, object] = {"token": "t", "place": Place("e1", 0), "clock": clock, **options}
    if "get_token" in options:
        del fields["token"]
    return HubClient(scripted.url, **fields)  # type: ignore[arg-type]


class SignIn:
    def __init__(self, clock: FakeClock, life_s: float = 1000) -> None:
        self.clock = clock
        self.life_s = life_s
        self.given: list[str] = []
        self.faults: list[Exception] = []

    async def __call__(self) -> str:
        if self.faults:
            raise self.faults.pop(0)
        self.given.append(jwt(self.life_s, name=str(len(self.given)), now=self.clock.now()))
        return self.given[-1]


async def test_a_token_is_renewed_before_it_expires(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    sign_in = SignIn(fake_clock)
    async with client_of(scripted, fake_clock, get_token=sign_in, on_state=states):
        peer = await scripted.accept()
        assert peer.token == sign_in.given[0]
        await peer.welcome(heartbeat_ms=10_000_000)
        await states.until("live")
        for renewal in (1, 2):
            fake_clock.advance(879)
            assert len(sign_in.given) == renewal
            fake_clock.advance(2)
            assert (await peer.hear("token"))["token"] == sign_in.given[renewal]
            await peer.say({"type": "token", "expires_at": "2026-11-22T21:00:00Z"})
            await eventually(lambda: any(870 < left < 890 for left in fake_clock.armed))
        assert scripted.attempts == 1


async def test_a_renewal_that_fails_is_tried_again(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    sign_in = SignIn(fake_clock)
    async with client_of(scripted, fake_clock, get_token=sign_in, on_state=states):
        peer = await scripted.accept()
        await peer.welcome(heartbeat_ms=10_000_000)
        await states.until("live")
        sign_in.faults = [OSError("away"), OSError("away")]
        fake_clock.advance(881)
        for left in (1, 0):
            await eventually(lambda left=left: len(sign_in.faults) == left and 7.5 in fake_clock.armed)
            fake_clock.advance(7.5)
        assert (await peer.hear("token"))["token"] == sign_in.given[1]
        # The hub cannot tell now: 503, on a frame of no call.
        await peer.say({"type": "error", "error": {"status": 503, "title": "Unavailable"}})
        await eventually(lambda: 7.5 in fake_clock.armed)
        fake_clock.advance(7.5)
        assert (await peer.hear("token"))["token"] == sign_in.given[2]


async def test_a_renewal_that_hangs_ends_with_its_connection(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    """The fixture sees to it that no task is left."""
    calls = 0

    async def get_token() -> str:
        nonlocal calls
        calls += 1
        if calls > 1:
            await asyncio.Event().wait()
        return jwt(1000)

    async with client_of(scripted, fake_clock, get_token=get_token, on_state=states):
        await (await scripted.accept()).welcome(heartbeat_ms=10_000_000)
        await states.until("live")
        fake_clock.advance(881)
        await eventually(lambda: calls == 2)


async def test_signing_out_lets_the_open_connection_be(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    sign_in = SignIn(fake_clock)
    async with client_of(scripted, fake_clock, get_token=sign_in, on_state=states) as client:
        peer = await scripted.accept()
        await peer.welcome(heartbeat_ms=10_000_000)
        await states.until("live")
        sign_in.faults = [NoToken("signed out")] * 2
        fake_clock.advance(881)
        await eventually(lambda: len(sign_in.faults) == 1)
        await peer.event(1)
        assert await take_seqs(client, 1) == [1]
        await peer.close(4401, "expired")
        await states.until("waiting")
        fake_clock.advance(1)
        with pytest.raises(HubStopped, match="signed out"):
            await take(client, 1)


@pytest.mark.parametrize(
    ("expires_in_s", "issued_ago_s", "renew_in_s"),
    [
        (1000, 0, 880),
        (100, 0, 85),
        (100, 900, 85),
        (-5, 100, 80.75),
        (5000, -4000, 880),
        (3, 0, 5),
    ],
    ids=["long", "short", "old but good", "our clock is fast", "our clock is slow", "very short"],
)
async def test_when_a_token_is_renewed(expires_in_s: float, issued_ago_s: float, renew_in_s: float) -> None:
    clock = FakeClock()
    token = jwt(expires_in_s, issued_ago_s=issued_ago_s)

    async def get_token() -> str:
        return token

    tokens = Tokens(clock, None, get_token)
    await tokens.fetch()
    assert tokens.renew_in_s() == pytest.approx(renew_in_s)


@pytest.mark.parametrize("token", ["hk_an_api_key", "a.b.c", "a.!!.c", "e30.e30.x"])
async def test_a_token_that_tells_nothing_is_not_renewed(token: str) -> None:
    async def get_token() -> str:
        return token

    tokens = Tokens(FakeClock(), None, get_token)
    await tokens.fetch()
    assert tokens.renew_in_s() is None


def test_one_way_to_a_token_is_needed() -> None:
    with pytest.raises(ValueError, match="either a token or get_token"):
        HubClient("http://127.0.0.1:1")


def test_a_label_of_a_device_is_bounded() -> None:
    with pytest.raises(ValueError, match="64"):
        HubClient("http://127.0.0.1:1", token="t", device="x" * 65)


def test_the_bounds_are_numbers() -> None:
    assert all(getattr(Tuning(), name) > 0 for name in Tuning.__struct_fields__)
