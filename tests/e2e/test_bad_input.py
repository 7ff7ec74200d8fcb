"""What nobody should send, and everybody does: nothing breaks, nothing is lost, nothing is shown as markup."""

from __future__ import annotations

import asyncio
import html
import resource
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Connection

from bot.service import rating
from crm_store import inbox, people
from tests.e2e.test_story import wait
from tests.fakes.mail import send_mail
from tests.fakes.smtp_client import Dialogue
from tests.fakes.web import Refused, StaffBrowser, Visitor, plain
from tests.world import ADDRESS, World, running

PERSON = "I want to talk to a person, please"


async def metrics(world: World) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{world.url}/metrics") as response:
        assert response.status == 200
        return await response.text()


async def listening(world: World) -> None:
    """Wait until every channel is up."""
    await wait(lambda: all(door.problem is None for door in world.service.doors.values()), "up")


async def settled(world: World, timeout_s: float = 40.0) -> dict[str, Any]:
    """Wait until nothing waits, and see that nothing was left behind."""
    await world.until(lambda d: d["inbox"]["pending"] == 0 and d["outbox"]["pending"] == 0, timeout_s)
    found = await world.dump()
    assert found["inbox"]["shelved"] == 0
    assert found["outbox"]["dead"] == found["outbox"]["unknown"] == 0
    assert found["integrity"] == "ok"
    return found


def mail(text: str, *, sender: str = "Li Wei <li@customer.example>", subject: str = "Hello") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, ADDRESS, subject
    message["Message-ID"] = f"<{abs(hash((text, sender, subject)))}@customer.example>"
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    message.set_content(text)
    return message


# --- kinds we do not know ------------------------------------------------------------------------------------


async def test_events_of_unknown_kinds_are_stored_and_counted_and_no_error(tmp_path: Path) -> None:
    async with running(tmp_path, telegram=True, slack=True, web=False, articles=False) as world:
        await listening(world)
        tg, slack = world.telegram, world.slack
        assert tg
        assert slack
        tg.update(hologram={"id": 1, "from": tg.user(9), "depth": [1, 2, 3]})
        tg.update(message={"message_id": 5, "date": 1, "chat": {"id": 9, "type": "private"}, "from": tg.user(9),
                           "hologram": {"x": 1}})  # fmt: skip
        tg.update(message="not even a message")
        tg.update()
        await slack.event({"type": "hologram_projected", "user": "U0X", "event_ts": "1.0"})
        await slack.event({"type": "message", "subtype": "hologram", "channel": "C0STAFF", "ts": "2.0"})
        await slack.event({"type": "message", "channel": 7, "ts": None, "user": ["U"]})
        tg.user_says(9, PERSON)
        await world.until(lambda d: d["tickets"])
        await settled(world)
        text = await metrics(world)
        assert 'wellheard_unknown_events{channel="telegram"' in text, text
        assert 'wellheard_unknown_events{channel="slack",kind="hologram_projected"} 1.0' in text, text
        stored = await world.store.read(lambda tx: inbox.counts(tx))
        assert stored["shelved"] == 0


# --- markup --------------------------------------------------------------------------------------------------

MARKUP = [
    "<!channel> <!here> <@U0TOM>",
    "<b>bold</b> & <script>alert(1)</script>",
    "*bold* _under_ ~no~ `code`",
    "=1+1",
    "</textarea>\"'><img src=x onerror=alert(1)>",
    "[link](http://evil.example)",
    "{name} %s {{7*7}}",
]


async def test_markup_is_text_everywhere(tmp_path: Path) -> None:
    async with running(tmp_path, telegram=True, slack=True, mail=True, articles=False) as world:
        await listening(world)
        tg, slack, smarthost = world.telegram, world.slack, world.smarthost
        assert tg
        assert slack
        assert smarthost
        tom = StaffBrowser(world.url)
        await tom.open()
        try:
            await tom.sign_in(await world.code("Tom"))
            everything = " ".join(MARKUP)
            for number, text in enumerate(MARKUP):
                tg.user_says(100 + number, f"{PERSON} {text}", name=text)
            quoted = everything.replace('"', "'")
            written = mail(
                f"{PERSON}\n{everything}", sender="evil@customer.example", subject=everything
            ).as_bytes()
            sender = f'From: "{quoted}" <evil@customer.example>'.encode()
            async with Dialogue(world.smtp_port) as client:
                raw = written.replace(b"From: evil@customer.example", sender)
                assert (await _send_raw(client, raw))[-1].startswith("250")
            await world.until(lambda d: len(d["tickets"]) == len(MARKUP) + 1)
            await settled(world)
            shown_on_slack = "\n".join(slack.text(m) for m in slack.messages(slack.staff_channel))
            tickets = (await world.dump())["tickets"]
            for number, text in enumerate(MARKUP):
                assert text in shown_on_slack.replace("\u200b", "").replace("\u2060", ""), text
                user = str(100 + number)
                ticket = next(t for t in tickets if t["customer"]["identities"][0]["user_id"] == user)
                thread = await tom.thread(rf"#{ticket['number']} ")
                assert text in tom.text(thread)
                await tom.reply(thread, f"You wrote: {unnamed(text)} 1 < 2 & 3 > 2")
            await settled(world)
            for number, text in enumerate(MARKUP):
                assert any(
                    f"You wrote: {unnamed(text)} 1 < 2 & 3 > 2" in t for t in tg.texts(100 + number)
                ), text
                assert all(not m.text_mode for m in tg.sent(100 + number))
            number = next(t["number"] for t in tickets if t["messages"][0]["channel"] == "support")
            thread = await tom.thread(rf"#{number} ")
            await tom.reply(thread, f"You wrote: {unnamed(everything)}")
            await settled(world)
            sent = [m for m in smarthost.mails if b"You wrote" in m.content]
            parsed = _parsed(sent[-1].content)
            plain, rich = parsed.get_body(("plain",)), parsed.get_body(("html",))
            assert plain
            assert rich
            assert unnamed(everything) in " ".join(plain.get_content().split())
            assert "<script" not in rich.get_content()
            assert "<img src=x" not in rich.get_content()
            assert html.escape("<b>bold</b>", quote=False) in rich.get_content()
            for thread in tom.threads:
                await tom.reply(thread, "/customer")
            await settled(world)
            assert slack.rings == []
        finally:
            await tom.close()


def unnamed(text: str) -> str:
    """Without the mention of a colleague, which would keep it inside."""
    return text.replace("<@U0TOM>", "<!everyone>")


def _parsed(content: bytes) -> EmailMessage:
    from email import message_from_bytes, policy

    return message_from_bytes(content, policy=policy.default)  # type: ignore[return-value]


# --- size ----------------------------------------------------------------------------------------------------


async def test_a_mail_of_25_mb_is_a_ticket_with_its_attachment(tmp_path: Path) -> None:
    async with running(tmp_path, mail=True, articles=False) as world:
        await listening(world)
        big = mail(PERSON, subject="Pictures")
        big.add_attachment(bytes(range(256)) * 73_000, maintype="image", subtype="x-raw", filename="sofa.raw")
        size = len(big.as_bytes())
        assert size > 25_000_000
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with asyncio.timeout(60):
            await send_mail(world.smtp_port, "li@customer.example", ADDRESS, big)
            await world.until(lambda d: d["tickets"], 50)
        found = await settled(world)
        assert PERSON in found["tickets"][0]["messages"][0]["text"]

        def attached(tx: Any) -> Any:
            from crm_store import files

            return files.of_message(tx, found["tickets"][0]["messages"][0]["id"])

        (file,) = await world.store.read(attached)
        assert (file.filename, file.size) == ("sofa.raw", 256 * 73_000)
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grown_mb < 12 * size / 1e6, grown_mb


# --- handlers that fail --------------------------------------------------------------------------------------


async def test_while_the_store_fails_mail_is_451_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, mail=True, articles=False) as world:
        await listening(world)
        real = inbox.accept

        def broken(*_: object) -> None:
            raise RuntimeError("the disk's secret name")

        monkeypatch.setattr(inbox, "accept", broken)
        async with Dialogue(world.smtp_port) as client:
            codes = await _send_raw(client, mail(PERSON).as_bytes())
            assert codes[-1].startswith("451 4.")
            assert "secret" not in codes[-1]
            monkeypatch.setattr(inbox, "accept", real)
            assert (await _send_raw(client, mail(PERSON).as_bytes()))[-1].startswith("250")
        found = await world.until(lambda d: d["tickets"])
        assert len(found) == 1
        await settled(world)


async def _send_raw(client: Dialogue, content: bytes) -> list[str]:
    replies = [await client.envelope("li@customer.example", ADDRESS)]
    await client.send(content.replace(b"\n", b"\r\n") + b"\r\n.\r\n")
    return [*replies, await client.reply(30)]


async def test_while_the_store_fails_webhooks_are_503_and_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = '[channels.hook]\nkind = "telegram"\ntoken = "1:a"\nmode = "webhook"\nwebhook_secret = "s"\n'
    async with running(tmp_path, slack="http", articles=False) as world:
        await listening(world)
        slack = world.slack
        assert slack
        del more
        real = inbox.accept

        def broken(*_: object) -> None:
            raise RuntimeError("no disk")

        monkeypatch.setattr(inbox, "accept", broken)
        slack.add_user("U0LI", name="Li")
        dm = slack.dm("U0LI")
        saying = asyncio.create_task(slack.says("U0LI", dm, PERSON))
        await asyncio.sleep(0.3)
        monkeypatch.setattr(inbox, "accept", real)
        await saying
        await world.until(lambda d: d["tickets"])
        found = await settled(world)
        assert [m["text"] for m in found["tickets"][0]["messages"] if m["kind"] == "in"] == [PERSON]
        assert slack.dropped == []
        async with aiohttp.ClientSession() as http:
            for headers, body in (
                ({}, b"{}"),
                ({"X-Slack-Signature": "v0=é", "X-Slack-Request-Timestamp": "x"}, b"\xff"),
            ):
                async with http.post(f"{world.url}/slack/events", data=body, headers=headers) as response:
                    assert response.status in (400, 401, 403)


# --- odd messages --------------------------------------------------------------------------------------------

ODD = {
    "emoji": "👍🏽👨‍👩‍👧‍👦🇨🇳",
    "right to left": "مرحبا، أين طلبي؟ \u202etxt.exe",
    "nul": "before\0after",
    "controls": "a\x01\x08\x1b[31mred\x7f",
    "combining": "e" + "\u0301" * 500,
    "long": "long " * 20_000,
    "one word": "w" * 100_000,
    "lines": "\n" * 500 + "end",
    "surrogate": "half \ud83d",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "blank": "   \n\t ",
}


async def test_odd_messages_arrive_on_every_channel_and_reach_staff(tmp_path: Path) -> None:
    async with running(tmp_path, telegram=True, slack=True, mail=True, articles=False) as world:
        await listening(world)
        tg, slack = world.telegram, world.slack
        assert tg
        assert slack
        slack.add_user("U0LI", name="Li")
        dm = slack.dm("U0LI")
        visitor = Visitor(world.url, patient=True)
        await visitor.open()
        try:
            tg.user_says(7, PERSON)
            await slack.says("U0LI", dm, PERSON)
            await visitor.says(PERSON)
            await send_mail(world.smtp_port, "li@customer.example", ADDRESS, mail(PERSON))
            await world.until(lambda d: len(d["tickets"]) == 4)
            refused: set[str] = set()
            for name, text in ODD.items():
                tg.user_says(7, text)
                await slack.says("U0LI", dm, text)
                try:
                    await visitor.says(text)
                except Refused:
                    refused.add(name)
                message = mail("x", sender="li@customer.example", subject="")
                raw = message.as_bytes().replace(
                    b"\nx\n", b"\n" + text.encode("utf-8", "surrogatepass") + b"\n"
                )
                raw = raw.replace(b"<", f"<{name.replace(' ', '-')}.".encode(), 1)
                async with Dialogue(world.smtp_port) as client:
                    reply = (await _send_raw(client, _wrapped(raw)))[-1]
                    assert reply.startswith("250"), (name, reply)
            await world.until(lambda d: d["inbox"]["pending"] == 0, 60)
            tg.user_says(7, "the end")
            await settled(world, 90)
            assert refused <= {"blank", "long", "one word", "surrogate"}
            by_channel: dict[str, list[str]] = {}
            for ticket in (await world.dump())["tickets"]:
                texts = [m["text"] for m in ticket["messages"] if m["kind"] == "in"]
                by_channel.setdefault(ticket["messages"][0]["channel"], []).extend(texts)
            for channel, texts in by_channel.items():
                assert any("👨‍👩‍👧‍👦" in t for t in texts), channel
                assert any("مرحبا" in t for t in texts), channel
                assert any("before" in t and "after" in t for t in texts), channel
                assert any(t.count("long") >= 1000 for t in texts) or "long" in refused, channel
                assert not any("\0" in t for t in texts)
            assert slack.rings == []
        finally:
            await visitor.close()


def _wrapped(raw: bytes) -> bytes:
    """Lines that SMTP carries."""
    return b"\n".join(
        line[at : at + 900] for line in raw.split(b"\n") for at in range(0, max(1, len(line)), 900)
    )


async def test_a_mail_subject_with_an_endless_number_is_a_ticket_like_any(tmp_path: Path) -> None:
    async with running(tmp_path, mail=True, articles=False) as world:
        await listening(world)
        for number in ("9" * 40, "²", "٣", "-1", "1e9"):
            message = mail(f"{PERSON} {number}", subject=f"Re: [#{number}] your ticket")
            await send_mail(world.smtp_port, "li@customer.example", ADDRESS, message)
        await world.until(lambda d: len(d["tickets"]) == 5)
        await settled(world)


# --- the rating page -----------------------------------------------------------------------------------------


async def test_the_rating_page_rates_when_asked_to_and_only_then(tmp_path: Path) -> None:
    async with running(tmp_path, mail=True, articles=False) as world, aiohttp.ClientSession() as http:
        await listening(world)
        message = mail("我的包裹坏了，我要和人工客服说话，请尽快处理", subject="包裹坏了")
        await send_mail(world.smtp_port, "li@customer.example", ADDRESS, message)
        await world.until(lambda d: d["tickets"])
        tom = StaffBrowser(world.url)
        await tom.open()
        try:
            await tom.sign_in(await world.code("Tom"))
            thread = await tom.thread("包裹")
            await tom.press(thread, "Close")
            await world.until(lambda d: d["tickets"][0]["status"] == "closed")

            def token(tx: Any) -> str:
                from bot.office import Turn

                return rating.token(Turn(tx, world.service.office, world.service.clock()), 1)

            url = f"{world.url}/r/{await world.store.read(token)}"
            async with http.get(f"{url}?n=1") as page:
                text = await page.text()
                assert page.status == 200
                assert 'lang="zh"' in text
                assert "checked" in text
                assert "script" not in text
                assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            async with http.get(f'{url}?n="><b>') as page:
                assert "<b>" not in await page.text()
            assert (await world.dump())["tickets"][0]["rating"] is None

            other = url[:-1] + ("0" if url[-1] != "0" else "1")
            tokens = ("1", "1.", f"2.{url.rpartition('.')[2]}", "%00", "².")
            for forged in (other, *(f"{world.url}/r/{token}" for token in tokens)):
                for method in ("GET", "POST"):
                    async with http.request(
                        method, forged, data={"n": "5"} if method == "POST" else None
                    ) as page:
                        assert page.status == 404, forged
            for body in (
                b"",
                b"n=0",
                b"n=6",
                b"n=%ff",
                b"n=\xff\xfe",
                b"n=1x",
                b"n=%EF%BC%95",
                b"comment=hello",
            ):
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                async with http.post(url, data=body, headers=headers) as page:
                    assert page.status in (400, 404), body
            async with http.post(url, data=b"{", headers={"Content-Type": "multipart/form-data"}) as page:
                assert page.status in (400, 404)
            assert (await world.dump())["tickets"][0]["rating"] is None

            async with http.post(url, data={"n": "1", "comment": "<b>slow</b> <!channel>"}) as page:
                assert page.status == 200
                assert "谢谢" in await page.text()
            ticket = await world.until(lambda d: d["tickets"][0]["rating"] == 1 and d["tickets"][0])
            assert (ticket["kind"], ticket["status"], ticket["priority"]) == ("complaint", "open", "high")
            await wait(lambda: "rated 1 of 5" in tom.text(thread), "told")
            await wait(lambda: "<b>slow</b> <!channel>" in tom.text(thread), "told the words")
            async with http.post(url, data={"n": "1", "comment": "again"}) as page:
                assert page.status == 200
            await settled(world)
            assert tom.text(thread).count("It is a complaint now") == 1
            assert len((await world.dump())["tickets"]) == 1
        finally:
            await tom.close()


async def test_the_page_of_somebody_whose_access_ended_shows_nothing_they_were_answered(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, articles=False) as world, StaffBrowser(world.url) as tom:
        await tom.sign_in(await world.code("Tom"))
        await tom.send("say", text="/whoami", room="self")
        await tom.until(lambda: "Tom" in "".join(plain(e) for e in tom.rooms["self"].entries[1:]))
        page = f"{world.url}/staff/poll?now=1"

        async def shown() -> list[str]:
            assert tom._http
            async with tom._http.get(page) as response:
                return [frame["t"] for frame in await response.json()]

        assert "entries" in await shown()

        def end(tx: Connection) -> None:
            people.disable(tx, world.service.clock(), people.by_name(tx, "Tom").id)

        await world.store.write(end)
        assert await shown() == ["welcome", "access", "seen"]
