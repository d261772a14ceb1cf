"""The table of close codes and the back-off, as pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.client.handshake import socket_url
from hub.client.returning import End, Return, Stop, plan_return
from hub.client.timing import Backoff
from hub.core.closing import Close


@pytest.mark.parametrize("code", [1001, 1012, 4408, 4429, 4503])
def test_it_comes_back_when_it_was_told_to(code: int) -> None:
    plan = plan_return(End(code=code, retry_after_s=1.84), can_renew=False, retry_after_max_s=300)
    assert isinstance(plan, Return)
    assert (plan.retry_after_s, plan.needs_token) == (1.84, False)


@pytest.mark.parametrize("code", [None, 1000, 1006, 1011, 1013, 4999])
def test_it_comes_back_by_itself_from_what_nobody_explained(code: int | None) -> None:
    plan = plan_return(End(code=code, was_welcomed=True), can_renew=False, retry_after_max_s=300)
    assert plan == Return(plan.why, None)


@pytest.mark.parametrize("code", [4403, 4409])
@pytest.mark.parametrize("was_welcomed", [True, False])
def test_it_stops_where_it_should(code: int, was_welcomed: bool) -> None:
    plan = plan_return(End(code=code, was_welcomed=was_welcomed), can_renew=True, retry_after_max_s=300)
    assert plan == Stop(plan.why, code)


@pytest.mark.parametrize("end", [End(code=4401, retry_after_s=0.0), End(status=401)])
def test_a_refused_token_is_replaced_where_there_is_a_way(end: End) -> None:
    plan = plan_return(end, can_renew=True, retry_after_max_s=300)
    assert plan == Return(plan.why, None, needs_token=True)
    assert isinstance(plan_return(end, can_renew=False, retry_after_max_s=300), Stop)


@pytest.mark.parametrize("code", [1009, 4400])
def test_a_hello_that_is_not_understood_is_not_said_again(code: int) -> None:
    assert isinstance(plan_return(End(code=code), can_renew=True, retry_after_max_s=300), Stop)
    later = plan_return(End(code=code, was_welcomed=True), can_renew=True, retry_after_max_s=300)
    assert isinstance(later, Return)


def test_every_code_of_the_table_has_a_reason_for_a_person() -> None:
    for code in Close:
        assert not End(code=code).why.startswith("closed with code") or code is Close.NOT_UTF8


@pytest.mark.parametrize(("said", "obeyed"), [(10**9, 300), (-5, 0), (2.5, 2.5)])
def test_a_wrong_word_on_when_to_return_is_bounded(said: float, obeyed: float) -> None:
    plan = plan_return(End(code=1012, retry_after_s=said), can_renew=False, retry_after_max_s=300)
    assert plan == Return(plan.why, obeyed)


@settings(deadline=None)
@given(units=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=60))
def test_the_back_off_doubles_its_range_to_a_bound(units: list[float]) -> None:
    backoff = Backoff(1.0, 30.0, stable_s=10.0)
    for attempt, unit in enumerate(units):
        assert backoff.next(unit) == unit * min(30.0, 2.0**attempt)
    backoff.held(9.9)
    assert backoff.attempt == len(units)
    backoff.held(10.0)
    assert backoff.next(0.5) == 0.5


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/api/v1/ws"),
        ("https://hub.example/", "wss://hub.example/api/v1/ws"),
        ("https://example/hub", "wss://example/hub/api/v1/ws"),
        ("wss://hub.example/api/v1/ws", "wss://hub.example/api/v1/ws"),
    ],
)
def test_the_address_of_the_socket(given_url: str, url: str) -> None:
    assert socket_url(given_url) == url


@pytest.mark.parametrize("bad", ["127.0.0.1:8000", "ftp://hub", "http://", ""])
def test_what_is_no_address(bad: str) -> None:
    with pytest.raises(ValueError, match="not the address of a hub"):
        socket_url(bad)
