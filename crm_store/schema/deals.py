"""What may be sold to whom, and what staff noted about a customer."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Index,
    Integer,
    String,
    Table,
)

from crm_store.schema.base import at, id_, metadata, ref
from crm_store.schema.sealed import Fresh, FreshText

deal = Table(
    "deal",
    metadata,
    id_(),
    Column("number", Integer, nullable=False, unique=True),
    ref("contact_id", "contact.id", nullable=False),
    ref("owner_id", "staff.id"),
    Column("title", Fresh("deal.title"), nullable=False),
    Column("stage", String, nullable=False),  # one of the configuration's, or won, or lost
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    Column("expected_on", Date),
    Column("lost_reason", FreshText("deal.lost_reason"), nullable=False, server_default=""),
    Column("key", String, unique=True),  # the id that a file or another system has for it
    Column("source", String, nullable=False, server_default=""),
    at("created_at", nullable=False),
    at("updated_at", nullable=False),
    at("stage_at", nullable=False),  # since when it is in its stage
    at("closed_at"),
    Index("ix_deal_stage", "stage"),
)

deal_product = Table(
    "deal_product",
    metadata,
    id_(),
    ref("deal_id", "deal.id", nullable=False, ondelete="CASCADE"),
    Column("sku", String, nullable=False, server_default=""),
    Column("name", String, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),  # of all of them, in the deal's currency
)

deal_stage = Table(  # every stage a deal was in: how long it took is the difference
    "deal_stage",
    metadata,
    id_(),
    ref("deal_id", "deal.id", nullable=False, ondelete="CASCADE"),
    Column("stage", String, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    at("at", nullable=False),
)

contact_note = Table(  # about a customer, not about a ticket; staff read it, the customer never does
    "contact_note",
    metadata,
    id_(),
    ref("contact_id", "contact.id", nullable=False),
    ref("staff_id", "staff.id"),
    Column("author", String, nullable=False),
    Column("text", FreshText("contact_note.text"), nullable=False),
    at("created_at", nullable=False),
)
