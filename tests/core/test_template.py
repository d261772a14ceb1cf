"""Which wording a person gets, one row a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.template import choose_locale


@pytest.mark.parametrize(
    ("there", "wanted", "usual", "got"),
    [
        (["de-AT", "de", "en"], "de-AT", "en", "de-AT"),
        (["DE-at", "de"], "de-AT", "en", "DE-at"),  # upper and lower case are the same
        (["de", "en"], "de-AT", "en", "de"),  # the language of a region
        (["zh", "zh-Hant"], "zh-Hant-TW", "en", "zh-Hant"),  # the longest that there is
        (["de-CH", "en"], "de-AT", "en", "de-CH"),  # another region of it
        (["fr", "en"], "it", "fr", "fr"),  # the tenant's
        (["fr-CA", "en"], "it", "fr", "fr-CA"),
        (["en-GB", "fr"], "it", "es", "en-GB"),  # English, any
        (["pt", "fr"], "it", "es", "fr"),  # the first there is
        (["den", "da"], "de", "de", "da"),  # the beginning of another word is no language
    ],
)
def test_the_nearest(there: list[str], wanted: str, usual: str, got: str) -> None:
    assert choose_locale(there, wanted, usual) == got


LOCALES = st.from_regex(r"[a-c]{2}(-[A-B]{2})?(-[0-9]{2})?", fullmatch=True)


@given(st.sets(LOCALES, min_size=1), LOCALES, LOCALES)
def test_always_one_of_those_there_and_the_same_however_they_are_listed(
    there: set[str], wanted: str, usual: str
) -> None:
    got = choose_locale(there, wanted, usual)
    assert got in there
    assert choose_locale(sorted(there, reverse=True), wanted, usual) == got
    same = {one for one in there if one.split("-")[0].lower() == wanted.split("-")[0].lower()}
    assert not same or got in same
