"""What was bought, what is answered from, and what customers did elsewhere."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from crm_store.schema.base import Json, at, id_, metadata, ref
from crm_store.schema.sealed import Fresh, SealedJson

order = Table(
    "customer_order",
    metadata,
    id_(),
    Column("number", String, nullable=False, unique=True),
    ref("contact_id", "contact.id", nullable=False),
    at("ordered_at", nullable=False),
    Column("status", String, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    Column("tracking", String, nullable=False, server_default=""),
    at("updated_at", nullable=False),
)

order_line = Table(
    "order_line",
    metadata,
    id_(),
    ref("order_id", "customer_order.id", nullable=False, ondelete="CASCADE"),
    Column("sku", String, nullable=False, server_default=""),
    Column("name", String, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
)

article = Table(
    "article",
    metadata,
    id_(),
    Column("key", String, nullable=False),
    Column("language", String, nullable=False),
    Column("title", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("phrasings", Json, nullable=False),
    at("updated_at", nullable=False),
    Column("helped", Integer, nullable=False, server_default="0"),
    Column("not_helped", Integer, nullable=False, server_default="0"),
    UniqueConstraint("key", "language"),
)

macro = Table(  # answers that agents give again and again
    "macro",
    metadata,
    id_(),
    Column("name", String, nullable=False),
    Column("language", String, nullable=False),
    Column("text", Text, nullable=False),
    at("updated_at", nullable=False),
    UniqueConstraint("name", "language"),
)

customer_event = Table(  # what customers did elsewhere, as other systems tell it: visit view like
    "customer_event",
    metadata,
    id_(),
    Column("contact_id", Integer, ForeignKey("contact.id"), nullable=False),
    Column("kind", String, nullable=False),
    Column(
        "subject", Fresh("customer_event.subject"), nullable=False, server_default=""
    ),  # of what: a page, a product
    at("at", nullable=False),
    Column("key", String, unique=True),  # the sender's own id: the same event twice is one
    Column("fields", SealedJson("customer_event.fields"), nullable=False),
    Column("source", String, nullable=False, server_default=""),
    at("created_at", nullable=False),
    Index("ix_customer_event_contact_id_at", "contact_id", "at"),
)
