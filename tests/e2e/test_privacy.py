"""Taking out, erasing and consent as staff meet them: in chat, by link and on the command line."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import timedelta
from pathlib import Path

import aiohttp
from sqlalchemy import Connection, select

from crm_store import audit, schema
from tests.api.kit import served
from tests.e2e.test_erase import cli
from tests.e2e.test_story import wait
from tests.fakes.web import StaffBrowser, Visitor
from tests.world import FORUM, World, running

COMPLAINT = "My walnut cabinet arrived broken, this is the third time I write and I am very angry!"


async def staffed(world: World, mei: StaffBrowser, visitor: Visitor) -> tuple[int, str]:
    """A visitor with a ticket; the contact's number and the ticket's thread."""
    await mei.sign_in(await world.code("Mei"))
    await visitor.says(COMPLAINT)
    dump = await world.until(lambda d: d["tickets"] and d)
    return int(dump["tickets"][0]["customer"]["id"]), await mei.thread("walnut")


async def confirmed(mei: StaffBrowser, command: str) -> str:
    """Run a command and press its button; return the answer to that."""
    preview = await mei.command(command)
    before = len(mei.answers)
    entries = [*mei.rooms["self"].entries]
    await mei._press(entries, "确认")
    await mei.until(lambda: len(mei.answers) > before)
    return f"{preview}\n{mei.answers[before]}"


async def test_a_customer_is_erased_from_chat_and_may_write_again(tmp_path: Path) -> None:
    async with (
        running(tmp_path, articles=False, web_per_minute=10_000) as world,
        StaffBrowser(world.url) as mei,
        Visitor(world.url) as visitor,
    ):
        contact, thread = await staffed(world, mei, visitor)
        await mei.reply(thread, "Dear friend of walnut, it is on its way.")
        await visitor.until(lambda: "on its way" in visitor.text)
        said = await confirmed(mei, f"/erase C{contact}")
        assert f"C{contact}" in said
        await mei.until(lambda: f"C{contact} 已删除" in "\n".join(mei.answers))
        await mei.until(lambda: thread not in mei.threads)  # an open page loses the card as well
        assert "walnut" not in json.dumps(await world.dump())
        again = await mei.command(f"/erase C{contact}")
        assert "已经被删除" in again
        await mei.command("/ticket 1 close")  # asks nobody for a rating
        assert (await world.dump())["tickets"][0]["status"] == "closed"

        await visitor.says("I have another question, and a person must answer it: this is outrageous!")
        dump = await world.until(lambda d: len(d["tickets"]) == 2 and d)
        assert dump["tickets"][1]["customer"]["id"] != contact
        fresh = await mei.thread("another question")
        await mei.reply(fresh, "Welcome back.")
        await visitor.until(lambda: "Welcome back." in visitor.text)


async def test_who_said_the_same_keeps_their_card_and_their_raw_message(tmp_path: Path) -> None:
    async with (
        running(tmp_path, articles=False, web_per_minute=10_000) as world,
        StaffBrowser(world.url) as mei,
        Visitor(world.url) as visitor,
        Visitor(world.url) as other,
    ):
        contact, thread = await staffed(world, mei, visitor)
        await other.says(COMPLAINT.replace("walnut", "cherry"))
        await mei.reply(await mei.thread("cherry"), "Dear friend of cherry, it is on its way.")
        await other.until(lambda: "on its way" in other.text)
        await confirmed(mei, f"/erase C{contact}")
        await mei.until(lambda: thread not in mei.threads)
        async with StaffBrowser(world.url) as tom:  # a page that is opened afterwards reads the log
            await tom.sign_in(await world.code("Tom"))
            assert "cherry cabinet" in tom.text(await tom.thread("cherry"))
        raw = select(schema.inbox.c.body).where(schema.inbox.c.state == "done")
        kept = await world.store.read(lambda tx: list(tx.execute(raw).scalars()))
        assert [b"cherry cabinet" in body for body in kept].count(True) == 1
        assert not any(b"walnut" in body for body in kept)


async def test_posts_and_the_names_of_topics_are_taken_back(tmp_path: Path) -> None:
    staff = {"telegram": True, "telegram_staff": True, "slack": True}
    async with running(tmp_path, articles=False, **staff) as world, Visitor(world.url) as visitor:
        assert world.telegram
        assert world.slack
        tg, slack, room = world.telegram, world.slack, world.slack.staff_channel
        await visitor.says(COMPLAINT)
        await tg.until(lambda: any("walnut" in text for text in tg.texts(FORUM)))
        await wait(lambda: any("walnut" in slack.text(m) for m in slack.messages(room)), "posted")
        dump = await world.until(lambda d: d["tickets"] and not d["outbox"]["pending"] and d)
        await cli(world, "erase", f"C{dump['tickets'][0]['customer']['id']}")
        await world.until(lambda d: not d["outbox"]["pending"])
        assert [m for m in slack.messages(room) if "walnut" in slack.text(m)] == []
        gone = {str(call["message_id"]) for call in tg.called("deleteMessage")}
        shown = [m for m in tg.sent(FORUM) if "walnut" in m.text and str(m.message_id) not in gone]
        assert shown == []
        assert tg.called("editForumTopic")[-1]["name"].endswith("#1")
        assert tg.called("closeForumTopic")


async def test_a_takeout_is_a_link_that_is_made_when_it_is_opened(tmp_path: Path) -> None:
    async with (
        running(tmp_path, articles=False, web_per_minute=10_000) as world,
        StaffBrowser(world.url) as mei,
        Visitor(world.url) as visitor,
    ):
        contact, _ = await staffed(world, mei, visitor)
        await confirmed(mei, f"/takeout C{contact}")
        entry = mei.rooms["self"].entries[-1]
        urls = [b["url"] for block in entry["blocks"] for b in block.get("buttons", ()) if b.get("url")]
        path = urls[0].removeprefix("http://desk.example")
        async with aiohttp.ClientSession() as session:
            async with session.get(world.url + path) as answer:
                assert answer.status == 200
                archive = zipfile.ZipFile(io.BytesIO(await answer.read()))
            async with session.get(world.url + path + "0") as answer:
                assert answer.status == 404
        told = json.loads(archive.read("takeout.json"))
        assert told["customer"] == contact
        assert COMPLAINT in [m["text"] for m in told["held"]["message"]]

        await cli(world, "takeout", f"C{contact}", "--to", str(tmp_path / "out"))
        assert COMPLAINT in (tmp_path / "out" / "takeout.json").read_text("utf-8")
        rows = await world.store.read(lambda tx: tx.execute(select(schema.audit)).all())
        assert {"link", "cli"} <= {row.actor for row in rows if row.action == "takeout"}


async def test_another_system_does_not_bring_back_who_was_erased(tmp_path: Path) -> None:
    async with served(tmp_path, web=False) as (world, caller):
        known = {"name": "Li Wei", "emails": ["li@customer.example"]}
        made = await caller.post("/customers", known)
        order = {
            "customer": {"email": "li@customer.example"},
            "ordered_at": "2026-01-05T10:00:00Z",
            "status": "paid",
            "amount": {"amount_minor": 3000, "currency": "EUR"},
            "lines": [],
        }
        assert (await caller.put("/orders/A-17", order)).status == 201
        await cli(world, "erase", "li@customer.example")
        assert (await caller.post("/customers", known)).status == 409
        assert (await caller.put("/orders/A-17", order)).status == 409
        told = {"kind": "view", "at": "2026-03-01T10:00:00Z", "customer": {"email": "LI@customer.example"}}
        assert (await caller.post("/events", {"events": [told]})).status == 409
        assert (await caller.get(f"/customers/{made.body['id']}")).status == 404


async def test_consent_is_noted_and_shown(tmp_path: Path) -> None:
    async with (
        running(tmp_path, articles=False, web_per_minute=10_000) as world,
        StaffBrowser(world.url) as mei,
        Visitor(world.url) as visitor,
    ):
        contact, _ = await staffed(world, mei, visitor)
        assert "没有" in await mei.command(f"/consent C{contact}")
        said = await mei.command(f"/consent C{contact} grant marketing_email said so by phone")
        assert "marketing_email" in said
        assert "said so by phone" in said
        assert "✓ 邮箱营销" in await mei.command(f"/customer C{contact}")
        said = await mei.command(f"/consent C{contact} 撤回 marketing_email 邮件里要求")
        assert said.count("marketing_email") == 2
        assert "/consent" in await mei.command(f"/consent C{contact} grant marketing_email")
        assert "Marketing!" in await mei.command(f"/consent C{contact} grant Marketing! because")


async def test_retention_is_previewed_and_applied_on_the_command_line(tmp_path: Path) -> None:
    rules = '[retention]\nmessages = "24 months"\naudit = "90 days"'
    async with running(tmp_path, articles=False, more=rules) as world:
        assert set(world.config.retention.rules) == {"messages", "audit"}

        def long_ago(tx: Connection) -> None:
            then = world.service.clock() - timedelta(days=100)
            audit.record(tx, then, "cli", "export", "customers")

        await world.store.write(long_ago)
        told = json.loads(await cli(world, "retention", "--preview", "--json"))
        assert [one["kind"] for one in told] == ["messages", "audit"]
        assert [one["forgotten"] for one in told] == [0, 0]
        await cli(world, "retention")  # or the running service, if its hour of the day has just come
        kept = await world.store.read(lambda tx: audit.entries(tx, object="customers"))
        assert kept == []


async def test_an_export_is_confirmed_and_a_link_for_who_may_while_they_may(tmp_path: Path) -> None:
    people_csv = (
        "name,email,country\nLi Wei,li@shop.example,DE\n=Ann,ann@shop.example,FR\n王芳,fang@shop.example,DE\n"
    )
    (tmp_path / "people.csv").write_text(people_csv, "utf-8")
    masked = "[access.roles.manager]\nmask = true\n"
    async with (
        running(tmp_path, articles=False, web_per_minute=10_000, more=masked) as world,
        StaffBrowser(world.url) as mei,
        aiohttp.ClientSession() as browser,
    ):
        await cli(world, "import", "customers", str(tmp_path / "people.csv"))
        await mei.sign_in(await world.code("Mei"))
        await mei.until(lambda: mei.answers)

        async def got(command: str) -> tuple[int, bytes]:
            said = await confirmed(mei, command)
            assert "导出" in said
            blocks = json.dumps([*mei.rooms["self"].entries][-1])
            link = re.findall(r"http://desk\.example/export/[\w.-]+", blocks)[-1]
            async with browser.get(link.replace("http://desk.example", world.url)) as answer:
                return answer.status, await answer.read()

        status, content = await got("/export country:DE")
        text = content.decode("utf-8-sig")
        assert (status, "王芳" in text, "Ann" in text) == (200, True, False)
        assert "l***@shop.example" in text
        assert "li@shop" not in text
        assert content.startswith(b"\xef\xbb\xbf")
        assert "'=Ann" in (await got("/export"))[1].decode()
        assert (await got("/export customers xlsx"))[1].startswith(b"PK")
        assert json.loads((await got("/export customers json email:ann"))[1])[0]["name"] == "=Ann"
        await cli(world, "staff", "role", "Mei", "agent")
        blocks = json.dumps([*mei.rooms["self"].entries][-1])
        link = re.findall(r"/export/[\w.-]+", blocks)[-1]
        async with browser.get(f"{world.url}{link}") as answer:
            assert answer.status == 404
        for forged in (
            link[:-1],
            link.replace("/export/", "/export/9"),
            "/export/x",
            "/takeout/1-9999999999.abc",
        ):
            async with browser.get(f"{world.url}{forged}") as answer:
                assert answer.status == 404
        assert "/export" in await mei.command("/export")  # refused now
        entries = await world.store.read(audit.entries)
        opened = [e for e in entries if e.action == "export" and e.detail.get("via") == "link"]
        assert len(opened) == 4
