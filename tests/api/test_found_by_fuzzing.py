"""What the fuzzer has found once, each by itself."""

from __future__ import annotations

import pytest

from tests.api.test_requests import GOOD, V1, said
from tests.api.toy import Toy


async def test_a_patch_that_takes_away_what_there_is_not_is_refused(toy: Toy):
    answer = await toy.client.patch(f"{V1}/things/1", json={"titel": None})
    assert "Unknown field" in said(answer)["$.titel"]


@pytest.mark.parametrize("title", ["\u001f", "\u0085", "\ufeff", " \n"])
async def test_what_any_reader_takes_for_white_space_is_blank(toy: Toy, title: str):
    assert set(said(await toy.client.post(f"{V1}/things", json=GOOD | {"title": title}))) == {"$.title"}
