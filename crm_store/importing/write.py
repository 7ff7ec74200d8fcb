"""Customers become rows: a batch is a few look-ups, decisions in memory, and a few statements.

A customer is found by e-mail, then phone, then the file's own reference, then a Telegram handle. A phone is not
enough where the row has another reference, or another address and name: families share one. An imported
address says who wrote it down, not who holds it: it is an identity that is not verified. What a file says
replaces what was there, what it leaves empty changes nothing; when one file speaks of a customer twice, the
first row counts and later ones only add. What was inferred gives way to what is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, update

from crm_store import schema
from crm_store.importing import bulk, guesses
from crm_store.importing.report import Batch, Change, Seen
from crm_store.importing.rows import CustomerRow, Rejected
from crm_store.importing.runs import plain
from crm_store.search import indexing
from crm_store.statement import Statement

Outcome = Literal["new", "updated", "unchanged"]
contact, identity, mark = schema.contact, schema.identity, schema.contact_mark
TEXTS = ("name", "company", "country", "city", "language", "timezone")
COLUMNS = (*TEXTS, "tags", "fields")
_CONTACT = ("id", *COLUMNS, "source", "created_at", "updated_at")
_KNOWN = ("id", *COLUMNS, "updated_at")
_IDENTITY = ("id", "contact_id", "space", "user_id", "name", "handle", "created_at")
_MARK = ("contact_id", "field", "value", "how", "was")
_change = Statement(
    update(contact)
    .where(contact.c.id == bindparam("row"))
    .values({name: bindparam(f"to_{name}", type_=contact.c[name].type) for name in (*COLUMNS, "updated_at")})
)


@dataclass(slots=True)
class Contacts:
    """What a batch knows of its contacts, and what it will write."""

    tx: Connection
    batch: Batch
    seen: Seen
    now: datetime
    source: str
    owners: dict[bulk.Key, int] = field(default_factory=dict)
    known: dict[int, dict[str, Any]] = field(default_factory=dict)
    marks: dict[int, dict[str, tuple[str, str, str]]] = field(default_factory=dict)  # field → value, how, was
    fresh: dict[int, None] = field(default_factory=dict)  # contacts to be made
    changed: set[int] = field(default_factory=set)
    marked: set[int] = field(default_factory=set)
    identities: list[tuple[int, str, str, str]] = field(default_factory=list)
    called: dict[int, str] = field(default_factory=dict)  # names of those whom a row knows by phone alone
    held: dict[int, set[bulk.Key]] = field(default_factory=dict)  # … and their addresses and references
    _next: list[int] = field(default_factory=list)

    def fetch(self, people: list[CustomerRow], *, whole: bool = True) -> None:
        """What the store knows of everyone in the batch; not `whole`, who they are is enough."""
        wanted = {key for person in people for key in person.keys}
        wanted |= {("email", n.was.lower()) for person in people for n in person.notes if n.how == "domain"}
        self.owners = bulk.owners(self.tx, wanted)
        ids = set(self.owners.values()) if whole else set()
        for row in bulk.by_ids(self.tx, contact, ids, only=_KNOWN):
            self.known[row[0]] = dict(zip(_KNOWN, row, strict=True))
        for row in bulk.by_ids(self.tx, mark, ids, "contact_id"):
            contact_id, name, *values = row
            self.marks.setdefault(contact_id, {})[name] = tuple(values)
        by_phone = [person for person in people if self._is_known_by_phone(person)]
        self._fetch_holders({self.owners[key] for one in by_phone for key in one.keys if key in self.owners})
        strangers = sum(not any(key in self.owners for key in person.keys) for person in people)
        self._next = list(bulk.draw_ids(self.tx, contact, strangers + len(by_phone)))[::-1]

    def _is_known_by_phone(self, row: CustomerRow) -> bool:
        """And is said to have more, by which it may be somebody else."""
        spaces = [space for space, _ in row.keys]
        first = next((key[0] for key in row.keys if key in self.owners), "")
        return first == "phone" and ("email" in spaces or "ref" in spaces)

    def _fetch_holders(self, ids: set[int]) -> None:
        for number, name in bulk.by_ids(self.tx, contact, ids, only=("id", "name")):
            self.called[number] = name
        for number, space, user_id in bulk.by_ids(
            self.tx, identity, ids, "contact_id", only=("contact_id", "space", "user_id")
        ):
            if space in ("email", "ref"):
                self.held.setdefault(number, set()).add((space, user_id))

    def find(self, row: CustomerRow) -> tuple[int, str] | None:
        """Whom the row is about, and by which key."""
        for key in row.keys:
            owner = self.owners.get(key)
            if owner is not None and not (key[0] == "phone" and self._only_shares_it(row, owner)):
                return owner, key[0]
        return None

    def account(self, row: CustomerRow, contact_id: int) -> tuple[str, str] | None:
        """By which address, number or reference a row means somebody we know."""
        return next((key for key in row.keys if self.owners.get(key) == contact_id), None)

    def _only_shares_it(self, row: CustomerRow, owner: int) -> bool:
        """Whether a phone is one that several use: a family's, an office's. They have another reference, or
        another address and another name."""
        held = self.held.get(owner, set())
        spaces = {space for space, _ in held}
        said = {key for key in row.keys if key[0] in spaces}
        if not said.isdisjoint(held):
            return False
        if "ref" in {space for space, _ in said}:
            return True
        name = self.known[owner]["name"] if owner in self.known else self.called.get(owner, "")
        return "email" in {space for space, _ in said} and guesses.are_others(name, row.name)

    def take(self, row: CustomerRow) -> Outcome:
        """A row about a customer."""
        if row.notes:
            row = self._as_known(row)
            self.batch.report.correct(row.line, row.notes)
        found = self.find(row)
        if found is None:
            contact_id = self.create(row)
            self.batch.touched[contact_id] = row.line
            return "new"
        contact_id, by = found
        first = self._first(row.line, contact_id, by)
        said = self._said(contact_id, row, first)
        claimed = self.claim(contact_id, row)
        return "updated" if said or claimed else "unchanged"

    def _as_known(self, row: CustomerRow) -> CustomerRow:
        """An address that looks like a slip is none when somebody has it."""
        notes, keys = [], list(row.keys)
        for note in row.notes:
            was = ("email", note.was.lower())
            if note.how == "domain" and was in self.owners:
                keys = [was if key == ("email", note.value) else key for key in keys]
            else:
                notes.append(note)
        return row._replace(keys=tuple(dict.fromkeys(keys)), notes=tuple(notes))

    def _first(self, line: int, contact_id: int, by: str) -> bool:
        earlier = self.seen.line(contact_id) or self.batch.touched.get(contact_id, 0)
        if earlier:
            self.batch.report.repeat(line, earlier, contact_id, by)
            return False
        self.batch.touched[contact_id] = line
        return True

    def _said(self, contact_id: int, row: CustomerRow, first: bool) -> bool:
        known = self.known[contact_id]
        marks = self.marks.get(contact_id, {})
        changes: dict[str, Any] = {}
        for column in TEXTS:
            said = getattr(row, column)
            if not said:
                continue
            guessed = column in marks and marks[column][0] == known[column]
            if said != known[column] and (first or guessed or not known[column]):
                changes[column] = said
            elif said == known[column] and guessed and marks[column][1] != "corrected":
                self._unmark(contact_id, column)
        for column, told, source in row.guessed:
            if not known[column] and column not in changes:
                changes[column] = told
                self._mark(contact_id, column, told, "inferred", source)
        if fresh := [tag for tag in row.tags if tag not in known["tags"]]:
            changes["tags"] = [*known["tags"], *dict.fromkeys(fresh)]
        fields = {
            name: value
            for name, value in row.fields
            if known["fields"].get(name) != value and (first or name not in known["fields"])
        }
        if fields:
            changes["fields"] = {**known["fields"], **fields}
        if changes and contact_id not in self.fresh:
            self._journal(contact_id, changes)
            self.changed.add(contact_id)
        known.update(changes)
        return bool(changes)

    def create(self, row: CustomerRow) -> int:
        """A contact of the row, with its identities."""
        contact_id = self._next.pop()
        created: dict[str, Any] = {
            "name": row.name,
            "company": row.company,
            "country": row.country,
            "city": row.city,
            "language": row.language,
            "timezone": row.timezone,
            "tags": list(dict.fromkeys(row.tags)),
            "fields": dict(row.fields),
        }
        self.known[contact_id] = created
        self.fresh[contact_id] = None
        for column, told, source in row.guessed:
            created[column] = told
            self._mark(contact_id, column, told, "inferred", source)
        self.claim(contact_id, row)
        return contact_id

    def claim(self, contact_id: int, row: CustomerRow) -> bool:
        """Give the contact the row's identities that nobody holds; tell whether there were any. One that another
        contact holds stays there and is reported: whose it is, people say."""
        fresh = False
        for key in row.keys:
            owner = self.owners.get(key)
            if owner in (None, contact_id) and key[0] in ("email", "ref"):
                self.held.setdefault(contact_id, set()).add(key)
            if owner is None:
                self.owners[key] = contact_id
                self.identities.append((contact_id, *key, row.name))
                for note in row.notes:
                    if note.how == "domain" and key == ("email", note.value):
                        self._mark(contact_id, "email", note.value, "corrected", note.was)
                fresh = True
            elif owner != contact_id:
                values = {"value": key[1], "contact": str(contact_id), "other": str(owner)}
                self.batch.report.reject(Rejected(row.line, "identity_taken", values))
        return fresh

    def _mark(self, contact_id: int, column: str, value: str, how: str, was: str) -> None:
        self._keep_marks(contact_id)
        self.marks.setdefault(contact_id, {})[column] = (value, how, was)
        self.marked.add(contact_id)
        if how == "inferred":
            self.batch.report.inferred += 1
            self.batch.report.part(column, how)

    def _unmark(self, contact_id: int, column: str) -> None:
        self._keep_marks(contact_id)
        del self.marks[contact_id][column]
        self.marked.add(contact_id)

    def _is_ours(self, contact_id: int) -> bool:
        """Whether this run made the contact: then undoing takes it away whole."""
        return contact_id in self.fresh or self.seen.is_new(contact_id)

    def _keep_marks(self, contact_id: int) -> None:
        if self._is_ours(contact_id):
            return
        before = [[name, *values] for name, values in sorted(self.marks.get(contact_id, {}).items())]
        self._changing(contact_id).before.setdefault("marks", before)

    def _changing(self, contact_id: int) -> Change:
        return self.batch.changes.setdefault(("contact", contact_id), Change(contact_id, {}, {}))

    def _journal(self, contact_id: int, changes: dict[str, Any]) -> None:
        if self._is_ours(contact_id):
            return
        one, known = self._changing(contact_id), self.known[contact_id]
        for name, value in plain((name, known[name]) for name in (*changes, "updated_at")).items():
            one.before.setdefault(name, value)
        one.after |= plain(changes.items())

    def flush(self) -> None:
        """Write what the rows of the batch said."""
        tx, now = self.tx, self.now
        known = self.known
        ordered = sorted(self.fresh)
        bulk.insert(
            tx,
            contact,
            _CONTACT,
            [
                (
                    number,
                    (one := known[number])["name"], one["company"], one["country"], one["city"],
                    one["language"] or None, one["timezone"] or None, one["tags"], one["fields"],
                    self.source, now, now,
                )
                for number in ordered
            ],
        )  # fmt: skip
        self.batch.made["contact"] = bulk.spans(ordered)
        _change.many(
            tx,
            [
                {
                    "row": number,
                    **{f"to_{name}": known[number][name] for name in COLUMNS},
                    "to_updated_at": now,
                }
                for number in sorted(self.changed)
            ],
        )
        self._flush_identities()
        self._flush_marks()
        indexing.changed(tx, "contact", self.changed | {one[0] for one in self.identities} - set(ordered))

    def _flush_identities(self) -> None:
        ours: list[tuple[int, str, str, str]] = []
        others: list[tuple[int, str, str, str]] = []
        for one in self.identities:
            (ours if one[0] in self.fresh or self.seen.is_new(one[0]) else others).append(one)
        ids = bulk.draw_ids(self.tx, identity, len(self.identities))
        rows = []
        for number, (contact_id, space, user_id, name) in zip(ids, [*ours, *others], strict=True):
            handle = user_id[1:] if space == "telegram" else ""
            rows.append((number, contact_id, space, user_id, name, handle, self.now))
        bulk.insert(self.tx, identity, _IDENTITY, rows)
        self.batch.made["identity"] = bulk.spans(ids[: len(ours)])
        for number, (contact_id, *_) in zip(ids[len(ours) :], others, strict=True):
            self._changing(contact_id).after.setdefault("identities", []).append(number)

    def _flush_marks(self) -> None:
        bulk.delete_ids(self.tx, mark, sorted(self.marked - self.fresh.keys()), "contact_id")
        bulk.insert(
            self.tx,
            mark,
            _MARK,
            [
                (number, name, *values)
                for number in sorted(self.marked)
                for name, values in self.marks.get(number, {}).items()
            ],
        )
