"""The doctor: tries every configured piece for real and says for each failure what to do."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot import commands, mail_audit
from bot.config import Config
from channels.base import Audits, Channel, Check, ConfigError, FetchFailed, Setup
from crm_store import migrations, upkeep
from crm_store.db import Store, StoreError

LOW_DISK_BYTES = 1_000_000_000
CHECK_TIMEOUT_S = 30.0
AUDIT_DAYS = 3


async def examine(config: Config) -> Sequence[Check]:
    """All findings, the store's first."""
    findings = [*await _store(config), _disk(config), _clock(config)]
    for name, settings in config.channels.items():
        setup = Setup(
            name=name,
            settings=settings.model_dump(),
            secret=config.desk.secret.encode(),
            public_url=config.http.public_url.rstrip("/"),
            desk_name=config.desk.name,
            commands=commands.descriptions(),
        )
        try:
            channel = importlib.import_module(f"channels.{settings.kind}").build(setup)
            try:
                async with asyncio.timeout(CHECK_TIMEOUT_S):
                    findings += [
                        Check(f"{name}: {c.what}", c.state, c.detail, c.fix) for c in await channel.check()
                    ]
                    findings += await _audit(config, name, channel)
            finally:
                await channel.close()
        except ConfigError as error:
            findings.append(Check(name, "fail", str(error)))
        except TimeoutError:
            findings.append(Check(name, "fail", f"no answer within {CHECK_TIMEOUT_S:g} s"))
        except Exception as error:
            findings.append(Check(name, "fail", f"{type(error).__name__}: {error}"))
    if config.events.url:
        findings.append(await _events(config))
    if not config.channels:
        findings.append(
            Check(
                "channels", "warn", "none is configured", "add a [channels.NAME] table to the configuration"
            )
        )
    return findings


async def _audit(config: Config, name: str, channel: Channel) -> list[Check]:
    """Whether what lies on the channel's server is here too."""
    if not isinstance(channel, Audits):
        return []
    what = f"{name}: audit"
    try:
        async with Store(config.store_url, key=config.privacy.key) as store:
            since = datetime.now(UTC) - timedelta(days=AUDIT_DAYS)
            found = await mail_audit.compare(store, channel, name, since)
    except (FetchFailed, StoreError) as error:
        return [Check(what, "warn", f"could not be made: {error}")]
    if not found.held:
        return []
    detail = (
        f"{found.held} lie on the server since {AUDIT_DAYS} days, {len(found.missing)} of them are not here"
    )
    fix = "right while the service catches up; else send the bot: /mail audit"
    return [Check(what, "warn" if found.missing else "ok", detail, fix)]


async def _store(config: Config) -> list[Check]:
    try:
        await asyncio.to_thread(migrations.upgrade, config.store_url)
        async with Store(config.store_url, key=config.privacy.key) as store:
            state = await store.read(upkeep.integrity)
            started = time.monotonic()
            await store.write(upkeep.secret)
            ms = (time.monotonic() - started) * 1000
    except (StoreError, OSError) as error:
        fix = "check store.url, that its directory can be written, and privacy.key"
        return [Check("store", "fail", str(error), fix)]
    if state != "ok":
        return [Check("store", "fail", state, "restore the last backup: wellheard restore FILE")]
    slow = ms > 250
    sealed = "sealed with a key" if config.privacy.key else "not sealed: see privacy.key"
    detail = f"whole; a durable write takes {ms:.0f} ms; contact data is {sealed}"
    return [Check("store", "warn" if slow else "ok", detail, "the disk is slow to sync: use a local disk")]


async def _events(config: Config) -> Check:
    """Whether the broker can be reached; nothing is told."""
    from bot.event_relay import EventRelay

    try:
        reached = await EventRelay(config.events).reach()
    except ConfigError as error:
        return Check("events", "fail", str(error))
    return Check("events", "fail" if reached else "ok", reached or f"the broker has {config.events.topic}")


def _disk(config: Config) -> Check:
    where = Path(config.base)
    free = shutil.disk_usage(where).free
    low = free < LOW_DISK_BYTES
    return Check("disk", "warn" if low else "ok", f"{free / 1e9:.1f} GB free", f"make room at {where}")


def _clock(config: Config) -> Check:
    year = time.gmtime().tm_year
    good = year >= 2026
    return Check(
        "clock", "ok" if good else "fail", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "set the clock"
    )
