"""Customers and staff, and who they are on each platform."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from crm_store.schema.base import Json, at, id_, metadata, ref, where_given
from crm_store.schema.sealed import Fresh, FreshText, Sealed, SealedJson

contact = Table(
    "contact",
    metadata,
    id_(),
    Column("name", Sealed("contact.name"), nullable=False, server_default=""),
    Column("language", String),
    Column("timezone", String),
    Column("company", Sealed("contact.company"), nullable=False, server_default=""),
    Column("country", String, nullable=False, server_default=""),
    Column("city", Sealed("contact.city"), nullable=False, server_default=""),
    Column("tags", Json, nullable=False),
    Column("fields", SealedJson("contact.fields"), nullable=False),
    Column("source", String, nullable=False, server_default=""),
    Column("owner_id", Integer),  # of staff, whose customer they are
    Column("merged_into_id", Integer),  # nobody of their own any more: leave them out (contacts.LIVE)
    at("created_at", nullable=False),
    at("updated_at", nullable=False),
)
where_given(contact.c.owner_id)
Index(
    "ix_contact_merged",
    contact.c.merged_into_id,
    sqlite_where=text("merged_into_id IS NOT NULL"),
    postgresql_where=text("merged_into_id IS NOT NULL"),
)

Index(
    "ix_contact_company",
    contact.c.company,
    sqlite_where=text("company <> ''"),
    postgresql_where=text("company <> ''"),
)

identity = Table(  # a contact on a platform; `space` is the kind of channel, or "phone"
    "identity",
    metadata,
    id_(),
    ref("contact_id", "contact.id", nullable=False),
    Column("space", String, nullable=False),
    Column("user_id", Sealed("identity.user_id"), nullable=False),
    Column("name", Sealed("identity.name"), nullable=False, server_default=""),
    Column("handle", Sealed("identity.handle"), nullable=False, server_default=""),
    at("verified_at"),
    Column("verified_how", String, nullable=False, server_default=""),
    at("gone_at"),
    Column("gone_why", Fresh("identity.gone_why"), nullable=False, server_default=""),
    at("created_at", nullable=False),
    UniqueConstraint("space", "user_id"),
)

staff = Table(
    "staff",
    metadata,
    id_(),
    Column("name", String, nullable=False, unique=True),
    Column("role", String, nullable=False),
    Column("language", String),
    Column("team", String, nullable=False, server_default=""),
    at("created_at", nullable=False),
    at("disabled_at"),
)

staff_identity = Table(
    "staff_identity",
    metadata,
    id_(),
    ref("staff_id", "staff.id", nullable=False),
    Column("space", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("name", String, nullable=False, server_default=""),
    at("created_at", nullable=False),
    UniqueConstraint("space", "user_id"),
)

staff_code = Table(  # one-time codes, hashed
    "staff_code",
    metadata,
    Column("digest", String, primary_key=True),
    ref("staff_id", "staff.id", nullable=False),
    at("expires_at", nullable=False),
    at("used_at"),
)

confirmation = Table(  # what somebody was asked to confirm; the code hashed
    "confirmation",
    metadata,
    Column("digest", String, primary_key=True),
    ref("staff_id", "staff.id", nullable=False),
    Column("command", String, nullable=False),
    Column("args", FreshText("confirmation.args"), nullable=False),
    # what the preview said, to compare
    Column("seen", FreshText("confirmation.seen"), nullable=False, server_default=""),
    at("created_at", nullable=False),
    at("expires_at", nullable=False),
    at("used_at"),
)
