"""Two contacts become one, and two again: a merge is undone to exactly what was.

`drop` becomes part of `keep`: what belongs to it (OWNED) goes over, row by row noted; of what `keep` lacks
(name, city, a field, a tag) it is given what `drop` has; where both have something, `keep` wins. The row of
`drop` stays as it was and points at `keep`, so an old id is found for ever. What is already written to
somebody is not touched: outbox rows and messages name their recipients themselves.

Undone, the rows that went over go back, as far as they still belong to `keep`, and what `keep` was given is
taken away, as far as nobody has changed it since. What is new since then stays with the one by whose identity
it came: a conversation goes to whoever's account opened it, with its tickets and its consents; an order
of a file or of another system to whose address or reference it named. What names no identity (a note, an event, a
deal, a phone that was proved) stays with `keep`.

Merges nest as a tree: A took B, C takes A. Undoing is possible for whatever points at somebody who is still
there: A must come back from C before B can come back from A; B and D, both in A, come back in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, literal, or_, select, update

from crm_store import audit, schema, since_merge
from crm_store.rows import insert_id
from crm_store.search import indexing

contact, merge_table, merge_row = schema.contact, schema.merge, schema.merge_row
conversation, ticket, consent, message = schema.conversation, schema.ticket, schema.consent, schema.message
mark = schema.contact_mark
OWNED = (  # what goes over, by contact_id
    schema.identity,
    schema.conversation,
    schema.ticket,
    schema.order,
    schema.customer_event,
    schema.deal,
    schema.contact_note,
    schema.consent,
)
LEFT = (  # what names a contact and stays where it is
    schema.erasure,  # what was done to that row
    schema.import_change,  # the same
    schema.contact_mark,  # about values of that row; those that are given over are copied
    schema.merge,
    schema.suggestion,
)
GIVEN = ("name", "language", "timezone", "company", "country", "city", "owner_id")
STRAYS = timedelta(hours=1)


class Refused(Exception):
    """A merge that cannot be: `reason` is "unknown", "same", "merged", "erased", "undone" or "inside" (the
    merge `other` must be undone first)."""

    def __init__(self, reason: str, other: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.other = other


@dataclass(frozen=True, slots=True)
class Plan:
    """What a merge would do: rows of each table that go over, and per column what is kept, what is given and
    what stays behind: (column, of keep, of drop)."""

    keep: Any
    drop: Any
    counts: dict[str, int]
    messages: int
    given: tuple[tuple[str, Any], ...]
    outvoted: tuple[tuple[str, Any, Any], ...]
    tags: tuple[str, ...]
    fields: tuple[str, ...]


# --- who somebody is now ------------------------------------------------------------------------------------


def current(tx: Connection, contact_id: int) -> int:
    """The contact that this one is by now: itself, or the one it was merged into."""
    while True:
        into = tx.execute(select(contact.c.merged_into_id).where(contact.c.id == contact_id)).scalar()
        if into is None:
            return contact_id
        contact_id = into


def inside(tx: Connection, contact_id: int) -> list[int]:
    """The contacts that are part of this one by now, not itself: the ids it was known by."""
    tree = select(contact.c.id).where(contact.c.merged_into_id == contact_id).cte("inside", recursive=True)
    more = select(contact.c.id).join(tree, contact.c.merged_into_id == tree.c.id)
    return sorted(tx.execute(select(tree.union_all(more).c.id)).scalars())


def inside_each(tx: Connection, contact_ids: Sequence[int]) -> dict[int, list[int]]:
    """The same for several, for those who have any."""
    found: dict[int, list[int]] = {}
    level = {number: number for number in contact_ids}  # id → whose part it is at last
    while level:
        parts = select(contact.c.id, contact.c.merged_into_id).where(
            contact.c.merged_into_id.in_(list(level))
        )
        level = {row.id: level[row.merged_into_id] for row in tx.execute(parts)}
        for number, whole in level.items():
            found.setdefault(whole, []).append(number)
    return {whole: sorted(numbers) for whole, numbers in found.items()}


def group(tx: Connection, contact_id: int) -> list[int]:
    """Every id of the person that this contact is."""
    now = current(tx, contact_id)
    return [now, *inside(tx, now)]


def get(tx: Connection, merge_id: int) -> Any:
    return tx.execute(select(merge_table).where(merge_table.c.id == merge_id)).first()


def of(tx: Connection, contact_id: int) -> list[Any]:
    """The merges into a contact that can be undone, newest first."""
    query = select(merge_table).where(merge_table.c.keep_id == contact_id, merge_table.c.undone_at.is_(None))
    return list(tx.execute(query.order_by(merge_table.c.id.desc())))


def recent(tx: Connection, *, limit: int = 10) -> list[Any]:
    """The merges that can be undone, newest first."""
    query = select(merge_table).where(merge_table.c.undone_at.is_(None))
    return list(tx.execute(query.order_by(merge_table.c.id.desc()).limit(limit)))


# --- merging ------------------------------------------------------------------------------------------------


def plan(tx: Connection, keep_id: int, drop_id: int) -> Plan:
    """What `merge` would do. Raise Refused."""
    keep, drop = _both(tx, keep_id, drop_id, lock=False)
    counts = {}
    for table in OWNED:
        mine = select(func.count()).select_from(table).where(table.c.contact_id == drop.id)
        counts[table.name] = int(tx.execute(mine).scalar_one())
    talks = select(conversation.c.id).where(conversation.c.contact_id == drop.id)
    said = select(func.count()).where(message.c.conversation_id.in_(talks))
    gave, outvoted = _gives(keep, drop)
    return Plan(
        keep,
        drop,
        counts,
        int(tx.execute(said).scalar_one()),
        tuple((name, getattr(drop, name)) for name in gave["columns"]),
        outvoted,
        tuple(gave["tags"]),
        tuple(gave["fields"]),
    )


def merge(tx: Connection, now: datetime, keep_id: int, drop_id: int, *, actor: str, how: str = "") -> int:
    """Make `drop` part of `keep` and return the merge's number. Raise Refused.

    Two who merge at once wait for each other; the second finds what the first has done.
    """
    keep, drop = _both(tx, keep_id, drop_id, lock=True)
    gave, _ = _gives(keep, drop)
    gave["marks"] = _copy_marks(tx, drop.id, keep.id, gave["columns"])
    merge_id = insert_id(
        tx,
        merge_table.insert().values(
            keep_id=keep.id, drop_id=drop.id, actor=actor, how=how, gave=gave, marks=_marks(tx), at=now
        ),
    )
    _move(tx, merge_id, drop.id, keep.id)
    tx.execute(
        update(contact).where(contact.c.id == keep.id).values(**_given(keep, drop, gave), updated_at=now)
    )
    tx.execute(update(contact).where(contact.c.id == drop.id).values(merged_into_id=keep.id, updated_at=now))
    _decide_suggestions(tx, now, keep.id, drop.id, actor)
    indexing.changed(tx, "contact", [keep.id, drop.id])
    detail = {"merge": merge_id, "drop": drop.id} | ({"how": how} if how else {})
    audit.record(tx, now, actor, "merge", f"contact:{keep.id}", **detail)
    audit.record(tx, now, actor, "merge", f"contact:{drop.id}", merge=merge_id, keep=keep.id)
    return merge_id


def settle(tx: Connection, now: datetime) -> int:
    """Take along what was written to a merged contact at the moment of its merging, and return how much.

    On PostgreSQL somebody who was met before the merge can be written to after it; nowhere else.
    """
    recent = select(merge_table).where(merge_table.c.undone_at.is_(None), merge_table.c.at > now - STRAYS)
    rows = tx.execute(recent.order_by(merge_table.c.id)).all()  # from the inside out
    return sum(_move(tx, row.id, row.drop_id, row.keep_id) for row in rows)


def _both(tx: Connection, keep_id: int, drop_id: int, *, lock: bool) -> tuple[Any, Any]:
    query = select(contact).where(contact.c.id.in_([keep_id, drop_id])).order_by(contact.c.id)
    rows = {row.id: row for row in tx.execute(query.with_for_update() if lock else query)}
    if keep_id not in rows or drop_id not in rows:
        raise Refused("unknown", keep_id if keep_id not in rows else drop_id)
    if keep_id == drop_id:
        raise Refused("same")
    for row in rows.values():
        if row.merged_into_id is not None:
            raise Refused("merged", row.id)
    erased = select(schema.erasure.c.contact_id).where(schema.erasure.c.contact_id.in_(list(rows)))
    if (gone := tx.execute(erased).scalar()) is not None:
        raise Refused("erased", gone)
    return rows[keep_id], rows[drop_id]


def _gives(keep: Any, drop: Any) -> tuple[dict[str, Any], tuple[tuple[str, Any, Any], ...]]:
    """What `keep` gets from `drop`, without the values: those stand in the row of `drop`. And where it wins."""
    empty = ("", None)
    columns = {
        c: getattr(keep, c) for c in GIVEN if getattr(keep, c) in empty and getattr(drop, c) not in empty
    }
    outvoted = tuple(
        (c, getattr(keep, c), getattr(drop, c))
        for c in GIVEN
        if c not in columns and getattr(drop, c) not in empty and getattr(drop, c) != getattr(keep, c)
    )
    gave = {
        "columns": columns,  # and what they were before: empty
        "tags": [t for t in dict.fromkeys(drop.tags) if t not in keep.tags],
        "fields": [key for key in drop.fields if key not in keep.fields],
        "since": keep.created_at.isoformat() if drop.created_at < keep.created_at else "",
    }
    return gave, outvoted


def _given(keep: Any, drop: Any, gave: dict[str, Any]) -> dict[str, Any]:
    """The values of `keep` with what it is given."""
    values: dict[str, Any] = {name: getattr(drop, name) for name in gave["columns"]}
    if gave["tags"]:
        values["tags"] = [*keep.tags, *gave["tags"]]
    if gave["fields"]:
        values["fields"] = {**keep.fields, **{key: drop.fields[key] for key in gave["fields"]}}
    if gave["since"]:
        values["created_at"] = drop.created_at
    return values


def _taken(keep: Any, drop: Any, gave: dict[str, Any]) -> dict[str, Any]:
    """The values of `keep` without what it was given, as far as that was not changed since."""
    values: dict[str, Any] = {
        name: before for name, before in gave["columns"].items() if getattr(keep, name) == getattr(drop, name)
    }
    if gave["tags"]:
        values["tags"] = [t for t in keep.tags if t not in gave["tags"]]
    if gave["fields"]:
        given = {k for k in gave["fields"] if k in drop.fields and keep.fields.get(k) == drop.fields[k]}
        values["fields"] = {k: v for k, v in keep.fields.items() if k not in given}
    if gave["since"] and keep.created_at == drop.created_at:
        values["created_at"] = datetime.fromisoformat(gave["since"])
    return values


def _move(tx: Connection, merge_id: int, drop_id: int, keep_id: int) -> int:
    """Note what belongs to `drop` and give it to `keep`."""
    moved = 0
    for table in OWNED:
        mine = select(literal(merge_id), literal(table.name), table.c.id).where(table.c.contact_id == drop_id)
        if tx.execute(insert(merge_row).from_select(["merge_id", "kind", "row_id"], mine)).rowcount:
            there = update(table).where(table.c.contact_id == drop_id)
            moved += tx.execute(there.values(contact_id=keep_id)).rowcount
    return moved


def _marks(tx: Connection) -> dict[str, int]:
    later = (conversation, ticket, consent, message)
    return {t.name: tx.execute(select(func.max(t.c.id))).scalar() or 0 for t in later}


def _copy_marks(tx: Connection, drop_id: int, keep_id: int, columns: Sequence[str]) -> list[str]:
    """What is known of how a given value came about goes with it; return of which columns that was."""
    rows = tx.execute(select(mark).where(mark.c.contact_id == drop_id, mark.c.field.in_(list(columns)))).all()
    had = set(tx.execute(select(mark.c.field).where(mark.c.contact_id == keep_id)).scalars())
    given = [dict(row._mapping) | {"contact_id": keep_id} for row in rows if row.field not in had]
    if given:
        tx.execute(mark.insert(), given)
    return [row["field"] for row in given]


def _drop_marks(tx: Connection, keep_id: int, fields: Sequence[str]) -> None:
    tx.execute(delete(mark).where(mark.c.contact_id == keep_id, mark.c.field.in_(list(fields))))


def _decide_suggestions(tx: Connection, now: datetime, keep_id: int, drop_id: int, actor: str) -> None:
    s = schema.suggestion
    pair = and_(
        s.c.low_id == min(keep_id, drop_id), s.c.high_id == max(keep_id, drop_id), s.c.state == "open"
    )
    tx.execute(update(s).where(pair).values(state="merged", decided_at=now, decided_by=actor))


# --- undoing ------------------------------------------------------------------------------------------------


def undo(tx: Connection, now: datetime, merge_id: int, *, actor: str) -> int:
    """Make two of them again and return the id of the one that comes back. Raise Refused."""
    row = undoable(tx, merge_id)
    query = select(contact).where(contact.c.id.in_([row.keep_id, row.drop_id])).order_by(contact.c.id)
    tx.execute(query.with_for_update()).all()
    row = undoable(tx, merge_id)  # somebody may have been faster
    _give_back_values(tx, now, row)
    for table in OWNED:
        noted = select(merge_row.c.row_id).where(
            merge_row.c.merge_id == merge_id, merge_row.c.kind == table.name
        )
        back = update(table).where(table.c.contact_id == row.keep_id, table.c.id.in_(noted))
        tx.execute(back.values(contact_id=row.drop_id))
    since_merge.give_back(tx, row)
    tx.execute(update(contact).where(contact.c.id == row.drop_id).values(merged_into_id=None, updated_at=now))
    tx.execute(update(merge_table).where(merge_table.c.id == merge_id).values(undone_at=now, undone_by=actor))
    tx.execute(delete(merge_row).where(merge_row.c.merge_id == merge_id))
    s = schema.suggestion
    low, high = sorted((row.keep_id, row.drop_id))
    tx.execute(
        update(s)
        .where(s.c.low_id == low, s.c.high_id == high, s.c.state == "merged")
        .values(state="rejected", decided_at=now, decided_by=actor)
    )
    indexing.changed(tx, "contact", [row.keep_id, row.drop_id])
    for one in (row.keep_id, row.drop_id):
        audit.record(tx, now, actor, "unmerge", f"contact:{one}", merge=merge_id)
    return int(row.drop_id)


def were_parted(tx: Connection, one: int, other: int) -> bool:
    """Whether the two, or those who are part of them, were one once and made two again: they are two."""
    ids, others = group(tx, one), group(tx, other)
    pair = or_(
        and_(merge_table.c.keep_id.in_(ids), merge_table.c.drop_id.in_(others)),
        and_(merge_table.c.keep_id.in_(others), merge_table.c.drop_id.in_(ids)),
    )
    undone = select(merge_table.c.id).where(pair, merge_table.c.undone_at.is_not(None)).limit(1)
    return tx.execute(undone).first() is not None


def undoable(tx: Connection, merge_id: int) -> Any:
    """The merge's row. Raise Refused when it cannot be undone (now)."""
    row = get(tx, merge_id)
    if row is None:
        raise Refused("unknown")
    if row.undone_at is not None:
        raise Refused("undone")
    outer = select(merge_table.c.id).where(
        merge_table.c.drop_id == row.keep_id, merge_table.c.undone_at.is_(None)
    )
    if (other := tx.execute(outer).scalar()) is not None:
        raise Refused("inside", other)
    erased = select(schema.erasure.c.contact_id).where(
        schema.erasure.c.contact_id.in_([row.keep_id, row.drop_id])
    )
    if (gone := tx.execute(erased).scalar()) is not None:
        raise Refused("erased", gone)
    return row


def forget(tx: Connection, contact_id: int) -> None:
    """For erasing somebody: no merge of theirs can be undone, and nothing is kept of what it moved."""
    ids = group(tx, contact_id)
    mine = merge_table.c.keep_id.in_(ids) | merge_table.c.drop_id.in_(ids)
    tx.execute(delete(merge_row).where(merge_row.c.merge_id.in_(select(merge_table.c.id).where(mine))))
    empty = {"columns": {}, "tags": [], "fields": [], "since": "", "marks": []}
    tx.execute(update(merge_table).where(mine).values(gave=empty, marks={}))
    s = schema.suggestion
    tx.execute(delete(s).where(s.c.low_id.in_(ids) | s.c.high_id.in_(ids)))


def _give_back_values(tx: Connection, now: datetime, row: Any) -> None:
    """As if this merge had never been: what came after it is taken back too, and given anew."""
    later = [m for m in reversed(of(tx, row.keep_id)) if m.id > row.id]
    keep = _of(tx, row.keep_id)
    before = vars(keep)
    for one in [*reversed(later), row]:
        drop = _of(tx, one.drop_id)
        keep = _with(keep, _taken(keep, drop, one.gave))
        _drop_marks(tx, row.keep_id, one.gave["marks"])
    for one in later:
        drop = _of(tx, one.drop_id)
        gave, _ = _gives(keep, drop)
        gave["marks"] = _copy_marks(tx, one.drop_id, row.keep_id, gave["columns"])
        keep = _with(keep, _given(keep, drop, gave))
        tx.execute(update(merge_table).where(merge_table.c.id == one.id).values(gave=gave))
    changes = {name: value for name, value in vars(keep).items() if value != before[name]}
    tx.execute(update(contact).where(contact.c.id == row.keep_id).values(**changes, updated_at=now))


def _of(tx: Connection, contact_id: int) -> SimpleNamespace:
    """A contact's values, to be changed before they are written."""
    row = tx.execute(select(contact).where(contact.c.id == contact_id)).one()
    return SimpleNamespace(**row._mapping)


def _with(values: SimpleNamespace, changes: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(values), **changes})
