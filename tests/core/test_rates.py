"""Rate limits by their arithmetic: never more in any minute than a burst and what a minute gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.core.rates import WINDOW_MS, Bucket, Room, take

USER = Bucket("user", "u", 60)
TENANT = Bucket("tenant", "t", 90)


def test_a_whole_minute_may_come_at_once_and_then_one_a_second():
    kept: dict[str, float] = {}
    for left in range(59, -1, -1):
        taken, new = take(kept, [USER], 1, 0)
        kept |= new
        assert taken.is_admitted
        assert taken.rooms == [Room(left, (60 - left) * 1000)]
    refused, new = take(kept, [USER], 1, 0)
    assert (refused.is_admitted, refused.retry_after_ms, refused.rooms, new) == (False, 1000, [Room(0, 60_000)], {})
    assert not take(kept, [USER], 1, 999)[0].is_admitted
    taken, _ = take(kept, [USER], 1, 1000)
    assert (taken.is_admitted, taken.rooms) == (True, [Room(0, 60_000)])


def test_what_one_bucket_refuses_is_taken_from_none():
    kept: dict[str, float] = {"u": 60_000.0}
    refused, new = take(kept, [TENANT, USER], 1, 0)
    assert (refused.is_admitted, new) == (False, {})
    assert refused.rooms == [Room(90, 0), Room(0, 60_000)]


def test_a_cost_above_the_limit_takes_all_there_is():
    taken, new = take({}, [USER], 1000, 0)
    assert (taken.is_admitted, taken.rooms) == (True, [Room(0, 60_000)])
    assert not take(new, [USER], 1000, 59_000)[0].is_admitted
    assert take(new, [USER], 1000, 60_000)[0].is_admitted


@given(
    st.integers(1, 100_000),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 20)), min_size=1, max_size=200),
)
def test_no_minute_has_more_than_two_limits_and_a_patient_caller_always_gets_in(
    per_minute: int, asked: list[tuple[int, int]]
):
    bucket = Bucket("user", "u", per_minute)
    kept: dict[str, float] = {}
    now = 0.0
    admitted: list[tuple[float, int]] = []
    for pause, cost in asked:
        now += pause
        taken, new = take(kept, [bucket], cost, now)
        if not taken.is_admitted:
            assert take(kept, [bucket], cost, now + taken.retry_after_ms)[0].is_admitted
            assert not new
            continue
        kept |= new
        admitted.append((now, min(cost, per_minute)))
        assert 0 <= taken.rooms[0].remaining <= per_minute
    for begin, _ in admitted:
        within = sum(cost for at, cost in admitted if begin <= at < begin + WINDOW_MS)
        assert within <= 2 * per_minute
    span = admitted[-1][0] - admitted[0][0]
    assert sum(cost for _, cost in admitted) <= per_minute + span * per_minute / WINDOW_MS + 1
