"""/company, /segment, /history, /set of an address, and a message to somebody who waits for nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from channels.conversation import Author
from channels.rich import Form
from crm_store import contacts
from crm_store.search import find_contacts
from tests.deciding import Deciding, Said, deciding

PEOPLE = """name,email,company,country,city
Li Wei,li@acme.example,Acme Ltd,GB,London
Ann,ann@acme.example,ACME Limited,GB,Leeds
Dora,dora@tools.example,Acme Tools,DE,
"""
ORDERS = """number,date,email,status,amount,currency
A-1001,2026-02-01,li@acme.example,shipped,19.90,EUR
A-1002,2026-02-03,ann@acme.example,shipped,100,EUR
"""
EVENTS = "event,time,email,product\ncart,2026-03-01,li@acme.example,Lamp\n"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path) as found:
        for kind, text in (("customers", PEOPLE), ("orders", ORDERS), ("events", EVENTS)):
            await found.bring(tmp_path, kind, text)
        yield found


async def ask(desk: Deciding, text: str, name: str = "Tom") -> Any:
    """What a command answers."""
    from bot import commands
    from bot.access import member
    from bot.office import Turn
    from crm_store import people

    def work(tx: Any) -> Any:
        turn = Turn(tx, desk.office, desk.now)
        return commands.perform(turn, member(people.by_name(tx, name)), text).reply

    reply = await desk.store.write(work)
    return Said("", "", "", reply)


async def test_a_company_is_shown_with_what_its_people_bought(desk: Deciding) -> None:
    found = await ask(desk, "/company acme")
    for words in ("Acme Ltd", "ACME Limited", "2 orders, 119.90 EUR", "C2 Ann", "C1 Li Wei", "London, GB"):
        assert words in found.text, found.text
    assert found.text.index("Ann") < found.text.index("Li Wei")  # who paid most
    assert found.actions == ["profile:2", "profile:1"]
    assert "Acme Tools" in (await ask(desk, "/company acme tools")).text
    assert "No customer" in (await ask(desk, "/company Nobody & Sons")).text
    assert "/company <NAME" in (await ask(desk, "/company")).text
    li = {"channel": "support", "room": "li@acme.example"}
    await desk.take("Help, I want a person", author=Author("li@acme.example"), **li)
    assert "Open tickets: #1" in (await ask(desk, "/company Acme Ltd", "Vera")).text
    assert (await ask(desk, "/search person kind:in")).actions == ["command:ticket 1"]


async def test_a_segment_is_counted_first_and_its_errors_have_a_place(desk: Deciding) -> None:
    found = await ask(desk, "/segment country:GB spent>1 event:cart")
    assert found.text.startswith("Customers: 1")
    assert "C1 Li Wei" in found.text
    assert found.actions == ["profile:1"]
    assert (await ask(desk, "/segment 国家:英国")).text.startswith("Customers: 2")
    assert (await ask(desk, "/segment tag:none")).text.startswith("Customers: 0")
    for query, words in [
        ("cuntry:GB", "“cuntry” at character 1 is no field"),
        ("spent>much", "“much” at character 7 is not a number"),
        ("last_order<soon", "at character 12 is not a date"),
        ("(country:GB", "bracket at character 1"),
        ("country:GB or", "after character 14"),
        ("country", "At character 8"),
        ("country:", "missing at character 9"),
        ('city:"x', "character 6 is not closed"),
        ("x" * 1001, "too long"),
        ("(" * 40 + "id:1" + ")" * 40, "Too many brackets"),
        ("", "/segment QUERY"),
    ]:
        assert words in (await ask(desk, f"/segment {query}")).text, query
    assert "may not" in (await ask(desk, "/segment country:GB", "Vera")).text


async def test_every_conversation_is_in_the_history_with_its_outcome(desk: Deciding) -> None:
    assert "No conversation" in (await ask(desk, "/history C1")).text
    li = Author("li@acme.example", verified_email="li@acme.example")
    await desk.take(
        "I want a person", author=li, channel="support", room="li@acme.example", subject="The sofa"
    )
    told = (await ask(desk, "/history C1")).text
    for words in ("support", "The sofa", "1 ↓ 1 ↑", "#1"):
        assert words in told, told
    shown = await ask(desk, "/customer C1")
    assert "put into the cart · Lamp" in shown.text
    assert "command:history C1" in shown.actions


async def test_a_message_can_be_begun_from_the_card(desk: Deciding) -> None:
    await desk.take("hello", channel="telegram", room="55", author=Author("55", name="Tim"))
    await desk.staff("/ticket 1 close")
    me = contacts.find_identity
    tim = (await desk.store.read(me, "telegram", "55")).contact_id  # type: ignore[union-attr]
    assert f"profile:{tim}:message" in (await ask(desk, f"/customer C{tim}")).actions
    await desk.take(await desk.code("Tom"), channel="telegram", room="tom")
    await desk.take(await desk.code("Vera"), channel="telegram", room="vera")
    refused = await desk.press(f"profile:{tim}:message", channel="telegram", room="vera")
    assert not [s for s in refused if s.room == "55" or any(isinstance(b, Form) for b in s.reply.blocks)]
    said = await desk.press(f"profile:{tim}:message", channel="telegram", room="tom")
    assert not [s for s in said if s.room == "55"]  # nothing is said before it is written
    (form,) = [b for s in said for b in s.reply.blocks if isinstance(b, Form)]
    await desk.press(form.action, channel="telegram", room="tom", values={"text": "Your sofa is here"})
    assert any(s == "Your sofa is here" for s in await desk.heard())
    assert [t["status"] for t in await desk.tickets()][-1] != "closed"


async def test_an_address_is_set_and_found_and_never_taken_from_another(desk: Deciding) -> None:
    assert "aved" in (await ask(desk, "/set C1 email Li.Wei@Home.example")).text
    assert "aved" in (await ask(desk, "/set C1 电话 +44 7700 900123")).text
    held = await desk.store.read(contacts.identities, 1)
    assert [(i.user_id, i.verified_at) for i in held][1:] == [
        ("li.wei@home.example", None), ("+447700900123", None)
    ]  # fmt: skip
    found = await desk.store.read(find_contacts, "li.wei@home.example")
    assert [hit.contact_id for hit in found] == [1]
    assert "another customer" in (await ask(desk, "/set C2 email li.wei@home.example")).text
    assert "li.wei" not in str((await desk.store.read(contacts.get, 1)).fields)
    for wrong in ("/set C1 email nonsense", "/set C1 phone 12", "/set C1 email a@b.example c@d.example"):
        assert "aved" not in (await ask(desk, wrong)).text, wrong
