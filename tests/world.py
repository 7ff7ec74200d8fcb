"""A whole world on loopback: the service, and the far side of each of its channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from bot.app import Service
from bot.config import Config, parse
from crm_store import dump, importer, people
from crm_store.db import Store
from crm_store.importing.values import Defaults
from tests.fakes.mail import FakeSmarthost
from tests.fakes.slack import FakeSlack
from tests.fakes.telegram import FakeTelegram
from tests.stores import KEY, sqlite_url

ADDRESS = "support@desk.example"
FORUM = -1001234567890  # the staff's supergroup on Telegram


@dataclass
class World:
    """The running service and its far sides; those that were not asked for are None."""

    config: Config
    service: Service
    telegram: FakeTelegram | None = None
    slack: FakeSlack | None = None
    smarthost: FakeSmarthost | None = None
    codes: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.service.store

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    @property
    def smtp_port(self) -> int:
        channel: Any = self.service.channels["support"]
        return int(channel.ports["smtp"])

    async def dump(self) -> dict[str, Any]:
        return await self.store.read(dump.everything)

    async def until(self, condition: Callable[[dict[str, Any]], Any], timeout_s: float = 15.0) -> Any:
        """Wait until something is true of the dump, and return what the condition returned."""
        last: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    last = await self.dump()
                    if found := condition(last):
                        return found
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"never became true; the dump is {last}") from None

    async def code(self, name: str) -> str:
        """A fresh one-time code of a staff member."""

        def new(tx: Connection) -> str:
            return people.new_code(tx, self.service.clock(), people.by_name(tx, name).id)

        return await self.store.write(new)


def settings(
    store_url: str,
    *,
    telegram: FakeTelegram | None = None,
    slack: FakeSlack | None = None,
    smarthost: FakeSmarthost | None = None,
    web: bool = True,
    web_per_minute: int = 60,
    telegram_staff: bool = False,
    slack_staff: bool = True,
    telegram_more: str = "",
    slack_more: str = "",
    hold_s: float = 0.0,
    reply_mode: str = "direct",
    port: int = 0,
    smtp_port: int = 0,
    key: str = "",
    more: str = "",
) -> str:
    """The configuration of a world as TOML."""
    parts = [
        f'[store]\nurl = "{store_url}"',
        f'[http]\nport = {port}\npublic_url = "http://desk.example"',
        '[desk]\nname = "Example Ltd"\nbusiness_hours = "Mon-Sun 00:00-24:00"\nsecret = "test secret"',
    ]
    if telegram is not None:
        parts.append(
            f'[channels.telegram]\nkind = "telegram"\ntoken = "{telegram.token}"\napi_base = "{telegram.url}"\n'
            "poll_timeout_s = 1"
        )
        if telegram_staff:
            parts.append(
                f'staff_channel = "{FORUM}"\nhold_s = {hold_s}\nreply_mode = "{reply_mode}"\n'
                "group_per_minute = 1000"
            )
        parts.append(telegram_more)
    if slack is not None:
        given = slack.settings() | {
            "staff_channel": slack.staff_channel if slack_staff else "",
            "hold_s": hold_s,
            "reply_mode": reply_mode,
            "posts_per_s": 100.0,
        }
        lines = [f"{key} = {_toml(value)}" for key, value in given.items() if value != ""]
        parts.append("[channels.slack]\n" + "\n".join([*lines, slack_more]))
    if smarthost is not None:
        parts.append(
            f'[channels.support]\nkind = "email"\naddress = "{ADDRESS}"\nsmtp_listen = "127.0.0.1:{smtp_port}"\n'
            f'smtp_send = "{smarthost.url}"\nauthentication = "none"'
        )
    if web:
        parts.append(
            f'[channels.web]\nkind = "web"\nstaff_channel = "staff"\nhold_s = {hold_s}\nreply_mode = "{reply_mode}"\n'
            f"messages_per_minute = {web_per_minute}\naddress_per_minute = {max(150, web_per_minute)}"
        )
    if key:
        parts.append(f'[privacy]\nkey = "{key}"')
    return "\n".join([*parts, more])


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool | int | float) else f'"{value}"'


@asynccontextmanager
async def running(
    directory: Path,
    *,
    telegram: bool = False,
    slack: bool | str = False,
    mail: bool = False,
    web: bool = True,
    store_url: str = "",
    articles: bool = True,
    key: str = KEY,
    **how: Any,
) -> AsyncIterator[World]:
    """A world with the channels asked for, two staff members (Mei, a manager; Tom, an agent) and articles."""
    async with AsyncExitStack() as stack:
        tg = await stack.enter_async_context(FakeTelegram()) if telegram else None
        mode: Any = slack if isinstance(slack, str) else "socket"
        sl = await stack.enter_async_context(FakeSlack(mode=mode)) if slack else None
        smarthost = await stack.enter_async_context(FakeSmarthost()) if mail else None
        if tg is not None and how.get("telegram_staff"):
            tg.add_group(FORUM, "Staff", forum=True)
        url = store_url or sqlite_url(directory)
        text = settings(url, telegram=tg, slack=sl, smarthost=smarthost, web=web, key=key, **how)
        file = directory / "wellheard.toml"  # for who runs a command line beside the service
        await asyncio.to_thread(file.write_text, text, "utf-8")
        config = parse(text, path=file, environ={})
        await seed(url, articles=articles, key=key)
        service = Service(config)
        await service.start()
        stack.push_async_callback(service.stop, drain_s=0)
        if sl is not None and mode == "http":
            sl.deliver_to(f"http://127.0.0.1:{service.port}/slack/events")
        yield World(config, service, tg, sl, smarthost)


async def seed(url: str, *, articles: bool = True, key: str = "") -> None:
    """Staff and articles."""
    async with Store(url, key=key) as store:
        await store.write(_staff)
        if articles:
            with resources.as_file(resources.files("bot").joinpath("sample", "articles.jsonl")) as path:
                now = await store.read(lambda tx: store.now(tx))
                await importer.run(store, "articles", path, Defaults(), now)


def _staff(tx: Connection) -> None:
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    people.add(tx, now, "Mei", "manager", "zh")
    people.add(tx, now, "Tom", "agent", "en")
    people.add(tx, now, "Vera", "viewer", "en")
