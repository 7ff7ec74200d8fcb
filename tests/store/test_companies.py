"""Spellings of one company are one, and what its people bought is counted once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from crm_store import companies, contacts, importer, merges, people
from crm_store.companies import key
from crm_store.db import Store
from crm_store.importer import Defaults
from crm_store.sales import Value
from crm_store.scope import Scope

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PEOPLE = """name,email,company
Ann,ann@acme.example,Acme Ltd
Bo,bo@acme.example,ACME Limited
Cleo,cleo@acme.example,"Acme, Inc."
Dora,dora@other.example,Acme Tools GmbH & Co. KG
李伟,li@hua.example,北京华为科技有限公司
王芳,wang@hua.example,北京華為科技有限責任公司
Eve,eve@none.example,
Acme,lonely@none.example,
"""
ORDERS = """number,date,email,status,total,currency
A-1,2026-02-01,bo@acme.example,paid,19.90,EUR
A-2,2026-02-03,bo@acme.example,refunded,5.00,EUR
A-3,2026-02-03,ann@acme.example,paid,1.00,USD
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme Ltd", "ACME Limited"),
        ("The Acme Co., Ltd.", "acme"),
        ("Müller GmbH & Co. KG", "muller"),
        ("Rossi S.r.l.", "ROSSI SRL"),
        ("北京华为科技有限公司", "北京華為科技股份有限責任公司"),
        ("华为集团", "华为"),
        ("ＡＣＭＥ　Ｌｔｄ", "acme ltd"),
    ],
)
def test_spellings_of_a_company_are_one(one: str, other: str) -> None:
    assert key(one) == key(other) != ""


def test_other_companies_are_others_and_a_form_alone_is_a_name() -> None:
    assert key("Acme Tools Ltd") != key("Acme Ltd")
    assert (key("Limited"), key("公司"), key(""), key("@@")) == ("limited", "公司", "", "")


async def test_a_company_is_everybody_there(store: Store, tmp_path: Path) -> None:
    for kind, text in (("customers", PEOPLE), ("orders", ORDERS)):
        path = tmp_path / f"{kind}.csv"
        path.write_text(text)
        await importer.run(store, kind, path, Defaults(), NOW)  # type: ignore[arg-type]

    def ask(tx: Connection, said: str, scope: Scope | None = None) -> list[set[str]]:
        return [set(names) for names in companies.named(tx, said, scope)]

    acme = {"Acme Ltd", "ACME Limited", "Acme, Inc."}
    for said in ("Acme Ltd", "acme", "ACME Inc"):
        assert [names & acme for names in await store.read(ask, said)] == [acme], said
    assert await store.read(ask, "acme tools") == [{"Acme Tools GmbH & Co. KG"}]
    hua = {"北京华为科技有限公司", "北京華為科技有限責任公司"}
    assert await store.read(ask, "北京华为科技") == [hua]
    assert await store.read(ask, "华为") == [hua]
    assert await store.read(ask, "Nobody's") == []
    assert await store.read(ask, "Eve") == []
    found = await store.read(companies.look, sorted(acme))
    assert (found.count, found.orders, [one.name for one in found.people]) == (3, 3, ["Bo", "Ann", "Cleo"])
    assert found.values == (Value(1990, "EUR"), Value(100, "USD"))
    assert found.spent[found.people[0].id] == (Value(1990, "EUR"),)
    await store.write(merges.merge, NOW, found.people[0].id, found.people[2].id, actor="staff:1")
    assert (await store.read(companies.look, sorted(acme))).count == 2
    nothing = Scope(frozenset([99]))
    tom = await store.write(people.add, NOW, "Tom", "sales")
    own = found.people[1].id
    await store.write(contacts.set_values, NOW, own, owner_id=tom)
    seen = Scope(frozenset([tom]))
    assert await store.read(ask, "acme", seen) == [{"Acme Ltd"}]
    assert (await store.read(companies.look, sorted(acme), seen)).orders == 1
    assert await store.read(ask, "acme", nothing) == []
    assert (await store.read(companies.look, sorted(acme), nothing)).orders == 0


async def test_people_are_ordered_by_currency_and_by_no_sum_of_two(store: Store, tmp_path: Path) -> None:
    people_csv = "name,email,company\n" + "".join(f"{n},{n}@y.example,Yama KK\n" for n in "ABCDE")
    orders_csv = """number,date,email,status,total,currency
Y-1,2026-02-01,A@y.example,paid,500.00,EUR
Y-2,2026-02-01,B@y.example,paid,60000,JPY
Y-3,2026-02-01,C@y.example,paid,20.00,EUR
Y-4,2026-02-01,C@y.example,paid,90000,JPY
Y-5,2026-02-01,D@y.example,paid,30.00,EUR
Y-6,2026-02-01,D@y.example,refunded,900.00,EUR
"""
    for kind, text in (("customers", people_csv), ("orders", orders_csv)):
        path = tmp_path / f"{kind}.csv"
        path.write_text(text)
        await importer.run(store, kind, path, Defaults(), NOW)  # type: ignore[arg-type]
    found = await store.read(companies.look, ["Yama KK"])
    assert [one.name for one in found.people] == ["A", "D", "C", "B", "E"]
    assert [one.name for one in (await store.read(companies.look, ["Yama KK"], limit=2)).people] == ["A", "D"]
