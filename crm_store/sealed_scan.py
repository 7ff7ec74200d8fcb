"""What is asked of sealed columns and is not equality: the rows are opened and looked at one by one.

SQL sees nothing in what is sealed. A part of a name, a word of a note, an address that cannot be right: where
the store has a key, these conditions read the column (a million names take some seconds) and become a list of
ids. Without a key nothing of this is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, String, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from crm_store import schema, sealing
from crm_store.rows import is_postgresql
from crm_store.search.fold import fold

contact, identity, message, conversation = (
    schema.contact,
    schema.identity,
    schema.message,
    schema.conversation,
)


def is_sealed(tx: Connection) -> bool:
    return sealing.of(tx.dialect) is not None


def among(tx: Connection, column: Any, ids: Iterable[int]) -> ColumnElement[bool]:
    """That a column is one of these ids, of which there may be any number."""
    listed = literal(json.dumps(list(ids)), String)
    if is_postgresql(tx):
        each = func.jsonb_array_elements_text(cast(listed, JSONB)).table_valued("value").alias("listed")
    else:
        each = func.json_each(listed).table_valued("value").alias("listed")
    found: ColumnElement[bool] = column.in_(select(cast(each.c.value, Integer)))
    return found


def ids_where(tx: Connection, query: Any, fits: Callable[[Any], bool]) -> list[int]:
    """The first column of the rows that fit, each once."""
    rows = tx.execute(query.execution_options(yield_per=1000))
    return list(dict.fromkeys(row[0] for row in rows if fits(row)))


def text_is(tx: Connection, field: str, value: str, *, whole: bool) -> ColumnElement[bool]:
    """That a contact's name, company or city is, or has in it, what was asked for, in whatever case."""
    lowered, folded = value.lower(), fold(value)
    column = contact.c[field]

    def fits(row: Any) -> bool:
        said = row[1].lower()
        return bool(said == lowered) if whole else lowered in said or folded in said

    return among(tx, contact.c.id, ids_where(tx, select(contact.c.id, column).where(column != ""), fits))


def reached_by(tx: Connection, space: str, part: str) -> ColumnElement[bool]:
    """That an address or a number of theirs has this in it."""
    query = select(identity.c.contact_id, identity.c.user_id).where(identity.c.space == space)
    return among(tx, contact.c.id, ids_where(tx, query, lambda row: part in row[1]))


def noted(tx: Connection, value: str) -> ColumnElement[bool]:
    """That a note in a conversation of theirs, or about them, says this."""
    lowered, note = value.lower(), schema.contact_note
    query = (
        select(conversation.c.contact_id, message.c.text)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(message.c.kind == "note")
    )
    ids = ids_where(tx, query, lambda row: lowered in row[1].lower())
    ids += ids_where(tx, select(note.c.contact_id, note.c.text), lambda row: lowered in row[1].lower())
    return among(tx, contact.c.id, ids)


def has_field(tx: Connection, name: str, value: str | None) -> ColumnElement[bool]:
    """That a custom field of theirs is this, in whatever case; None: is anything."""
    named, lowered = name.lower(), None if value is None else value.lower()

    def fits(row: Any) -> bool:
        said = [str(one).lower() for key, one in row[1].items() if key.lower() == named and one is not None]
        return any(said) if lowered is None else lowered in said

    return among(tx, contact.c.id, ids_where(tx, select(contact.c.id, contact.c.fields), fits))


def wrote(tx: Connection, author: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """For messages from somebody whose name has this in it: that the author is called so, and that the
    contact is."""
    names = tx.execute(select(message.c.author).distinct().execution_options(yield_per=1000)).scalars()
    called = message.c.author.in_([name for name in names if author in name.lower()])
    query = select(contact.c.id, contact.c.name).where(contact.c.name != "")
    return called, among(tx, contact.c.id, ids_where(tx, query, lambda row: author in row[1].lower()))


def journal_names(tx: Connection, channel: str, sha: str) -> bool:
    """Whether an entry of a room's log names a file."""
    j = schema.journal
    query = select(j.c.id, j.c.body).where(j.c.channel == channel, j.c.room.not_like("file:%"))
    return bool(ids_where(tx, query, lambda row: sha in row[1]))
