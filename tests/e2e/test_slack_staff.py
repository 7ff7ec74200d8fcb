"""What agents do in Slack besides writing: buttons and their forms, shortcuts, reactions, Home, snooze, macros."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.jobs import Jobs
from crm_store import audit, contacts, tickets
from tests.e2e.test_faults import enrol, wait
from tests.fakes.slack import FakeSlack
from tests.fakes.telegram import FakeTelegram
from tests.world import World, running

CUSTOMER = 7001
COMPLAINT = "My parcel arrived broken and nobody answers. This is the third time I write!"
STAFF = {"U0AGENT": "Tom", "U0MEI": "Mei", "U0VERA": "Vera"}
ROUTES = """customer_channels = ["C0SHARED"]
[[channels.slack.routes]]
room = "C0COMPLAINTS"
kinds = ["complaint"]
[[channels.slack.routes]]
room = "C0CHINESE"
languages = ["zh"]
"""


class Scene:
    """A customer on Telegram, three people of the staff in Slack."""

    def __init__(self, world: World) -> None:
        self.world = world
        assert world.slack is not None
        assert world.telegram is not None
        self.slack: FakeSlack = world.slack
        self.telegram: FakeTelegram = world.telegram
        self.room = self.slack.staff_channel

    async def card(self, text: str = COMPLAINT, user: int = CUSTOMER, room: str = "") -> dict[str, Any]:
        """The card of the ticket that this message opens."""
        room = room or self.room
        before = len(self.slack.messages(room))
        self.telegram.user_says(user, text, name="Li Wei")
        await wait(lambda: len(self.slack.messages(room)) > before, "a card")
        found = self.slack.messages(room)[-1]
        await self.world.until(lambda d: d["outbox"]["pending"] == 0)
        return found

    def thread(self, card: dict[str, Any]) -> str:
        room = self.slack._find(card["ts"])[0].id
        return "\n".join(self.slack.text(m) for m in self.slack.messages(room, card["ts"]))

    async def says(self, card: dict[str, Any], text: str, user: str = "U0AGENT") -> str:
        return await self.slack.says(user, self.room, text, thread_ts=card["ts"])

    async def form(self, act: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
        """The view that somebody's doing opens."""
        before = len(self.slack.views)
        await act()
        await wait(lambda: len(self.slack.views) > before, f"a form; refused: {self.slack.refused}")
        return self.slack.views[-1]

    async def pressed(self, card: dict[str, Any], label: str, user: str = "U0AGENT") -> dict[str, Any]:
        return await self.form(lambda: self.slack.press(user, card, label))

    async def told(self, words: str) -> dict[str, Any]:
        """An answer that only one person sees."""
        return await wait(
            lambda: next((m for m in self.slack.ephemerals if words in self.slack.text(m)), None),
            f"{words!r} said aside: {[self.slack.text(m) for m in self.slack.ephemerals]}",
        )

    async def customer_hears(self, words: str) -> None:
        await wait(
            lambda: any(words in t for t in self.telegram.texts(CUSTOMER)),
            f"{words!r} among {self.telegram.texts(CUSTOMER)}",
        )

    async def ticket(self, condition: Callable[[dict[str, Any]], Any], number: int = 1) -> dict[str, Any]:
        def there(found: dict[str, Any]) -> Any:
            return next((t for t in found["tickets"] if t["number"] == number and condition(t)), None)

        return dict(await self.world.until(there))

    async def settled(self) -> None:
        await self.world.until(lambda d: d["outbox"]["pending"] == 0 and d["inbox"]["pending"] == 0)


@asynccontextmanager
async def scene(directory: Path, **how: Any) -> AsyncIterator[Scene]:
    async with running(directory, telegram=True, slack=True, web=False, **how) as world:
        slack = world.slack
        assert slack is not None
        for room in ("C0SHARED", "C0COMPLAINTS", "C0CHINESE"):
            slack.add_room(room)
        for user, name in STAFF.items():
            slack.add_user(user, name=name)
            await enrol(world, "slack", f"{slack.team}:{user}", name)
        await slack.connected()
        yield Scene(world)


async def test_the_card_has_every_button_and_its_forms_do_what_they_say(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        slack = at.slack
        card = await at.card()
        assert slack.buttons(card) == ["Take", "Reply", "Note", "Macro", "Snooze", "Close", "Profile", "Edit"]

        form = await at.pressed(card, "Reply")
        assert "Li Wei (telegram)" in slack.text(form), "the recipient is shown"
        await slack.submits("U0AGENT", form, {"text": "We are looking into it."})
        await at.customer_hears("We are looking into it.")

        form = await at.pressed(card, "Note")
        assert "customer does not see" in slack.text(form)
        await slack.submits("U0AGENT", form, {"text": "the carrier again"})
        await wait(lambda: "the carrier again" in at.thread(card), "the note in the thread")
        ticket = await at.ticket(lambda t: any(m["kind"] == "note" for m in t["messages"]))
        assert [m["text"] for m in ticket["messages"] if m["kind"] == "note"] == ["the carrier again"]

        form = await at.pressed(card, "Edit")
        await slack.submits("U0AGENT", form, {"priority": "urgent", "kind": "feedback", "assignee": "Mei"})
        ticket = await at.ticket(lambda t: t["assignee"] == "Mei")
        assert (ticket["priority"], ticket["kind"]) == ("urgent", "feedback")
        await wait(lambda: "Mei" in slack.text(slack._find(card["ts"])[1]), "the card says whose it is")

        await slack.press("U0AGENT", card, "Profile")
        profile = await at.told("Known as")
        form = await at.form(lambda: slack.press("U0AGENT", profile, "Edit"))
        await slack.submits("U0AGENT", form, {"name": "Li Wei-Ming", "company": "Acme", "tags": "vip, north"})
        await at.told("Li Wei-Ming is saved")
        contact_id = ticket["customer"]["id"]
        row = await at.world.store.read(contacts.get, contact_id)
        assert (row.name, row.company, list(row.tags)) == ("Li Wei-Ming", "Acme", ["vip", "north"])

        await at.settled()
        assert not any("carrier" in t for t in at.telegram.texts(CUSTOMER))
        assert not slack.refused


async def test_a_viewer_presses_in_vain(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        card = await at.card()
        for label in ("Note", "Macro", "Snooze", "Edit"):
            before = len(at.slack.ephemerals)
            await at.slack.press("U0VERA", card, label)
            await wait(lambda n=before: len(at.slack.ephemerals) > n, "an answer")
            assert "viewer" in at.slack.text(at.slack.ephemerals[-1])
        assert not at.slack.views
        entries = await at.world.store.read(lambda tx: audit.entries(tx))
        assert sum(e.outcome == "refused" for e in entries) == 4


async def test_a_macro_is_written_once_and_sent_in_the_customers_language(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        slack, card = at.slack, await at.card()
        await slack.press("U0AGENT", card, "Macro")
        await at.told("There are no macros yet")
        await at.says(card, "!macro add sorry We are sorry, {customer}. {agent} looks into #{number} {now}.")
        await at.says(card, "!macro add sorry zh 非常抱歉，{customer}。")
        await at.says(card, "!macro")
        await wait(lambda: "sorry  zh" in at.thread(card), "the list")
        await at.says(card, "!macro sorry")
        await at.customer_hears("We are sorry, Li Wei. Tom looks into #1 {now}.")

        form = await at.pressed(card, "Macro")
        assert "Li Wei (telegram)" in slack.text(form)
        option = form["blocks"][-1]["element"]["options"][0]
        await slack.submits("U0AGENT", form, {"macro": option["value"]})
        await wait(
            lambda: sum("We are sorry, Li Wei" in t for t in at.telegram.texts(CUSTOMER)) == 2, "again"
        )
        await at.says(card, "!macro remove sorry")
        await at.says(card, "!macro sorry")
        await wait(lambda: "There is no macro sorry" in at.thread(card), "it is gone")


async def test_a_snoozed_ticket_comes_back_by_itself_or_with_the_customer(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        slack, card = at.slack, await at.card()

        def now() -> str:
            return slack.text(slack._find(card["ts"])[1])

        form = await at.pressed(card, "Snooze")
        await slack.submits("U0AGENT", form, {"until": "3h"})
        await wait(lambda: "Snoozed until" in now(), "the card says so")
        clock = at.world.service.clock
        jobs = Jobs(at.world.store, at.world.service.office, clock)
        await jobs.tick()
        ticket = await at.world.store.read(tickets.by_number, 1)
        assert ticket.snoozed_until - clock() > timedelta(hours=2, minutes=50), "and is left alone until then"
        past = clock() - timedelta(seconds=1)
        await at.world.store.write(lambda tx: tickets.set_values(tx, ticket.id, snoozed_until=past))
        await jobs.tick()
        await wait(lambda: "The snooze is over" in at.thread(card), "the thread is told")
        await wait(lambda: "Snoozed until" not in now(), "the card as well")

        await at.says(card, "!ticket 1 snooze tomorrow")
        await wait(lambda: "is put off until" in at.thread(card), "an answer")
        at.telegram.user_says(CUSTOMER, "Any news about my parcel?")
        await wait(
            lambda: "The customer wrote: the ticket is back." in at.thread(card), "the customer wakes it"
        )
        await at.says(card, "!ticket 1 snooze whenever")
        await wait(lambda: "When is “whenever”?" in at.thread(card), "what is unclear is said")


async def test_a_message_of_the_thread_is_sent_to_the_customer_by_shortcut(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        card = await at.card()
        ts = await at.says(card, "// A new parcel leaves today.")
        await at.settled()
        form = await at.form(lambda: at.slack.shortcut("U0AGENT", ts, "send_to_customer"))
        assert "Li Wei (telegram)" in at.slack.text(form)
        await at.slack.submits("U0AGENT", form, {"text": "A new parcel leaves today."})
        await at.customer_hears("A new parcel leaves today.")


async def test_a_ticket_is_opened_from_a_message_by_shortcut_and_by_reaction(tmp_path: Path) -> None:
    async with scene(tmp_path, slack_more='customer_channels = ["C0SHARED"]') as at:
        slack = at.slack
        slack.add_user("U0ANNA", name="Anna", team="T0OTHER")
        first = await slack.says("U0ANNA", "C0SHARED", f"{slack.mention()} How long does delivery take?")
        await at.settled()
        assert (await at.world.dump())["tickets"] == []

        await slack.reacts("U0ANNA", first, "ticket")  # a customer's reaction is only a reaction
        await at.settled()
        assert (await at.world.dump())["tickets"] == []
        await slack.reacts("U0AGENT", first, "ticket")
        await at.ticket(lambda t: t["messages"])
        await wait(lambda: slack.messages(at.room), "its card")
        await at.told("This is ticket #1.")

        await slack.shortcut("U0AGENT", first, "open_ticket")  # the same message: the same ticket
        await wait(lambda: sum("#1" in slack.text(m) for m in slack.ephemerals) == 2, "it says which")
        slack.add_room("C0ELSEWHERE")
        other = await slack.says("U0ANNA", "C0ELSEWHERE", "Nobody answers me here.")
        await slack.shortcut("U0AGENT", other, "open_ticket")
        ticket = await at.ticket(lambda t: t["messages"], number=2)
        assert [m["text"] for m in ticket["messages"]] == ["Nobody answers me here."]

        ours = await slack.says("U0MEI", "C0ELSEWHERE", "I will ask.")
        await slack.shortcut("U0AGENT", ours, "open_ticket")
        await at.told("not a customer's message")
        await slack.shortcut("U0ANNA", other, "open_ticket")  # no staff: refused without a word
        await at.settled()
        found = await at.world.dump()
        assert len(found["tickets"]) == 2
        said = [slack.text(m) for m in slack.messages("C0ELSEWHERE") if m.get("bot_id")]
        assert not said, "nothing of this is said where customers read along"


async def test_reactions_on_the_card_are_verbs(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        slack, card = at.slack, await at.card()
        await slack.reacts("U0VERA", card["ts"], "eyes")
        note = await at.says(card, "// looking")
        await slack.reacts("U0AGENT", note, "white_check_mark")  # not the card: only a reaction
        await at.settled()
        ticket = await at.ticket(lambda t: True)
        assert (ticket["status"], ticket["assignee"]) == ("new", None)
        await slack.reacts("U0AGENT", card["ts"], "eyes")
        await at.ticket(lambda t: t["assignee"] == "Tom")
        await slack.reacts("U0AGENT", card["ts"], "tada")
        await slack.reacts("U0AGENT", card["ts"], "white_check_mark")
        await at.ticket(lambda t: t["status"] == "closed")
        await at.customer_hears("How did we do?")


async def test_home_shows_my_queue_and_the_day_and_does_what_its_buttons_say(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        slack, card = at.slack, await at.card()
        await slack.press("U0AGENT", card, "Take")
        await at.ticket(lambda t: t["assignee"] == "Tom")
        await slack.opens_home("U0AGENT")
        home = await wait(lambda: slack.homes.get("U0AGENT"), f"the page; refused: {slack.refused}")
        text = slack.text(home)
        for words in ("Tom's desk", "My queue (1)", "#1 My parcel arrived broken", "Tickets opened", "Today"):
            assert words in text

        form = await at.form(lambda: slack.press("U0AGENT", home, "Reply"))
        await slack.submits("U0AGENT", form, {"text": "From my desk."})
        await at.customer_hears("From my desk.")
        form = await at.form(lambda: slack.press("U0AGENT", home, "Search"))
        await slack.submits("U0AGENT", form, {"text": "#1"})
        await wait(lambda: "Back" in slack.buttons(slack.homes["U0AGENT"]), "what was found")
        assert "Li Wei" in slack.text(slack.homes["U0AGENT"])
        await slack.press("U0AGENT", slack.homes["U0AGENT"], "Back")
        await wait(lambda: "My queue" in slack.text(slack.homes["U0AGENT"]), "back again")
        await slack.press("U0AGENT", slack.homes["U0AGENT"], "Close")
        await at.ticket(lambda t: t["status"] == "closed")
        await wait(lambda: "My queue (0)" in slack.text(slack.homes["U0AGENT"]), "the page is up to date")

        slack.add_user("U0ANNA", name="Anna")
        await slack.opens_home("U0ANNA")
        greeting = await wait(lambda: slack.homes.get("U0ANNA"), "a customer is greeted")
        assert "Example Ltd" in slack.text(greeting)
        assert "queue" not in slack.text(greeting)
        await at.settled()
        assert len((await at.world.dump())["tickets"]) == 1
        identity = await at.world.store.read(contacts.find_identity, "slack", f"{slack.team}:U0ANNA")
        assert identity is None, "looking is not writing"


async def test_two_agents_in_one_thread_see_each_other_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        card = await at.card()
        await at.says(card, "I am on it.", "U0MEI")
        await at.customer_hears("I am on it.")
        await at.says(card, "So am I.")
        await wait(lambda: "Mei is also answering" in at.thread(card), "they see each other")
        await at.says(card, "// then I leave it to you")
        await at.says(card, "It is mine.", "U0MEI")
        await at.customer_hears("It is mine.")
        await at.settled()
        assert at.thread(card).count("is also answering") == 1


async def test_tickets_stand_in_the_room_that_is_theirs(tmp_path: Path) -> None:
    async with scene(tmp_path, slack_more=ROUTES) as at:
        slack = at.slack
        card = await at.card(room="C0COMPLAINTS")
        at.telegram.user_says(7002, "请让我和真人客服说话", name="王伟")
        await wait(lambda: slack.messages("C0CHINESE"), "a card in the Chinese room")
        at.telegram.user_says(7003, "I want to talk to a person please", name="Ann")
        await wait(lambda: slack.messages(at.room), "a card in the usual room")
        await slack.says("U0AGENT", "C0COMPLAINTS", "We are sorry.", thread_ts=card["ts"])
        await at.customer_hears("We are sorry.")
        await at.settled()
        assert [len(slack.messages(r)) for r in ("C0COMPLAINTS", "C0CHINESE", at.room)] == [1, 1, 1]
        assert not any(m.get("bot_id") for m in slack.messages("C0SHARED"))


async def test_a_ticket_named_among_staff_is_unfolded_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        slack, card = at.slack, await at.card()
        said = await slack.says("U0MEI", at.room, "Has anybody looked at #1 or #99? Not &#35 or a#1.")
        await wait(lambda: slack.messages(at.room, said), "a line about it")
        other = await at.card("Another broken thing, this is a complaint!", user=7002)
        await slack.says("U0AGENT", at.room, "// like #1 and our own #2", thread_ts=other["ts"])
        await wait(lambda: "#1 My parcel" in at.thread(other), "in a thread as well")
        slack.add_user("U0ROBOT", name="robot", bot=True)
        await slack.says("U0STRANGER", at.room, "What is #1?")
        await at.settled()
        assert len(slack.messages(at.room, said)) == 1
        line = slack.text(slack.messages(at.room, said)[0])
        assert line.startswith("#1 My parcel arrived broken")
        assert line.endswith("… · Li Wei · new · nobody")
        assert at.thread(other).count("#2") == 1, "its own number is what it is about"
        assert "#1 My" not in at.thread(card)
        top = [m for m in slack.messages(at.room) if m.get("bot_id")]
        assert len(top) == 2


@pytest.mark.parametrize("label", ["Snooze", "Macro", "Edit", "Note"])
async def test_what_telegram_cannot_ask_in_a_form_it_asks_with_buttons(tmp_path: Path, label: str) -> None:
    from tests.world import FORUM

    async with running(tmp_path, telegram=True, web=False, telegram_staff=True) as world:
        tg = world.telegram
        assert tg is not None
        await enrol(world, "telegram", "5001")
        tg.user_says(CUSTOMER, COMPLAINT, name="Li Wei")
        card = (await wait(lambda: tg.sent(FORUM), "a card"))[0]
        await world.until(lambda d: d["outbox"]["pending"] == 0)
        tg.user_says(5001, "/macro add sorry We are sorry.")
        await wait(lambda: any("saved" in t for t in tg.texts(5001)), "the macro is there")
        before = len(tg.sent(FORUM))
        tg.press(5001, card, label)
        asked = await wait(lambda: tg.sent(FORUM)[before:], f"a question: {tg.texts()}")
        if label == "Note":
            tg.user_says(5001, "the carrier", chat_id=FORUM, thread_id=card.thread_id, reply_to=asked[0])
            await world.until(lambda d: [m for m in d["tickets"][0]["messages"] if m["kind"] == "note"])
            assert "the carrier" not in "\n".join(tg.texts(CUSTOMER))
            return
        choice = {"Snooze": "for an hour", "Macro": "sorry: We are sorry.", "Edit": "urgent"}[label]
        tg.press(5001, asked[0], choice)
        if label == "Macro":
            await wait(lambda: "We are sorry." in tg.texts(CUSTOMER), "the macro goes out")
        else:
            words = {"Snooze": "Snoozed until", "Edit": "urgent"}[label]
            await wait(lambda: words in card.text, "the card says so")


async def test_in_telegram_the_eyes_take_a_card_and_home_is_a_command(tmp_path: Path) -> None:
    from tests.world import FORUM

    async with running(tmp_path, telegram=True, web=False, telegram_staff=True) as world:
        tg = world.telegram
        assert tg is not None
        await enrol(world, "telegram", "5001")
        tg.user_says(CUSTOMER, COMPLAINT, name="Li Wei")
        card = (await wait(lambda: tg.sent(FORUM), "a card"))[0]
        await world.until(lambda d: d["outbox"]["pending"] == 0)
        tg.reacts(5001, card, "👀")
        await world.until(lambda d: d["tickets"][0]["assignee"] == "Tom")
        tg.user_says(5001, "/home")
        await wait(lambda: any("My queue (1)" in t for t in tg.texts(5001)), "the queue")
        page = next(m for m in tg.sent(5001) if "My queue" in m.text)
        tg.press(5001, page, "Search")
        asked = await wait(lambda: next((m for m in tg.sent(5001) if "#number" in m.text), None), "what for")
        tg.user_says(5001, "#1", reply_to=asked)
        await wait(lambda: any("#1 My parcel" in t for t in tg.texts(5001)[2:]), "what was found")
