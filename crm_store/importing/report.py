"""What an import did, told a line each; and what it remembers of itself while it runs."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_store.importing.rows import Rejected
from crm_store.importing.values import Note

_FIELDS = {  # what a reason is about, where its name does not say it
    "currency": "amount",
    "future": "date",
}
_OF = re.compile(r"email|phone|telegram|amount|currency|date|quantity|lines|stage|event")
LIMIT = 10_000  # told one by one of each kind; the rest is counted


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row about a contact or order of which an earlier row spoke; `by` says which key they share."""

    line: int
    of_line: int
    row_id: int
    by: str


@dataclass(frozen=True, slots=True)
class Corrected:
    """A value that was written otherwise in the file: `how` is domain or width."""

    line: int
    field: str
    was: str
    value: str
    how: str


@dataclass(slots=True)
class Habits:
    """How a file is read: which column is what ("" for one of its own), and whether slashed dates have the day
    first, as the line `by_line` shows; None where no line does."""

    columns: dict[str, str] = field(default_factory=dict)
    day_first: bool | None = None
    by_line: int = 0


@dataclass(slots=True)
class Report:
    """What an import did, or would do. `rejected` holds rows, and single values of imported rows.

    `run_id` is for undo; `resumed` rows were written by a run that had been cut off; `seen_before` is the
    number of the latest import of the very same file. `records` are the file's, `anomalous` those of them that
    were rejected, corrected or there before in it, in part or whole; `parts` counts what was the matter by field
    ("" is the row as a whole).
    """

    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    unreported: int = 0  # rejected beyond LIMIT
    duplicates: list[Duplicate] = field(default_factory=list)
    duplicate: int = 0  # all of them
    corrected: list[Corrected] = field(default_factory=list)
    corrections: int = 0  # all of them
    inferred: int = 0  # values that were filled in
    run_id: int = field(default=0, compare=False)
    resumed: int = 0
    seen_before: int = 0
    records: int = 0
    anomalous: int = 0
    parts: dict[str, dict[str, int]] = field(default_factory=dict)
    read_as: Habits = field(default_factory=Habits, compare=False)

    @property
    def index(self) -> float | None:
        """The file's records ÷ anomalous records; None when none is anomalous."""
        return self.records / self.anomalous if self.anomalous else None

    def measure(self, lines: set[int]) -> None:
        """Count the records that begin on these lines, and what is the matter with them."""
        told = (self.rejected, self.corrected, self.duplicates)
        self.records = len(lines)
        self.anomalous = len(lines & {one.line for listed in told for one in listed})
        for rejected in self.rejected:
            self.part(_field_of(rejected.reason_key), "rejected")
        for corrected in self.corrected:
            self.part(corrected.field, "corrected")
        for _ in self.duplicates:
            self.part("", "duplicate")

    def part(self, field: str, kind: str, count: int = 1) -> None:
        kinds = self.parts.setdefault(field, {})
        kinds[kind] = kinds.get(kind, 0) + count

    def reject(self, rejected: Rejected) -> None:
        if len(self.rejected) < LIMIT:
            self.rejected.append(rejected)
        else:
            self.unreported += 1

    def add(self, other: Report) -> None:
        self.new += other.new
        self.updated += other.updated
        self.unchanged += other.unchanged
        self.duplicate += other.duplicate
        self.corrections += other.corrections
        self.inferred += other.inferred
        self.records += other.records
        self.anomalous += other.anomalous
        for name, kinds in other.parts.items():
            for kind, count in kinds.items():
                self.part(name, kind, count)
        room = max(0, LIMIT - len(self.rejected))
        self.rejected += other.rejected[:room]
        self.unreported += other.unreported + len(other.rejected[room:])
        self.duplicates += other.duplicates[: max(0, LIMIT - len(self.duplicates))]
        self.corrected += other.corrected[: max(0, LIMIT - len(self.corrected))]

    def correct(self, line: int, notes: tuple[Note, ...]) -> None:
        self.corrections += len(notes)
        if len(self.corrected) < LIMIT:
            self.corrected += [Corrected(line, note.field, note.was, note.value, note.how) for note in notes]

    def repeat(self, line: int, of_line: int, row_id: int, by: str) -> None:
        self.duplicate += 1
        if len(self.duplicates) < LIMIT:
            self.duplicates.append(Duplicate(line, of_line, row_id, by))

    def restore(self, counts: Mapping[str, int]) -> None:
        """The numbers of a run that goes on."""
        for name in (
            *("new", "updated", "unchanged", "duplicate", "corrections", "inferred", "records", "anomalous"),
        ):
            setattr(self, name, counts.get(name, 0))
        for name, count in counts.items():
            field, point, kind = name.rpartition(".")
            if point:
                self.part(field, kind, count)

    def counts(self) -> dict[str, int]:
        """The numbers, to be kept; what the rows say is not."""
        return {
            "new": self.new,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "rejected": len(self.rejected) + self.unreported,
            "duplicate": self.duplicate,
            "corrections": self.corrections,
            "inferred": self.inferred,
            "records": self.records,
            "anomalous": self.anomalous,
            **{f"{name}.{kind}": n for name, kinds in self.parts.items() for kind, n in kinds.items()},
        }


def _field_of(reason: str) -> str:
    found = _OF.search(reason)
    return _FIELDS.get(found[0], found[0]) if found else _FIELDS.get(reason, "")


class Seen:
    """Of which contacts or orders the run has spoken: the line of each by id, 5 MB for a million."""

    def __init__(self) -> None:
        self._lines = array("I")
        self._new = bytearray()

    def __contains__(self, number: int) -> bool:
        return self.line(number) > 0

    def line(self, number: int) -> int:
        return self._lines[number] if number < len(self._lines) else 0

    def is_new(self, number: int) -> bool:
        """Whether the run itself made it."""
        return number // 8 < len(self._new) and bool(self._new[number // 8] >> number % 8 & 1)

    def update(self, touched: dict[int, int], made: list[tuple[int, int]] | None = None) -> None:
        """Remember lines by id, and the ids (from, to) that were made."""
        highest = max(touched, default=0)
        if highest >= len(self._lines):
            self._lines.extend(array("I", bytes(4 * (highest + 65_536 - len(self._lines)))))
        for number, line in touched.items():
            self._lines[number] = self._lines[number] or max(line, 1)
        for first, last in made or ():
            if last // 8 >= len(self._new):
                self._new.extend(bytes(last // 8 + 8192 - len(self._new)))
            for number in range(first, last + 1):
                self._new[number // 8] |= 1 << number % 8


@dataclass(slots=True)
class Change:
    """What a run made of a row that was there: columns before and after."""

    contact_id: int | None
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(slots=True)
class Batch:
    """One transaction's work: what it counts and touches, thrown away when the transaction is repeated."""

    report: Report = field(default_factory=Report)
    touched: dict[int, int] = field(default_factory=dict)  # contacts or orders → the first line about them
    made: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # table → spans of ids
    changes: dict[tuple[str, int], Change] = field(default_factory=dict)  # (table, id)
    took_s: float = 0.0
