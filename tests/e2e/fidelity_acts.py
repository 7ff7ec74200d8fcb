"""What people do: each kind of thing on each platform, and what should be seen of it where it arrives."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import re
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.channels.test_telegram_send import png
from tests.e2e.fidelity_sides import AGENT, CUSTOMER, Post, Sides, mail
from tests.fakes.mail import send_mail
from tests.fakes.web import Refused
from tests.world import FORUM

LONG = "".join(f"Line {n} of a long message that somebody wrote.\n" for n in range(1000))[:19_999] + "."
BIG = bytes(21 << 20)
LINK = "https://x.example/page"
PNG, PNG2, PNG3 = png(8), png(9), png(10)
OGG, MP3, MP4, GIF, PDF = b"OggS-voice", b"ID3-audio", b"ftypmp4-video", b"GIF89a-animation", b"%PDF-document"
FILES: dict[str, list[tuple[str, str, bytes]]] = {
    "photo": [("photo.png", "image/png", PNG)],
    "album": [("one.png", "image/png", PNG2), ("two.png", "image/png", PNG3)],
    "document": [("offer.pdf", "application/pdf", PDF)],
    "video": [("film.mp4", "video/mp4", MP4)],
    "voice": [("voice.ogg", "audio/ogg", OGG)],
    "audio": [("song.mp3", "audio/mpeg", MP3)],
    "animation": [("dance.gif", "image/gif", GIF)],
}


@dataclass
class Want:
    """What should be seen on the other side: words in one post, files (in one post), words that are gone, and
    what a link leads to. Words longer than a post may come whole as a file, or (split) cut into posts."""

    words: list[str] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    linked: bytes = b""

    def missing(self, posts: list[Post]) -> str:
        """What is not seen yet, in words; "" when all is."""
        for text in self.words:
            if not any(text in p.text for p in posts):
                return f"the words {text!r}"
        if self.files and not any(all(f in p.files for f in self.files) for p in posts):
            return f"{len(self.files)} files in one post"
        for text in self.whole:
            stood = any(_same(text) in _same(p.text) for p in posts)
            filed = any(f.decode("utf-8", "ignore").strip() == text.strip() for p in posts for f in p.files)
            if not stood and not filed and _same(text) not in _same("".join(p.text for p in posts)):
                return f"a text of {len(text)} characters"
        for text in self.gone:
            if any(text in p.text for p in posts):
                return f"that {text!r} is gone"
        return ""


def _same(text: str) -> str:
    """Without white space, and without the marks of a quote: cutting moves these."""
    return re.sub(r"\s+", "", text)


Act = Callable[[], Coroutine[Any, Any, Want]]


_NUMBERS = itertools.count(1)


class Acts:
    """One person on one platform."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.world = sides.world
        number = next(
            _NUMBERS
        )  # words of one's own: another's, seen already, are no sign that these have arrived
        self.first = f"the first wording {number}."
        self.slip = f"a slip of the tongue {number}."

    def kinds(self) -> dict[str, Act]:
        """What this person can do, by kind."""
        raise NotImplementedError

    async def says(self, text: str) -> Any:
        raise NotImplementedError

    async def files(self, kind: str) -> Want:
        raise NotImplementedError

    async def text(self) -> Want:
        await self.says("plain words & <tags> *stars* 1 < 2 你好")
        return Want(["plain words & <tags> *stars* 1 < 2 你好"])

    async def long_text(self) -> Want:
        await self.says(LONG)
        return Want(whole=[LONG])

    def _plain_kinds(self) -> dict[str, Act]:
        def of(kind: str) -> Act:
            return lambda: self.files(kind)

        return {"text": self.text, "long_text": self.long_text} | {kind: of(kind) for kind in FILES}


class TelegramActs(Acts):
    user, where = int(CUSTOMER["telegram"]), {}  # type: dict[str, Any]

    @property
    def tg(self) -> Any:
        return self.world.telegram

    async def says(self, text: str) -> Any:
        return self.tg.user_says(self.user, text, **self.where)

    def kinds(self) -> dict[str, Act]:
        found = self._plain_kinds()
        for kind in ("formatted", "large_document", "sticker", "contact", "location", "venue", "poll"):
            found[kind] = getattr(self, kind)
        return found | {k: getattr(self, k) for k in ("dice", "quote", "edit", "reaction", "unknown")}

    async def _sends(self, want: Want, **content: Any) -> Want:
        self.tg.user_sends(self.user, **self.where, **content)
        return want

    async def long_text(self) -> Want:
        parts = [LONG[at : at + 4096] for at in range(0, len(LONG), 4096)]
        for part in parts:
            await self.says(part)
        return Want(whole=parts)

    async def formatted(self) -> Want:
        entities = [
            {"type": "bold", "offset": 0, "length": 4},
            {"type": "text_link", "offset": 9, "length": 4, "url": LINK},
        ]
        return await self._sends(Want(["bold and here", LINK]), text="bold and here", entities=entities)

    async def files(self, kind: str) -> Want:
        sent = FILES[kind]
        if kind == "album":
            contents = [c for _, _, c in sent]
            self.tg.user_sends_album(self.user, *contents, caption="an album", **self.where)
            return Want(["an album"], contents)
        name, mime, content = sent[0]
        how = {} if kind == "photo" else {"mime_type": mime}
        self.tg.user_sends_file(self.user, content, name, kind=kind, caption=f"a {kind}", **how, **self.where)
        return Want([f"a {kind}"], [content])

    async def large_document(self) -> Want:
        self.tg.files["FBIG"] = BIG
        document = {
            "file_id": "FBIG",
            "file_unique_id": "UBIG",
            "file_name": "big.bin",
            "file_size": len(BIG),
        }
        return await self._sends(Want(), document=document)

    async def sticker(self) -> Want:
        kept = self.tg.keep(b"RIFF-sticker")
        sticker = kept | {"type": "regular", "width": 512, "height": 512, "emoji": "😀"}
        flags = {"is_animated": False, "is_video": False}
        return await self._sends(Want(["😀"], [b"RIFF-sticker"]), sticker=sticker | flags)

    async def contact(self) -> Want:
        contact = {"phone_number": "447700900123", "first_name": "Ann", "last_name": "Other"}
        return await self._sends(Want(["Ann Other", "+447700900123"]), contact=contact)

    async def location(self) -> Want:
        return await self._sends(Want(["51.5,-0.12"]), location={"latitude": 51.5, "longitude": -0.12})

    async def venue(self) -> Want:
        place = {"latitude": 1.5, "longitude": 2.5}
        venue = {"location": place, "title": "The Shop", "address": "1 High Street"}
        return await self._sends(Want(["The Shop", "1 High Street", "1.5,2.5"]), venue=venue, location=place)

    async def poll(self) -> Want:
        options = [{"text": "Red", "voter_count": 0}, {"text": "Blue", "voter_count": 0}]
        poll = {"id": "1", "question": "Which colour?", "options": options, "total_voter_count": 0}
        return await self._sends(Want(["Which colour?", "Red", "Blue"]), poll=poll)

    async def dice(self) -> Want:
        return await self._sends(Want(["🎲 5"]), dice={"emoji": "🎲", "value": 5})

    async def unknown(self) -> Want:
        return await self._sends(Want(["[hologram]"]), hologram={"id": 1})

    async def edit(self) -> Want:
        said = await self.says(self.first)
        await self.seen(self.first)
        self.tg.edits(said, "the second wording")
        return self.edited(Want(["the second wording"]))

    async def seen(self, words: str) -> None:
        """Wait until words have arrived everywhere: so that what follows changes what is there."""
        await self.sides.world.until(
            lambda d: (
                any(words in m["text"] for t in d["tickets"] for m in t["messages"])
                and d["outbox"]["pending"] == 0
            ),
            timeout_s=60.0,
        )

    def edited(self, want: Want) -> Want:
        return want

    async def quote(self) -> Want:
        raise NotImplementedError

    async def reaction(self) -> Want:
        raise NotImplementedError


class TelegramCustomer(TelegramActs):
    async def _reply(self) -> Any:
        return next(m for m in self.tg.sent(self.user) if "Hello from Tom" in m.text)

    async def quote(self) -> Want:
        said = self.tg.user_says(self.user, "about this", reply_to=await self._reply())
        del said
        return Want(["> Hello from Tom\n\nabout this"])

    async def reaction(self) -> Want:
        self.tg.reacts(self.user, await self._reply(), "👍")
        return Want(["👍"])

    def edited(self, want: Want) -> Want:
        return Want([self.first, *want.words])


class SlackActs(Acts):
    user = str(CUSTOMER["slack"])

    @property
    def slack(self) -> Any:
        return self.world.slack

    @property
    def room(self) -> str:
        return str(self.slack.dm(self.user))

    thread: str | None = None

    async def says(self, text: str, **how: Any) -> Any:
        return await self.slack.says(self.user, self.room, text, self.thread, **how)

    def kinds(self) -> dict[str, Act]:
        names = ("formatted", "large_document", "quote", "edit", "delete", "reaction", "unknown")
        return self._plain_kinds() | {name: getattr(self, name) for name in names}

    async def files(self, kind: str) -> Want:
        ts = await self.says(f"a {kind}", files=FILES[kind], deliver=kind != "voice")
        if kind == "voice":  # a clip
            room, message = self.slack._find(ts)
            message["files"][0]["subtype"] = "slack_audio"
            await self.slack.event(self.slack.as_event(room, message))
        return Want([f"a {kind}"], [c for _, _, c in FILES[kind]])

    async def formatted(self) -> Want:
        await self.says(f"*bold* and <{LINK}|here>")
        return Want(["bold", LINK])

    async def large_document(self) -> Want:
        await self.says("a large one", files=[("big.bin", "application/octet-stream", BIG)])
        return Want(["a large one"], [BIG])

    async def quote(self) -> Want:
        ts = await self.says("about this", deliver=False)
        room, message = self.slack._find(ts)
        message["attachments"] = [
            {"is_share": True, "text": "words of another", "author_id": "U0X", "ts": "1.0"}
        ]
        await self.slack.event(self.slack.as_event(room, message))
        return Want(["about this", "> words of another"])

    seen = TelegramActs.seen

    async def edit(self) -> Want:
        ts = await self.says(self.first)
        await self.seen(self.first)
        await self.slack.edits(self.user, ts, "the second wording")
        return self.edited(Want(["the second wording"]))

    def edited(self, want: Want) -> Want:
        return Want([self.first, *want.words])

    async def delete(self) -> Want:
        ts = await self.says(self.slip)
        await self.seen(self.slip)
        await self.slack.deletes(self.user, ts)
        return self.deleted()

    def deleted(self) -> Want:
        return Want([f"deleted a message: {self.slip}"])

    async def reaction(self) -> Want:
        posts = await self.sides.customers["slack"].posts()
        reply = next(p for p in posts if "Hello from Tom" in p.text)
        await self.slack.reacts(self.user, reply.raw["ts"], "tada")
        return Want(["tada"])

    async def unknown(self) -> Want:
        ts = self.slack.next_ts()
        event = {"type": "message", "subtype": "huddle_thread", "channel": self.room, "ts": ts}
        await self.slack.event(event | {"user": self.user, "text": "a huddle", "channel_type": "im"})
        return Want(gone=["a huddle"])


class MailCustomer(Acts):
    async def says(self, text: str) -> Any:
        await self._sends(mail(text))

    async def _sends(self, made: Any) -> None:
        await send_mail(self.world.smtp_port, str(CUSTOMER["email"]), "support@desk.example", made)

    def kinds(self) -> dict[str, Act]:
        names = (
            "formatted",
            "large_document",
            "contact",
            "quote",
            "unknown",
            "inline_image",
            "html",
            "empty",
        )
        return self._plain_kinds() | {name: getattr(self, name) for name in names}

    async def _with(self, text: str, *files: tuple[str, str, bytes]) -> Want:
        made = mail(text)
        for name, mime, content in files:
            main, _, sub = mime.partition("/")
            made.add_attachment(content, maintype=main, subtype=sub, filename=name)
        await self._sends(made)
        return Want([text], [c for _, _, c in files])

    async def files(self, kind: str) -> Want:
        return await self._with(f"a {kind}", *FILES[kind])

    async def large_document(self) -> Want:
        want = await self._with("a large one", ("big.bin", "application/octet-stream", BIG))
        return Want(want.words, linked=BIG)

    async def contact(self) -> Want:
        return await self._with(
            "a contact", ("ann.vcf", "text/vcard", b"BEGIN:VCARD\r\nFN:Ann\r\nEND:VCARD\r\n")
        )

    async def unknown(self) -> Want:
        return await self._with("a riddle", ("x.unheard", "application/x-unheard-of", b"\x01\x02"))

    async def formatted(self) -> Want:
        await self._sends(mail(html=f'<p><b>bold</b> and <a href="{LINK}">here</a></p>'))
        return Want(["bold and here", LINK])

    async def html(self) -> Want:
        page = (
            "<html><head><style>p{color:red}</style></head><body><p>First &amp; last</p><ul><li>one</li></ul>"
        )
        await self._sends(mail(html=page + "<script>alert(1)</script></body></html>"))
        return Want(["First & last", "one"], gone=["alert(1)", "color:red"])

    async def inline_image(self) -> Want:
        made = mail("see the picture")
        made.add_alternative('<p>see the picture <img src="cid:pic"></p>', subtype="html")
        content = png(11)
        made.get_payload()[1].add_related(content, "image", "png", cid="<pic>", filename="pic.png")
        await self._sends(made)
        return Want(["see the picture"], [content])

    async def quote(self) -> Want:
        quoted = "\n".join(
            ["new words on top", "", "On Mon, 2 Mar 2026, Desk wrote:", "> old words", "> of ours"]
        )
        await self.says(quoted)
        return Want(["new words on top"], gone=["old words"])

    async def empty(self) -> Want:
        await self.says("")
        return Want(["(no text)"])


class WebActs(Acts):
    room: dict[str, str] = {}  # noqa: RUF012

    @property
    def browser(self) -> Any:
        return self.sides.visitor

    async def says(self, text: str) -> Any:
        return await self.browser.send("say", text=text, **self.room)

    def kinds(self) -> dict[str, Act]:
        return self._plain_kinds() | {k: getattr(self, k) for k in ("large_document", "unknown", "empty")}

    async def _uploads(self, text: str, *files: tuple[str, str, bytes]) -> str:
        frame = {"t": "say", "id": uuid.uuid4().hex, "text": text, "lang": "en", **self.room}
        while True:
            answer = await self._posted(frame, *files)
            if answer["t"] != "no":
                return str(answer["event"])
            if answer["why"] != "slow_down":
                raise Refused(answer["why"], 0.0)
            await asyncio.sleep(answer["after_s"])

    async def _posted(self, frame: dict[str, str], *files: tuple[str, str, bytes]) -> dict[str, Any]:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("frame", json.dumps(frame))
        for name, mime, content in files:
            form.add_field("file", io.BytesIO(content), filename=name, content_type=mime)
        url = f"{self.browser.base_url}{self.browser.page}/say"
        async with self.browser._http.post(
            url, data=form, headers={"Origin": self.browser.origin}
        ) as response:
            found: dict[str, Any] = await response.json()
            return found

    async def files(self, kind: str) -> Want:
        await self._uploads(f"a {kind}", *FILES[kind])
        return Want([f"a {kind}"], [c for _, _, c in FILES[kind]])

    async def long_text(self) -> Want:
        with pytest.raises(Refused, match="too_long"):
            await self.says(LONG)
        return Want(gone=[LONG[:200]])

    async def large_document(self) -> Want:
        with pytest.raises(Refused, match="too_big"):
            await self._uploads("a large one", ("big.bin", "application/octet-stream", BIG))
        return Want(gone=["a large one"])

    async def empty(self) -> Want:
        with pytest.raises(Refused, match="empty"):
            await self.says("   ")
        return Want()

    async def unknown(self) -> Want:
        with pytest.raises(Refused, match="malformed"):
            await self.browser.send("hologram", text="a hologram", **self.room)
        return Want(gone=["a hologram"])


# --- agents: the same people's things in a ticket's thread -----------------------------------------------


class TelegramAgent(TelegramActs):
    user = int(AGENT["telegram"])

    def __init__(self, sides: Sides, card: Any) -> None:
        super().__init__(sides)
        self.card = card
        self.where = {"chat_id": FORUM, "thread_id": card.thread_id}

    async def quote(self) -> Want:
        note = self.tg.user_says(self.user, "// a secret of ours", **self.where)
        self.tg.user_says(self.user, "about that", reply_to=note, **self.where)
        return Want(["about that"], gone=["a secret of ours"])

    async def reaction(self) -> Want:
        self.tg.reacts(self.user, self.card, "🎉")
        return Want(gone=["🎉"])

    def edited(self, want: Want) -> Want:
        return Want(want.words, gone=[self.first])

    async def closes(self) -> None:
        self.tg.press(self.user, self.card, "Close")


class SlackAgent(SlackActs):
    user = str(AGENT["slack"])

    def __init__(self, sides: Sides, card: Any) -> None:
        super().__init__(sides)
        self.card = card
        self.thread = card["ts"]

    @property
    def room(self) -> str:
        return str(self.slack.staff_channel)

    async def unknown(self) -> Want:
        ts = self.slack.next_ts()
        event = {"type": "message", "subtype": "huddle_thread", "channel": self.room, "ts": ts}
        await self.slack.event(event | {"user": self.user, "text": "a huddle", "thread_ts": self.thread})
        return Want(gone=["a huddle"])

    async def quote(self) -> Want:
        await super().quote()
        return Want(gone=["words of another"])

    def edited(self, want: Want) -> Want:
        return Want(want.words, gone=[self.first])

    def deleted(self) -> Want:
        return Want(gone=[self.slip])

    async def reaction(self) -> Want:
        await self.slack.reacts(self.user, self.card["ts"], "tada")
        return Want(gone=["tada"])

    async def closes(self) -> None:
        await self.slack.press(self.user, self.card["ts"], "Close")


class WebAgent(WebActs):
    def __init__(self, sides: Sides, card: Any) -> None:
        super().__init__(sides)
        self.card = card
        self.room = {"room": "staff", "thread": card}

    @property
    def browser(self) -> Any:
        return self.sides.page

    def kinds(self) -> dict[str, Act]:
        return super().kinds() | {"edit": self.edit, "delete": self.delete}

    seen = TelegramActs.seen

    async def edit(self) -> Want:
        event = await self.says(self.first)
        await self.seen(self.first)
        await self.browser.edit(self.card, event, "the second wording")
        return Want(["the second wording"], gone=[self.first])

    async def delete(self) -> Want:
        event = await self.says(self.slip)
        await self.seen(self.slip)
        await self.browser.undo(self.card, event)
        return Want(gone=[self.slip])

    async def closes(self) -> None:
        await self.browser.press(self.card, "Close")


CUSTOMERS: dict[str, type[Acts]] = {
    "telegram": TelegramCustomer,
    "slack": SlackActs,
    "email": MailCustomer,
    "web": WebActs,
}
AGENTS: dict[str, Any] = {"telegram": TelegramAgent, "slack": SlackAgent, "web": WebAgent}


async def until(look: Callable[[], Coroutine[Any, Any, str]], timeout_s: float) -> str:
    """Wait until a look finds nothing missing; return what was missing last."""
    missing = await look()
    deadline = asyncio.get_running_loop().time() + timeout_s
    while missing and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)
        missing = await look()
    return missing
