"""erase, takeout, retention: what a person may ask of us, and what we keep for how long."""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from bot.cli import CommandFailed
from bot.cli.common import load, office_for, print_json, with_store
from bot.config import Config
from bot.privacy import list_path, outside
from crm_store import contacts
from crm_store import erase as erasing
from crm_store import retention as rules
from crm_store import takeout as takeouts
from crm_store.db import Store
from crm_store.privacy import listed
from crm_store.search import find_contacts

T = TypeVar("T")
SCRUB_S = 3600.0
_NUMBER = re.compile(r"[Cc](\d{1,9})")


def erase(arguments: argparse.Namespace) -> int:
    """Erase a customer; at a terminal what would go is shown first and asked about."""
    config = load(arguments)

    async def work(store: Store) -> erasing.Erased:
        contact_id = await store.read(_whom, arguments.who)
        if sys.stdin.isatty() and not arguments.yes:
            counts = await store.read_apart(erasing.preview, contact_id)
            _ask(contact_id, counts)
        office = await office_for(config, store)
        now = datetime.now(UTC)
        number = await store.write(erasing.ask, now, contact_id, "cli")
        return await erasing.carry_out(store, number, lambda: datetime.now(UTC), outside(office))

    done = _run(config, work)
    if arguments.json:
        print_json(
            {"customer": done.contact_id, "rows": dict(done.counts), "posts": done.posts, "clean": done.clean}
        )
    else:
        print(f"C{done.contact_id} is erased: {_listed(done.counts)}", file=sys.stderr)
        print(
            f"{done.posts} posts are asked back from staff platforms; who was erased is listed in"
            f" {list_path(config)}: keep it beside the backups",
            file=sys.stderr,
        )
    if not done.clean:
        print(
            "the rows are gone; the database is too large, or too busy, to be written anew just now:"
            " run `wellheard scrub` when writes may wait, and nothing is left in the file",
            file=sys.stderr,
        )
    return 0


def takeout(arguments: argparse.Namespace) -> int:
    """Write everything held on a customer."""
    config = load(arguments)
    now = datetime.now(UTC)

    async def printed(store: Store) -> dict[str, Any]:
        contact_id = await store.read(_whom, arguments.who)
        sink = _Document(with_files=not arguments.json)
        await takeouts.write(store, contact_id, sink, now, actor="cli")
        return sink.told | ({"files": sink.files} if sink.files else {})

    async def written(store: Store) -> int:
        contact_id = await store.read(_whom, arguments.who)
        with takeouts.into(Path(arguments.to)) as sink:
            return await takeouts.write(store, contact_id, sink, now, actor="cli")

    try:
        if not arguments.to:
            print_json(_run(config, printed))
            return 0
        files = _run(config, written)
    except FileExistsError as error:
        raise CommandFailed(f"{error.filename} is there already; it is left as it is") from error
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}") from error
    print(f"wrote {files} files into {arguments.to}", file=sys.stderr)
    return 0


class _Document:
    """A takeout as one JSON document, its files in base64."""

    def __init__(self, *, with_files: bool) -> None:
        self.told: dict[str, Any] = {}
        self.files: dict[str, str] = {}
        self._with_files = with_files

    def put(self, name: str, content: bytes) -> None:
        if name == takeouts.DOCUMENT:
            self.told = json.loads(content)
        elif self._with_files:
            self.files[name] = base64.b64encode(content).decode("ascii")


def scrub(arguments: argparse.Namespace) -> int:
    """Write the database anew, whatever its size; the service waits meanwhile."""

    async def work(store: Store) -> bool:
        return await erasing.settle(store, SCRUB_S, largest=sys.maxsize)

    if not _run(load(arguments), work):
        raise CommandFailed("somebody holds the database; try again, or stop the service first")
    print("nothing of what was deleted is left in the file", file=sys.stderr)
    return 0


def retention(arguments: argparse.Namespace) -> int:
    """Say what is past its time, and forget it unless only asked."""
    config = load(arguments)
    wanted, now = config.retention.rules, datetime.now(UTC)

    async def work(store: Store) -> tuple[list[rules.Due], dict[str, int]]:
        due = await store.read_apart(rules.preview, wanted, now)
        return due, {} if arguments.preview else await rules.apply(store, wanted, now)

    due, done = _run(config, work)
    if arguments.json:
        print_json(
            [
                {
                    "kind": one.kind,
                    "before": one.before.isoformat(),
                    "count": one.count,
                    "oldest": one.oldest.isoformat() if one.oldest else None,
                    "forgotten": done.get(one.kind, 0),
                }
                for one in due
            ]
        )
        return 0
    for one in due:
        since = f", the oldest of {one.oldest:%Y-%m-%d}" if one.oldest else ""
        print(f"{one.kind}\tbefore {one.before:%Y-%m-%d}\t{one.count}{since}")
    if not wanted:
        print("nothing is configured in [retention]: everything is kept", file=sys.stderr)
    elif not arguments.preview:
        print(f"forgotten: {_listed(done) or 'nothing'}", file=sys.stderr)
    return 0


def erase_again(config: Config, key: str | None = None) -> None:
    """After a restore: whoever was erased since the backup is erased again. `key`: other than the configured."""

    async def work(store: Store) -> int:
        office = await office_for(config, store)
        return await erasing.replay(store, outside(office), lambda: datetime.now(UTC))

    try:
        again = _run(config, work, key)
    except listed.Unreadable as error:
        raise CommandFailed(f"restored, but {error}") from error
    if again:
        print(f"{again} who had been erased since were erased again", file=sys.stderr)


def _run(config: Config, work: Callable[[Store], Awaitable[T]], key: str | None = None) -> T:
    try:
        return with_store(config, work, key)
    except erasing.Unknown as error:
        raise CommandFailed("there is no such customer, or they were erased already") from error


def _whom(tx: Connection, text: str) -> int:
    """The one customer who is meant. Raise CommandFailed."""
    if number := _NUMBER.fullmatch(text.strip()):
        if contacts.get(tx, int(number[1])) is None:
            raise CommandFailed(f"there is no customer {text}")
        return int(number[1])
    hits = find_contacts(tx, text)
    sure = [hit for hit in hits if hit.score >= 100.0]
    if len(sure) == 1:
        return sure[0].contact_id
    if not hits:
        raise CommandFailed(f"nobody fits {text!r}")
    near = ", ".join(f"C{hit.contact_id} {contacts.get(tx, hit.contact_id).name}".strip() for hit in hits)
    raise CommandFailed(f"{text!r} is not one customer for certain; name one by number: {near}")


def _ask(contact_id: int, counts: dict[str, int]) -> None:
    print(f"C{contact_id}: {_listed(counts)}", file=sys.stderr)
    print(
        "Their words, files, addresses and names are deleted for good. Type erase: ", end="", file=sys.stderr
    )
    if sys.stdin.readline().strip().lower() != "erase":
        raise CommandFailed("nothing was erased")


def _listed(counts: Any) -> str:
    return ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in sorted(counts.items()))
