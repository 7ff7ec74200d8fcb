"""import, imports, export and quality: customers and what they do and own, in and out of files."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from bot.cli import CommandFailed, reporting
from bot.cli.common import load, print_json, terminal_language, with_store
from bot.cli.reporting import reason
from bot.config import Config
from bot.i18n import say
from crm_store import audit, exporter, importer, segments
from crm_store import quality as data
from crm_store.db import Store
from crm_store.importer import Defaults, Report
from crm_store.importing import runs, undo


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
    if arguments.what == "undo":
        return _undo(arguments)
    config, lang = load(arguments), terminal_language()
    path = Path(arguments.file)
    if not path.is_file():
        raise CommandFailed(say("import.no_file", lang, path=path))
    bar = _Bar(path)

    async def work(store: Store) -> Report:
        return await importer.run(
            store,
            arguments.what,
            path,
            defaults_of(config),
            datetime.now(UTC),
            dry_run=arguments.dry_run,
            progress=bar.show,
            stages=_stages(config) if arguments.what == "deals" else None,
        )

    try:
        report = with_store(config, work)
    except importer.Busy as error:
        raise CommandFailed(say("import.busy", lang, path=path)) from error
    except importer.NoTable as error:
        raise CommandFailed(say("import.no_table", lang, path=path)) from error
    except (OSError, UnicodeError, ValueError) as error:
        raise CommandFailed(say("import.failed", lang, path=path, error=error)) from error
    finally:
        bar.end()
    nothing = not (report.new or report.updated or report.unchanged)
    code = 1 if nothing and report.rejected else 0
    if nothing and not report.rejected:
        print(say("import.no_rows", lang, path=path), file=sys.stderr)
    if arguments.json:
        found = {**asdict(report), "index": report.index}
        for told, rejected in zip(found["rejected"], report.rejected, strict=True):
            told["reason"] = reason(rejected, lang)
        print_json(found)
        return code
    reporting.tell(report, arguments.what, arguments.dry_run, lang)
    return code


def _stages(config: Config) -> importer.Stages:
    from bot import i18n
    from bot.service import wording

    stages = tuple(config.deals.stages)
    words = {wording.stage(stage, lang): stage for stage in stages for lang in i18n.languages()}
    return importer.Stages(stages, words)


class _Bar:
    """How far it is, on a terminal: rows, and by the file's size roughly how much is left."""

    def __init__(self, path: Path) -> None:
        self._began = time.monotonic()
        self._shown = False
        self._rows = _about_rows(path) if sys.stderr.isatty() else 0

    def show(self, done: int) -> None:
        if not sys.stderr.isatty():
            return
        self._shown = True
        share = min(1.0, done / self._rows) if self._rows else 0.0
        rate = done / max(0.001, time.monotonic() - self._began)
        bar = "█" * round(24 * share)
        text = f"\r{bar:░<24} {share:4.0%}  {done:,} rows, {rate:,.0f}/s "
        print(text, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown:
            print(file=sys.stderr)


def _about_rows(path: Path) -> int:
    with path.open("rb") as stream:
        sample = stream.read(1 << 18)
    lines = max(1, sample.count(b"\n"))
    return max(1, round(path.stat().st_size / max(1, len(sample)) * lines))


def _undo(arguments: argparse.Namespace) -> int:
    lang = terminal_language()
    try:
        number = int(arguments.file)
    except ValueError as error:
        raise CommandFailed(say("import.by_number_please", lang)) from error

    async def work(store: Store) -> undo.Undone:
        return await undo.undo(store, number, datetime.now(UTC))

    try:
        done = with_store(load(arguments), work)
    except undo.Unknown as error:
        raise CommandFailed(say("import.unknown", lang, number=number)) from error
    if arguments.json:
        print_json(asdict(done))
        return 0
    reporting.tell_undone(done, lang)
    return 0


def imports(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> list[Any]:
        return await store.read(runs.listing)

    rows = with_store(load(arguments), work)
    if arguments.json:
        print_json(
            [{name: value for name, value in row._mapping.items() if name != "digest"} for row in rows]
        )
        return 0
    lang = terminal_language()
    for row in rows:
        if row.undone_at:
            state = say("import.state_undone", lang)
        elif row.finished_at:
            state = say("import.state_done", lang)
        else:
            state = say("import.state_cut_off", lang, row=f"{row.position:,}")
        counted = (
            (say(f"import.count_{name}", lang), count)
            for name, count in row.counts.items()
            if "." not in name
        )
        counts = ", ".join(f"{count:,} {name}" for name, count in counted if count)
        print(f"{row.id}\t{row.started_at:%Y-%m-%d %H:%M}\t{row.kind}\t{row.file}\t{state}\t{counts}")
    return 0


def quality(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> list[data.Quality]:
        return await store.read(data.measure, datetime.now(UTC))

    found = with_store(load(arguments), work)
    if arguments.json:
        print_json([{**asdict(one), "index": one.index} for one in found])
        return 0
    lang = terminal_language()
    for one in found:
        where = one.source or say("quality.everything" if one is found[0] else "quality.unsaid", lang)
        shown = "∞" if one.index is None else f"{one.index:.2f}"
        counted = {"records": f"{one.records:,}", "anomalous": f"{one.anomalous:,}"}
        print(say("quality.line", lang, where=where, index=shown, **counted))
        for name, kinds in one.parts.items():
            counts = ", ".join(f"{count:,} {say(f'quality.{kind}', lang)}" for kind, count in kinds.items())
            print(f"  {say(f'quality.field_{name}' if name else 'quality.field_record', lang)}: {counts}")
    return 0


def _note_export(tx: Connection, what: str, name: str) -> None:
    audit.record(tx, datetime.now(UTC), "cli", "export", what, via="cli", seen_as=name)


def _as_seen_by(tx: Connection, config: Config, name: str) -> dict[str, Any]:
    """The rows and the masks of a person."""
    from bot import access, masking
    from bot.office import Office, Turn
    from crm_store import people

    row = people.by_name(tx, name)
    if row is None or row.disabled_at is not None:
        raise CommandFailed(f"there is nobody called {name!r} among the active staff")
    who = access.member(row)
    turn = Turn(tx, Office(config, {}, b""), datetime.now(UTC))
    masks = turn.office.access.masks(who.role)
    region = config.desk.country
    return {
        "scope": access.scope_of(turn, who),
        "shown": (lambda value: masking.value(value, region)) if masks else None,
    }


def _segment(arguments: argparse.Namespace, config: Config) -> segments.Segment | None:
    if not arguments.where:
        return None
    if arguments.what != "customers":
        raise CommandFailed("--where chooses among customers: wellheard export customers --where …")
    try:
        return segments.parse(
            arguments.where, zone=ZoneInfo(config.desk.timezone), currency=config.desk.currency.upper()
        )
    except segments.QueryError as error:
        said = say(f"segment.wrong_{error.reason}", "en", at=error.at + 1, text=error.text)
        raise CommandFailed(f"--where is not understood. {said}") from error


def export(arguments: argparse.Namespace) -> int:
    config = load(arguments)

    segment = _segment(arguments, config)

    def write(tx: Connection) -> None:
        how = _as_seen_by(tx, config, arguments.name) if arguments.name else {}
        if segment is not None:
            currency = config.desk.currency.upper()
            how["where"] = segments.condition(tx, segment, datetime.now(UTC), currency=currency)
        if arguments.format == "xlsx":
            exporter.workbook(tx, arguments.what, sys.stdout.buffer, **how)
            return
        for piece in exporter.export(tx, arguments.what, arguments.format, **how):
            sys.stdout.write(piece)

    async def work(store: Store) -> None:
        await store.read(write)
        await store.write(_note_export, arguments.what, arguments.name)

    with_store(config, work)
    return 0
