"""How a file writes days and amounts, told from its first rows where a single value does not tell.

03/05/2026 alone is March or May; beside 25/12/2025 in the same column it is the third of May.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from crm_store.importing import times
from crm_store.importing.columns import Kind, plan
from crm_store.importing.objects import Row
from crm_store.importing.report import Habits
from crm_store.importing.rows import flat
from crm_store.importing.values import Defaults, multiline

FIRST = 2000  # rows that are looked at, and kept in memory for it
_DAYS = frozenset(("ordered_at", "at", "expected_on"))
_AMOUNTS = frozenset(("amount", "price"))
_DECIMAL = re.compile(r"\d(?P<sign>[.,])\d{1,2}(?!\d)(?![.,]\d)")


def learned(kind: Kind, rows: Iterator[Row], defaults: Defaults) -> tuple[Iterator[Row], Defaults, Habits]:
    """The rows, what they leave unsaid with what they show of it, and that for the report."""
    first = list(itertools.islice(rows, FIRST))
    habits = Habits()
    day_first: dict[bool, int] = {}
    signs: set[str] = set()
    for row in first:
        cells = flat(kind, row.cells)
        for (field, _, _), (column, value) in zip(plan(kind, tuple(cells)), cells.items(), strict=True):
            habits.columns.setdefault(column, field)
            if field in _DAYS and (first_is_day := times.days_first(value)) is not None:
                day_first.setdefault(first_is_day, row.line)
            elif field in _AMOUNTS and isinstance(value, str):
                signs |= _sign_of(value)
    if defaults.day_first is None and len(day_first) == 1:
        (habits.day_first, habits.by_line) = next(iter(day_first.items()))
        defaults = replace(defaults, day_first=habits.day_first)
    if not defaults.decimal and signs == {","}:
        defaults = replace(defaults, usual=",")
    return itertools.chain(first, rows), defaults, habits


def _sign_of(value: Any) -> set[str]:
    """What stands before the cents: with both signs the later one, with one if no more than two digits follow."""
    found = _DECIMAL.search(multiline(value))
    return {found["sign"]} if found else set()
