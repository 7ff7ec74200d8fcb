"""What is skipped for speed is skipped only where it cannot be found: strings made of the patterns themselves."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.email import quote_words, signature_words
from channels.email.quick import Quick

MADE = {"disclaimer": signature_words.DISCLAIMER, "above": quote_words.ABOVE}
# a lone surrogate or an exotic capital is no text of a mail's
LETTERS = st.characters(codec="utf-8", exclude_characters="İ")


@pytest.mark.parametrize("name", MADE)
def test_whatever_a_large_pattern_finds_holds_one_of_its_words(name: str) -> None:
    quick: Quick = MADE[name]

    @settings(max_examples=1500, deadline=None)
    @given(st.from_regex(re.compile(quick.pattern.pattern, re.M), alphabet=LETTERS))
    def found(text: str) -> None:
        assert quick.search(text) is not None
        assert quick.search(text.upper()) is not None or quick.pattern.search(text.upper()) is None

    found()


@settings(max_examples=3000, deadline=None)
@given(st.from_regex(re.compile(quote_words.WROTE_LAST.pattern), alphabet=LETTERS))
def test_a_line_that_ends_with_wrote_is_seen_to(text: str) -> None:
    assert quote_words.wrote_last(text)
