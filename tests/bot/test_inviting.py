"""A signed link opens a chat as one customer: the first who opens it, in time, unchanged; nobody else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.config import parse
from bot.office import Turn
from bot.service import inviting
from channels.conversation import Author, Kind
from crm_store import contacts, erase, merges, suggestions
from tests.deciding import CHANNELS, Deciding, Said, deciding

CUSTOMERS = "name,email\nLi Wei,li@example.com\nAnn O'Neil,ann@example.com\n"
NAMED = CHANNELS.replace('token = "123:abc"', 'token = "123:abc"\nusername = "@desk_bot"')
CONFIRMED, TOO_LATE = "that is confirmed", "cannot be used any more"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path, more=NAMED) as found:
        await found.bring(tmp_path, "customers", CUSTOMERS)
        yield found


async def payload(desk: Deciding, contact_id: int = 1) -> str:
    """What stands behind the link that staff are given for the bot."""

    def made(tx: Connection) -> list[tuple[str, str]]:
        return inviting.links(Turn(tx, desk.office, desk.now), contact_id)

    links = dict(await desk.store.read(made))
    assert links["telegram"].startswith("https://t.me/desk_bot?start=")
    assert links["web"].startswith("http://desk.example/chat?start=")
    text = links["telegram"].partition("=")[2]
    assert re.fullmatch(
        r"[A-Za-z_-]{1,64}", text
    )  # what Telegram passes on, and no digit that a mask would take
    return text


async def opens(desk: Deciding, text: str, user: str = "77", **how: Any) -> str:
    said: list[Said] = await desk.take(text, kind=Kind.START, channel="telegram", room=user, **how)
    return "\n".join(s.text for s in said if s.room == user)


async def who(desk: Deciding, user: str = "77") -> int:
    found = await desk.store.read(contacts.find_identity, "telegram", user)
    assert found is not None
    return found.contact_id


async def open_pairs(desk: Deciding, contact_id: int) -> int:
    return len(await desk.store.read(suggestions.of, contact_id))


async def test_the_first_who_opens_it_is_that_customer_and_it_can_be_taken_back(desk: Deciding) -> None:
    said = await opens(desk, await payload(desk))
    assert CONFIRMED in said
    assert await who(desk) == 1
    assert await desk.store.read(contacts.is_verified, 1, "telegram", "77")
    (row,) = await desk.store.read(merges.of, 1)
    assert row.how == "telegram link"
    await desk.store.write(merges.undo, desk.now, row.id, actor="staff:1")
    assert await who(desk) != 1
    again = await opens(desk, await payload(desk))  # staff said that they are two
    assert TOO_LATE in again
    assert await who(desk) != 1


async def test_the_same_person_may_open_it_again_and_another_may_not(desk: Deciding) -> None:
    text = await payload(desk)
    await opens(desk, text)
    assert CONFIRMED in await opens(desk, text)
    assert TOO_LATE in await opens(desk, text, "88")
    assert await who(desk, "88") != 1
    fresh = await payload(desk)  # theirs, and given to somebody with an account of their own
    assert TOO_LATE in await opens(desk, fresh, "99")
    assert await who(desk, "99") != 1
    assert await open_pairs(desk, 1) == 1


async def test_after_its_time_or_changed_it_is_nothing(desk: Deciding) -> None:
    text = await payload(desk)
    other = await payload(desk, 2)
    parts, others = text.split("-"), other.split("-")
    forged = [
        "-".join([parts[0], others[1], *parts[2:]]),
        text[:-1] + ("g" if text[-1] != "g" else "h"),
        "me-",
    ]
    forged += [text[3:], text + "-g", text.replace(parts[2], "p" * 11), "me-" + "p" * 60]
    for number, one in enumerate(forged):
        assert CONFIRMED not in await opens(desk, one, f"5{number}")
        assert await who(desk, f"5{number}") not in (1, 2)
    desk.later(days=7)
    assert TOO_LATE in await opens(desk, text)
    assert await who(desk) != 1


async def test_who_is_somebody_already_is_suggested_and_staff_decide(desk: Deciding) -> None:
    await desk.take("", channel="telegram", room="77", author=Author("77", verified_phone="+447700900123"))
    before = await who(desk)
    assert TOO_LATE in await opens(desk, await payload(desk))
    assert await who(desk) == before
    assert await open_pairs(desk, 1) == 1


@pytest.mark.parametrize(
    "how", [{"private": False, "addressed": True}, {"author": Author("77", may_command=False)}]
)
async def test_in_a_group_or_passed_on_it_counts_for_nobody(desk: Deciding, how: dict[str, Any]) -> None:
    await opens(desk, await payload(desk), **how)
    assert await who(desk) != 1


async def test_of_the_merged_it_is_whom_they_are_now_and_of_the_erased_nobodys(desk: Deciding) -> None:
    first, second, third = await payload(desk, 1), await payload(desk, 1), await payload(desk, 2)
    await desk.store.write(merges.merge, desk.now, 2, 1, actor="staff:1")
    await opens(desk, first)
    assert await who(desk) == 2
    number = await desk.store.write(erase.ask, desk.now, 2, "cli")
    assert TOO_LATE in await opens(desk, third, "87")
    await erase.carry_out(desk.store, number, lambda: desk.now)
    for user, text in (("88", second), ("89", third)):
        assert TOO_LATE in await opens(desk, text, user)
        assert await who(desk, user) not in (1, 2)


async def test_in_the_web_chat_it_works_as_well(desk: Deciding) -> None:
    said = await desk.take(await payload(desk), kind=Kind.START, room="7")
    assert CONFIRMED in said[0].text
    found = await desk.store.read(contacts.find_identity, "web", "7")
    assert found is not None
    assert found.contact_id == 1
    said = await desk.take(await payload(desk), kind=Kind.START, room="8")  # their other browser
    assert CONFIRMED in said[0].text


async def test_staff_get_it_by_command(desk: Deciding) -> None:
    from tests.bot.test_roles import run

    said = await run(desk, "/link li@example.com", "Tom")
    assert "Li Wei" in said
    assert "https://t.me/desk_bot?start=me-" in said
    assert "http://desk.example/chat?start=me-" in said
    assert "viewer" in await run(desk, "/link C1", "Vera")
    assert ("staff:2", "found", "contact:1", "ok") in await desk.audits()
    desk.office.config = parse("", environ={})
    assert "username" in await run(desk, "/link C1", "Tom")
