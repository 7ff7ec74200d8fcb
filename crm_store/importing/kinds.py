"""Every kind of file: what its rows become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crm_store.importing import deals, events, rows
from crm_store.importing.columns import Kind
from crm_store.importing.deals import DealRow, Stages
from crm_store.importing.events import EventRow
from crm_store.importing.files import Row
from crm_store.importing.rows import ArticleRow, CustomerRow, OrderRow, Rejected
from crm_store.importing.values import Defaults

Parsed = CustomerRow | OrderRow | EventRow | ArticleRow | DealRow | Rejected
About = OrderRow | EventRow | DealRow  # something of a customer's, with who that is

_PARSERS: dict[Kind, Callable[[Iterable[Row], Defaults], Iterator[Any]]] = {
    "customers": rows.customers,
    "orders": rows.orders,
    "events": events.events,
    "articles": rows.articles,
}


def parsed(kind: Kind, found: Iterable[Row], defaults: Defaults, stages: Stages) -> Iterator[Parsed]:
    """The rows of a file, understood."""
    parse = deals.parser(stages) if kind == "deals" else _PARSERS[kind]
    return parse(found, defaults)


def people(found: Iterable[Parsed]) -> list[CustomerRow]:
    """Whom the rows are about."""
    return [
        row.customer if isinstance(row, About) else row
        for row in found
        if isinstance(row, CustomerRow | OrderRow | EventRow | DealRow)
    ]
