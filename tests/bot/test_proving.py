"""An address proved by a mailed code, and consent by the customer's own word."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.service import proving
from channels.conversation import Attachment, Author
from crm_store import consent, contacts, merges
from tests.deciding import Deciding, Said, deciding

ORDERS = """number,date,email,status,amount,currency,tracking
A-1001,2026-02-01,li@example.com,shipped,19.90,EUR,TRACK77
A-1002,2026-02-01,ann@example.com,shipped,19.90,EUR,TRACK88
"""
ANN = {"channel": "support", "room": "ann@example.com"}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path, articles=True) as found:
        await found.bring(tmp_path, "orders", ORDERS)
        yield found


def to(said: list[Said], room: str = "7") -> str:
    return "\n".join(s.text for s in said if s.room == room)


def code_in(said: list[Said], address: str = "li@example.com") -> str:
    (sent,) = [s for s in said if s.purpose == "code"]
    assert (sent.channel, sent.room) == ("support", address)
    found = re.search(r"\b\d{6}\b", sent.text)
    assert found
    return found.group()


async def owner(desk: Deciding, space: str, user_id: str) -> int:
    found = await desk.store.read(contacts.find_identity, space, user_id)
    assert found is not None
    return found.contact_id


def wrong(code: str, n: int = 1) -> str:
    return f"{(int(code) + n) % 1_000_000:06d}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("li@example.com", "li@example.com"),
        ("My e-mail address is Li@Example.com.", "li@example.com"),
        ("我的邮箱是li@example.com", "li@example.com"),
        ("it's <li@example.com>!", "li@example.com"),
        ("Please send the goods to li@example.com tomorrow", ""),
        ("li@example.com ann@example.com", ""),
        ("here is " * 19 + "z", ""),
        ("li@example", ""),
        ("nothing", ""),
    ],
)
def test_a_message_says_an_address_or_something_else(text: str, address: str) -> None:
    assert proving.said(text) == address


async def test_an_address_is_proved_by_a_code_and_the_merge_can_be_undone(desk: Deciding) -> None:
    said = await desk.take("my email is li@example.com")
    code = code_in(said)
    assert code not in to(said)
    before = await owner(desk, "web", "7")
    assert "confirmed" in to(await desk.take(code))
    li = await owner(desk, "email", "li@example.com")
    assert (await owner(desk, "web", "7"), before != li) == (li, True)
    assert "TRACK77" in to(await desk.take("Where is my order A-1001?"))
    assert "confirmed" not in to(await desk.take(code))  # a code works once

    def apart(tx: Connection) -> int:
        row = tx.execute(merges.merge_table.select()).one()
        merges.undo(tx, desk.now, row.id, actor="staff:1")
        found = contacts.find_identity(tx, "web", "7")
        assert found is not None
        return found.contact_id

    assert await desk.store.write(apart) == before


async def test_what_was_asked_before_is_answered_with_the_code(desk: Deciding) -> None:
    await desk.take("Where is my order A-1001?")
    code = code_in(await desk.take("I use li@example.com there"))
    assert "TRACK77" in to(await desk.take(code))
    assert await desk.tickets() == []
    await desk.take("Where is my order A-1002?", room="8")  # and what is somebody else's is not
    code = code_in(await desk.take("new@example.com", room="8"), "new@example.com")
    theirs = to(await desk.take(code, room="8"), "8")
    await desk.take("Where is my order A-9999?", room="9")
    code = code_in(await desk.take("newer@example.com", room="9"), "newer@example.com")
    assert theirs.replace("A-1002", "A-9999") == to(await desk.take(code, room="9"), "9")
    assert "TRACK" not in theirs


async def test_nobody_learns_whose_an_address_is_nor_guesses_a_code(desk: Deciding) -> None:
    known = await desk.take("li@example.com", room="8")
    other = await desk.take("xx@example.com", room="9")
    assert to(known, "8").replace("li@", "xx@") == to(other, "9")
    code = code_in(known)
    assert "confirmed" not in to(await desk.take(code, room="9"), "9")  # of another chat
    for n in range(1, 6):
        assert "confirmed" not in to(await desk.take(wrong(code, n), room="8"), "8")
    assert "confirmed" not in to(await desk.take(code, room="8"), "8")
    code = code_in(await desk.take("li@example.com", room="7"))
    desk.later(minutes=9)
    await desk.take(wrong(code))
    desk.later(minutes=1, seconds=1)  # a wrong one does not prolong the right one's life
    assert "confirmed" not in to(await desk.take(code))


async def test_nobody_fills_an_inbox_with_codes(desk: Deciding) -> None:
    answers, sent = set(), []
    for room in range(20, 26):  # many writers, one address
        said = await desk.take("li@example.com", room=str(room))
        answers.add(to(said, str(room)))
        sent += [s for s in said if s.purpose == "code"]
    assert (len(sent), len(answers)) == (3, 1)
    sent = []
    for n in range(6):  # one writer, many addresses
        sent += [s for s in await desk.take(f"a{n}@example.com") if s.purpose == "code"]
    assert len(sent) == 3
    desk.later(minutes=61)
    again = await desk.take("li@example.com", room="20")
    assert [s for s in again if s.purpose == "code"] == []  # no sixty minutes hold four
    desk.later(minutes=60)
    assert code_in(await desk.take("li@example.com", room="20"))


async def test_where_no_code_helps_none_is_sent(desk: Deciding) -> None:
    quiet: list[dict[str, Any]] = [
        {"text": "info@example.com"},
        {"text": "support@desk.example"},
        {"text": "li@example.com", "private": False, "addressed": True},
        {"text": "li@example.com", **ANN},
        {"text": "li@example.com", "attachments": (Attachment("a.txt", "text/plain", 1),), "room": "8"},
    ]
    for one in quiet:
        said = await desk.take(**one)
        assert [s for s in said if s.purpose == "code"] == [], one
    del desk.office.config.channels["support"]
    assert [s for s in await desk.take("li@example.com", room="9") if s.purpose == "code"] == []


async def test_a_code_joins_who_proved_the_address_twice_and_leaves_others_apart(desk: Deciding) -> None:
    ann = Author("ann@example.com", verified_email="ann@example.com")
    await desk.take("Hello", author=ann, **ANN)
    await desk.take(code_in(await desk.take("ann@example.com"), "ann@example.com"))
    assert await owner(desk, "web", "7") == await owner(desk, "email", "ann@example.com")
    await desk.take("Hello", channel="support", room="li@example.com", author=Author("li@example.com"))
    await desk.take(code_in(await desk.take("li@example.com", room="8")), room="8")
    assert await owner(desk, "web", "8") != await owner(desk, "email", "li@example.com")


# --- consent --------------------------------------------------------------------------------------------


async def stands(desk: Deciding, contact_id: int) -> dict[str, str]:
    rows = await desk.store.read(consent.current, contact_id)
    return {purpose: f"{row.state} {row.actor}" for purpose, row in rows.items()}


async def test_stop_ends_marketing_and_start_has_it_again(desk: Deciding) -> None:
    assert "news" not in to(await desk.take("START", room="9"), "9")  # somebody wakes a bot
    assert await stands(desk, await owner(desk, "web", "9")) == {}
    await desk.take("hello")
    me = await owner(desk, "web", "7")
    grant = {"source": "said so", "actor": "staff:1"}
    await desk.store.write(consent.add, desk.now, me, "marketing_sms", "granted", **grant)
    assert "no more advertising" in to(await desk.take(" Stop! "))
    gone = "withdrawn customer"
    assert await stands(desk, me) == {
        "marketing_email": gone, "marketing_web": gone, "marketing_sms": gone
    }  # fmt: skip
    evidence = (await desk.store.read(consent.ledger, me))[-1]
    assert (evidence.message_id is not None, evidence.source) == (True, "wrote “Stop!” by web")
    assert await desk.take("TD") == []  # once
    assert "news" in to(await desk.take("START"))
    assert set((await stands(desk, me)).values()) == {"granted customer"}
    assert "营销" in to(await desk.take("退订", room="8"), "8")
    assert "重新收到" in to(await desk.take("订阅", room="8"), "8")
    assert len(await desk.tickets()) == 1  # of who typed START first
    assert len(await desk.store.read(consent.ledger, me)) == 7


async def test_by_mail_anybody_may_stop_and_only_the_sender_start(desk: Deciding) -> None:
    li = {"channel": "support", "room": "li@example.com"}
    forged, real = Author("li@example.com"), Author("li@example.com", verified_email="li@example.com")
    await desk.take("", subject="Unsubscribe", author=forged, **li)
    number = await owner(desk, "email", "li@example.com")
    assert await stands(desk, number) == {"marketing_email": "withdrawn customer"}
    await desk.take("START", author=forged, **li)
    assert await stands(desk, number) == {"marketing_email": "withdrawn customer"}
    await desk.take("START", author=real, **li)
    assert await stands(desk, number) == {"marketing_email": "granted customer"}


async def test_staff_read_of_it_in_an_open_ticket(desk: Deciding) -> None:
    await desk.take("I want to complain, this is terrible!")
    said = await desk.take("Unsubscribe")
    assert "no advertising" in "\n".join(s.text for s in said if s.room != "7")
    assert len(await desk.tickets()) == 1
    assert "advertising" not in "\n".join(
        s.text for s in await desk.take("please stop sending me these", room="7")
    )
