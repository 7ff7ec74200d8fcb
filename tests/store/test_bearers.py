"""Who bears a name is known exactly, whoever came, went and was renamed, in whatever order."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import Connection

from crm_store.db import Store
from crm_store.rows import is_postgresql
from crm_store.search import bearers, blocks, naming, postings
from crm_store.search.answering import asking
from crm_store.search.query import any_of, few, token
from crm_store.search.tokens import of_key

NAMES = [f"{first} {last}" for first in ("ann", "bob", "cleo", "dora") for last in "wxyz"]
NAMES += ["张三", "张三丰", "王伟", "li wei"]


async def test_who_bears_a_name_is_known_whatever_came_and_went(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postings, "FEW", 40)
    monkeypatch.setattr(blocks, "FULL", 5)
    dice = random.Random(11)
    held: dict[int, set[str]] = {}
    everybody = list(range(1, 120))

    def change(tx: Connection) -> None:
        some = dice.sample(everybody, 9)
        names = [*NAMES, *(f"only {number:x}" for number in some)]
        wanted = {number: set(dice.sample(names, dice.randrange(0, 4))) for number in some}
        naming.write(tx, wanted, bearers.book(tx).held_by(some))
        held.update(wanted)

    def check(tx: Connection) -> None:
        borne = {key for keys in held.values() for key in keys}
        by_name = {key: {number for number, keys in held.items() if key in keys} for key in borne}
        index = asking(tx)
        found = {name[1]: name for name in index.names(any_of(token(of_key(key)) for key in borne | {"no"}))}
        assert {key: n for key, (_, _, n) in found.items()} == {k: len(v) for k, v in by_name.items()}
        ids = {number: key for key, (number, _, _) in found.items()}
        of_each = index.bearers(list(ids), list(ids), 200)
        assert {ids[number]: set(some) for number, some in of_each.items()} == by_name
        assert all(len(some) == len(set(some)) for some in of_each.values())
        few = index.bearers(list(ids), list(ids)[:2], 1)
        assert all(len(some) <= (2 if number in list(ids)[:2] else 1) for number, some in few.items())
        bears = bearers.book(tx).held_by(everybody)
        assert {number: ids for number, ids in bears.items() if ids} == {
            number: {found[key][0] for key in keys} for number, keys in held.items() if keys
        }

    def leave(tx: Connection) -> None:
        naming.write(tx, {number: set() for number in held}, bearers.book(tx).held_by(list(held)))
        held.clear()

    for turn in range(60):
        await store.write(change)
        if turn % 10 == 9:
            await store.read(check)
    await store.write(leave)
    assert await store.read(naming.named, [*NAMES, "only 1"]) == {}
    await store.write(change)
    await store.read(check)


async def test_of_a_name_that_everybody_bears_few_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "FULL", 40)
    everybody = range(1, 2001)

    def fill(tx: Connection) -> None:
        naming.write(tx, {number: {"guest"} for number in everybody})
        naming.write(tx, {7: set()}, bearers.book(tx).held_by([7]))
        if is_postgresql(tx):
            postings.merge(tx, 10_000)

    def some(tx: Connection) -> list[int]:
        return naming.bearing(tx, "guest", 20)

    await store.write(fill)
    found = await store.read(some)
    assert len(found) == 21
    assert set(found) <= set(everybody) - {7}
    if store.dialect == "postgresql":
        assert 2 <= await store.read(_blocks_of_few) <= 3


def _blocks_of_few(tx: Connection) -> int:
    index = postings.Postings(tx, beginning=40)
    index.ids(postings.of(postings.BEARER, few(bearers.term_of(1))))
    return len(index._blocks)
