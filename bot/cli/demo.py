"""demo: the whole product on loopback, with sample data, no token and no configuration."""

from __future__ import annotations

import argparse
import asyncio
import csv
import importlib
import signal
import socket
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from bot import decisions
from bot.app import Service
from bot.cli import CommandFailed
from bot.cli.common import quiet_logs
from bot.config import Config, parse
from bot.sample import generate
from channels.base import ConfigError
from crm_store import deals, importer, people
from crm_store.db import StoreError
from crm_store.importing.values import Defaults

DEALS = (  # what, stage, minor units, days until it is expected
    ("Garden set", "offer", 120_000, 20),
    ("Dining room", "negotiation", 380_000, 10),
    ("Office lamps", "lead", 45_000, 45),
    ("Two sofas", "qualified", 219_900, 30),
)
AGENTS = (("Mei", "manager", None), ("Tom", "agent", None))
CUSTOMERS, ORDERS = 200, 1500
CONFIG = """
[store]
url = "sqlite:///demo.db"
[http]
port = {port}
public_url = "http://127.0.0.1:{port}"
[desk]
name = "Harbour & Pine"
timezone = "Europe/London"
[channels.web]
kind = "web"
title = "Harbour & Pine"
staff_channel = "staff"
demo = true
hold_s = 4
[channels.web.hints]
en = [
  "As a customer, ask: `How long does delivery take?`",
  "Then ask for a person, and answer in the ticket's thread on the right.",
  "In the command box on the right, try `/customer Hollis` and `/stats week`",
]
zh = [
  "以客户身份提问：`多久能送到？`",
  "然后转人工，在右侧工单的话题里回复。",
  "在右侧的命令框里试试 `/customer 王` 和 `/stats week`",
]
[channels.support]
kind = "email"
address = "support@harbour-pine.example"
smtp_listen = "127.0.0.1:{smtp_in}"
smtp_send = "smtp://127.0.0.1:{smtp_out}"
authentication = "none"
"""


def demo(arguments: argparse.Namespace) -> int:
    """Run until interrupted."""
    quiet_logs()
    try:
        if arguments.dir:
            directory = Path(arguments.dir)
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            asyncio.run(_run(directory, arguments.port))
        else:
            with tempfile.TemporaryDirectory(prefix="wellheard-demo-") as name:
                asyncio.run(_run(Path(name), arguments.port))
    except (ConfigError, StoreError, OSError) as error:
        raise CommandFailed(str(error)) from error
    return 0


def _smtp_port(port: int) -> int:
    """Where the demo takes mail: easy to remember, or any port where that one is taken."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port + 25 if port else 0))
        except (OSError, OverflowError):
            tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


async def _run(directory: Path, port: int) -> None:
    sink = importlib.import_module("channels.email.sink").Sink()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await sink.start()
    try:
        text = CONFIG.format(port=port, smtp_in=_smtp_port(port), smtp_out=sink.port)
        config = parse(text, path=directory / "wellheard.toml", environ={})
        service = Service(config)
        await service.start()
        try:
            await seed(service, config)
            web: Any = service.channels["web"]
            web.mails = lambda: mails(sink.mails)
            codes = await service.store.write(_codes)
            print(_welcome(service, config, codes), flush=True)
            waiting = asyncio.create_task(service.wait())
            ending = asyncio.create_task(stopping.wait())
            done, rest = await asyncio.wait([waiting, ending], return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            if waiting in done:
                waiting.result()
        finally:
            await service.stop(drain_s=2.0)
    finally:
        await sink.close()


async def seed(service: Service, config: Config) -> None:
    """Fill an empty store with the sample shop: customers, orders, articles and two agents."""
    store, now = service.store, datetime.now(UTC)
    if await store.read(people.everyone):
        return
    customers = generate.customers(CUSTOMERS)
    orders = generate.orders(ORDERS, today=now.date(), customers=customers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _csv(folder / "customers.csv", customers)
        _csv(folder / "orders.csv", orders)
        _csv(folder / "events.csv", generate.events(today=now.date(), customers=customers))
        articles = folder / "articles.jsonl"
        articles.write_text(
            resources.files("bot").joinpath("sample", "articles.jsonl").read_text("utf-8"), "utf-8"
        )
        for kind, path in (
            ("customers", folder / "customers.csv"),
            ("orders", folder / "orders.csv"),
            ("events", folder / "events.csv"),
            ("articles", articles),
        ):
            await importer.run(store, kind, path, Defaults(language="en"), now)  # type: ignore[arg-type]
    await store.write(_staff)
    await store.write(_sales)
    service.office.index = await store.read(decisions.load_index)


def mails(envelopes: Sequence[Any]) -> list[Mapping[str, Any]]:
    """What the demo's outbox holds, for its page: newest last. Our own mails: any parser will do."""
    out: list[Mapping[str, Any]] = []
    for envelope in envelopes:
        message = BytesParser(policy=policy.default).parsebytes(envelope.content)
        plain, rich = message.get_body(("plain",)), message.get_body(("html",))
        out.append(
            {
                "from": str(message["From"]),
                "to": str(message["To"]),
                "subject": str(message["Subject"]),
                "date": str(message["Date"]),
                "text": plain.get_content() if plain is not None else "",
                "html": rich.get_content() if rich is not None else "",
            }
        )
    return out


def _csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _staff(tx: Connection) -> None:
    for name, role, language in AGENTS:
        people.add(tx, datetime.now(UTC), name, role, language)


def _sales(tx: Connection) -> None:
    """A few deals, so that /pipeline has something to show."""
    now, mei = datetime.now(UTC), people.by_name(tx, AGENTS[0][0])
    for contact_id, (title, stage, amount_minor, days) in enumerate(DEALS, 1):
        deals.add(
            tx,
            now,
            f"staff:{mei.id}",
            contact_id=contact_id,
            title=title,
            stage=stage,
            amount_minor=amount_minor,
            currency="EUR",
            owner_id=mei.id,
            expected_on=(now + timedelta(days=days)).date(),
            source="demo",
        )


def _codes(tx: Connection) -> dict[str, str]:
    now = datetime.now(UTC)
    return {name: people.new_code(tx, now, people.by_name(tx, name).id) for name, *_ in AGENTS}


def _welcome(service: Service, config: Config, codes: Mapping[str, str]) -> str:
    base = f"http://127.0.0.1:{service.port}"
    support: Any = config.channels["support"]
    lines = [
        "",
        f"  Wellheard is running: {base}/demo?code={codes['Mei']}",
        "",
        "  Three things to try:",
        "   1. As the customer (left), ask: How long does delivery take?",
        "   2. Ask for a person; answer in the ticket's thread (right). The customer sees it.",
        "   3. In the command box (right): /customer Hollis  and  /stats week",
        "",
        f"  By mail:  send to {support.address} at {support.smtp_listen}; what we send: {base}/demo/mail",
        f"  Second agent: {base}/staff?code={codes['Tom']}   Customer alone: {base}/chat",
        "  Ctrl-C ends it; nothing is kept."
        if "wellheard-demo-" in str(config.base)
        else "  Ctrl-C ends it.",
        "",
    ]
    return "\n".join(lines)
