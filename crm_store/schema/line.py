"""What platforms gave us, what is to be done there, and what the machinery itself remembers."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from crm_store.schema.base import at, id_, metadata, where_given
from crm_store.schema.sealed import EVENT, FreshText, Sealed, SealedBytes, SealedJson

inbox = Table(  # what platforms gave us, byte for byte; finished in the transaction of everything it caused
    "inbox",
    metadata,
    id_(),
    Column("channel", String, nullable=False),
    Column("event_id", Sealed(EVENT), nullable=False),
    Column("lane", Sealed("inbox.lane"), nullable=False),
    Column("body", SealedBytes("inbox.body"), nullable=False),
    Column("evidence", FreshText("inbox.evidence"), nullable=False, server_default=""),
    at("received_at", nullable=False),
    Column("state", String, nullable=False, server_default="pending"),  # pending done shelved discarded
    Column("attempts", Integer, nullable=False, server_default="0"),
    at("due_at", nullable=False),
    Column("error", FreshText("inbox.error"), nullable=False, server_default=""),
    Column("fence", Integer, nullable=False, server_default="0"),
    at("lease_until"),
    at("finished_at"),
    UniqueConstraint("channel", "event_id"),
)
Index(
    "ix_inbox_waiting",
    inbox.c.channel,
    inbox.c.lane,
    inbox.c.id,
    sqlite_where=text("state = 'pending'"),
    postgresql_where=text("state = 'pending'"),
)
Index(
    "ix_inbox_due",
    inbox.c.due_at,
    inbox.c.id,
    sqlite_where=text("state = 'pending'"),
    postgresql_where=text("state = 'pending'"),
)
Index(
    "ix_inbox_shelved",
    inbox.c.id,
    sqlite_where=text("state = 'shelved'"),
    postgresql_where=text("state = 'shelved'"),
)

outbox = Table(  # what is to be done on platforms; the recipient is frozen when the row is written
    "outbox",
    metadata,
    id_(),
    Column("lane", Sealed("outbox.lane"), nullable=False),
    Column("channel", String, nullable=False),
    Column("room_id", Sealed("outbox.room_id"), nullable=False),
    Column("thread_id", String, nullable=False, server_default=""),
    Column("op", String, nullable=False),
    Column("purpose", String, nullable=False),  # reply answer post mark command: who cares how it ends
    Column("body", FreshText("outbox.body"), nullable=False),  # a dumped Reply
    Column("options", SealedJson("outbox.options"), nullable=False),  # the other fields of Outbound
    Column("conversation_id", Integer, ForeignKey("conversation.id")),
    Column("message_id", Integer, ForeignKey("message.id")),
    Column("ticket_id", Integer, ForeignKey("ticket.id"), index=True),
    Column("state", String, nullable=False, server_default="pending"),  # sending sent unknown dead withdrawn
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("maybe_sent", Boolean, nullable=False, server_default=text("false")),
    at("due_at", nullable=False),
    Column("error", FreshText("outbox.error"), nullable=False, server_default=""),
    Column("fence", Integer, nullable=False, server_default="0"),
    at("lease_until"),
    Column("event_id", Sealed(EVENT), nullable=False, server_default=""),
    at("created_at", nullable=False),
    at("settled_at"),
)
where_given(outbox.c.message_id)
Index(
    "ix_outbox_waiting",
    outbox.c.lane,
    outbox.c.id,
    sqlite_where=text("state IN ('pending', 'sending')"),
    postgresql_where=text("state IN ('pending', 'sending')"),
)
Index(
    "ix_outbox_due",
    outbox.c.due_at,
    outbox.c.id,
    sqlite_where=text("state = 'pending'"),
    postgresql_where=text("state = 'pending'"),
)
Index(
    "ix_outbox_sending",
    outbox.c.lease_until,
    sqlite_where=text("state = 'sending'"),
    postgresql_where=text("state = 'sending'"),
)
Index(
    "ix_outbox_dead",
    outbox.c.id,
    sqlite_where=text("state IN ('dead', 'unknown')"),
    postgresql_where=text("state IN ('dead', 'unknown')"),
)

cursor = Table(  # how far each poller has read
    "cursor",
    metadata,
    Column("channel", String, primary_key=True),
    Column("value", Text, nullable=False),
    at("updated_at", nullable=False),
)

lease = Table(  # which process runs a poller or the jobs
    "lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("fence", Integer, nullable=False),
    at("until", nullable=False),
)

event_count = Table(  # events of kinds we do not know: counted, not an error
    "event_count",
    metadata,
    Column("channel", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("count", Integer, nullable=False),
)

meta = Table(  # what the store itself must remember: the generated secret
    "meta",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", FreshText("meta.value"), nullable=False),
)

counter = Table(  # gap-free numbers
    "counter",
    metadata,
    Column("name", Sealed("counter.name", lead=r"\d{4}-\d\d-\d\d:"), primary_key=True),
    Column("value", Integer, nullable=False),
)

journal = Table(  # the web chat's own rooms
    "journal",
    metadata,
    id_(),
    Column("channel", String, nullable=False),
    Column("room", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("key", String, nullable=False),
    Column("body", FreshText("journal.body", clear=r'\{"type":"erased"\}'), nullable=False),
    at("at", nullable=False),
    UniqueConstraint("channel", "room", "number"),
    UniqueConstraint("channel", "room", "key"),
)
