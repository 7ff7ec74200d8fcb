"""What the commands share: the configuration, an open store, and errors in one sentence."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from bot import config as configuration
from bot import i18n
from bot.cli import CommandFailed
from bot.config import Config
from bot.office import Office
from channels.base import ConfigError
from crm_store import migrations, moves, upkeep
from crm_store.db import Store, StoreError

T = TypeVar("T")

_PROCESSORS: list[Any] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,  # before the renderer, which would print locals: messages, secrets
]


def load(arguments: argparse.Namespace) -> Config:
    """The configuration. Raise CommandFailed."""
    try:
        return configuration.load(configuration.find(arguments.config))
    except configuration.Problem as error:
        raise CommandFailed(str(error)) from error


def terminal_language() -> str:
    """The language of whoever sits at the terminal, as the environment says it; English where it says none."""
    said = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return i18n.pick(next(filter(None, said), i18n.DEFAULT), i18n.DEFAULT)


def with_store(config: Config, work: Callable[[Store], Awaitable[T]], key: str | None = None) -> T:
    """Run `work` on the configured store, migrated and open; with another key than the configured one if told so.
    Raise CommandFailed."""
    quiet_logs()

    async def go() -> T:
        async with Store(config.store_url, key=config.privacy.key if key is None else key) as store:
            return await work(store)

    try:
        migrations.upgrade(config.store_url)
        return asyncio.run(go())
    except (StoreError, ConfigError) as error:
        raise CommandFailed(str(error)) from error


async def office_for(config: Config, store: Store) -> Office:
    """An office without live channels: what they can do is known from their adapters."""
    import importlib

    from channels.base import Setup

    secret = (config.desk.secret or await store.write(upkeep.secret)).encode()
    caps = {}
    for name, settings in config.channels.items():
        url = config.http.public_url.rstrip("/")
        setup = Setup(name=name, settings=settings.model_dump(), secret=secret, public_url=url)
        channel = importlib.import_module(f"channels.{settings.kind}").build(setup)
        caps[name] = channel.caps
        await channel.close()
    office = Office(config, caps, secret)
    office.learn(await store.read(moves.known))
    return office


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def service_logs() -> None:
    """Facts as JSON lines on stderr, or readable ones at a terminal."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*_PROCESSORS, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def quiet_logs() -> None:
    """A command line prints its own words; only warnings of the machinery are let through, to stderr."""
    structlog.configure(
        processors=[*_PROCESSORS, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
