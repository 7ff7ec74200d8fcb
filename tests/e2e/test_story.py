"""The whole story, for every channel as the customer's side and every staff side:
a question, an answer, a person, a card, a reply, a close, a rating, and numbers that tell the truth about it."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.mail import send_mail
from tests.fakes.telegram import FakeTelegram
from tests.fakes.web import StaffBrowser, Visitor
from tests.world import ADDRESS, FORUM, World, running

COMPLAINT = "My parcel arrived broken and nobody answers. This is the third time I write!"


async def wait(condition: Callable[[], Any], what: str, timeout_s: float = 15.0) -> Any:
    try:
        async with asyncio.timeout(timeout_s):
            while not (found := condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


class Customer(ABC):
    """A customer on their own channel."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    @abstractmethod
    async def says(self, text: str) -> None: ...

    @abstractmethod
    def heard(self) -> list[str]:
        """All texts that reached them, oldest first."""

    @abstractmethod
    async def rates(self, stars: int) -> None: ...

    async def hears(self, words: str) -> None:
        await wait(lambda: any(words in t for t in self.heard()), f"{words!r} among {self.heard()}")


class OnTelegram(Customer):
    USER = 7001

    async def says(self, text: str) -> None:
        assert self.world.telegram
        self.world.telegram.user_says(self.USER, text)

    def heard(self) -> list[str]:
        assert self.world.telegram
        return self.world.telegram.texts(self.USER)

    async def rates(self, stars: int) -> None:
        tg = self.world.telegram
        assert tg
        asked = await wait(
            lambda: next((m for m in tg.sent(self.USER) if "How did we do" in m.text), None),
            "asked for a rating",
        )
        tg.press(self.USER, asked, f"{stars} " + "★" * stars)


class OnWeb(Customer):
    async def open(self) -> None:
        self.visitor = Visitor(self.world.url)
        await self.visitor.open()

    async def close(self) -> None:
        await self.visitor.close()

    async def says(self, text: str) -> None:
        await self.visitor.says(text)

    def heard(self) -> list[str]:
        return self.visitor.answers

    async def rates(self, stars: int) -> None:
        await self.hears("How did we do")
        await self.visitor.press(f"{stars} " + "★" * stars)


class ByMail(Customer):
    ME = "li.wei@customer.example"

    async def says(self, text: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = f"Li Wei <{self.ME}>", ADDRESS, "Broken parcel"
        mail["Message-ID"] = f"<{abs(hash(text))}@customer.example>"
        mail["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
        answers = self.mails()
        if answers:
            mail["In-Reply-To"] = answers[-1]["Message-ID"]
            mail["References"] = answers[-1]["Message-ID"]
            del mail["To"]
            mail["To"] = answers[-1]["Reply-To"] or ADDRESS
        mail.set_content(text)
        await send_mail(self.world.smtp_port, self.ME, ADDRESS, mail)

    def mails(self) -> list[EmailMessage]:
        assert self.world.smarthost
        parsed = [message_from_bytes(m.content, policy=policy.default) for m in self.world.smarthost.mails]
        return [m for m in parsed if self.ME in str(m["To"])]  # type: ignore[misc]

    def heard(self) -> list[str]:
        return [m.get_body(("plain",)).get_content() for m in self.mails()]  # type: ignore[union-attr]

    async def rates(self, stars: int) -> None:
        await self.hears("How did we do")
        await self.says(str(stars))


class OnSlack(Customer):
    async def open(self) -> None:
        assert self.world.slack
        self.user = self.world.slack.add_user("U0CUSTOMER", name="Li Wei")
        self.room = self.world.slack.dm("U0CUSTOMER")

    async def says(self, text: str) -> None:
        assert self.world.slack
        await self.world.slack.says("U0CUSTOMER", self.room, text)

    def heard(self) -> list[str]:
        slack = self.world.slack
        assert slack
        return [slack.text(m) for m in slack.messages(self.room) if m.get("bot_id") or m.get("app_id")]

    async def rates(self, stars: int) -> None:
        slack = self.world.slack
        assert slack
        await self.hears("How did we do")
        asked = next(m for m in slack.messages(self.room) if "How did we do" in slack.text(m))
        await slack.press("U0CUSTOMER", asked, f"{stars} " + "★" * stars)


class Staff(ABC):
    """An agent on a staff side."""

    def __init__(self, world: World) -> None:
        self.world = world

    @abstractmethod
    async def open(self) -> None: ...

    async def close(self) -> None:
        return None

    @abstractmethod
    async def card(self, words: str) -> Any:
        """The ticket's card, once it is there."""

    @abstractmethod
    def card_text(self, card: Any) -> str: ...

    @abstractmethod
    def thread_text(self, card: Any) -> str: ...

    @abstractmethod
    async def replies(self, card: Any, text: str) -> None: ...

    @abstractmethod
    async def presses(self, card: Any, label: str) -> None: ...

    @abstractmethod
    async def asks(self, command: str) -> str: ...


class SlackStaff(Staff):
    async def open(self) -> None:
        slack = self.world.slack
        assert slack
        slack.add_user("U0AGENT", name="Tom")
        self.dm = slack.dm("U0AGENT")
        await slack.says("U0AGENT", self.dm, await self.world.code("Tom"))
        await wait(lambda: any("Tom" in slack.text(m) for m in self._answers()), "signed in")

    def _answers(self) -> list[dict[str, Any]]:
        slack = self.world.slack
        assert slack
        return [m for m in slack.messages(self.dm) if m.get("bot_id") or m.get("app_id")]

    async def card(self, words: str) -> Any:
        slack = self.world.slack
        assert slack
        room = slack.staff_channel
        return await wait(
            lambda: next((m for m in slack.messages(room) if words in slack.text(m)), None),
            f"a card with {words!r}",
        )

    def card_text(self, card: Any) -> str:
        slack = self.world.slack
        assert slack
        now = next(m for m in slack.messages(slack.staff_channel) if m["ts"] == card["ts"])
        return slack.text(now)

    def thread_text(self, card: Any) -> str:
        slack = self.world.slack
        assert slack
        return "\n".join(slack.text(m) for m in slack.messages(slack.staff_channel, card["ts"]))

    async def replies(self, card: Any, text: str) -> None:
        slack = self.world.slack
        assert slack
        await slack.says("U0AGENT", slack.staff_channel, text, thread_ts=card["ts"])

    async def presses(self, card: Any, label: str) -> None:
        slack = self.world.slack
        assert slack
        now = next(m for m in slack.messages(slack.staff_channel) if m["ts"] == card["ts"])
        await slack.press("U0AGENT", now, label)

    async def asks(self, command: str) -> str:
        slack = self.world.slack
        assert slack
        before = len(self._answers())
        await slack.says("U0AGENT", self.dm, "!" + command.lstrip("/"))
        await wait(lambda: len(self._answers()) > before, f"an answer to {command}")
        return slack.text(self._answers()[-1])


class WebStaff(Staff):
    async def open(self) -> None:
        self.browser = StaffBrowser(self.world.url)
        await self.browser.open()
        await self.browser.sign_in(await self.world.code("Tom"))

    async def close(self) -> None:
        await self.browser.close()

    async def card(self, words: str) -> Any:
        return await self.browser.thread(words)

    def card_text(self, card: Any) -> str:
        from tests.fakes.web import plain

        return plain(self.browser.threads[card])

    def thread_text(self, card: Any) -> str:
        return self.browser.text(card)

    async def replies(self, card: Any, text: str) -> None:
        await self.browser.reply(card, text)

    async def presses(self, card: Any, label: str) -> None:
        await self.browser.press(card, label)

    async def asks(self, command: str) -> str:
        before = len(self.browser.answers)
        await self.browser.command(command)
        await wait(lambda: len(self.browser.answers) > before, f"an answer to {command}")
        return self.browser.answers[-1]


class TelegramStaff(Staff):
    """A supergroup with a topic for each ticket. A card is the message that begins its topic."""

    AGENT = 9001

    async def open(self) -> None:
        tg = self.tg
        tg.user_says(self.AGENT, await self.world.code("Tom"), name="Tom")
        await wait(lambda: any("Tom" in t for t in tg.texts(self.AGENT)), "signed in")

    @property
    def tg(self) -> FakeTelegram:
        assert self.world.telegram
        return self.world.telegram

    async def card(self, words: str) -> Any:
        return await wait(
            lambda: next((m for m in self.tg.sent(FORUM) if words in m.text), None), f"a card with {words!r}"
        )

    def card_text(self, card: Any) -> str:
        return str(card.text)  # as it is now: the fake edits in place

    def thread_text(self, card: Any) -> str:
        return "\n".join(self.tg.texts(FORUM, card.thread_id))

    async def replies(self, card: Any, text: str) -> None:
        self.tg.user_says(self.AGENT, text, chat_id=FORUM, thread_id=card.thread_id)

    async def presses(self, card: Any, label: str) -> None:
        await wait(lambda: any(label in b for b in card.buttons), f"the button {label}")
        self.tg.press(self.AGENT, card, label)

    async def asks(self, command: str) -> str:
        before = len(self.tg.sent(self.AGENT))
        self.tg.user_says(self.AGENT, command)
        await wait(lambda: len(self.tg.sent(self.AGENT)) > before, f"an answer to {command}")
        return self.tg.texts(self.AGENT)[-1]


CUSTOMERS: dict[str, type[Customer]] = {
    "telegram": OnTelegram,
    "web": OnWeb,
    "support": ByMail,
    "slack": OnSlack,
}
STAFF: dict[str, type[Staff]] = {"slack": SlackStaff, "telegram": TelegramStaff, "web": WebStaff}


@pytest.mark.parametrize(("channel", "side"), list(itertools.product(CUSTOMERS, STAFF)))
async def test_the_whole_story(tmp_path: Path, channel: str, side: str) -> None:
    async with running(tmp_path, telegram=True, slack=True, mail=True, telegram_staff=True) as world:
        customer, staff = CUSTOMERS[channel](world), STAFF[side](world)
        await staff.open()
        await customer.open()
        try:
            await _story(world, customer, staff, channel)
        finally:
            await customer.close()
            await staff.close()


async def _story(world: World, customer: Customer, staff: Staff, channel: str) -> None:
    by_chat = channel != "support"
    if by_chat:  # a stranger's mail is answered by people only
        await customer.says("How long does delivery take?")
        await customer.hears("working day")
        assert (await world.dump())["tickets"] == []

    await customer.says(COMPLAINT)
    card = await staff.card("third time")
    if by_chat:
        await customer.hears("#1")
    text = staff.card_text(card)
    assert "complaint" in text
    assert channel in text

    await staff.presses(card, "Take")
    await wait(lambda: "Tom" in staff.card_text(card), "the card says who has it")
    await staff.replies(card, "// probably the carrier again")
    await staff.replies(card, "I am sorry. A new parcel leaves today: 1 < 2 & *fast*.")
    await customer.hears("A new parcel leaves today: 1 < 2 & *fast*.")
    await customer.says("Thank you Tom, that is kind. When will it arrive?")
    await wait(lambda: "When will it arrive" in staff.thread_text(card), "the customer's words in the thread")

    await staff.presses(card, "Close")
    await wait(lambda: "closed" in staff.card_text(card), "the card is closed")
    await customer.rates(5)
    ticket = await world.until(lambda d: d["tickets"][0]["rating"] == 5 and d["tickets"][0])
    assert not any("carrier again" in t for t in customer.heard())

    assert ticket["status"] == "closed"
    assert ticket["kind"] == "complaint"
    kinds = [(m["kind"], m["delivery"]) for m in ticket["messages"] if m["author"] == "Tom"]
    assert kinds == [("note", None), ("out", "sent")]
    assert len({m["event_id"] for m in ticket["messages"] if m["kind"] == "in"}) == sum(
        m["kind"] == "in" for m in ticket["messages"]
    )

    user = ticket["customer"]["identities"][0]["user_id"]
    profile = await staff.asks(f"/customer {user}")
    assert (f"web-{user[2:8]}" if channel == "web" else user) in profile
    assert "5.0 of 5 (1)" in profile
    numbers = await staff.asks("/stats today")
    assert "Tickets opened" in numbers
    assert "5.0 of 5" in numbers
    await world.until(lambda d: d["outbox"]["pending"] == 0 and d["inbox"]["pending"] == 0)
    final = await world.dump()
    assert final["outbox"]["dead"] == final["outbox"]["unknown"] == final["inbox"]["shelved"] == 0
    assert final["integrity"] == "ok"
