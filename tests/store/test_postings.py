"""The blocks that names are found by on PostgreSQL say exactly what was written, and nothing that was taken out."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from crm_store.search import blocks, postings, tables
from crm_store.search.query import all_of, any_of, prefix, token
from tests.stores import open_postgres

TOKENS = st.text(alphabet="abz0张三\U0002f800", min_size=1, max_size=4)
BLOCKS = st.dictionaries(TOKENS, st.sets(st.integers(1, 2**31 - 1), min_size=1, max_size=40), min_size=1)


@given(BLOCKS)
def test_a_block_is_read_as_it_was_written(said: dict[str, set[int]]) -> None:
    block = {one: array("I", sorted(numbers)) for one, numbers in said.items()}
    data = blocks.pack(block)
    assert blocks.unpack(data) == block
    opened = blocks.Opened(data)
    for one in (*said, "a", "张", "none"):
        assert set(opened.ids(one)) == said.get(one, set())
        begin = [numbers for other, numbers in said.items() if other.startswith(one)]
        assert set(opened.beginning(one)) == set().union(*begin)


@given(BLOCKS)
def test_a_full_block_is_split_in_order(said: dict[str, set[int]]) -> None:
    block = {one: array("I", sorted(numbers)) for one, numbers in said.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "FULL", 7)
        parts = list(blocks.split(block))
    pairs = [[(one, n) for one in sorted(part) for n in part[one]] for _, _, part in parts]
    assert all(
        0 < len(part) <= 7 and part[0] == (term, first)
        for part, (term, first, _) in zip(pairs, parts, strict=True)
    )
    assert [pair for part in pairs for pair in part] == [
        (one, n) for one in sorted(block) for n in block[one]
    ]


async def test_postings_are_what_was_written_whatever_came_and_went(monkeypatch: pytest.MonkeyPatch) -> None:
    for where, name, value in [(blocks, "FULL", 9), (postings, "AT_ONCE", 25), (postings, "FEW", 60)]:
        monkeypatch.setattr(where, name, value)
    dice = random.Random(5)
    terms = [first + rest for first in "abw张" for rest in ("", "n", "na", "nb", "zz三", "0")]
    held: dict[int, set[str]] = {}

    def change(tx: Connection) -> None:
        for number in dice.sample(range(1, 60), 6):
            if number in held:
                postings.write(tx, postings.NAME, [(number, held.pop(number))], gone=True)
            else:
                held[number] = set(dice.sample(terms, 5))
                postings.write(tx, postings.NAME, [(number, held[number])])
        postings.write(tx, postings.WORD, [(dice.randrange(100, 200), dice.sample(terms, 3))])
        postings.tidy(tx, 6)

    def check(tx: Connection) -> None:
        index = postings.Postings(tx)
        for one in (*terms, "none"):
            (found,) = index.ids(postings.of(postings.NAME, token(one)))
            assert found == {number for number, has in held.items() if one in has}, one
        both = all_of([token("an"), any_of([token("bn"), token("w")])])
        (found,) = index.ids(postings.of(postings.NAME, both))
        assert found == {number for number, has in held.items() if "an" in has and has & {"bn", "w"}}
        (begun,) = index.ids(postings.of(postings.NAME, prefix("wz")))
        assert begun == {number for number, has in held.items() if "wzz三" in has}

    def erase(tx: Connection) -> None:
        postings.write(tx, postings.NAME, list(held.items()), gone=True)
        held.clear()

    def left(tx: Connection) -> set[str]:
        """Whatever the tables name, in keys and in blocks."""
        rows = tx.execute(
            text("SELECT term, data FROM search_block UNION ALL SELECT term, NULL FROM search_fresh")
        )
        return {one for term, data in rows.all() for one in (term, *(blocks.unpack(data) if data else ()))}

    async with open_postgres() as store:
        for turn in range(30):
            await store.write(change)
            if turn % 6 == 5:
                await store.read(check)
        assert await store.read(lambda tx: tx.execute(text("SELECT count(*) FROM search_block")).scalar())
        await store.write(erase)
        while not await store.write(tables.scrub, pages=10):
            pass
        assert {term[:1] for term in await store.read(left)} <= {postings.WORD, ""}
        await store.read(check)
