"""What customers agreed to, who was erased, and what of them must not come back."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from crm_store.schema.base import Json, at, id_, metadata, ref
from crm_store.schema.sealed import FreshText

consent = Table(  # a ledger: rows are added, never changed; the newest of a purpose counts
    "consent",
    metadata,
    id_(),
    ref("contact_id", "contact.id", nullable=False),
    Column("purpose", String, nullable=False),  # marketing_email, …
    Column("state", String, nullable=False),  # granted withdrawn
    Column("source", FreshText("consent.source"), nullable=False),  # in words: how we know
    Column("actor", String, nullable=False),  # who noted it: "staff:3", "cli", "import", "customer"
    ref("message_id", "message.id"),  # the evidence, where it is a message
    at("at", nullable=False),  # when it was given or withdrawn
    at("created_at", nullable=False),
)

erasure = Table(  # somebody was, or is to be, erased; the contact's row is what is left of them
    "erasure",
    metadata,
    id_(),
    Column("uid", String, nullable=False, unique=True),  # the same in the list outside the store
    ref("contact_id", "contact.id", nullable=False),
    Column("actor", String, nullable=False),
    Column("state", String, nullable=False),  # asked done
    at("asked_at", nullable=False),
    at("done_at"),
    Column("counts", Json, nullable=False),
)

erased_key = Table(  # keyed hashes of identities, messages, orders and events that must not come back
    "erased_key",
    metadata,
    Column("digest", String, primary_key=True),
    at("at", nullable=False),
)
