"""One row a sentence: which move is legal, what a due date does, and what makes a loop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from hub.core.task import (
    IllegalMove,
    Status,
    TaskRow,
    fields_of,
    is_legal,
    makes_loop,
    moved,
    next_wake,
    overdue,
    replanned,
    written,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def task(**fields: Any) -> TaskRow:
    return TaskRow(**{"id": 1, "tenant_id": "acme", "title": "t", "created_at": NOW, "updated_at": NOW, **fields})


@pytest.mark.parametrize(
    ("status", "to"),
    [
        ("pending", {"in_progress", "completed", "cancelled"}),
        ("in_progress", {"completed", "cancelled"}),
        ("overdue", {"in_progress", "completed", "cancelled"}),
        ("completed", {"pending"}),
        ("cancelled", {"pending"}),
    ],
)
def test_each_state_leads_to_these_and_no_other(status: Status, to: set[Status]):
    everything: tuple[Status, ...] = ("pending", "in_progress", "completed", "overdue", "cancelled")
    assert {wanted for wanted in everything if is_legal(status, wanted)} == to


def test_an_illegal_move_names_the_state_it_is_in():
    with pytest.raises(IllegalMove) as refused:
        moved(task(status="completed", completed_at=NOW), "cancelled", NOW)
    assert (refused.value.status, refused.value.wanted) == ("completed", "cancelled")


def test_instants_belong_to_their_status():
    done = moved(task(), "completed", NOW)
    assert (done.completed_at, done.cancelled_at) == (NOW, None)
    again = moved(done, "pending", at(1))
    assert (again.completed_at, again.cancelled_at) == (None, None)
    assert moved(again, "cancelled", at(2)).cancelled_at == at(2)


@pytest.mark.parametrize("status", ["pending", "in_progress"])
def test_a_due_date_in_the_future_takes_overdue_back_to_what_it_was(status: Status):
    late = overdue(task(status=status, due_date=at(-5)))
    assert late.status == "overdue"
    back = written(late, replace(fields_of(late), due_date=at(60)), NOW)
    assert (back.status, back.overdue_from, back.overdue_for) == (status, None, None)


def test_a_due_date_that_is_still_past_leaves_it_overdue():
    late = overdue(task(due_date=at(-5)))
    assert written(late, replace(fields_of(late), due_date=at(-1)), NOW).status == "overdue"


def test_a_due_date_taken_away_takes_overdue_back():
    late = overdue(task(due_date=at(-5)))
    assert written(late, replace(fields_of(late), due_date=None), NOW).status == "pending"


@pytest.mark.parametrize(
    ("fields", "wake"),
    [
        ({}, None),
        ({"due_date": at(60)}, at(45)),
        ({"due_date": at(10)}, at(10)),
        ({"due_date": at(60), "scheduled_at": at(30)}, at(30)),
        ({"due_date": at(60), "scheduled_at": at(-30)}, at(45)),
        ({"due_date": at(-1)}, at(-1)),
        ({"due_date": at(-1), "overdue_for": at(-1), "status": "in_progress"}, None),
        ({"due_date": at(-1), "overdue_for": at(-1), "status": "in_progress", "scheduled_at": at(9)}, at(9)),
        ({"due_date": at(60), "status": "completed", "completed_at": NOW}, None),
    ],
)
def test_time_comes_back_to_it_at(fields: dict[str, Any], wake: datetime | None):
    assert next_wake(task(**fields), NOW, 15) == wake


@pytest.mark.parametrize(
    ("fields", "wake"),
    [
        ({"due_date": at(60), "wake_at": at(45)}, at(30)),
        ({"due_date": at(20), "wake_at": at(5)}, at(-10)),
        # Reminded of before, or never to be: the due date is next.
        ({"due_date": at(10), "wake_at": at(10)}, at(10)),
        ({"due_date": at(60), "scheduled_at": at(10), "wake_at": at(10)}, at(10)),
        ({"due_date": at(60), "scheduled_at": at(50), "wake_at": at(45)}, at(30)),
        ({"due_date": at(90), "scheduled_at": at(50), "wake_at": at(75)}, at(50)),
        ({"due_date": at(60), "scheduled_at": at(-5), "wake_at": at(45)}, at(30)),
        ({"scheduled_at": at(5), "wake_at": at(5)}, at(5)),
        ({"due_date": at(60)}, None),
    ],
)
def test_reminding_half_an_hour_ahead_from_now_on_wakes_it_at(fields: dict[str, Any], wake: datetime | None):
    assert replanned(task(**fields), NOW, 30) == wake


def test_a_task_started_after_it_was_overdue_does_not_become_so_again():
    started = moved(overdue(task(due_date=at(-5))), "in_progress", NOW)
    assert next_wake(started, NOW, 15) is None


def test_a_task_reopened_past_its_due_date_becomes_overdue_again():
    done = moved(overdue(task(due_date=at(-5))), "completed", NOW)
    assert next_wake(moved(done, "pending", NOW), NOW, 15) == at(-5)


@pytest.mark.parametrize(
    ("task_id", "parent_id", "loop"),
    [(1, 1, True), (1, 2, True), (1, 3, True), (3, 1, False), (9, 3, False)],
)
def test_a_loop_is_found_however_deep(task_id: int, parent_id: int, loop: bool):
    assert makes_loop({1: None, 2: 1, 3: 2}, task_id, parent_id) is loop
