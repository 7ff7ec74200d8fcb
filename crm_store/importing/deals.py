"""Deals from a file: found again by the file's own number, so that the same file twice changes nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from crm_store import deals, people
from crm_store.importing import bulk, times, values
from crm_store.importing.files import Row
from crm_store.importing.report import Batch, Change, Seen
from crm_store.importing.rows import CustomerRow, Rejected, customer_of, one_by_one, said_in
from crm_store.importing.runs import plain
from crm_store.importing.values import Defaults, Wrong
from crm_store.importing.write import Contacts, Outcome

BATCH = 200  # deals a transaction: each is some statements
TITLE = 200  # characters
ACTOR = "import"
_ADDRESS = re.compile(r"[^\s<>()@,;]+@[^\s<>()@,;]+")  # "Anna Smith (anna@example.com)"
_OURS = re.compile(r"D(\d{1,9})")  # as our own exports name a deal
_STAGES = {
    deals.WON: "won closed_won win success 赢单 成交 已成交",
    deals.LOST: "lost closed_lost lose failed 输单 流失 未成交",
}
_TRACED = (
    *("title", "stage", "amount_minor", "currency", "expected_on", "lost_reason", "owner_id"),
    *("stage_at", "closed_at", "updated_at"),
)


@dataclass(frozen=True, slots=True)
class Stages:
    """The desk's stages, first the one of a new deal, and further names of them."""

    names: tuple[str, ...] = ("new",)
    words: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> dict[str, str]:
        known = {_plain(alias): stage for stage, aliases in _STAGES.items() for alias in aliases.split()}
        known |= {_plain(word): stage for word, stage in self.words.items()}
        return known | {_plain(stage): stage for stage in self.names}


@dataclass(frozen=True, slots=True)
class DealRow:
    """A deal: `values` are the columns that the file says something about."""

    line: int
    key: str
    values: dict[str, Any]
    owner: str
    customer: CustomerRow


def parser(stages: Stages) -> Any:
    """How rows are read where these are the stages."""
    table = stages.table()

    def parse(rows: Iterable[Row], defaults: Defaults) -> Iterator[DealRow | Rejected]:
        return one_by_one(rows, lambda row, rejected: _deal(row, defaults, table, rejected))

    return parse


def _deal(
    row: Row, defaults: Defaults, table: Mapping[str, str], rejected: list[Rejected]
) -> DealRow | Rejected:
    said, _ = said_in("deals", row)
    key, title = values.key(said.get("key")), values.clean(said.get("title"))
    if not key or not title:
        return Rejected(row.line, "missing", {"fields": "key" if not key else "title"})
    found: dict[str, Any] = {"title": title[:TITLE]}
    if named := values.clean(said.get("stage")):
        stage = table.get(_plain(named))
        if stage is None:
            raise Wrong("stage", named)
        found["stage"] = stage
        if stage == deals.LOST and "lost_reason" in said:
            found["lost_reason"] = values.clean(said["lost_reason"])
    if "amount" in said:
        currency = values.clean(said.get("currency"))
        found["amount_minor"], found["currency"] = values.money(said["amount"], currency, defaults)
        if found["amount_minor"] < 0:
            raise Wrong("amount", said["amount"])
    if said.get("expected_on"):
        at = times.moment(said["expected_on"], defaults)
        found["expected_on"] = at.astimezone(defaults.timezone).date()
    person: dict[str, Any] = {name: said[name] for name in ("email", "phone") if name in said}
    if "customer" in said:
        person["name"] = said["customer"]
        if not person and (address := _ADDRESS.search(values.clean(said["customer"]))):
            person["email"] = address[0]
    if "customer_ref" in said:
        person["ref"] = said["customer_ref"]
    customer = customer_of(row.line, person, defaults, rejected)
    return DealRow(row.line, key, found, values.clean(said.get("owner")), customer)


@dataclass(slots=True)
class Deals:
    """What a batch knows of its deals, and what it will write."""

    tx: Connection
    batch: Batch
    seen: Seen
    now: datetime
    people: Contacts
    source: str
    stages: Stages
    currency: str
    fresh: dict[str, tuple[DealRow, int]] = field(default_factory=dict)  # key → what, whose
    _owners: dict[str, int | None] = field(default_factory=dict)

    def take(self, row: DealRow) -> Outcome | None:
        """A deal. None when it is left out, which the report says."""
        report = self.batch.report
        if row.customer.notes:
            report.correct(row.line, row.customer.notes)
        if row.owner and self._owner(row.owner) is None:
            report.reject(Rejected(row.line, "no_such_owner", {"value": row.owner[:80]}))
        if row.key in self.fresh:
            return self._again(
                row, self.fresh[row.key][0].line, 0, row.values == self.fresh[row.key][0].values
            )
        known = find(self.tx, row.key)
        if known is None:
            return self._new(row)
        owner = self.people.find(row.customer)
        if row.customer.keys and (owner is None or owner[0] != known.contact_id):
            named = {
                "number": row.key,
                "contact": str(known.contact_id),
                "other": str(owner[0] if owner else ""),
            }
            report.reject(
                Rejected(row.line, "deal_owner", named)
            )  # changes hands by a merge, never by a file
            if known.key != row.key:
                return None  # another system has a D5 of its own, which is not ours
        changes = self._changes(row, known)
        earlier = self.seen.line(known.id) or self.batch.touched.get(known.id, 0)
        if earlier:
            return self._again(row, earlier, known.id, not changes)
        self.batch.touched[known.id] = row.line
        if not changes:
            return "unchanged"
        changed = deals.change(self.tx, self.now, ACTOR, known, **changes)
        before, after = known._mapping, changed._mapping
        moved = [name for name in _TRACED if before[name] != after[name]]
        self.batch.changes["deal", known.id] = Change(
            known.contact_id,
            plain((name, _said(before[name])) for name in moved),
            plain((name, _said(after[name])) for name in moved if name != "updated_at"),
        )
        return "updated"

    def _again(self, row: DealRow, earlier: int, number: int, same: bool) -> Outcome | None:
        """When one file speaks of a deal twice, the first row counts."""
        self.batch.report.repeat(row.line, earlier, number, "key")
        if same:
            return "unchanged"
        self.batch.report.reject(Rejected(row.line, "deal_repeated", {"number": row.key}))
        return None

    def _new(self, row: DealRow) -> Outcome | None:
        found = self.people.find(row.customer)
        if found is None and not row.customer.keys:
            self.batch.report.reject(Rejected(row.line, "no_customer", {"number": row.key}))
            return None
        self.fresh[row.key] = row, found[0] if found else self.people.create(row.customer)
        return "new"

    def _changes(self, row: DealRow, known: Any) -> dict[str, Any]:
        wanted = dict(row.values)
        if (owner := self._owner(row.owner)) is not None:
            wanted["owner_id"] = owner
        return {name: value for name, value in wanted.items() if getattr(known, name) != value}

    def _owner(self, name: str) -> int | None:
        if name and name not in self._owners:
            found = people.by_name(self.tx, name)
            self._owners[name] = found.id if found is not None else None
        return self._owners.get(name)

    def flush(self) -> None:
        """Write the new deals; their contacts must be written."""
        ids = []
        for key, (row, contact_id) in self.fresh.items():
            said = {"stage": self.stages.names[0], "amount_minor": 0, "currency": self.currency, **row.values}
            owner_id = self._owner(row.owner)
            made = deals.add(
                *(self.tx, self.now, ACTOR),
                **{**said, "contact_id": contact_id, "key": key, "source": self.source, "owner_id": owner_id},
            )
            ids.append(made.id)
            self.batch.touched[made.id] = row.line
        self.batch.made["deal"] = bulk.spans(ids)


def find(tx: Connection, key: str) -> Any:
    """The deal that a file calls so."""
    known = deals.by_key(tx, key)
    if known is None and (ours := _OURS.fullmatch(key)):
        known = deals.by_number(tx, int(ours[1]))
    return known


def _said(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", str(text)).casefold()
    return "".join(c for c in folded if c.isalnum())
