"""The web chat's line: durable before acknowledged, once in effect, nobody else's room."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
from pydantic import ValidationError

from channels import rich
from channels.base import Setup, Undeliverable
from channels.conversation import Address, Kind, Op, Outbound, Raw
from channels.web.channel import WebChannel
from channels.web.settings import Settings
from tests.fakes.web import Refused, StaffBrowser, Visitor, buttons, plain
from tests.fakes.web_site import SECRET, Site, serving

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as running:
        yield running


async def test_what_a_visitor_says_is_accepted_before_it_is_acknowledged(site: Site) -> None:
    opened = asyncio.Event()
    site.door.before = opened.wait
    async with Visitor(site.url, language="zh-CN") as visitor:
        saying = asyncio.create_task(visitor.says("我的包裹在哪里?"))
        await asyncio.sleep(0)
        assert visitor.acknowledged == []
        opened.set()
        event_id = await saying
    (message,) = site.inbound()
    assert message.event_id == event_id == site.door.raws[0].event_id
    assert message.address == Address("web", visitor.user)
    assert (message.kind, message.private, message.author.language) == (Kind.MESSAGE, True, "zh-CN")
    assert message.text == "我的包裹在哪里?"


async def test_a_message_that_was_not_accepted_is_refused_for_later_and_may_be_sent_again(site: Site) -> None:
    async def broken() -> None:
        raise OSError("disk full")

    async with Visitor(site.url) as visitor:
        site.door.before = broken
        with pytest.raises(Refused, match="later"):
            await visitor.says("hello", id="one")
        assert site.journal.rooms == {}
        site.door.before = None
        await visitor.says("hello", id="one")
        await visitor.until(lambda: visitor.text == "hello")


async def test_the_same_message_sent_again_is_accepted_once_and_shown_once(site: Site) -> None:
    async with Visitor(site.url) as visitor:
        first = await visitor.says("hello", id="one")
        await visitor.drop()
        await visitor.open()
        assert await visitor.says("hello", id="one") == first
        await visitor.says("again", id="two")
        await visitor.until(lambda: len(visitor.entries) == 2)
    assert site.door.repeats == 1
    assert len(site.door.raws) == 2


async def test_a_browser_that_comes_back_is_the_same_visitor_and_sees_what_it_missed(
    site: Site,
) -> None:
    async with Visitor(site.url) as visitor:
        await visitor.says("hello")
        user = visitor.user
        await visitor.drop()
        await site.says(user, "Good morning", automatic=True)
        await visitor.open()
        assert visitor.user == user
        await visitor.until(lambda: visitor.answers == ["Good morning"])


async def test_an_answer_sent_twice_is_shown_once(site: Site) -> None:
    async with Visitor(site.url) as visitor:
        first = await site.says(visitor.user, "Good morning", key="7")
        assert await site.says(visitor.user, "Good morning", key="7") == first
        await site.says(visitor.user, "Bye", key="8")
        await visitor.until(lambda: visitor.answers == ["Good morning", "Bye"])


async def test_a_pressed_button_is_an_action_on_the_entry_that_offered_it(site: Site) -> None:
    async with Visitor(site.url) as visitor:
        offer = rich.Buttons((rich.Button("Yes", "helped:yes"), rich.Button("Talk to a person", "human")))
        target = await site.says(visitor.user, "Did this help?", offer)
        await visitor.until(lambda: visitor.entries)
        await visitor.press("person")
        await visitor.until(lambda: visitor.entries[0].get("pressed") == "human")
    (action,) = site.inbound()
    assert (action.kind, action.action, action.target_id) == (Kind.ACTION, "human", target)


async def test_opening_the_chat_is_a_start_once(site: Site) -> None:
    async with Visitor(site.url, language="en") as visitor:
        await visitor.starts("order-17")
        await visitor.starts("order-17")
    (start,) = site.inbound()
    assert (start.kind, start.text, start.author.language) == (Kind.START, "order-17", "en")


async def test_files_go_both_ways(site: Site) -> None:
    async with Visitor(site.url) as visitor:
        await visitor.upload("look", ("cat.png", "image/png", PNG), ("a/b.pdf", "application/pdf", b"%PDF"))
        await visitor.until(lambda: visitor.entries)
        picture = visitor.entries[0]["blocks"][1]
        assert picture["b"] == "image"
        assert await visitor.download(picture["url"]) == PNG
        await site.says(visitor.user, rich.File("invoice.pdf", "application/pdf", b"%PDF-1.7"))
        await visitor.until(lambda: len(visitor.entries) == 2)
        file = visitor.entries[1]["blocks"][0]
        assert (file["b"], file["name"], file["size"]) == ("file", "invoice.pdf", 8)
        assert await visitor.download(file["url"]) == b"%PDF-1.7"
    (message,) = site.inbound()
    assert [(a.filename, a.kind, a.content) for a in message.attachments] == [
        ("cat.png", "photo", PNG),
        ("a_b.pdf", "file", b"%PDF"),
    ]


async def test_a_file_is_never_run_by_the_browser(site: Site) -> None:
    async with Visitor(site.url) as visitor:
        await visitor.upload("", ("x.svg", "image/svg+xml", b"<svg onload='alert(1)'/>"))
        await visitor.until(lambda: visitor.entries)
        url = visitor.entries[0]["blocks"][0]["url"]
        async with aiohttp.ClientSession() as http, http.get(site.url + url) as response:
            assert response.content_type == "application/octet-stream"
            assert response.headers["Content-Disposition"].startswith("attachment")
            assert "sandbox" in response.headers["Content-Security-Policy"]
        async with aiohttp.ClientSession() as http, http.get(site.url + url[:-2] + "xx") as response:
            assert response.status == 404


async def test_too_big_too_long_and_malformed_are_refused_with_a_reason() -> None:
    async with serving(max_upload_mb=0.001) as site, Visitor(site.url) as visitor:
        with pytest.raises(Refused, match="too_big"):
            await visitor.upload("", ("big.bin", "application/octet-stream", b"x" * 5000))
        with pytest.raises(Refused, match="too_long"):
            await visitor.says("x" * 8001)
        with pytest.raises(Refused, match="empty"):
            await visitor.says("  ")
        with pytest.raises(Refused, match="malformed"):
            await visitor.send("act", action="ä")
        with pytest.raises(Refused, match="malformed"):
            await visitor.send("rm -rf")
        await visitor.says("nul\x00 and half \ud800")
        assert site.inbound()[0].text == "nul and half ?"
        assert len(site.door.raws) == 1


async def test_a_flood_is_slowed_down_and_told_for_how_long() -> None:
    async with serving(messages_per_minute=6) as site, Visitor(site.url) as visitor:
        for number in range(5):
            await visitor.says(str(number))
        with pytest.raises(Refused, match="slow_down") as refused:
            await visitor.says("one more")
        assert 0 < refused.value.after_s <= 10
        assert len(site.door.raws) == 5


async def test_another_site_cannot_write_in_a_visitors_name(site: Site) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        await (await http.get(site.url + "/chat")).read()
        for headers in ({"Origin": "https://evil.example"}, {}, {"Origin": "null"}):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(site.url + "/chat/ws", headers=headers)
            async with http.post(site.url + "/chat/say", json={"t": "say"}, headers=headers) as response:
                assert response.status == 403


async def test_a_forged_cookie_is_a_new_visitor(site: Site) -> None:
    async with Visitor(site.url) as victim:
        ident = victim.user.removeprefix("v:")
        forged = {"wh_v_web": f"{ident}.AAAA"}
        async with aiohttp.ClientSession(cookies=forged, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            socket = await http.ws_connect(site.url + "/chat/ws", headers={"Origin": site.url})
            await socket.send_json({"t": "hello"})
            welcome = await socket.receive_json()
            assert welcome["you"] != victim.user
            await socket.close()


async def test_an_embedded_page_without_cookies_keeps_its_visitor_by_token(site: Site) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        seen = []
        token = ""
        for _ in range(2):
            socket = await http.ws_connect(site.url + "/chat/ws", headers={"Origin": site.url})
            await socket.send_json({"t": "hello", "token": token})
            welcome = await socket.receive_json()
            token = welcome.get("token", token)
            seen.append(welcome["you"])
            await socket.close()
        assert seen[0] == seen[1]


async def test_polling_carries_the_same_frames_as_the_socket(site: Site) -> None:
    headers = {"Origin": site.url}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        await (await http.get(site.url + "/chat")).read()
        say = {"t": "say", "id": "one", "text": "hello"}
        async with http.post(site.url + "/chat/say", json=say, headers=headers) as response:
            assert (await response.json())["t"] == "ack"
        async with http.get(site.url + "/chat/poll") as response:
            frames = await response.json()
        assert [f["t"] for f in frames] == ["welcome", "access", "entries", "seen"]
        user = frames[0]["you"]
        waiting = asyncio.create_task(http.get(site.url + "/chat/poll?self=1"))
        await asyncio.sleep(0)
        await site.says(user, "Good morning")
        frames = await (await waiting).json()
        assert plain(frames[2]["entries"][0]) == "Good morning"


async def test_staff_see_the_staff_room_only_after_they_are_enrolled(site: Site) -> None:
    async with StaffBrowser(site.url) as agent:
        await site.says("staff", "card", opens_thread=True)
        with pytest.raises(Refused, match="forbidden"):
            await agent.reply("staff:1", "hello")
        await agent.send("say", text="SECRET-CODE")
        assert agent.threads == {}
        assert agent.user not in site.journal.rooms  # the code is in no log
        (code,) = site.inbound()
        assert (code.text, code.private, code.address.room_id) == ("SECRET-CODE", True, agent.user)
        site.journal.staff.add(agent.user)
        await site.says(agent.user, "Welcome, Ada")
        assert await agent.thread("card") == "staff:1"


async def test_guessing_sign_in_codes_is_slowed_down_whatever_the_session(site: Site) -> None:
    for number in range(5):
        async with StaffBrowser(site.url) as guesser:
            await guesser.send("say", text=f"GUESS-{number}")
    async with StaffBrowser(site.url) as guesser:
        with pytest.raises(Refused, match="slow_down"):
            await guesser.send("say", text="GUESS-6")


async def test_a_reply_in_a_thread_is_seen_by_all_staff_and_can_be_changed_and_taken_back(site: Site) -> None:
    async with StaffBrowser(site.url) as ada, StaffBrowser(site.url) as bob:
        site.journal.staff |= {ada.user, bob.user}
        site.journal.wake()
        thread = await site.says("staff", rich.Heading("#1 Lost parcel"), opens_thread=True)
        await ada.thread("parcel")
        event_id = await ada.reply(thread, "On its way")
        await bob.until(lambda: "On its way" in bob.text(thread))
        await ada.edit(thread, event_id, "On its way!")
        with pytest.raises(Refused, match="forbidden"):
            await bob.edit(thread, event_id, "never")
        await site.says("staff", op=Op.MARK, target_id=event_id, mark="held", thread=thread)
        await bob.until(lambda: bob.mark(event_id) == "held" and "way!" in bob.text(thread))
        await ada.undo(thread, event_id)
        await bob.until(lambda: bob.mark(event_id) == "withdrawn")
    reply, edit, undo = site.inbound()
    assert reply.address == Address("web", "staff", thread)
    assert (reply.kind, reply.private, reply.author.user_id) == (Kind.MESSAGE, False, ada.user)
    assert (edit.kind, edit.target_id, edit.text) == (Kind.EDIT, event_id, "On its way!")
    assert (undo.kind, undo.target_id) == (Kind.DELETE, event_id)
    assert len({raw.lane for raw in site.door.raws}) == 1


async def test_a_card_opens_a_thread_and_is_edited_in_place(site: Site) -> None:
    async with StaffBrowser(site.url) as agent:
        site.journal.staff.add(agent.user)
        card = rich.Reply.of(rich.Heading("#1"), rich.Buttons((rich.Button("Take", "take:1"),)))
        sent = await site.channel.send(Outbound(Address("web", "staff"), card, "1", opens_thread=True))
        assert sent.address == Address("web", "staff", sent.event_id)
        await site.says("staff", rich.Heading("#1 taken"), op=Op.EDIT, target_id=sent.event_id, key="2")
        await site.says("staff", rich.Text("hello", quote=True), thread=sent.event_id, key="3")
        await agent.until(lambda: agent.text(sent.event_id) == "#1 taken\n\nhello")


async def test_a_form_opens_for_the_person_who_asked_and_comes_back_with_values(site: Site) -> None:
    async with StaffBrowser(site.url) as agent:
        site.journal.staff.add(agent.user)
        button = rich.Buttons((rich.Button("Reply", "reply:1"),))
        thread = await site.says("staff", rich.Heading("#1"), button, opens_thread=True)
        await agent.thread("#1")
        await agent.press(thread, "Reply")
        trigger = site.inbound()[0].trigger
        form = rich.Form("Reply", "reply:1:send", "Send", (rich.Input("text", "Text", multiline=True),))
        await site.says("staff", form, op=Op.FORM, trigger=trigger, thread=thread)
        await agent.fill({"text": "Hello"})
    submitted = site.inbound()[-1]
    assert (submitted.kind, submitted.action) == (Kind.ACTION, "reply:1:send")
    assert dict(submitted.values) == {"text": "Hello"}
    assert submitted.address == Address("web", "staff", thread)


async def test_a_private_answer_reaches_one_person_only(site: Site) -> None:
    async with StaffBrowser(site.url) as ada, StaffBrowser(site.url) as bob:
        site.journal.staff |= {ada.user, bob.user}
        thread = await site.says("staff", "card", opens_thread=True)
        await site.says("staff", "only for Ada", private_to=ada.user, thread=thread)
        await site.says("staff", "for all", thread=thread, key="all")
        await bob.until(lambda: "for all" in bob.text(thread))
        await ada.until(lambda: "only for Ada" in ada.text(thread))
        assert "only for Ada" not in bob.text(thread)


async def test_a_command_is_answered_in_the_private_room(site: Site) -> None:
    async with StaffBrowser(site.url) as agent:
        site.journal.staff.add(agent.user)
        asking = asyncio.create_task(agent.command("/stats today"))
        await site.door.until(lambda: bool(site.door.raws))
        table = rich.Table(("channel", "n"), (("web", "3"),))
        await site.says(agent.user, table, rich.Image("a chart", PNG))
        assert await asking == "channel | n\nweb | 3\n(a chart)"


async def test_rooms_that_do_not_exist_are_undeliverable(site: Site) -> None:
    for room in ("", "v:1", "other", "file:" + "0" * 64, "s:" + "0" * 31):
        with pytest.raises(Undeliverable):
            await site.says(room, "hello")


async def test_several_chats_live_beside_each_other() -> None:
    async with serving(path_prefix="shop", staff_channel="") as site, aiohttp.ClientSession() as http:
        for path, status in (
            ("/chat/shop", 200),
            ("/widget/shop.js", 200),
            ("/staff/shop", 404),
            ("/chat", 404),
        ):
            async with http.get(site.url + path) as response:
                assert response.status == status, path


async def test_only_named_sites_may_embed_the_chat_and_none_the_staff_page() -> None:
    async with serving(allowed_origins=["https://shop.example"]) as site, aiohttp.ClientSession() as http:
        async with http.get(site.url + "/chat") as response:
            policy = response.headers["Content-Security-Policy"]
            cookie = response.headers["Set-Cookie"]
        assert "frame-ancestors 'self' https://shop.example;" in policy
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        async with http.get(site.url + "/staff") as response:
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
            assert "SameSite=Strict" in response.headers["Set-Cookie"]


async def test_the_demo_is_served_only_when_asked_for() -> None:
    async with serving() as site, aiohttp.ClientSession() as http, http.get(site.url + "/demo") as response:
        assert response.status == 404
    async with serving(demo=True) as site, aiohttp.ClientSession() as http:
        site.channel.mails = lambda: [{"from": "a@example.com", "subject": "Hi", "html": "<b>x</b>"}]
        async with http.get(site.url + "/demo/mail/list") as response:
            assert [m["subject"] for m in await response.json()] == ["Hi"]
        async with http.get(site.url + "/demo/mail/0") as response:
            assert "sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b'{"t":"dance"}', b'{"t":"say"}', b"[" * 100_000])
def test_rubbish_decodes_to_an_unknown_kind(body: bytes) -> None:
    channel = WebChannel(Setup("web", {"kind": "web"}, SECRET))
    raw = Raw("web", "e1", "v:1", body, datetime(2026, 1, 5, tzinfo=UTC))
    (value,) = channel.decode(raw)
    assert (value.kind, value.event_id) == (Kind.UNKNOWN, "e1")
    assert channel.decode(replace(raw, body=json.dumps({"t": "say", "files": [1, {}]}).encode()))


def test_settings_and_the_package_are_read_without_an_http_stack() -> None:
    code = "import sys, channels.web, channels.web.settings; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "table",
    [
        {"path_prefix": "ws"},
        {"path_prefix": "a/b"},
        {"accent": "red"},
        {"allowed_origins": ["https://a.example/path"]},
        {"allowed_origins": ["'unsafe-inline'"]},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_work_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"kind": "web", **table})


def test_buttons_and_words_of_an_entry_are_read_as_on_the_page() -> None:
    entry = {"blocks": [{"b": "buttons", "buttons": [{"label": "Yes", "action": "y"}]}]}
    assert (plain(entry), buttons(entry)) == ("[Yes]", [{"label": "Yes", "action": "y"}])
