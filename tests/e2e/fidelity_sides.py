"""What people see on their far sides: every message as words and bytes, whatever the platform."""

from __future__ import annotations

from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from tests.fakes.web import Browser, StaffBrowser, Visitor, plain
from tests.world import ADDRESS, FORUM, World

CUSTOMER = {"telegram": 7001, "slack": "U0CUSTOMER", "email": "li.wei@customer.example"}
AGENT = {"telegram": 9001, "slack": "U0AGENT"}


@dataclass
class Post:
    """One message as it is seen now. `raw` is the far side's own."""

    text: str
    files: list[bytes]
    raw: Any = None


class Far:
    """Everything that stands on one side."""

    def __init__(self, world: World, browser: Browser | None = None) -> None:
        self.world = world
        self.browser = browser

    async def posts(self) -> list[Post]:
        raise NotImplementedError


class TelegramFar(Far):
    def __init__(self, world: World, chat: int) -> None:
        super().__init__(world)
        self.chat = chat

    async def posts(self) -> list[Post]:
        assert self.world.telegram
        found: list[Post] = []
        albums: dict[str, Post] = {}
        for m in self.world.telegram.sent(self.chat):
            if m.album and m.album in albums:
                albums[m.album].files.append(m.file)
                continue
            post = Post("\n".join([m.text, *m.buttons]), [m.file] if m.file else [], m)
            if m.album:
                albums[m.album] = post
            found.append(post)
        return found


class SlackFar(Far):
    def __init__(self, world: World, room: str) -> None:
        super().__init__(world)
        self.room = room

    async def posts(self) -> list[Post]:
        slack = self.world.slack
        assert slack
        ours = [m for m in slack.rooms[self.room].messages.values() if m.get("bot_id")]
        return [Post(slack.text(m), slack.contents(m), m) for m in ours]


class WebFar(Far):
    """A page: a customer's own room, or the staff's."""

    def __init__(self, world: World, browser: Browser, room: str) -> None:
        super().__init__(world, browser)
        self.room = room
        self.fetched: dict[str, bytes] = {}

    async def posts(self) -> list[Post]:
        assert self.browser
        found = []
        for entry in list(self.browser.rooms[self.room].entries):
            if entry["from"] == self.browser.user:
                continue
            files = [await self._file(b["url"]) for b in entry.get("blocks", []) if "url" in b]
            found.append(Post(plain(entry), files, entry))
        return found

    async def _file(self, url: str) -> bytes:
        assert self.browser
        if url not in self.fetched:
            self.fetched[url] = await self.browser.download(url)
        return self.fetched[url]


class MailFar(Far):
    """A mailbox. Each mail is read once: some are large, and the box is looked into again and again."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.read: list[tuple[EmailMessage, Post]] = []

    def mails(self) -> list[EmailMessage]:
        return [mail for mail, _ in self._read()]

    async def posts(self) -> list[Post]:
        return [post for _, post in self._read()]

    def _read(self) -> list[tuple[EmailMessage, Post]]:
        assert self.world.smarthost
        for sent in self.world.smarthost.mails[len(self.read) :]:
            mail: EmailMessage = message_from_bytes(sent.content, policy=policy.default)
            body = mail.get_body(("plain",))
            files = [
                p.get_payload(decode=True) for p in mail.walk() if p.get_filename() or p.get("Content-ID")
            ]
            text = body.get_content() if body is not None else ""
            self.read.append((mail, Post(text, [f for f in files if isinstance(f, bytes)], mail)))
        return [one for one in self.read if CUSTOMER["email"] in str(one[0]["To"])]


@dataclass
class Sides:
    """A world in which everybody is there."""

    world: World
    customers: dict[str, Far]
    staff: dict[str, Far]
    visitor: Visitor
    page: StaffBrowser


async def everybody(world: World) -> Sides:
    """Sign an agent in on each staff side, and a customer ready on each channel."""
    tg, slack = world.telegram, world.slack
    assert tg
    assert slack
    visitor, page = Visitor(world.url, patient=True), StaffBrowser(world.url, patient=True)
    await visitor.open()
    await page.open()
    await page.sign_in(await world.code("Mei"))
    tg.user_says(AGENT["telegram"], await world.code("Tom"), name="Tom")
    tg.user_says(CUSTOMER["telegram"], "Hello", name="Li Wei")
    slack.add_user("U0CUSTOMER", name="Li Wei")
    slack.add_user("U0AGENT", name="Tom")
    await slack.says("U0AGENT", slack.dm("U0AGENT"), await world.code("Tom"))
    room = slack.dm("U0CUSTOMER")
    await world.until(lambda d: d["inbox"]["pending"] == 0)
    customers: dict[str, Far] = {
        "telegram": TelegramFar(world, int(CUSTOMER["telegram"])),
        "slack": SlackFar(world, room),
        "email": MailFar(world),
        "web": WebFar(world, visitor, "self"),
    }
    staff: dict[str, Far] = {
        "telegram": TelegramFar(world, FORUM),
        "slack": SlackFar(world, slack.staff_channel),
        "web": WebFar(world, page, "staff"),
    }
    return Sides(world, customers, staff, visitor, page)


def mail(text: str = "", *, first: bool = False, html: str = "") -> EmailMessage:
    """A mail of the customer's, in the conversation that the first one began."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = f"Li Wei <{CUSTOMER['email']}>", ADDRESS, "Broken parcel"
    made["Message-ID"] = "<first@customer.example>" if first else f"<m{id(made)}@customer.example>"
    made["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    if not first:
        made["In-Reply-To"] = made["References"] = "<first@customer.example>"
    if html:
        made.set_content(html, subtype="html")
    else:
        made.set_content(text)
    return made
