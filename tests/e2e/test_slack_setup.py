"""The app as its manifest makes it: with exactly what it asks for everything works, and without any of it the
doctor says what is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.doctor import examine
from channels.slack.manifest import EVENTS, SCOPES
from tests.e2e.test_faults import enrol, wait
from tests.fakes import slack_rules
from tests.fakes.slack import FakeSlack
from tests.world import running

SOURCES = Path(__file__).parents[2] / "channels" / "slack"
EVENT_SCOPES = {  # https://docs.slack.dev/reference/events: any one of these
    "app_home_opened": (),
    "app_mention": ("app_mentions:read",),
    "app_uninstalled": (),
    "channel_id_changed": ("channels:read", "groups:read"),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
    "reaction_added": ("reactions:read",),
    "reaction_removed": ("reactions:read",),
    "tokens_revoked": (),
}


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cwd: Path) -> dict[str, Any]:
    monkeypatch.chdir(cwd)
    monkeypatch.delenv("WELLHEARD_CONFIG", raising=False)
    assert main(["slack-manifest"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_every_scope_of_the_manifest_is_needed_by_a_call_or_an_event() -> None:
    source = "\n".join(path.read_text("utf-8") for path in SOURCES.glob("*.py"))
    called = {m for m in (*slack_rules.SCOPES, *slack_rules.ROOM_SCOPES) if f'"{m}"' in source}
    needed = {s for m in called for s in slack_rules.SCOPES.get(m, ())}
    for method in called & set(slack_rules.ROOM_SCOPES):
        ending = slack_rules.ROOM_SCOPES[method]
        kinds = ("im",) if method == "conversations.open" else ("channels", "groups", "im")
        if method == "conversations.info":
            kinds = ("channels", "groups")  # only rooms that are configured are looked at
        needed |= {f"{kind}:{ending}" for kind in kinds}
    assert set(EVENTS) == set(EVENT_SCOPES)
    needed |= {scopes[0] for scopes in EVENT_SCOPES.values() if scopes}
    needed |= {"commands", "users:read.email"}  # slash commands and shortcuts; an address in users.info
    assert set(SCOPES) == needed


async def test_every_event_of_the_manifest_is_one_that_is_understood() -> None:
    source = "\n".join(path.read_text("utf-8") for path in SOURCES.glob("*.py") if path.stem != "manifest")
    for event in EVENTS:
        name = "message" if event.startswith("message.") else event
        assert re.search(rf'"{name}"', source), event


def test_the_manifest_has_the_shortcuts_in_the_desks_language(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = printed(capsys, monkeypatch, tmp_path)["features"]["shortcuts"]
    assert [(s["callback_id"], s["name"]) for s in found] == [
        ("send_to_customer", "Send to customer"),
        ("open_ticket", "Open a ticket"),
    ]
    (tmp_path / "wellheard.toml").write_text('[desk]\nlanguages = ["zh"]\n', "utf-8")
    found = printed(capsys, monkeypatch, tmp_path)["features"]["shortcuts"]
    assert [s["name"] for s in found] == ["发送给客户", "创建工单"]


class AsInstalled(FakeSlack):
    """A Slack that gives an app what its manifest asks for, and no more."""

    manifest: dict[str, Any]

    async def event(self, event: dict[str, Any], *, event_id: str = "") -> dict[str, Any]:
        name = event["type"]
        if name == "message":
            kinds = {"im": "im", "group": "groups", "channel": "channels"}
            name += "." + kinds[event.get("channel_type", "channel")]
        if name not in self.manifest["settings"]["event_subscriptions"]["bot_events"]:
            return {}
        return await super().event(event, event_id=event_id)

    async def shortcut(self, user: str, ts: str, callback_id: str) -> None:
        assert callback_id in [s["callback_id"] for s in self.manifest["features"]["shortcuts"]]
        await super().shortcut(user, ts, callback_id)


async def test_with_what_the_manifest_asks_for_everything_works_and_without_it_the_doctor_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest = printed(capsys, monkeypatch, tmp_path)
    monkeypatch.setattr(AsInstalled, "manifest", manifest, raising=False)
    monkeypatch.setattr("tests.world.FakeSlack", AsInstalled)
    async with running(tmp_path, slack=True, web=False) as world:
        slack = world.slack
        assert isinstance(slack, AsInstalled)
        slack.scopes = set(manifest["oauth_config"]["scopes"]["bot"])
        slack.add_user("U0AGENT", name="Tom", email="tom@desk.example")
        slack.add_user("U0ANNA", name="Anna")
        await enrol(world, "slack", f"{slack.team}:U0AGENT")
        await slack.connected()
        room = slack.dm("U0ANNA")
        picture = ("broken.png", "image/png", b"\x89PNG broken")
        await slack.says("U0ANNA", room, "My parcel arrived broken, this is a complaint!", files=[picture])
        card = (await wait(lambda: slack.messages(slack.staff_channel), "a card"))[0]
        await wait(lambda: "broken.png" in seen(slack, slack.staff_channel, card["ts"]), "the picture")
        paper = ("label.pdf", "application/pdf", b"%PDF a label")
        answer = await slack.says(
            "U0AGENT", slack.staff_channel, "Use this label.", thread_ts=card["ts"], files=[paper]
        )
        await wait(lambda: "label.pdf" in seen(slack, room), "the label at the customer's")
        await slack.edits("U0AGENT", answer, "Please use this label.")
        await wait(lambda: "Please use" in seen(slack, room), "the edit as well")
        await slack.opens_home("U0AGENT")
        await wait(lambda: "U0AGENT" in slack.homes, "the page")
        await slack.shortcut("U0AGENT", answer, "send_to_customer")
        await wait(lambda: slack.views, "a form")
        await slack.reacts("U0AGENT", card["ts"], "eyes")
        await wait(lambda: "Tom" in seen(slack, slack.staff_channel), "it is Tom's")
        await slack.slash("U0AGENT", slack.dm("U0AGENT"), "/customer", "Anna")
        await wait(lambda: "Known as" in seen(slack, slack.dm("U0AGENT")), "a profile")
        await world.until(lambda d: d["outbox"]["pending"] == 0)
        assert [r for r in slack.refused if r[1] == "missing_scope"] == []

        whole = {c.what: c.state for c in await examine(world.config) if c.what.startswith("slack:")}
        assert whole["slack: scopes"] == "ok"
        assert set(whole.values()) == {"ok"}
        for scope in sorted(slack.scopes):
            slack.scopes.discard(scope)
            found = [c for c in await examine(world.config) if c.what == f"slack: scope {scope}"]
            assert [c.state for c in found] == ["fail"], scope
            assert scope in found[0].fix
            slack.scopes.add(scope)


def seen(slack: FakeSlack, room: str, thread: str | None = None) -> str:
    return "\n".join(slack.text(m) for m in slack.messages(room, thread))
