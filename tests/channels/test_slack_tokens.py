"""Token rotation: a bot token that ends is exchanged by itself, once, and the next one is kept before it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import vault
from channels.base import RetryLater, Setup, utc_now
from channels.conversation import Address, Outbound
from channels.rich import Reply
from channels.slack.adapter import Slack
from channels.slack.tokens import KEPT_AS
from crm_store.db import Store
from tests.fakes.slack import FakeSlack
from tests.stores import open_postgres, open_sqlite
from tests.world import running


class Kept:
    """A vault in memory."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.lock = asyncio.Lock()
        self.fails = False

    async def get(self, name: str) -> str:
        return self.values.get(name, "")

    async def exchange(self, name: str, make: Callable[[str], Awaitable[str]]) -> str:
        async with self.lock:
            self.values[name] = await make(self.values.get(name, ""))
            return self.values[name]


def channel(slack: FakeSlack, kept: Any, given: dict[str, Any], now: Any = utc_now) -> Slack:
    return Slack(Setup("slack", slack.settings(**given), b"s", vault=kept, clock=now))


def says(text: str) -> Outbound:
    return Outbound(Address("slack", "C0STAFF"), Reply.of(text), text)


async def test_a_token_that_ends_is_exchanged_once_by_all_who_meet_its_end() -> None:
    async with FakeSlack() as slack:
        kept = Kept()
        one = channel(slack, kept, slack.rotates())
        try:
            await one.send(says("first"))
            slack.ended.add(slack.bot_token)
            await asyncio.gather(*(one.send(says(f"later {n}")) for n in range(5)))
            assert slack.exchanges == 1
            assert len(slack.messages("C0STAFF")) == 6
        finally:
            await one.close()


async def test_the_next_start_and_another_process_use_what_was_kept() -> None:
    async with FakeSlack() as slack:
        kept, given = Kept(), slack.rotates()
        given["bot_token"] = slack.bot_token
        one, two = channel(slack, kept, given), channel(slack, kept, given)
        try:
            await asyncio.gather(one.send(says("a")), two.send(says("b")))
            slack.ended.add(slack.bot_token)
            await asyncio.gather(one.send(says("c")), two.send(says("d")))
            assert slack.exchanges == 1
            slack.ended.add(slack.bot_token)
            three = channel(slack, kept, given)  # its configuration still names the first pair
            await three.send(says("e"))
            await three.close()
            assert slack.exchanges == 2
            assert "invalid_refresh_token" not in [code for _, code, _ in slack.refused]
        finally:
            await one.close()
            await two.close()


async def test_it_is_exchanged_before_it_ends_and_a_new_configured_pair_wins() -> None:
    now = utc_now()
    async with FakeSlack() as slack:
        kept, given = Kept(), slack.rotates()
        given["bot_token"] = slack.bot_token
        one = channel(slack, kept, given, lambda: now)
        try:
            slack.ended.add(slack.bot_token)
            await one.send(says("a"))
            now += timedelta(hours=11)
            await one.send(says("b"))
            assert slack.exchanges == 1
            now += timedelta(minutes=45)
            await one.send(says("c"))
            assert slack.exchanges == 2
            slack.bot_token, slack.refresh_token = "xoxe.xoxb-new", "xoxe-new"  # installed again by a person
            again = channel(slack, kept, given | {"bot_token": "xoxe.xoxb-new", "refresh_token": "xoxe-new"})
            await again.send(says("d"))
            await again.close()
            assert slack.exchanges == 2
        finally:
            await one.close()


async def test_an_exchange_that_fails_loses_nothing_and_one_that_is_refused_is_named(tmp_path: Path) -> None:
    async with FakeSlack() as slack:
        kept, given = Kept(), slack.rotates()
        given["bot_token"] = slack.bot_token
        one = channel(slack, kept, given)
        try:
            slack.ended.add(slack.bot_token)
            slack.fault("oauth.v2.access", "500")
            with pytest.raises(RetryLater):
                await one.send(says("a"))
            await one.send(says("a"))
            slack.refresh_token, slack.ended = "xoxe-other", {slack.bot_token}
            with pytest.raises(RetryLater, match="invalid_refresh_token"):
                await one.send(says("b"))
            assert one._auth_problem == "Slack refuses refresh_token: invalid_refresh_token"
            assert [m["text"] for m in slack.messages("C0STAFF")] == ["a"]
        finally:
            await one.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    async with open_sqlite(tmp_path) if request.param == "sqlite" else open_postgres() as opened:
        yield opened


async def test_what_is_kept_is_sealed_and_replaced_by_one_at_a_time(store: Store) -> None:
    def at(secret: bytes) -> vault.StoreVault:
        return vault.StoreVault(store, "slack", secret, utc_now)

    async def longer(kept: str) -> str:
        await asyncio.sleep(0)
        return kept + "x"

    await asyncio.gather(*(at(b"secret").exchange(KEPT_AS, longer) for _ in range(6)))
    assert await at(b"secret").get(KEPT_AS) == "xxxxxx"
    assert await at(b"another").get(KEPT_AS) == ""
    token = "xoxe.xoxb-" + "t" * 200
    assert token[:10] not in vault.sealed(b"s", token)
    assert vault.opened(b"s", vault.sealed(b"s", token)) == token
    broken = vault.sealed(b"s", token)
    assert vault.opened(b"s", broken[:-1] + ("0" if broken[-1] != "0" else "1")) == ""


async def test_the_service_goes_on_when_its_token_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    plain = FakeSlack.settings

    def rotating(slack: FakeSlack, **more: Any) -> dict[str, Any]:
        given.update(given or slack.rotates())
        return plain(slack, **given, **more)

    monkeypatch.setattr(FakeSlack, "settings", rotating)
    async with running(tmp_path, slack=True, articles=False) as world:
        slack = world.slack
        assert slack
        slack.ended.add(slack.bot_token)
        slack.add_user("U0ANN", name="Ann")
        await slack.says("U0ANN", slack.dm("U0ANN"), "I want to talk to a person")
        await world.until(lambda d: d["tickets"] and d["outbox"]["pending"] == 0, 40)
        assert any("talk to a person" in slack.text(m) for m in slack.messages(slack.staff_channel))
        assert slack.exchanges == 1
        assert world.store.path
        assert slack.bot_token.encode() not in world.store.path.read_bytes()
