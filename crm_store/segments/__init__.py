"""Segments: which customers, in a small language that is parsed here and never reaches the database as text.

    country:DE,FR spent>1000 last_order<30d rating<=2 tag:vip -tag:test (city:berlin or city:münchen)

Terms side by side must all hold; `or` gives a choice, `-` or `not` the opposite, brackets group. A date is
2026-03-01 or how long ago: `last_order<30d` is within the last 30 days, `last_order<2026-03-01` before that
day. Money is in units of a currency (`spent>1000`, `spent>1000EUR`); without one in the desk's.
"""

from crm_store.search.syntax import QueryError
from crm_store.segments.asking import condition, count, select_ids
from crm_store.segments.language import FIELDS, Group, Segment, Term, parse

__all__ = [
    "FIELDS",
    "Group",
    "QueryError",
    "Segment",
    "Term",
    "condition",
    "count",
    "parse",
    "select_ids",
]
