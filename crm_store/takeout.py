"""Takeout: everything held on a person, for them: one JSON document and their files.

Notes about them are theirs to see too; who among the staff wrote one is a number. What merely mentions them
between others (an answer to a colleague, a list) is not given out: it is about others as well.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any, Protocol

from sqlalchemy import Connection, select

from crm_store import audit, schema
from crm_store.db import Store
from crm_store.erase import Unknown
from crm_store.privacy import held, traces
from crm_store.privacy.held import Person
from crm_store.privacy.words import Words
from crm_store.schema.sealed import BYTES

FORMAT = 1
DOCUMENT = "takeout.json"
_UNFIT = re.compile(r"[^\w.-]+")
s = schema


class Sink(Protocol):
    """Where a takeout is written: a directory or a zip file."""

    def put(self, name: str, content: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of a takeout: its name there, and the table and key it is read from."""

    name: str
    table: str
    key: Any


def document(tx: Connection, contact_id: int, now: datetime) -> tuple[dict[str, Any], list[Piece]]:
    """Everything in words, by table, and which files belong to it. Raise Unknown."""
    try:
        p = traces.person(tx, contact_id)
    except LookupError as error:
        raise Unknown(contact_id) from error
    found = traces.sweep(tx, p, Words(()))  # by columns alone: nothing that only mentions them
    p = Person(p.contacts, p.identities, p.elsewhere, p.objects, p.actors, p.rooms, traces.joined(found))
    pieces = [*_files(tx, p), *_raw(tx, p)]
    names = {(piece.table, piece.key): piece.name for piece in pieces}
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, entry in held.tables():
        columns = [c for c in table.columns if not isinstance(c.type, BYTES)]
        key = next(iter(table.primary_key.columns)).name
        query = select(*columns).where(entry.where(p)).order_by(*table.primary_key.columns)
        rows[table.name] = [
            _shown(table.name, dict(row._mapping), names.get((table.name, row._mapping[key])))
            for row in tx.execute(query)
        ]
    told = {"format": FORMAT, "made_at": now.isoformat(), "customer": contact_id, "held": rows}
    return told, pieces


def content(tx: Connection, piece: Piece) -> bytes:
    """The bytes of a file; empty when they are gone meanwhile."""
    table = s.blob if piece.table == "blob" else s.inbox
    key = s.blob.c.sha256 if piece.table == "blob" else s.inbox.c.id
    column = table.c.content if piece.table == "blob" else table.c.body
    found: bytes | None = tx.execute(select(column).where(key == piece.key)).scalar()
    return found or b""


async def write(store: Store, contact_id: int, sink: Sink, now: datetime, *, actor: str) -> int:
    """Write a takeout, file by file, and return how many files it has. It is audited. Raise Unknown."""
    told, pieces = await store.read(document, contact_id, now)
    await store.write(lambda tx: audit.record(tx, now, actor, "takeout", f"contact:{contact_id}"))
    sink.put(DOCUMENT, json.dumps(told, ensure_ascii=False, indent=1).encode())
    for piece in pieces:
        sink.put(piece.name, await store.read(content, piece))
    return 1 + len(pieces)


@contextmanager
def into(path: Path) -> Iterator[Sink]:
    """A directory, or a zip file where the name ends so. Raise OSError; nothing is overwritten."""
    if path.suffix.lower() != ".zip":
        path.mkdir(parents=True, mode=0o700, exist_ok=True)
        yield _Directory(path)
        return
    with path.open("xb") as file:
        path.chmod(0o600)
        with zipped(file) as sink:
            yield sink


@contextmanager
def zipped(file: IO[bytes]) -> Iterator[Sink]:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        yield _Zip(archive)


@dataclass(frozen=True, slots=True)
class _Directory:
    path: Path

    def put(self, name: str, content: bytes) -> None:
        file = self.path / name
        file.parent.mkdir(exist_ok=True, mode=0o700)
        with file.open("xb") as opened:
            opened.write(content)


@dataclass(frozen=True, slots=True)
class _Zip:
    archive: zipfile.ZipFile

    def put(self, name: str, content: bytes) -> None:
        self.archive.writestr(name, content)


def _files(tx: Connection, p: Person) -> list[Piece]:
    a = s.attachment
    query = (
        select(a.c.sha256, a.c.filename)
        .where(a.c.message_id.in_(held.messages(p)), a.c.sha256.is_not(None))
        .order_by(a.c.id)
    )
    names: dict[str, str] = {}
    for sha, filename in tx.execute(query):
        names.setdefault(sha, f"files/{sha[:12]}-{_fit(filename) or 'file'}")
    return [Piece(name, "blob", sha) for sha, name in names.items()]


def _raw(tx: Connection, p: Person) -> list[Piece]:
    """Messages as platforms gave them, where they are still kept."""
    r = s.inbox
    entry = held.HELD["inbox"]
    assert isinstance(entry, held.Held)
    rows = tx.execute(select(r.c.id, r.c.channel).where(entry.where(p), r.c.body != b"").order_by(r.c.id))
    return [Piece(f"raw/{number}-{_fit(channel)}", "inbox", number) for number, channel in rows]


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name).strip("._")[-80:]


def _shown(table: str, row: dict[str, Any], file: str | None) -> dict[str, Any]:
    if table == "message" and row["author_kind"] == "staff":
        row["author"] = f"staff:{row['author_id']}" if row["author_id"] else "staff"
    elif table == "contact_note":
        row["author"] = f"staff:{row['staff_id']}" if row["staff_id"] else "staff"
    shown = {name: _plain(value) for name, value in row.items()}
    return shown | ({"file": file} if file else {})


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value
