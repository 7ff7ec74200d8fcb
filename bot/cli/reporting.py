"""What an import and its undoing did, in the words of whoever sits at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from bot import i18n
from bot.i18n import say
from crm_store.importer import Kind, Rejected, Report
from crm_store.importing.columns import is_ignored
from crm_store.importing.undo import Undone
from crm_store.importing.values import clean

SHOWN = 50  # rows printed one by one of each kind
OWN_FIELDS: frozenset[Kind] = frozenset(("customers", "events"))  # which keep columns that mean nothing to us


def tell(report: Report, kind: Kind, dry_run: bool, lang: str) -> None:
    """The counts to stdout; to stderr what was read how, and what became of which line."""
    counts = {"new": report.new, "updated": report.updated, "unchanged": report.unchanged}
    print(say("import.would" if dry_run else "import.did", lang, **counts))
    if report.duplicate or report.corrections or report.inferred:
        found = {
            "duplicate": report.duplicate,
            "corrections": report.corrections,
            "inferred": report.inferred,
        }
        print(say("import.found", lang, **found))
    rejected = len(report.rejected) + report.unreported
    if rejected:
        _note(say("import.rejected", lang, count=f"{rejected:,}"))
    if report.records:
        index = "∞" if report.index is None else f"{report.index:.2f}"
        counted = {"records": f"{report.records:,}", "anomalous": f"{report.anomalous:,}"}
        _note(say("import.index", lang, index=index, **counted))
    _tell_reading(report, kind, lang)
    _tell_parts(report, lang)
    if report.resumed:
        _note(say("import.resumed", lang, row=f"{report.resumed:,}"))
    if report.seen_before and not (report.new or report.updated or dry_run):
        _note(say("import.seen_before", lang, number=report.seen_before))
    if report.run_id and (report.new or report.updated):
        _note(say("import.take_back", lang, number=report.run_id))
    _tell_lines(
        ((one.line, say("import.again", lang, of_line=one.of_line, by=one.by)) for one in report.duplicates),
        report.duplicate,
        lang,
    )
    _tell_lines(
        (
            (one.line, say("import.corrected", lang, field=one.field, was=one.was, value=one.value))
            for one in report.corrected
        ),
        report.corrections,
        lang,
    )
    _tell_lines(((one.line, reason(one, lang)) for one in report.rejected), rejected, lang)


def tell_undone(done: Undone, lang: str) -> None:
    """The counts to stdout, what stays to stderr."""
    kept = len(done.kept) + done.unnamed
    print(say("import.undone", lang, removed=done.removed, restored=done.restored, kept=kept))
    for one in done.kept[:SHOWN]:
        named = {
            "kind": say(f"import.kind_{one.kind}", lang),
            "why": say(f"import.why_{one.why}", lang),
            "row_id": one.row_id,
            "name": one.name,
        }
        _note(
            say("import.kept_part", lang, what=one.what, **named)
            if one.what
            else say("import.kept", lang, **named)
        )
    if kept > SHOWN:
        _note(say("import.more", lang, count=f"{kept - SHOWN:,}"))


def reason(rejected: Rejected, lang: str) -> str:
    """Why a row, or a value of it, was left out."""
    key = f"import.reason.{rejected.reason_key}"
    if key in i18n.catalogue("en"):
        return say(key, lang, **{"value": "", "number": "", "contact": "", "other": "", **rejected.values})
    return rejected.reason_key.replace("_", " ")


def _tell_reading(report: Report, kind: Kind, lang: str) -> None:
    columns = report.read_as.columns
    meant = {column: field for column, field in columns.items() if field}
    own = [
        column for column, field in columns.items() if column and not field and not is_ignored(kind, column)
    ]
    if columns and not meant:
        _note(
            say("import.none_known", lang, columns=_listed(columns), known=say(f"import.known_{kind}", lang))
        )
    elif meant:
        _note(say("import.columns", lang, columns=_listed(f"{c} → {field}" for c, field in meant.items())))
        if own:
            _note(say("import.own" if kind in OWN_FIELDS else "import.unused", lang, columns=_listed(own)))
    if report.read_as.by_line:
        how = "day_first" if report.read_as.day_first else "month_first"
        _note(say(f"import.{how}", lang, line=report.read_as.by_line))


def _tell_parts(report: Report, lang: str) -> None:
    for name, kinds in sorted(report.parts.items()):
        counts = ", ".join(f"{count:,} {say(f'import.part_{kind}', lang)}" for kind, count in kinds.items())
        _note(f"  {name or say('import.part_row', lang)}: {counts}")


def _listed(names: Iterable[str]) -> str:
    shown = [name if len(name) <= 60 else f"{name[:59]}…" for name in map(clean, names)]
    return ", ".join(shown[:SHOWN]) + (" …" if len(shown) > SHOWN else "")


def _tell_lines(lines: Iterable[tuple[int, str]], total: int, lang: str) -> None:
    for place, (line, text) in enumerate(lines):
        if place == SHOWN:
            break
        _note(say("import.line", lang, line=line, text=text))
    if total > SHOWN:
        _note(say("import.more", lang, count=f"{total - SHOWN:,}"))


def _note(text: str) -> None:
    print(text, file=sys.stderr)
