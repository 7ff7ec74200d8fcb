"""Phone numbers from their end. A row each on SQLite; on PostgreSQL, where a row takes 80 bytes with its index,
all that share their last four digits stand in one row, as two arrays: the digits before those, and whose."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from crm_store.rows import is_postgresql
from crm_store.search.query import sql

DIGITS = 9  # of a number's end
Tail = tuple[int, int]  # a number from its end, and whose it is
_SHARED = 10 ** (DIGITS - 4)

_GROUPED = f"""
INSERT INTO search_phone (bucket, tails, contacts)
SELECT tail / {_SHARED}, array_agg(CAST(tail % {_SHARED} AS integer)), array_agg(contact)
    FROM unnest(CAST(:tails AS bigint[]), CAST(:contacts AS integer[])) t(tail, contact) GROUP BY 1
ON CONFLICT (bucket) DO UPDATE SET tails = search_phone.tails || excluded.tails,
    contacts = search_phone.contacts || excluded.contacts
"""
_KEPT = """
UPDATE search_phone p SET tails = kept.tails, contacts = kept.contacts FROM (
    SELECT b.bucket,
        coalesce(array_agg(u.tail) FILTER (WHERE u.contact <> ALL(CAST(:ids AS integer[]))), '{{}}') AS tails,
        coalesce(array_agg(u.contact) FILTER (WHERE u.contact <> ALL(CAST(:ids AS integer[]))), '{{}}') AS contacts
    FROM search_phone b CROSS JOIN LATERAL unnest(b.tails, b.contacts) u(tail, contact)
    WHERE {where} b.contacts && CAST(:ids AS integer[]) GROUP BY b.bucket
) kept WHERE kept.bucket = p.bucket
"""


def tail_of(digits: str) -> int:
    """A phone number from its end, as a number that sorts: suffixes are ranges."""
    return int(digits[::-1][:DIGITS].ljust(DIGITS, "0"))


def ending(tx: Connection) -> str:
    """SELECT of tail and contact_id of the numbers from :tail to below :tail_end, which share four digits."""
    if is_postgresql(tx):
        return (
            "SELECT u.tail, u.contact_id FROM search_phone s CROSS JOIN LATERAL"
            " unnest(s.tails, s.contacts) u(tail, contact_id)"
            f" WHERE s.bucket = CAST(:tail AS bigint) / {_SHARED}"
            f" AND s.bucket * {_SHARED} + u.tail >= :tail AND s.bucket * {_SHARED} + u.tail < :tail_end"
        )
    return "SELECT tail, contact_id FROM search_phone WHERE tail >= :tail AND tail < :tail_end"


def add(tx: Connection, found: Sequence[Tail]) -> None:
    """Index the numbers of contacts that have none in the index."""
    new = list(dict.fromkeys(found))
    if not new:
        return
    if is_postgresql(tx):
        tx.execute(sql(_GROUPED), {"tails": [tail for tail, _ in new], "contacts": [one for _, one in new]})
        return
    tx.execute(
        sql("INSERT INTO search_phone (tail, contact_id) VALUES (:tail, :id) ON CONFLICT DO NOTHING"),
        [{"tail": tail, "id": number} for tail, number in new],
    )


def drop(tx: Connection, contact_ids: Sequence[int], found: Sequence[Tail] | None = None) -> None:
    """Take the numbers of some contacts out, which costs a look at all there are, or at those of `found`."""
    if not contact_ids or (found is not None and not found):
        return
    if is_postgresql(tx):
        values: dict[str, object] = {"ids": list(contact_ids)}
        where = ""
        if found is not None:
            where = "b.bucket = ANY(CAST(:buckets AS bigint[])) AND"
            values["buckets"] = list({tail // _SHARED for tail, _ in found})
        tx.execute(sql(_KEPT.format(where=where)), values)
        tx.execute(sql("DELETE FROM search_phone WHERE tails = '{}'"))
    elif found is not None:
        rows = [{"tail": tail, "id": number} for tail, number in found]
        tx.execute(sql("DELETE FROM search_phone WHERE tail = :tail AND contact_id = :id"), rows)
    else:
        for start in range(0, len(contact_ids), 500):  # numbers of ours
            some = ", ".join(str(int(number)) for number in contact_ids[start : start + 500])
            tx.execute(text(f"DELETE FROM search_phone WHERE contact_id IN ({some})"))
