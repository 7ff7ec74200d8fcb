"""No card of customers is ever refused by Telegram or Slack: whatever is written in it, however much there is."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from bot import commands
from bot.access import member
from bot.office import Turn
from bot.service import forms
from channels import rich
from channels.base import Setup
from channels.conversation import Address, Author, Inbound, Kind, Outbound
from channels.rich import Form, Reply
from channels.slack import render as slack_render
from channels.slack.adapter import Slack
from channels.slack.manifest import SCOPES
from channels.telegram import render as telegram_render
from crm_store import consent, contacts, conversations, deals, merges, notes, people, tickets
from crm_store import schema as tables
from crm_store.conversations import NewMessage
from tests.channels.telegram_kit import channel_for, outbound
from tests.channels.test_slack_send import NoLimit
from tests.deciding import Deciding, deciding
from tests.fakes import slack_rules, telegram_rules
from tests.fakes.slack import FakeSlack
from tests.fakes.telegram import FakeTelegram

NASTY = (
    "*bold* _it_ `code` ~no~ <b>&amp;</b> | > quote",
    "<!channel> <@U0ANNA> <https://evil.example|bank> :smile:",
    "\u202eنص من اليمين إلى اليسار\u202c محمد بن سلمان",
    "👨‍👩‍👧‍👦🏳️‍🌈" * 40,
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘" * 30,
    "汉" * 3000,
    "W" * 5000,
    "a\nb\r\n\tc\n" * 30,
    "   ",
    "",
    "-",
    "{name} {0} %s None",
    "https://example.com/" + "x" * 3000,
)
WORDS = st.sampled_from(NASTY) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80
)
MANY = 30


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path) as found:

        def more(tx: Connection) -> None:
            people.add(tx, found.now, "Max", "manager", "en")

        await found.store.write(more)
        yield found


class _Undone(Exception):
    pass


@contextmanager
def undone(tx: Connection) -> Iterator[None]:
    """What is written inside is not kept."""
    try:
        with tx.begin_nested():
            yield
            raise _Undone
    except _Undone:
        pass


def customer(desk: Deciding, tx: Connection, words: list[str], number: int) -> int:
    """Somebody with too much of everything, whatever it says."""
    at = iter(range(10**9))

    def say() -> str:
        return words[next(at) % len(words)]

    now = desk.now
    contact_id = contacts.create(tx, now, name=say())
    tags = [f"{say()}{n}" for n in range(50)]
    fields = {f"{say()[:80]}{n}": say()[:2000] for n in range(100)}
    contacts.set_values(
        tx, now, contact_id, company=say(), city=say(), country="GB", language="en", tags=tags, fields=fields,
        timezone="Europe/London",
    )  # fmt: skip
    for n in range(MANY):
        space = ("email", "phone", "telegram", "slack", "ref")[n % 5]
        how = ("", "code", "shared", "platform", "attested")[n % 5]
        user_id = f"{say()[:200]}{number}-{n}"
        contacts.add_identity(
            tx, now, contact_id, space=space, user_id=user_id, handle=say() if n % 2 else "", verified_how=how
        )
    currencies = ("EUR", "USD", "JPY", "KWD", "CNY", "GBP", "SEK", "CHF", "XXX", "PLN")
    orders = [
        {
            "number": f"{say()[:300]}{number}-{n}",
            "contact_id": contact_id,
            "ordered_at": now - timedelta(days=n),
            "status": say() if n % 3 else "shipped",
            "amount_minor": 10**15 - n,
            "currency": currencies[n % len(currencies)],
            "source": "test",
            "created_at": now,
            "updated_at": now,
        }
        for n in range(500)
    ]
    known = set(tables.order.c.keys())
    tx.execute(tables.order.insert(), [{k: v for k, v in row.items() if k in known} for row in orders])
    for n in range(6):
        tx.execute(
            tables.customer_event.insert().values(
                contact_id=contact_id,
                kind=say()[:200] or "view",
                subject=say(),
                at=now,
                fields={},
                created_at=now,
            )
        )
        consent.add(tx, now, contact_id, f"purpose_{n}" * 3, "granted", source=say(), actor=f"staff:{n}")
        notes.add(tx, now, contact_id, say() or "x", staff_id=1, author=say()[:60])
    for n in range(25):
        consent.add(tx, now, contact_id, f"marketing_{n}", "withdrawn", source=say(), actor="customer")
        deals.add(
            tx, now, "staff:1", contact_id=contact_id, title=say()[:200], stage="lead", amount_minor=10**15,
            currency="EUR", owner_id=1, expected_on=now.date(),
        )  # fmt: skip
        conversation = conversations.open_at(
            tx, now, channel="telegram", room_id=f"{number}-{n}", thread_id="", contact_id=contact_id,
            language="en", subject=say(),
        )  # fmt: skip
        text = NewMessage(
            kind="in",
            channel="telegram",
            text=f"needle {say()}",
            author_kind="customer",
            author=say(),
            sent_at=now,
        )
        ticket = tickets.open_new(
            tx, now, conversation_id=conversation.id, contact_id=contact_id, kind="complaint",
            subject=say()[:120] or "–", channel="telegram",
        )  # fmt: skip
        message_id = conversations.add(tx, now, conversation.id, text)
        assert message_id is not None
        conversations.set_values(tx, message_id, ticket_id=ticket.id)
    return contact_id


def crowd(desk: Deciding, tx: Connection, words: list[str]) -> tuple[int, int]:
    """Two such customers, and many who may be the same or work at the same place."""
    first, second = (customer(desk, tx, words[n:] + words[:n], n) for n in (0, 1))
    others = [contacts.create(tx, desk.now, name=words[n % len(words)]) for n in range(MANY)]
    for n, other in enumerate(others):
        contacts.set_values(tx, desk.now, other, company=words[-1])
        evidence = [["name", words[n % len(words)]]] * 9
        tx.execute(
            tables.suggestion.insert().values(
                low_id=first, high_id=other, score=80, evidence=evidence, created_at=desk.now
            )
        )
    for other in others[:12]:
        merges.merge(tx, desk.now, second, other, actor="staff:1")
    return first, second


def everything(desk: Deciding, tx: Connection, words: list[str], name: str) -> Iterator[tuple[str, Reply]]:
    """Every card about customers that a command or a button shows."""
    first, second = crowd(desk, tx, words)
    turn = Turn(tx, desk.office, desk.now)
    who = member(people.by_name(tx, name))
    said = words[0][:200]
    pressed = Inbound(
        Address("telegram", "7"), "7:1", Author("7"), "", desk.now, kind=Kind.ACTION, private=True
    )
    number = tx.execute(tables.order.select().limit(1)).one().number
    for text in (
        f"/customer C{first}", f"/customer C{second}", f"/customer {said}", "/customer nobody at all",
        f"/history C{first}", f"/company C{first}", f"/company {said}", "/segment country:GB", "/quality",
        f"/segment {said}", f"/audit customer C{first}", "/audit staff Tom", f"/notes C{first}", f"/consent C{first}",
        f"/tag C{first} x", f"/set C{first} city {said}", f"/note C{first} {said}", f"/search {said}", "/search needle",
        f"/merge C{first} C{second}", f"/merge {said} | {said}", "/merge", "/unmerge", "/unmerge 1", f"/erase C{first}",
        f"/takeout C{second}", "/deal list", "/deal 1", "/pipeline", "/tickets", "/ticket 1", "/help", f"/{said}",
        f"/deal new C{first} 12 EUR {said}", f"/deal 1 product 2x {said[:100]} 300", f"/set C{first} {said} {said}",
        f"/consent C{first} grant {said} {said}", f"/audit customer {said}", f"/quality {said}", f"/history {said}",
        f"/orders C{first}", f"/orders C{second} from 41", f"/order {said}", f"/order {number}",
    ):  # fmt: skip
        for inbound in (None, pressed):  # as text with a code, and with buttons
            done = commands.perform(turn, who, text, inbound=inbound)
            assert not [audit for audit in done.audits if audit[2] == "error"], text
            yield text, done.reply
    row = contacts.get(tx, first)
    for form in (
        forms.customer(row, "zh"), forms.contact_note(turn, first, "en"), forms.merge(turn, first, "en"),
        forms.search("zh"), forms.lost(1, "zh"),
    ):  # fmt: skip
        yield form.action, Reply((form,))


def refused(reply: Reply) -> str:
    """What one of the platforms would refuse, or ""."""
    assert rich.load(rich.dump(reply)) == reply
    try:
        shown = telegram_render.render(reply)
        for piece in shown.pieces:
            entities = [one.model_dump() for one in piece.entities()]
            telegram_rules.check_text(piece.text, entities, limit=telegram_rules.TEXT_LIMIT)
        if shown.keyboard is not None:
            telegram_rules.check_markup(shown.keyboard.model_dump(exclude_none=True))
    except telegram_rules.Refused as error:
        return f"Telegram: {error}"
    try:
        for block in reply.blocks:
            if isinstance(block, Form):
                slack_rules.check_view(slack_render.view(block, Address("slack", "C0", "1.2")))
        made = slack_render.message(reply)
        slack_rules.check_blocks(made.blocks)
        slack_rules.need(len(made.text) <= 4000, "the text beside the blocks", "msg_too_long")
    except slack_rules.Invalid as error:
        return f"Slack: {error}"
    for button in reply.buttons():
        if not button.url and not 1 <= len(button.action.encode()) <= 60:
            return f"a button without its action: {button}"
        if not button.label.strip():
            return f"a button without a label: {button}"
    return ""


@pytest.mark.parametrize("name", ["Max", "Mei"])
async def test_no_card_is_refused_whatever_it_says(desk: Deciding, name: str) -> None:
    vars(desk.office.config.access)["lookups"] = 10**6

    def work(tx: Connection) -> None:
        @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(WORDS, min_size=3, max_size=12))
        def holds(words: list[str]) -> None:
            with undone(tx):
                for text, reply in everything(desk, tx, words, name):
                    assert not refused(reply), (text, refused(reply), rich.to_text(reply)[:600])

        holds()

    await desk.store.write(work)


async def test_the_fullest_card_is_one_message_and_no_file(desk: Deciding) -> None:
    found: list[Reply] = []

    def work(tx: Connection) -> None:
        for words in ([w for w in NASTY if w.strip()], ["汉" * 3000], ["W" * 5000], ["two words " * 400]):
            with undone(tx):
                first, _ = crowd(desk, tx, words)
                turn = Turn(tx, desk.office, desk.now)
                staff = [member(people.by_name(tx, name)) for name in ("Max", "Mei")]
                found.extend(commands.perform(turn, who, f"/customer C{first}").reply for who in staff)

    await desk.store.write(work)
    for reply in found:
        assert len(telegram_render.render(reply).pieces) == 1, len(rich.to_text(reply))
        made = slack_render.message(reply)
        assert not made.uploads
        assert "…" in rich.to_text(reply)


async def test_the_fakes_take_every_card(desk: Deciding, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the adapters themselves, as they would be sent."""
    vars(desk.office.config.access)["lookups"] = 10**6
    replies: list[Reply] = []

    def work(tx: Connection) -> None:
        words = list(NASTY)
        random.Random(5).shuffle(words)
        with undone(tx):
            replies.extend(reply for _, reply in everything(desk, tx, words, "Mei"))

    await desk.store.write(work)

    def never(_: Reply) -> Any:
        raise AssertionError("Slack refused the layout")

    monkeypatch.setattr(slack_render, "plainly", never)
    async with FakeSlack(mode="http") as slack, FakeTelegram() as tg:
        slack.scopes = set(SCOPES)
        for room in range(len(replies)):  # Telegram allows about one message a second in each
            tg.user_says(7000 + room, "hello")
        far, near = (
            Slack(Setup("slack", slack.settings(), b"s"), limiter=NoLimit()),
            channel_for(tg, messages_per_s=1000),
        )
        try:
            for key, reply in enumerate(replies):
                if any(isinstance(block, Form) for block in reply.blocks):
                    continue
                await far.send(Outbound(Address("slack", slack.staff_channel), reply, str(key)))
                await near.send(outbound(str(7000 + key), reply))
        finally:
            await far.close()
            await near.close()
        assert len(slack.messages(slack.staff_channel)) >= len(replies) - 5
        assert slack.rings == []
        assert tg.violations == []
