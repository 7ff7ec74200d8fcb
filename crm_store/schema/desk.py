"""What was said, and what is to be done about it."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from crm_store.schema.base import at, id_, metadata, ref, where_given
from crm_store.schema.sealed import EVENT, Fresh, FreshText, Sealed, SealedBytes, SealedJson

conversation = Table(
    "conversation",
    metadata,
    id_(),
    Column("key", String, nullable=False, unique=True),  # opaque; signed into reply addresses and links
    Column("channel", String, nullable=False),
    Column("room_id", Sealed("conversation.room_id"), nullable=False),
    Column("thread_id", String, nullable=False, server_default=""),
    ref("contact_id", "contact.id", nullable=False),
    Column("identity_id", Integer),  # of the contact, by which it was opened
    Column("subject", Fresh("conversation.subject"), nullable=False, server_default=""),
    Column("language", String, nullable=False),
    Column("bot_muted", Boolean, nullable=False, server_default=text("false")),
    Column("next_seq", Integer, nullable=False, server_default="1"),
    at("created_at", nullable=False),
    at("last_in_at"),
    at("last_out_at"),
    Index("ix_conversation_address", "channel", "room_id", "thread_id"),
)

participant = Table(  # others in the conversation (Cc): they receive replies too
    "participant",
    metadata,
    id_(),
    ref("conversation_id", "conversation.id", nullable=False, index=False),
    Column("user_id", Sealed("participant.user_id"), nullable=False),
    Column("name", Sealed("participant.name"), nullable=False, server_default=""),
    at("created_at", nullable=False),
    UniqueConstraint("conversation_id", "user_id"),
)

thread_ref = Table(  # every platform id ever seen in a conversation
    "thread_ref",
    metadata,
    Column("channel", String, primary_key=True),
    Column("ref", Sealed(EVENT), primary_key=True),
    ref("conversation_id", "conversation.id", nullable=False),
)

message = Table(
    "message",
    metadata,
    id_(),
    ref("conversation_id", "conversation.id", nullable=False, index=False),
    ref("ticket_id", "ticket.id", index=False),
    Column("seq", Integer, nullable=False),
    Column("kind", String, nullable=False),  # in out note
    Column("channel", String, nullable=False),
    Column("event_id", Sealed(EVENT), nullable=False, server_default=""),
    Column("dedupe", Sealed(EVENT)),  # unique per channel: the same event twice is one message
    Column(
        "external_id", Sealed(EVENT), nullable=False, server_default=""
    ),  # its id where the customer reads it
    Column("author_kind", String, nullable=False),  # customer staff bot
    Column("author_id", Integer),
    Column("author", Sealed("message.author"), nullable=False, server_default=""),
    Column("text", FreshText("message.text"), nullable=False),
    Column("full_text", FreshText("message.full_text"), nullable=False, server_default=""),
    Column("subject", Fresh("message.subject"), nullable=False, server_default=""),
    Column("recipients", SealedJson("message.recipients"), nullable=False),  # frozen when written
    Column("warnings", SealedJson("message.warnings"), nullable=False),
    Column("album", String, nullable=False, server_default=""),
    Column("staff_channel", String, nullable=False, server_default=""),  # where the agent wrote it
    Column("staff_event_id", String, nullable=False, server_default=""),
    at("sent_at", nullable=False),
    at("created_at", nullable=False),
    at("edited_at"),
    at("deleted_at"),
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
    id_(),
    ref("message_id", "message.id", nullable=False),
    Column("text", FreshText("message_version.text"), nullable=False),
    at("at", nullable=False),
)

blob = Table(  # content-addressed files
    "blob",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("content", SealedBytes("blob.content"), nullable=False),
    at("created_at", nullable=False),
)

attachment = Table(
    "attachment",
    metadata,
    id_(),
    ref("message_id", "message.id", nullable=False),
    Column("filename", Fresh("attachment.filename"), nullable=False),
    Column("content_type", String, nullable=False),
    Column("size", Integer),
    Column("kind", String, nullable=False),
    Column("inline", Boolean, nullable=False),
    Column("content_id", String, nullable=False, server_default=""),
    Column("sha256", String, ForeignKey("blob.sha256"), index=True),
    Column("channel", String, nullable=False),  # where `ref` can be fetched
    Column("ref", FreshText("attachment.ref"), nullable=False, server_default=""),
)

ticket = Table(
    "ticket",
    metadata,
    id_(),
    Column("number", Integer, nullable=False, unique=True),
    ref("conversation_id", "conversation.id", nullable=False),
    ref("contact_id", "contact.id", nullable=False),
    Column("kind", String, nullable=False),  # enquiry complaint feedback
    Column("status", String, nullable=False),  # new open pending closed
    Column("priority", String, nullable=False, server_default="normal"),  # low normal high urgent
    Column("subject", Fresh("ticket.subject"), nullable=False),
    Column("channel", String, nullable=False),
    ref("assignee_id", "staff.id", index=False),
    ref("linked_to_id", "ticket.id", index=False),
    at("opened_at", nullable=False, index=True),
    at("first_response_at"),
    at("closed_at"),
    Column("reopened", Integer, nullable=False, server_default="0"),
    Column("acknowledged", Boolean, nullable=False, server_default=text("false")),
    Column("rating", Integer),
    Column("rating_comment", FreshText("ticket.rating_comment"), nullable=False, server_default=""),
    at("rating_asked_at"),
    at("rated_at"),
    at("snoozed_until"),
    at("waiting_since"),  # the customer's first message that nobody has answered
    at("clock_at"),  # when the card must say more about that
)
where_given(message.c.ticket_id)
where_given(ticket.c.assignee_id)
where_given(ticket.c.linked_to_id)
Index(
    "ix_ticket_unclosed",
    ticket.c.conversation_id,
    sqlite_where=text("status <> 'closed'"),
    postgresql_where=text("status <> 'closed'"),
)
Index(
    "ix_ticket_clock",
    ticket.c.clock_at,
    sqlite_where=text("clock_at IS NOT NULL"),
    postgresql_where=text("clock_at IS NOT NULL"),
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
    id_(),
    ref("ticket_id", "ticket.id", nullable=False, index=False),
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
    id_(),
    ref("conversation_id", "conversation.id", nullable=False, index=False),
    Column("kind", String, nullable=False),  # helped, rating_comment, order_code, reply_text
    Column("payload", SealedJson("expectation.payload"), nullable=False),
    at("expires_at", nullable=False),
    UniqueConstraint("conversation_id", "kind"),
)

audit = Table(
    "audit",
    metadata,
    id_(),
    at("at", nullable=False, index=True),
    Column("actor", Sealed("audit.actor", r"staff:\d+"), nullable=False),  # staff:3 telegram:77 cli
    Column("action", String, nullable=False),
    Column(
        "object",
        Sealed("audit.object", clear=r"(contact|ticket|deal):\d+"),
        nullable=False,
        server_default="",
        index=True,
    ),
    Column("outcome", String, nullable=False),  # ok refused failed
    Column("detail", SealedJson("audit.detail", ("contacts",)), nullable=False),
    Index("ix_audit_actor_at", "actor", "at"),
)
