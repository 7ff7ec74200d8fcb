"""The second confirmation: bound to the person, to the words, to a short while, and good for once."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from bot import commands, confirm, i18n
from bot.__main__ import main
from bot.access import member
from bot.cli.common import office_for
from bot.commands import Ask, Command
from bot.config import parse
from bot.office import Office, Turn
from bot.roles import EVERYONE, MANAGERS
from channels import rich
from channels.rich import Reply
from crm_store import audit, people, schema
from crm_store.db import Store
from tests.e2e.test_faults import enrol, wait
from tests.fakes.web import StaffBrowser, buttons
from tests.stores import sqlite_url
from tests.world import FORUM, running, seed, settings

DONE: list[tuple[str, str, str]] = []
WORLD = {"count": "3"}


def _explode(ask: Ask) -> Reply:
    count = WORLD["count"]
    if ask.confirmed is None or ask.confirmed.seen != count:
        return confirm.ask(ask, Reply.of(f"{ask.args} will explode, {count} times"), "room 7", seen=count)
    DONE.append((ask.member.name, ask.args, count))
    return Reply.of("Boom")


@pytest.fixture(autouse=True)
def explosive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that confirms, which everybody but viewers may use."""
    roles = EVERYONE - {"viewer"}
    registry = commands.everything()
    monkeypatch.setitem(registry, "explode", Command("explode", roles, _explode, reads=False, confirms=True))
    for word in ("command.explode", "usage.explode"):
        monkeypatch.setitem(i18n.catalogue("en"), word, "explode")  # type: ignore[arg-type]
    DONE.clear()
    WORLD["count"] = "3"


class Desk:
    def __init__(self, store: Store, office: Office) -> None:
        self.store, self.office, self.now = store, office, datetime.now(UTC)

    async def ask(self, name: str, text: str) -> str:
        def work(tx: Connection) -> Reply:
            who, turn = member(people.by_name(tx, name)), Turn(tx, self.office, self.now)
            done = commands.perform(turn, who, text)
            commands.audited(turn, who, done)
            return done.reply

        return rich.to_text(await self.store.write(work))

    async def code(self, name: str = "Mei", text: str = "/explode the cellar") -> str:
        found = re.search(r"/confirm ([A-Z2-9]{10})", await self.ask(name, text))
        assert found
        return found[1]

    async def outcomes(self) -> list[tuple[str, str, str, str]]:
        entries = await self.store.read(audit.entries)
        return [(e.actor, e.action, e.object, e.outcome) for e in entries]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    url = sqlite_url(tmp_path)
    await seed(url, articles=False)
    config = parse(settings(url), path=tmp_path / "wellheard.toml", environ={})
    async with Store(url) as store:
        yield Desk(store, await office_for(config, store))


async def test_nothing_happens_until_it_is_confirmed_and_then_once(desk: Desk) -> None:
    code = await desk.code()
    assert DONE == []
    assert await desk.ask("Mei", f"/confirm {code.lower()}") == "Boom"
    assert DONE == [("Mei", "room 7", "3")], "with the arguments that were shown, not those that were typed"
    assert "已确认" in await desk.ask("Mei", f"/confirm {code}")
    assert len(DONE) == 1
    actions = [(action, object, outcome) for _, action, object, outcome in await desk.outcomes()]
    assert ("command", "explode", "asked") in actions
    assert ("command", "explode", "ok") in actions


async def test_somebody_else_cannot_confirm_it_and_the_attempt_is_audited(desk: Desk) -> None:
    code = await desk.code()
    assert "somebody else" in (await desk.ask("Tom", f"/confirm {code}")).lower()
    assert DONE == []
    assert ("staff:2", "confirm", "explode", "refused") in await desk.outcomes()
    assert await desk.ask("Mei", f"/confirm {code}") == "Boom", "theirs is still good"


async def test_it_is_good_for_five_minutes(desk: Desk) -> None:
    code = await desk.code()
    desk.now += timedelta(minutes=5)
    assert "重新发起" in await desk.ask("Mei", f"/confirm {code}")
    assert DONE == []
    desk.now += timedelta(days=2)
    await desk.code()
    assert "没有" in await desk.ask("Mei", f"/confirm {code}"), "old ones are thrown away"


async def test_a_made_up_code_confirms_nothing(desk: Desk) -> None:
    await desk.code()
    for text in ("/confirm ABCDEFGHJK", "/confirm ' OR 1=1 --", "/confirm", "/confirm 1"):
        await desk.ask("Mei", text)
    assert DONE == []


async def test_a_role_that_was_taken_away_in_between_counts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await desk.code("Tom")
    record = Command("explode", MANAGERS, _explode, reads=False, confirms=True)
    monkeypatch.setitem(commands.everything(), "explode", record)
    assert "may not" in await desk.ask("Tom", f"/confirm {code}")
    assert DONE == []


async def test_when_the_world_moved_on_it_is_asked_for_again(desk: Desk) -> None:
    code = await desk.code()
    WORLD["count"] = "4000"
    again = await desk.ask("Mei", f"/confirm {code}")
    assert "4000 times" in again
    assert DONE == []
    found = re.search(r"/confirm ([A-Z2-9]{10})", again)
    assert found
    assert await desk.ask("Mei", f"/confirm {found[1]}") == "Boom"


async def test_the_store_knows_no_code_and_forgets_what_was_asked(desk: Desk) -> None:
    code = await desk.code()

    def rows(tx: Connection) -> list[Any]:
        return [dict(r._mapping) for r in tx.execute(select(schema.confirmation))]

    (row,) = await desk.store.read(rows)
    assert code not in str(row)
    assert row["args"] == "room 7"
    await desk.ask("Mei", f"/confirm {code}")
    (row,) = await desk.store.read(rows)
    assert (row["args"], row["seen"]) == ("", "")


def test_what_is_confirmed_cannot_be_a_reading_command() -> None:
    with pytest.raises(ValueError, match="explode"):
        commands.command("explode", reads=True, confirms=True)


async def test_the_buttons_are_the_askers_alone_on_slack_telegram_and_the_page(tmp_path: Path) -> None:
    async with running(tmp_path, telegram=True, slack=True, telegram_staff=True) as world:
        slack, tg = world.slack, world.telegram
        assert slack is not None
        assert tg is not None
        for user, name in (("U0MEI", "Mei"), ("U0TOM", "Tom")):
            slack.add_user(user, name=name)
            await enrol(world, "slack", f"{slack.team}:{user}", name)
        for number, name in ((9001, "Mei"), (9002, "Tom")):
            await enrol(world, "telegram", str(number), name)
            tg.user_says(number, "/whoami", name=name)
        tg.user_says(7001, "My parcel is broken, this is the third time I write!", name="Li Wei")
        card = (await wait(lambda: slack.messages(slack.staff_channel), "a card"))[0]
        topic = (await wait(lambda: tg.sent(FORUM), "a topic"))[0].thread_id
        room = slack.staff_channel

        def in_thread(words: str) -> Any:
            return next((m for m in slack.messages(room, card["ts"]) if words in slack.text(m)), None)

        await slack.says("U0TOM", room, "!explode the cellar", thread_ts=card["ts"])
        post = await wait(lambda: in_thread("will explode"), "the preview")
        assert slack.buttons(post) == ["Confirm", "Cancel"]
        await slack.press("U0MEI", post, "Confirm")
        await wait(lambda: any("另一位" in slack.text(m) for m in slack.ephemerals), "Mei is refused")
        assert DONE == []
        await slack.press("U0TOM", post, "Confirm")
        await wait(lambda: DONE == [("Tom", "room 7", "3")], "Tom's is done")
        await slack.press("U0TOM", post, "Confirm")
        await wait(lambda: any("already" in slack.text(m) for m in slack.ephemerals), "once")

        tg.user_says(9002, "/explode the cellar", chat_id=FORUM, thread_id=topic)
        asked = await wait(
            lambda: next((m for m in tg.sent() if "will explode" in (m.text or "")), None), "the preview"
        )
        tg.press(9001, asked, "Confirm")
        await wait(lambda: any("另一位" in t for t in tg.texts()), "Mei is refused")
        tg.press(9002, asked, "Confirm")
        await wait(lambda: len(DONE) == 2, "done")

        async with StaffBrowser(world.url) as mei:
            await mei.sign_in(await world.code("Mei"))
            await mei.command("/explode the cellar")
            yes, no = await mei.until(lambda: _buttons(mei))
            assert (yes["label"], no["label"]) == ("确认", "取消")
            await mei.send("act", action=no["action"])
            await mei.until(lambda: any("已取消" in a for a in mei.answers))
            await mei.command("/explode the cellar")
            yes = (await mei.until(lambda: b if (b := _buttons(mei)) and b[1] != no else None))[0]
            await mei.send("act", action=yes["action"])
            await mei.until(lambda: "Boom" in mei.answers)
        assert [who for who, _, _ in DONE] == ["Tom", "Tom", "Mei"]
        entries = await world.store.read(audit.entries)
        refused = [e.actor for e in entries if e.action == "confirm" and e.outcome == "refused"]
        assert refused == ["staff:1", "staff:1"]


def _buttons(browser: StaffBrowser) -> list[Any]:
    """The buttons of the newest answer that has any."""
    for entry in reversed(browser.rooms["self"].entries):
        if found := buttons(entry):
            return found
    return []


def test_on_the_command_line_yes_confirms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "wellheard.toml"
    config.write_text(settings(f"sqlite:///{tmp_path}/wellheard.db"))
    assert main(["staff", "add", "Mei", "--role", "manager", "--config", str(config)]) == 0

    def run(text: str, *more: str) -> tuple[int, str, str]:
        code = main(["command", text, "--as", "Mei", "--config", str(config), *more])
        return code, *capsys.readouterr()

    code, out, err = run("/explode the cellar")
    assert code == 1, "it is not done"
    assert "will explode" in out
    assert "--yes" in err
    found = re.search(r"/confirm ([A-Z2-9]{10})", out)
    assert found
    assert DONE == []
    assert run(f"/confirm {found[1]}")[:2] == (0, "Boom\n")
    code, out, err = run("/explode the cellar", "--yes", "--json")
    assert (code, json.loads(out)["text"], err) == (0, "Boom", "")
    assert len(DONE) == 2
