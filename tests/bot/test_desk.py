"""The desk's rules, a message at a time: ratings, forged buttons, closing and coming back, whose an order is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from channels.conversation import Author
from tests.deciding import Deciding, Said, deciding

PERSON = "I want to talk to a person, please"
HUGE = "9" * 40
ORDERS = """number,date,email,status,total,currency,tracking
A-1001,2026-02-01,li@example.com,shipped,19.90,EUR,TRACK77
"""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path, articles=True) as found:
        await found.bring(tmp_path, "customers", "name,email\nLi Wei,li@example.com\n")
        await found.bring(tmp_path, "orders", ORDERS)
        yield found


def to(said: list[Said], room: str = "7") -> str:
    return "\n".join(s.text for s in said if s.room == room)


# --- ratings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stars", [1, 2])
async def test_a_poor_rating_is_a_complaint_and_staff_are_told(desk: Deciding, stars: int) -> None:
    await desk.take(PERSON)
    await desk.staff("/ticket 1 close")
    said = await desk.press(f"rate:1:{stars}")
    (ticket,) = await desk.tickets()
    assert (ticket["rating"], ticket["kind"], ticket["status"]) == (stars, "complaint", "open")
    assert "sorry" in to(said)


async def test_a_good_rating_is_just_that(desk: Deciding) -> None:
    await desk.take(PERSON)
    await desk.staff("/ticket 1 close")
    assert "Thank you" in to(await desk.press("rate:1:4"))
    (ticket,) = await desk.tickets()
    assert (ticket["rating"], ticket["kind"], ticket["status"]) == (4, "enquiry", "closed")


# --- buttons that were forged -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action",
    ["rate:1:5", "ticket:1:close", "ticket:1:reopen", "ticket:1:take", "ticket:1:reply", "ticket:1:send", "profile:1",
     "command:/customer Li", "command:!stats"],
)  # fmt: skip
async def test_a_forged_button_of_a_customer_does_nothing(desk: Deciding, action: str) -> None:
    await desk.take(PERSON)
    await desk.staff("/ticket 1 close")
    before = await desk.tickets()
    said = await desk.press(action, room="8", values={"text": "injected"})  # of somebody else
    if not action.startswith("rate"):
        said += await desk.press(action, values={"text": "injected"})  # of the customer whose ticket it is
    assert await desk.tickets() == before
    assert not any(
        words in s.text for s in said for words in ("Li Wei", "li@example.com", "injected", "Tickets")
    )


ODD_ACTIONS = [
    "", ":", "rate", "rate:", "rate:1", "rate:1:", "rate:1:0", "rate:1:6", "rate:1:x", "rate:1:²", "rate:²:1",
    f"rate:{HUGE}:1", f"rate:1:{HUGE}", "rate:-1:1", "article:²", f"article:{HUGE}", "article:abc", "article:0",
    "helped:²", f"helped:{HUGE}", "x" * 5000, "rate:1:5:5",
]  # fmt: skip


@pytest.mark.parametrize("action", ODD_ACTIONS)
async def test_a_button_that_nobody_made_breaks_nothing(desk: Deciding, action: str) -> None:
    await desk.take("How long does delivery take?")
    await desk.take(PERSON)
    await desk.staff("/ticket 1 close")
    await desk.press(action)
    (ticket,) = await desk.tickets()
    assert ticket["rating"] is None


async def test_staff_buttons_that_nobody_made_break_nothing(desk: Deciding) -> None:
    await desk.take(await desk.code("Tom"), room="9")
    tom = Author("9")
    more = ["ticket:²:take", f"ticket:{HUGE}:take", "ticket:77:take", "ticket:1:dance", "ticket", "profile:²"]
    more += [
        f"profile:{HUGE}",
        "profile:99",
        "command:",
        "command:xyz",
        "command:/ticket ² take",
        "ticket:1:send",
    ]
    more += [
        f"command:/ticket {HUGE}",
        "command:/customer ²",
        f"command:/customer {HUGE}",
        "command:/customer \x00",
    ]
    for action in (*ODD_ACTIONS, *more):
        await desk.press(action, room="staff", author=tom, private=False)
        said = await desk.press(action, room="9", author=tom)
        assert not any("did not work" in s.text for s in said), action


# --- closing and coming back --------------------------------------------------------------------------------


async def test_a_reply_within_seven_days_reopens_and_later_is_a_new_linked_ticket(desk: Deciding) -> None:
    await desk.take(PERSON)
    await desk.staff("/ticket 1 close")
    desk.later(days=6, hours=23)
    said = await desk.take("It is broken once more, I need somebody to look at it")
    (ticket,) = await desk.tickets()
    assert ticket["status"] == "open"
    assert "opened your ticket #1 again" in to(said)
    await desk.staff("/ticket 1 close")
    desk.later(days=7, minutes=1)
    said = await desk.take("And now it is broken for good, I want to talk to a person")
    first, second = await desk.tickets()
    assert (first["status"], second["status"]) == ("closed", "new")
    assert "#2" in to(said)
    assert "after #1 was closed" in to(said, "staff")


# --- orders -------------------------------------------------------------------------------------------------

ASKED = "Where is my order A-1001?"


def code_in(said: list[Said]) -> str:
    (sent,) = [s for s in said if s.purpose == "code"]
    assert (sent.channel, sent.room) == ("support", "li@example.com")
    found = re.search(r"\b\d{6}\b", sent.text)
    assert found
    return found.group()


async def test_who_ordered_sees_the_order_at_once_where_they_are_known(desk: Deciding) -> None:
    me = Author("li@example.com", name="Li Wei", verified_email="li@example.com")
    said = await desk.take(ASKED, channel="support", room="li@example.com", author=me)
    assert "on its way" in to(said, "li@example.com")
    assert "TRACK77" in to(said, "li@example.com")


async def test_a_forged_sender_sees_no_order(desk: Deciding) -> None:
    said = await desk.take(ASKED, channel="support", room="li@example.com", author=Author("li@example.com"))
    assert "TRACK77" not in to(said, "li@example.com")
    assert len(await desk.tickets()) == 1


async def test_elsewhere_a_code_by_mail_proves_whose_the_order_is(desk: Deciding) -> None:
    said = await desk.take(ASKED)
    assert "TRACK77" not in to(said)
    code = code_in(said)
    assert code not in to(said)
    assert "TRACK77" in to(await desk.take(f" {code[:3]} {code[3:]} "))
    assert await desk.tickets() == []
    assert "TRACK77" in to(await desk.take(ASKED))  # from now on we know them
    assert "TRACK77" not in to(await desk.take(code))  # a code works once


async def test_five_wrong_codes_end_it(desk: Deciding) -> None:
    code = code_in(await desk.take(ASKED))
    for n in range(1, 6):
        assert "TRACK77" not in to(await desk.take(f"{(int(code) + n) % 1_000_000:06d}"))
    assert "TRACK77" not in to(await desk.take(code))


async def test_four_wrong_codes_are_forgiven(desk: Deciding) -> None:
    code = code_in(await desk.take(ASKED))
    for n in range(1, 5):
        await desk.take(f"{(int(code) + n) % 1_000_000:06d}")
    assert "TRACK77" in to(await desk.take(code))


async def test_a_code_expires_and_a_wrong_one_does_not_prolong_it(desk: Deciding) -> None:
    code = code_in(await desk.take(ASKED))
    desk.later(minutes=14)
    await desk.take(f"{(int(code) + 1) % 1_000_000:06d}")
    desk.later(minutes=1, seconds=1)
    assert "TRACK77" not in to(await desk.take(code))


async def test_a_code_is_of_the_conversation_it_was_sent_for(desk: Deciding) -> None:
    code = code_in(await desk.take(ASKED))
    assert "TRACK77" not in to(await desk.take(code, room="8"), "8")
    assert "TRACK77" in to(await desk.take(code))


async def test_a_stranger_never_learns_whether_an_order_exists(desk: Deciding) -> None:
    real = await desk.take(ASKED, room="8")
    none = await desk.take("Where is my order A-1002?", room="9")
    assert to(real, "8").replace("A-1001", "") == to(none, "9").replace("A-1002", "")
    for _ in range(7):  # nor by typing codes
        wrong_real = to(await desk.take("000000", room="8"), "8")
        wrong_none = to(await desk.take("000000", room="9"), "9")
        assert re.sub(r"#\d", "#", wrong_real) == re.sub(r"#\d", "#", wrong_none)


async def test_nobody_can_fill_an_inbox_with_codes(desk: Deciding) -> None:
    sent = 0
    for room in range(20, 30):
        sent += sum(s.purpose == "code" for s in await desk.take(ASKED, room=str(room)))
    assert sent == 3
