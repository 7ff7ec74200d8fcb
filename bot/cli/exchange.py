"""import and export: customers, orders and articles in and out of files."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from bot.cli import CommandFailed
from bot.cli.common import load, print_json, with_store
from bot.config import Config
from crm_store import exporter, importer
from crm_store.db import Store
from crm_store.importing.rows import Rejected
from crm_store.importing.values import Defaults
from crm_store.importer import Report

SHOWN = 50  # rejected rows printed one by one


def defaults_of(config: Config) -> Defaults:
    """What a file leaves unsaid, from the desk's settings."""
    desk = config.desk
    return Defaults(
        timezone=ZoneInfo(desk.timezone),
        region=desk.country.upper(),
        currency=desk.currency.upper(),
        language=desk.languages[0],
    )


def import_(arguments: argparse.Namespace) -> int:
    config = load(arguments)
    path = Path(arguments.file)
    if not path.is_file():
        raise CommandFailed(f"{path}: no such file")

    def progress(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done:,} rows", end="", file=sys.stderr, flush=True)

    async def work(store: Store) -> Report:
        now = datetime.now(UTC)
        return await importer.run(
            store,
            arguments.what,
            path,
            defaults_of(config),
            now,
            dry_run=arguments.dry_run,
            progress=progress,
        )

    try:
        report = with_store(config, work)
    except (OSError, UnicodeError, ValueError) as error:
        raise CommandFailed(f"{path}: cannot be imported: {error}") from error
    if sys.stderr.isatty():
        print(file=sys.stderr)
    nothing = not (report.new or report.updated or report.unchanged)
    code = 1 if nothing and report.rejected else 0
    if nothing and not report.rejected:
        print(f"{path}: no rows were found in it", file=sys.stderr)
    if arguments.json:
        print_json(asdict(report))
        return code
    would = "would be " if arguments.dry_run else ""
    print(f"{report.new} {would}new, {report.updated} {would}updated, {report.unchanged} unchanged")
    for rejected in report.rejected[:SHOWN]:
        print(f"line {rejected.line}: {reason(rejected)}", file=sys.stderr)
    more = len(report.rejected) - SHOWN + report.unreported
    if more > 0:
        print(f"… and {more} more", file=sys.stderr)
    return code


def reason(rejected: Rejected) -> str:
    """Why a row was left out, in words."""
    values = ", ".join(f"{key} {value!r}" for key, value in rejected.values.items())
    return f"{rejected.reason_key.replace('_', ' ')}" + (f" ({values})" if values else "")


def export(arguments: argparse.Namespace) -> int:
    config = load(arguments)

    def write(tx: Connection) -> None:
        for piece in exporter.export(tx, arguments.what, arguments.format):
            sys.stdout.write(piece)

    async def work(store: Store) -> None:
        await store.read(write)

    with_store(config, work)
    return 0
