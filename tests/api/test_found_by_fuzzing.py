"""What the fuzzer has found once, each by itself."""

from __future__ import annotations

import pytest

from api.routes.task_bodies import BulkBody, writes_of
from hub.app.errors import Invalid
from hub.core.task import TaskFields
from tests.api.test_requests import GOOD, V1, said
from tests.api.toy import Toy


async def test_a_patch_that_takes_away_what_there_is_not_is_refused(toy: Toy):
    answer = await toy.client.patch(f"{V1}/things/1", json={"titel": None})
    assert "Unknown field" in said(answer)["$.titel"]


@pytest.mark.parametrize("title", ["\u001f", "\u0085", "\ufeff", " \n"])
async def test_what_any_reader_takes_for_white_space_is_blank(toy: Toy, title: str):
    assert set(said(await toy.client.post(f"{V1}/things", json=GOOD | {"title": title}))) == {"$.title"}


def test_a_whole_number_with_a_point_is_whole_in_a_bulk_too():
    task, patch = {"title": "t", "lead_id": 17.0}, {"id": 5.0, "progress_percentage": 3.0}
    create, change = writes_of(BulkBody(items=[task, patch]))
    assert create.change(TaskFields(title="-")).lead_id == 17
    assert (change.task_id, change.change(TaskFields(title="t")).progress_percentage) == (5, 3)
    with pytest.raises(Invalid) as refused:
        writes_of(BulkBody(items=[{"title": "t", "lead_id": 17.5}]))
    assert [path for path, _ in refused.value.errors] == ["$.items[0].lead_id"]
