"""The first mail to a customer who never wrote, begun from their card: who may, to whom, and what becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from channels.rich import Form
from crm_store import contacts, importer, profile, stats
from crm_store import schema as tables
from crm_store.hours import BusinessHours
from crm_store.importing.values import Defaults
from tests.bot.test_customer_commands import ask
from tests.bot.test_merge import enrol, wait
from tests.deciding import Deciding, Said, deciding
from tests.fakes.mail import send_mail
from tests.world import ADDRESS, running

PEOPLE = """name,email,phone,language
Ann,ann@shop.example,,en
张三,zs@qq.example,,zh
Bob,,+447700900123,en
"""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path) as found:
        await found.bring(tmp_path, "customers", PEOPLE)
        for name in ("Tom", "Mei", "Vera"):
            await found.take(await found.code(name), channel="telegram", room=name)
        await found.new()
        yield found


async def press(desk: Deciding, action: str, room: str = "Tom", **values: str) -> list[Said]:
    return await desk.press(action, channel="telegram", room=room, values=values)


def form_of(said: list[Said]) -> Form | None:
    return next((b for s in said for b in s.reply.blocks if isinstance(b, Form)), None)


async def test_a_first_mail_opens_a_ticket_and_goes_to_the_address(desk: Deciding) -> None:
    shown = await ask(desk, "/customer C1")
    assert "profile:1:message" in shown.actions
    asked = await press(desk, "profile:1:message")
    form = form_of(asked)
    assert form is not None
    assert "Ann <ann@shop.example>" in form.intro
    assert [s for s in asked if s.channel == "support"] == []  # nothing goes out before it is written
    said = await press(desk, form.action, text="Your sofa is here")
    (mail,) = [s for s in said if s.channel == "support"]
    assert (mail.room, mail.purpose, mail.text) == ("ann@shop.example", "reply", "Your sofa is here")
    assert any("ticket #1" in s.text for s in said)
    (ticket,) = await desk.tickets()
    assert (ticket["status"], ticket["assignee"], ticket["customer"]["name"]) == ("pending", "Tom", "Ann")
    assert [m["kind"] for m in ticket["messages"]] == ["out"]
    assert {("open", "ticket:1"), ("reply", "ticket:1")} <= {(a[1], a[2]) for a in await desk.audits()}
    assert "profile:1:message" not in (await ask(desk, "/customer C1")).actions  # the ticket's button now
    due = await desk.store.read(profile.next_due, 1)
    assert due is None  # nobody waits for us


async def test_the_form_sent_twice_is_one_ticket(desk: Deciding) -> None:
    for text in ("Hello", "Hello again"):
        await press(desk, "profile:1:begun", text=text)
    (ticket,) = await desk.tickets()
    assert [m["text"] for m in ticket["messages"]] == ["Hello", "Hello again"]


async def test_it_begins_with_nobody_who_cannot_be_reached_or_does_not_want_it(desk: Deciding) -> None:
    assert not [a for a in (await ask(desk, "/customer C3")).actions if "message" in a]  # a phone only
    assert "never wrote" in (await press(desk, "profile:3:message"))[-1].text
    await press(desk, "profile:1:message")
    await desk.staff("/consent C1 withdraw marketing_email she said so", "Tom")
    for action in ("profile:1:message", "profile:1:begun"):
        said = await press(desk, action, text="Hello")
        assert form_of(said) is None
        assert "withdrew" in said[-1].text
    await press(desk, "profile:2:begun", text="// for colleagues")
    await press(desk, "profile:2:begun", text="  ")
    await press(desk, "profile:99999:begun", text="Hello")

    def bounced(tx: Connection) -> None:
        contacts.gone(tx, desk.now, "email", "zs@qq.example", "no such mailbox")

    await desk.store.write(bounced)
    assert form_of(await press(desk, "profile:2:message")) is None
    assert await desk.tickets() == []
    assert not [text for text in await desk.heard() if text in ("Hello", "// for colleagues")]


async def test_only_who_may_answer_may_begin(desk: Deciding) -> None:
    assert not [a for a in (await ask(desk, "/customer C1", "Vera")).actions if "message" in a]
    for action in ("profile:1:message", "profile:1:begun"):
        await press(desk, action, room="Vera", text="Hello")
        await press(desk, action, room="stranger", text="Hello")
    assert await desk.tickets() == []
    assert "Hello" not in await desk.heard()


async def test_the_language_and_the_subject_are_the_customers(desk: Deciding) -> None:
    form = form_of(await press(desk, "profile:2:message", room="Mei"))
    assert form is not None
    assert "这是第一封邮件" in form.intro
    await press(desk, form.action, room="Mei", text="您好")
    (ticket,) = await desk.tickets()

    def subject(tx: Connection) -> Any:
        return tx.execute(tables.conversation.select().where(tables.conversation.c.contact_id == 2)).one()

    row = await desk.store.read(subject)
    assert (row.language, row.subject) == ("zh", "来自Example Ltd的消息")
    assert ticket["messages"][0]["text"] == "您好"


async def test_what_we_began_is_no_response_time(desk: Deciding) -> None:
    await press(desk, "profile:1:begun", text="Hello")
    desk.later(hours=1)

    def count(tx: Connection) -> Any:
        hours = BusinessHours.parse("Mon-Sun 00:00-24:00", "UTC")
        return stats.numbers(tx, desk.now - timedelta(days=1), desk.now, hours)

    assert (await desk.store.read(count)).first_response.count == 0


async def test_no_mail_no_first_mail(tmp_path: Path) -> None:
    async with deciding(tmp_path, more="") as desk:
        await desk.bring(tmp_path, "customers", PEOPLE)
        assert "profile:1:message" not in (await ask(desk, "/customer C1")).actions


async def test_from_slack_by_mail_and_back_into_the_thread(tmp_path: Path) -> None:
    async with running(tmp_path, slack=True, mail=True, web=False) as world:
        slack, smarthost = world.slack, world.smarthost
        assert slack is not None
        assert smarthost is not None
        slack.add_user("U0TOM", name="Tom")
        await enrol(world, "slack", f"{slack.team}:U0TOM", "Tom")
        path = tmp_path / "customers.csv"
        path.write_text(PEOPLE)
        await importer.run(world.store, "customers", path, Defaults(), world.service.clock())
        await slack.slash("U0TOM", slack.staff_channel, "/customer", "ann@shop.example")
        card = await wait(lambda: slack.ephemerals and slack.ephemerals[-1], "the card")
        await slack.press("U0TOM", card, "Message")
        form = (await wait(lambda: slack.views, "the form"))[-1]
        assert "ann@shop.example" in slack.text(form)
        await slack.submits("U0TOM", form, {"subject": "Your sofa", "text": "It is here. *Really* <b>."})
        mail = (await wait(lambda: smarthost.mails, "the mail"))[-1]
        assert "Your sofa" in str(mail)
        assert "It is here. *Really*" in str(mail)
        (ticket,) = (await world.dump())["tickets"]
        thread = await wait(lambda: slack.messages(slack.staff_channel), "the card in the room")
        assert "#1 Your sofa" in slack.text(thread[0])
        message_id = await world.until(lambda d: d["tickets"][0]["messages"][0]["external_id"])
        raw = (
            f"From: Ann <ann@shop.example>\r\nTo: {ADDRESS}\r\nSubject: Re: Your sofa\r\n"
            f"Message-ID: <a1@shop.example>\r\nIn-Reply-To: <{message_id}>\r\n\r\nThank you, I come at five.\r\n"
        )
        await send_mail(world.smtp_port, "ann@shop.example", ADDRESS, raw.encode())
        await world.until(lambda d: [m["kind"] for m in d["tickets"][0]["messages"]][:2] == ["out", "in"])
        ((only),) = (await world.dump())["tickets"]
        assert only["customer"]["name"] == "Ann"
        assert ticket["number"] == only["number"]
