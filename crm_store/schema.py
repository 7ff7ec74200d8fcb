"""Every table, in one read. Times are aware UTC, money is minor units with currency, platform ids are text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: timestamptz on PostgreSQL, fixed-width text (so that it sorts) on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _ref(name: str, target: str, **kw: Any) -> Column[int]:
    kw.setdefault("index", True)
    return Column(name, Integer, ForeignKey(target, ondelete=kw.pop("ondelete", None)), **kw)


def _at(name: str, **kw: Any) -> Column[datetime]:
    return Column(name, UtcDateTime, **kw)


# --- the line -----------------------------------------------------------------------------------------

inbox = Table(  # what platforms gave us, byte for byte; finished in the transaction of everything it caused
    "inbox",
    metadata,
    _id(),
    Column("channel", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("lane", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("evidence", Text, nullable=False, server_default=""),
    _at("received_at", nullable=False),
    Column("state", String, nullable=False, server_default="pending"),  # pending done shelved discarded
    Column("attempts", Integer, nullable=False, server_default="0"),
    _at("due_at", nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    Column("fence", Integer, nullable=False, server_default="0"),
    _at("lease_until"),
    _at("finished_at"),
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
    _id(),
    Column("lane", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("room_id", String, nullable=False),
    Column("thread_id", String, nullable=False, server_default=""),
    Column("op", String, nullable=False),
    Column("purpose", String, nullable=False),  # reply answer post mark command: who cares how it ends
    Column("body", Text, nullable=False),  # a dumped Reply
    Column("options", Json, nullable=False),  # the other fields of Outbound
    Column("conversation_id", Integer, ForeignKey("conversation.id")),
    Column("message_id", Integer, ForeignKey("message.id"), index=True),
    Column("ticket_id", Integer, ForeignKey("ticket.id"), index=True),
    Column("state", String, nullable=False, server_default="pending"),  # sending sent unknown dead withdrawn
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("maybe_sent", Boolean, nullable=False, server_default=text("false")),
    _at("due_at", nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    Column("fence", Integer, nullable=False, server_default="0"),
    _at("lease_until"),
    Column("event_id", String, nullable=False, server_default=""),
    _at("created_at", nullable=False),
    _at("settled_at"),
)
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
    _at("updated_at", nullable=False),
)

lease = Table(  # which process runs a poller or the jobs
    "lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("fence", Integer, nullable=False),
    _at("until", nullable=False),
)

event_count = Table(  # events of kinds we do not know: counted, not an error
    "event_count",
    metadata,
    Column("channel", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("count", Integer, nullable=False),
)

meta = Table(  # what the store itself must remember: the generated secret
    "meta", metadata, Column("name", String, primary_key=True), Column("value", Text, nullable=False)
)

counter = Table(  # gap-free numbers
    "counter", metadata, Column("name", String, primary_key=True), Column("value", Integer, nullable=False)
)

journal = Table(  # the web chat's own rooms
    "journal",
    metadata,
    _id(),
    Column("channel", String, nullable=False),
    Column("room", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("key", String, nullable=False),
    Column("body", Text, nullable=False),
    _at("at", nullable=False),
    UniqueConstraint("channel", "room", "number"),
    UniqueConstraint("channel", "room", "key"),
)

# --- people -------------------------------------------------------------------------------------------

contact = Table(
    "contact",
    metadata,
    _id(),
    Column("name", String, nullable=False, server_default=""),
    Column("language", String),
    Column("timezone", String),
    Column("company", String, nullable=False, server_default=""),
    Column("country", String, nullable=False, server_default=""),
    Column("city", String, nullable=False, server_default=""),
    Column("tags", Json, nullable=False),
    Column("fields", Json, nullable=False),
    Column("source", String, nullable=False, server_default=""),
    _at("created_at", nullable=False),
    _at("updated_at", nullable=False),
)

identity = Table(  # a contact on a platform; `space` is the kind of channel, or "phone"
    "identity",
    metadata,
    _id(),
    _ref("contact_id", "contact.id", nullable=False),
    Column("space", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("name", String, nullable=False, server_default=""),
    Column("handle", String, nullable=False, server_default="", index=True),
    _at("verified_at"),
    Column("verified_how", String, nullable=False, server_default=""),
    _at("gone_at"),
    Column("gone_why", String, nullable=False, server_default=""),
    _at("created_at", nullable=False),
    UniqueConstraint("space", "user_id"),
)

staff = Table(
    "staff",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    Column("role", String, nullable=False),
    Column("language", String),
    _at("created_at", nullable=False),
    _at("disabled_at"),
)

staff_identity = Table(
    "staff_identity",
    metadata,
    _id(),
    _ref("staff_id", "staff.id", nullable=False),
    Column("space", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("name", String, nullable=False, server_default=""),
    _at("created_at", nullable=False),
    UniqueConstraint("space", "user_id"),
)

staff_code = Table(  # one-time codes, hashed
    "staff_code",
    metadata,
    Column("digest", String, primary_key=True),
    _ref("staff_id", "staff.id", nullable=False),
    _at("expires_at", nullable=False),
    _at("used_at"),
)

# --- the desk -----------------------------------------------------------------------------------------

conversation = Table(
    "conversation",
    metadata,
    _id(),
    Column("key", String, nullable=False, unique=True),  # opaque; signed into reply addresses and links
    Column("channel", String, nullable=False),
    Column("room_id", String, nullable=False),
    Column("thread_id", String, nullable=False, server_default=""),
    _ref("contact_id", "contact.id", nullable=False),
    Column("subject", String, nullable=False, server_default=""),
    Column("language", String, nullable=False),
    Column("bot_muted", Boolean, nullable=False, server_default=text("false")),
    Column("next_seq", Integer, nullable=False, server_default="1"),
    _at("created_at", nullable=False),
    _at("last_in_at"),
    _at("last_out_at"),
    Index("ix_conversation_address", "channel", "room_id", "thread_id"),
)

participant = Table(  # others in the conversation (Cc): they receive replies too
    "participant",
    metadata,
    _id(),
    _ref("conversation_id", "conversation.id", nullable=False),
    Column("user_id", String, nullable=False),
    Column("name", String, nullable=False, server_default=""),
    _at("created_at", nullable=False),
    UniqueConstraint("conversation_id", "user_id"),
)

thread_ref = Table(  # every platform id ever seen in a conversation
    "thread_ref",
    metadata,
    Column("channel", String, primary_key=True),
    Column("ref", String, primary_key=True),
    _ref("conversation_id", "conversation.id", nullable=False),
)

message = Table(
    "message",
    metadata,
    _id(),
    _ref("conversation_id", "conversation.id", nullable=False),
    _ref("ticket_id", "ticket.id"),
    Column("seq", Integer, nullable=False),
    Column("kind", String, nullable=False),  # in out note
    Column("channel", String, nullable=False),
    Column("event_id", String, nullable=False, server_default=""),
    Column("dedupe", String),  # unique per channel: the same event twice is one message
    Column("external_id", String, nullable=False, server_default=""),  # its id where the customer reads it
    Column("author_kind", String, nullable=False),  # customer staff bot
    Column("author_id", Integer),
    Column("author", String, nullable=False, server_default=""),
    Column("text", Text, nullable=False),
    Column("full_text", Text, nullable=False, server_default=""),
    Column("subject", String, nullable=False, server_default=""),
    Column("recipients", Json, nullable=False),  # frozen when written
    Column("warnings", Json, nullable=False),
    Column("album", String, nullable=False, server_default=""),
    Column("staff_channel", String, nullable=False, server_default=""),  # where the agent wrote it
    Column("staff_event_id", String, nullable=False, server_default=""),
    _at("sent_at", nullable=False),
    _at("created_at", nullable=False),
    _at("edited_at"),
    _at("deleted_at"),
    UniqueConstraint("channel", "dedupe"),
    UniqueConstraint("conversation_id", "seq"),
    Index("ix_message_channel_event_id", "channel", "event_id"),
    Index("ix_message_channel_external_id", "channel", "external_id"),
    Index("ix_message_created_at", "created_at"),
    Index("ix_message_staff_event", "staff_channel", "staff_event_id"),
)

message_version = Table(  # what it said before an edit
    "message_version",
    metadata,
    _id(),
    _ref("message_id", "message.id", nullable=False),
    Column("text", Text, nullable=False),
    _at("at", nullable=False),
)

blob = Table(  # content-addressed files
    "blob",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    _at("created_at", nullable=False),
)

attachment = Table(
    "attachment",
    metadata,
    _id(),
    _ref("message_id", "message.id", nullable=False),
    Column("filename", String, nullable=False),
    Column("content_type", String, nullable=False),
    Column("size", Integer),
    Column("kind", String, nullable=False),
    Column("inline", Boolean, nullable=False),
    Column("content_id", String, nullable=False, server_default=""),
    Column("sha256", String, ForeignKey("blob.sha256"), index=True),
    Column("channel", String, nullable=False),  # where `ref` can be fetched
    Column("ref", Text, nullable=False, server_default=""),
)

ticket = Table(
    "ticket",
    metadata,
    _id(),
    Column("number", Integer, nullable=False, unique=True),
    _ref("conversation_id", "conversation.id", nullable=False),
    _ref("contact_id", "contact.id", nullable=False),
    Column("kind", String, nullable=False),  # enquiry complaint feedback
    Column("status", String, nullable=False),  # new open pending closed
    Column("priority", String, nullable=False, server_default="normal"),  # low normal high urgent
    Column("subject", String, nullable=False),
    Column("channel", String, nullable=False),
    _ref("assignee_id", "staff.id"),
    _ref("linked_to_id", "ticket.id"),
    _at("opened_at", nullable=False, index=True),
    _at("first_response_at"),
    _at("closed_at"),
    Column("reopened", Integer, nullable=False, server_default="0"),
    Column("acknowledged", Boolean, nullable=False, server_default=text("false")),
    Column("rating", Integer),
    Column("rating_comment", Text, nullable=False, server_default=""),
    _at("rating_asked_at"),
    _at("rated_at"),
    _at("snoozed_until"),
)
Index(
    "ix_ticket_unclosed",
    ticket.c.conversation_id,
    sqlite_where=text("status <> 'closed'"),
    postgresql_where=text("status <> 'closed'"),
)
Index(
    "ix_ticket_snoozed",
    ticket.c.snoozed_until,
    sqlite_where=text("snoozed_until IS NOT NULL"),
    postgresql_where=text("snoozed_until IS NOT NULL"),
)

thread = Table(  # a ticket's place on a staff side; thread_id is known once the card is sent
    "thread",
    metadata,
    _id(),
    _ref("ticket_id", "ticket.id", nullable=False),
    Column("channel", String, nullable=False),
    Column("room_id", String, nullable=False),
    Column("thread_id", String, nullable=False, server_default=""),
    Column("card_event_id", String, nullable=False, server_default=""),
    UniqueConstraint("ticket_id", "channel", "room_id"),
    Index("ix_thread_address", "channel", "room_id", "thread_id"),
)

expectation = Table(  # a question we asked and whose answer we will understand
    "expectation",
    metadata,
    _id(),
    _ref("conversation_id", "conversation.id", nullable=False),
    Column("kind", String, nullable=False),  # helped, rating_comment, order_code, reply_text
    Column("payload", Json, nullable=False),
    _at("expires_at", nullable=False),
    UniqueConstraint("conversation_id", "kind"),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    _at("at", nullable=False, index=True),
    Column("actor", String, nullable=False),  # "staff:3", "telegram:77", "cli"
    Column("action", String, nullable=False),
    Column("object", String, nullable=False, server_default="", index=True),
    Column("outcome", String, nullable=False),  # ok refused failed
    Column("detail", Json, nullable=False),
)

# --- sales and knowledge ------------------------------------------------------------------------------

order = Table(
    "customer_order",
    metadata,
    _id(),
    Column("number", String, nullable=False, unique=True),
    _ref("contact_id", "contact.id", nullable=False),
    _at("ordered_at", nullable=False),
    Column("status", String, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    Column("tracking", String, nullable=False, server_default=""),
    _at("updated_at", nullable=False),
)

order_line = Table(
    "order_line",
    metadata,
    _id(),
    _ref("order_id", "customer_order.id", nullable=False, ondelete="CASCADE"),
    Column("sku", String, nullable=False, server_default=""),
    Column("name", String, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
)

article = Table(
    "article",
    metadata,
    _id(),
    Column("key", String, nullable=False),
    Column("language", String, nullable=False),
    Column("title", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("phrasings", Json, nullable=False),
    _at("updated_at", nullable=False),
    Column("helped", Integer, nullable=False, server_default="0"),
    Column("not_helped", Integer, nullable=False, server_default="0"),
    UniqueConstraint("key", "language"),
)

macro = Table(  # answers that agents give again and again
    "macro",
    metadata,
    _id(),
    Column("name", String, nullable=False),
    Column("language", String, nullable=False),
    Column("text", Text, nullable=False),
    _at("updated_at", nullable=False),
    UniqueConstraint("name", "language"),
)

customer_event = Table(  # what customers did elsewhere, as other systems tell it: visit view like
    "customer_event",
    metadata,
    _id(),
    Column("contact_id", Integer, ForeignKey("contact.id"), nullable=False),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False, server_default=""),  # of what: a page, a product
    _at("at", nullable=False),
    Column("key", String, unique=True),  # the sender's own id: the same event twice is one
    Column("fields", Json, nullable=False),
    Column("source", String, nullable=False, server_default=""),
    _at("created_at", nullable=False),
    Index("ix_customer_event_contact_id_at", "contact_id", "at"),
)

# --- other systems ------------------------------------------------------------------------------------

api_token = Table(  # who may use the API, hashed
    "api_token",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    Column("digest", String, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    _ref("staff_id", "staff.id", nullable=False),
    _at("created_at", nullable=False),
    _at("revoked_at"),
)

api_request = Table(  # what was answered to a request with an Idempotency-Key
    "api_request",
    metadata,
    Column("token_id", Integer, ForeignKey("api_token.id"), primary_key=True),
    Column("key", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Json, nullable=False),
    Column("body", Text, nullable=False),
    _at("created_at", nullable=False, index=True),
)

webhook_event = Table(  # what other systems are to be told; names what it is about, never says it
    "webhook_event",
    metadata,
    _id(),
    Column("key", String, nullable=False),
    Column("url", String, nullable=False),
    Column("lane", String, nullable=False),
    Column("type", String, nullable=False),
    Column("object_id", Integer, nullable=False),
    _at("created_at", nullable=False),
    Column("state", String, nullable=False, server_default="pending"),  # sending sent dead withdrawn
    Column("attempts", Integer, nullable=False, server_default="0"),
    _at("due_at", nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    Column("fence", Integer, nullable=False, server_default="0"),
    _at("lease_until"),
    _at("settled_at"),
)
Index(
    "ix_webhook_event_waiting",
    webhook_event.c.url,
    webhook_event.c.lane,
    webhook_event.c.id,
    sqlite_where=text("state IN ('pending', 'sending')"),
    postgresql_where=text("state IN ('pending', 'sending')"),
)
Index(
    "ix_webhook_event_due",
    webhook_event.c.due_at,
    webhook_event.c.id,
    sqlite_where=text("state IN ('pending', 'sending')"),
    postgresql_where=text("state IN ('pending', 'sending')"),
)
Index(
    "ix_webhook_event_settled",
    webhook_event.c.settled_at,
    sqlite_where=text("settled_at IS NOT NULL"),
    postgresql_where=text("settled_at IS NOT NULL"),
)
