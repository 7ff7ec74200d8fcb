"""What each import did: where it is, what it made and changed, and what it guessed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table, UniqueConstraint

from crm_store.schema.base import Json, at, id_, metadata, ref
from crm_store.schema.sealed import SealedJson, SealedText

import_run = Table(
    "import_run",
    metadata,
    id_(),
    Column("kind", String, nullable=False),
    Column("file", String, nullable=False),  # its name; the digest says which
    Column("digest", String, nullable=False, index=True),  # of the file and of what it leaves unsaid
    Column("position", BigInteger, nullable=False, server_default="0"),  # rows that are written
    Column("counts", Json, nullable=False),
    at("started_at", nullable=False),  # everything it writes has this time
    at("finished_at"),
    at("undone_at"),
)

import_range = Table(  # rows that it made: ids from first to last
    "import_range",
    metadata,
    Column("run_id", Integer, ForeignKey("import_run.id", ondelete="CASCADE"), primary_key=True),
    Column("made", String, primary_key=True),  # the table
    Column("first_id", Integer, primary_key=True),
    Column("last_id", Integer, nullable=False),
)

import_change = Table(  # a row that it changed; of an erased contact nothing stays
    "import_change",
    metadata,
    id_(),
    ref("run_id", "import_run.id", nullable=False, ondelete="CASCADE", index=False),
    Column("changed", String, nullable=False),  # the table
    Column("row_id", Integer, nullable=False),
    ref("contact_id", "contact.id", ondelete="CASCADE"),
    Column("before", SealedJson("import_change.before"), nullable=False),
    Column("after", SealedJson("import_change.after"), nullable=False),
    UniqueConstraint("run_id", "changed", "row_id"),
)

contact_mark = Table(  # a value that nobody wrote so: true as long as the contact has it
    "contact_mark",
    metadata,
    Column("contact_id", Integer, ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True),
    Column("field", String, primary_key=True),
    Column("value", SealedText("contact_mark.value"), nullable=False),
    Column("how", String, nullable=False),  # inferred from phone or email; corrected: domain width
    Column("was", SealedText("contact_mark.was"), nullable=False, server_default=""),
)
