"""The pages of the web chat in a real browser, against a small scripted bot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from channels.conversation import Address, Author, Inbound, Kind, Op
from channels.rich import Button, Buttons, Fields, Form, Heading, Input, Table, Text
from tests.browser import MISSING, Browser, browser
from tests.fakes.web_site import Site, serving

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
CODE = "CODE-1234"
STARS = Buttons(tuple(Button(str(n), f"rate:{n}") for n in range(1, 6)))
SVG_TEXT = "<img src=x onerror=alert(1)> & <b>bold</b>"


class ScriptedBot:
    """Answers as the product does, in few words."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.thread = ""
        self.customer = ""
        self.done = 0
        self.said = 0

    async def run(self) -> None:
        while True:
            await self.site.door.until(lambda: len(self.site.door.raws) > self.done, timeout_s=600)
            raw = self.site.door.raws[self.done]
            self.done += 1
            for value in self.site.channel.decode(raw):
                await self._answer(value)

    async def _answer(self, value: Inbound) -> None:
        room = value.address.room_id
        if room.startswith("v:"):
            await self._customer(value)
        elif room == "staff":
            await self._agent(value)
        elif value.text == CODE:
            self.site.journal.staff.add(value.author.user_id)
            await self._say(room, "Welcome, Ada")
        elif value.author.user_id not in self.site.journal.staff:
            await self._say(room, "This code is not known.")
        else:
            orders = Table(("Order", "Total"), (("A-1001", "129.00"), ("A-1002", "8.50")))
            pairs = (("E-mail", "ada@example.com"), ("Value", "137.50"))
            await self._say(room, Heading("Ada Lovelace"), Fields(pairs), orders)

    async def _customer(self, value: Inbound) -> None:
        room = value.address.room_id
        if value.kind is Kind.START:
            await self._say(room, "Hello! How can we help?", automatic=True)
        elif value.kind is Kind.ACTION and value.action == "human":
            self.customer = room
            pairs = (("Customer", "Web visitor"), ("Channel", "web"), ("Status", "new"))
            offer = Buttons(
                (Button("Take", "take", style="primary"), Button("Reply…", "form"), Button("Close", "close"))
            )
            self.thread = await self._say(
                "staff", Heading("#1 · Where is my parcel?"), Fields(pairs), offer, opens_thread=True
            )
            who = Text("Sofia Rossi:", small=True)
            await self._say("staff", who, Text("Where is my parcel?"), thread=self.thread)
            await self._say(room, "A colleague will answer here. Your ticket is #1.", automatic=True)
        elif value.kind is Kind.ACTION:
            await self._say(room, "Thank you!", automatic=True)
        else:
            offer = Buttons((Button("Yes", "helped"), Button("Talk to a person", "human")))
            await self._say(room, f"You said: {value.text}", offer, automatic=True)

    async def _agent(self, value: Inbound) -> None:
        thread = value.address.thread_id
        if value.kind is Kind.MESSAGE and not value.text.startswith("//"):
            await self._say("staff", op=Op.MARK, target_id=value.event_id, mark="held", thread=thread)
        elif value.kind is Kind.ACTION and value.action == "form":
            form = Form("Reply to the customer", "reply", "Send", (Input("text", "Text", multiline=True),))
            await self._say("staff", form, op=Op.FORM, trigger=value.trigger, thread=thread)
        elif value.kind is Kind.ACTION and value.action == "reply":
            await self._say(self.customer, value.values["text"])
        elif value.kind is Kind.ACTION and value.action == "close":
            await self._say(self.customer, "How did we do?", STARS, automatic=True)

    async def _say(self, room: str, *parts: object, **more: object) -> str:
        self.said += 1
        return await self.site.says(room, *parts, key=f"bot{self.said}", **more)  # type: ignore[arg-type]

    async def sent(self, event_id: str, text: str) -> None:
        """What delivery does when the hold is over."""
        await self._say("staff", op=Op.MARK, target_id=event_id, mark="sent", thread=self.thread)
        await self._say(self.customer, text)


@asynccontextmanager
async def walking(**settings: object) -> AsyncIterator[tuple[Site, ScriptedBot]]:
    async with serving(**settings) as site:
        bot = ScriptedBot(site)
        running = asyncio.create_task(bot.run())
        try:
            yield site, bot
        finally:
            running.cancel()


async def walk(steps: Callable[[Browser], None], **look: object) -> None:
    """Run the steps in a browser, beside the loop that serves the pages."""

    def run() -> None:
        with browser(**look) as page:  # type: ignore[arg-type]
            steps(page)
            assert page.problems() == []

    await asyncio.to_thread(run)


async def test_a_customer_asks_presses_a_button_and_rates() -> None:
    async with walking() as (site, bot):

        def customer(page: Browser) -> None:
            page.open(f"{site.url}/chat")
            page.find("theirs", "How can we help?")
            page.type("text", SVG_TEXT, enter=True)
            page.find("mine", SVG_TEXT)  # shown as text
            page.find("theirs", f"You said: {SVG_TEXT}")
            page.find("delivered")
            page.click("button", "Talk to a person")
            page.find("theirs", "Your ticket is #1")
            assert not page.find("button", "Talk to a person").is_enabled()
            asyncio.run_coroutine_threadsafe(bot.sent("", "On its way."), loop).result(10)
            page.find("theirs", "On its way.")
            close = bot._say(bot.customer, "How did we do?", STARS)
            asyncio.run_coroutine_threadsafe(close, loop).result(10)
            page.click("rating-4")
            page.find("theirs", "Thank you!")
            page.driver.refresh()  # everything is still there
            page.find("theirs", "Thank you!")
            assert len(page.all("mine")) == 1
            lit = page.driver.find_elements("css selector", ".star.lit")
            assert len(lit) == 4

        loop = asyncio.get_running_loop()
        await walk(customer)
        actions = [v.action for v in site.inbound() if v.kind is Kind.ACTION]
        assert actions == ["human", "rate:4"]


async def test_what_is_written_without_a_connection_arrives_once_when_it_is_back() -> None:
    async with walking() as (site, _):

        def customer(page: Browser) -> None:
            page.open(f"{site.url}/chat")
            page.find("theirs", "How can we help?")
            down = asyncio.run_coroutine_threadsafe(cut(), loop)
            down.result(10)
            page.until(lambda: page.find("state").text == "Reconnecting…", "the state")
            page.type("text", "are you there?", enter=True)
            page.find("sending")
            site.door.before = None
            page.find("theirs", "You said: are you there?")
            page.find("delivered")
            assert len(page.all("mine")) == 1

        async def cut() -> None:
            async def away() -> None:
                raise OSError("away")

            site.door.before = away
            await site.channel.close()

        loop = asyncio.get_running_loop()
        await walk(customer)
        assert [v.text for v in site.inbound() if v.kind is Kind.MESSAGE] == ["are you there?"]


NO_WEBSOCKET = """
window.WebSocket = class {
  constructor() { this.readyState = 0; setTimeout(() => { this.readyState = 3; this.onclose() }, 5) }
}
"""


async def test_behind_a_proxy_without_websockets_the_chat_polls() -> None:
    async with walking() as (site, _):

        def customer(page: Browser) -> None:
            script = {"source": NO_WEBSOCKET}
            page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
            page.open(f"{site.url}/chat")
            page.find("theirs", "How can we help?")
            page.type("text", "still here?", enter=True)
            page.find("theirs", "You said: still here?")
            page.find("delivered")

        await walk(customer)


async def test_a_file_is_shown_and_arrives(tmp_path: Path) -> None:
    picture = tmp_path / "猫.png"
    picture.write_bytes(PIXEL)
    async with walking() as (site, _):

        def customer(page: Browser) -> None:
            page.open(f"{site.url}/chat")
            page.find("theirs", "How can we help?")
            page.all("files")[0].send_keys(str(picture))
            page.until(lambda: page.find("send").is_enabled(), "send")
            page.click("send")
            page.find("delivered")
            page.until(lambda: page.driver.execute_script(LOADED), "the picture")

        await walk(customer)
        (file,) = [a for v in site.inbound() for a in v.attachments]
        assert (file.filename, file.kind, file.content) == ("猫.png", "photo", PIXEL)


LOADED = (
    "return [...document.querySelectorAll('.mine img')].some(i => i.naturalWidth && i.src.includes('/file/'))"
)
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
    "78da63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


async def test_staff_sign_in_answer_undo_note_and_ask() -> None:
    async with walking(hold_s=8) as (site, bot):

        def agent(page: Browser) -> None:
            def run(coroutine: object) -> None:
                asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)  # type: ignore[arg-type]

            page.open(f"{site.url}/staff")
            page.type("code", "WRONG", enter=True)
            page.find("sign-in-answer", "not known")
            page.open(f"{site.url}/staff?code={CODE}")
            run(bot._customer(visitor_wants_a_person(site)))
            page.find("unread", "1")
            page.click("ticket", "Where is my parcel?")
            page.find("card", "Web visitor")
            page.find("said-customer", "Sofia Rossi")
            page.find("said-customer", "Where is my parcel?")
            page.type("reply-text", "// the courier lost it")
            page.find("hint", "Only the team")
            page.type("reply-text", "", enter=True)
            page.find("said-note", "the courier lost it")
            page.type("reply-text", "We sent a new one.", enter=True)
            page.find("delivery", "Goes out in")
            page.click("undo")
            page.find("delivery", "Withdrawn")
            page.until(lambda: page.find("reply-text").get_attribute("value"), "the text to come back")
            page.type("reply-text", " Sorry!", enter=True)
            page.find("delivery", "Goes out in")
            reply = page.until(lambda: [v for v in site.inbound() if v.text.endswith("Sorry!")], "the reply")
            run(bot.sent(reply[0].event_id, reply[0].text))
            page.find("delivery", "Sent")
            page.click("button", "Reply…")
            field = page.find("form").find_element("css selector", "textarea")
            page.until(field.is_displayed, "the form's field")
            field.send_keys("From the form")
            page.click("form-submit")
            page.type("ask", "/cust")
            page.find("suggestions", "/customer")
            page.type("ask", "\t")
            page.type("ask", "ada", enter=True)
            page.find("answer", "Ada Lovelace")
            page.find("answer", "A-1002")
            page.until(lambda: any(v.action == "reply" for v in site.inbound()), "the form")

        loop = asyncio.get_running_loop()
        await walk(agent, width=1400)
        values = site.inbound()
        assert [v.text for v in values if v.kind is Kind.DELETE] == [""]
        assert [dict(v.values) for v in values if v.action == "reply"] == [{"text": "From the form"}]
        assert "/customer ada" in [v.text for v in values]


def visitor_wants_a_person(site: Site) -> Inbound:
    room = "v:" + "1" * 32
    now = site.channel.setup.clock()
    return Inbound(Address("web", room), "e", Author(room), "", now, Kind.ACTION, action="human")


@pytest.mark.parametrize(("language", "words"), [("en", "Write a message…"), ("zh-CN", "输入消息…")])
async def test_the_page_speaks_the_browsers_language_and_switches(language: str, words: str) -> None:
    async with walking() as (site, _):

        def look(page: Browser) -> None:
            page.open(f"{site.url}/chat")
            page.until(lambda: page.find("text").get_attribute("placeholder") == words, words)
            page.click("language")
            page.until(lambda: page.find("text").get_attribute("placeholder") != words, "the other language")

        await walk(look, language=language)


async def test_the_demo_shows_both_sides_and_offers_what_to_try() -> None:
    hints = {"en": ["Ask `where is my parcel?`", "Then `/customer ada`"], "zh": ["问 `我的包裹在哪里?`"]}
    async with walking(demo=True, hints=hints) as (site, _):
        site.channel.mails = lambda: [
            {
                "from": "a@example.com",
                "to": "b@example.com",
                "subject": "Your ticket #1",
                "text": "Hi",
                "html": "<b>Hi</b>",
            }
        ]

        def look(page: Browser) -> None:
            page.open(f"{site.url}/demo?code={CODE}")
            with page.inside("customer-frame"):
                page.find("theirs", "How can we help?")
            with page.inside("staff-frame"):
                page.find("ask")
            page.click("offer", "where is my parcel?")
            with page.inside("customer-frame"):
                page.until(
                    lambda: page.find("text").get_attribute("value") == "where is my parcel?", "the offer"
                )
                page.click("send")
                page.click("button", "Talk to a person")
            with page.inside("staff-frame"):
                page.click("ticket", "#1")
                page.find("card", "Take")
            page.open(f"{site.url}/demo/mail")
            page.click("mail-item", "Your ticket #1")
            page.find("mail-open", "b@example.com")

        await walk(look, width=1440, height=900)


async def test_a_bubble_on_another_site_opens_the_chat() -> None:
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    async with walking() as (site, _):
        app = web.Application()
        head = '<!doctype html><title>Shop</title><link rel="icon" href="data:,"><h1>Shop</h1>'
        page_text = f'{head}<script src="{site.url}/widget.js" async></script>'

        async def shop(_: web.Request) -> web.Response:
            return web.Response(text=page_text, content_type="text/html")

        app.router.add_get("/", shop)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.2", 0).start()
        host, port = runner.addresses[0][:2]
        shop_url = f"http://{host}:{port}"
        object.__setattr__(site.channel.settings, "allowed_origins", (shop_url,))

        def visitor(page: Browser) -> None:
            page.open(shop_url)
            page.until(lambda: page.driver.find_elements("id", "wellheard-chat"), "the bubble")
            width, height = page.driver.execute_script("return [innerWidth, innerHeight]")
            corner = ActionBuilder(page.driver)  # the shadow tree is closed: pressed by its place
            corner.pointer_action.move_to_location(width - 50, height - 50).click()
            corner.perform()
            page.until(lambda: any(v.kind is Kind.START for v in site.inbound()), "the chat to open")

        try:
            await walk(visitor)
        finally:
            await runner.cleanup()
