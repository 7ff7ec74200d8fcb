"""Who was merged with whom, so that it can be undone, and who may be the same person."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint, text

from crm_store.schema.base import Json, at, id_, metadata, ref
from crm_store.schema.sealed import SealedJson

merge = Table(  # `drop` became part of `keep`; the row of `drop` stays as it was, pointing at `keep`
    "merge",
    metadata,
    id_(),
    ref("keep_id", "contact.id", nullable=False),
    ref("drop_id", "contact.id", nullable=False),
    Column("actor", String, nullable=False),
    Column("how", String, nullable=False, server_default=""),  # by what it was attested; "" by staff
    # which columns, fields and tags of `keep` came from `drop`
    Column("gave", SealedJson("merge.gave"), nullable=False),
    Column("marks", Json, nullable=False),  # the highest ids at that moment: what is above came later
    at("at", nullable=False),
    at("undone_at"),
    Column("undone_by", String, nullable=False, server_default=""),
)
Index(
    "ix_merge_done",
    merge.c.at,
    sqlite_where=text("undone_at IS NULL"),
    postgresql_where=text("undone_at IS NULL"),
)

merge_row = Table(  # what went from `drop` to `keep`
    "merge_row",
    metadata,
    Column("merge_id", Integer, ForeignKey("merge.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String, primary_key=True),  # a table
    Column("row_id", Integer, primary_key=True),
)

suggestion = Table(  # two contacts who may be one person
    "suggestion",
    metadata,
    id_(),
    ref("low_id", "contact.id", nullable=False, ondelete="CASCADE"),  # the lower id of the two
    ref("high_id", "contact.id", nullable=False, ondelete="CASCADE"),
    Column("score", Integer, nullable=False),  # 0 to 100
    Column("evidence", SealedJson("suggestion.evidence"), nullable=False),  # [[kind, value], …]
    Column("state", String, nullable=False, server_default="open"),  # open merged rejected
    at("created_at", nullable=False),
    at("decided_at"),
    Column("decided_by", String, nullable=False, server_default=""),
    UniqueConstraint("low_id", "high_id"),
)
Index(
    "ix_suggestion_open",
    suggestion.c.score,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)
