"""Who may use the API, what it answered, and what other systems are told."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from crm_store.schema.base import Json, at, id_, metadata, ref
from crm_store.schema.sealed import FreshText, SealedJson

api_token = Table(  # who may use the API, hashed
    "api_token",
    metadata,
    id_(),
    Column("name", String, nullable=False, unique=True),
    Column("digest", String, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    ref("staff_id", "staff.id", nullable=False),
    at("created_at", nullable=False),
    at("revoked_at"),
)

api_request = Table(  # what was answered to a request with an Idempotency-Key
    "api_request",
    metadata,
    Column("token_id", Integer, ForeignKey("api_token.id"), primary_key=True),
    Column("key", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", SealedJson("api_request.headers"), nullable=False),
    Column("body", FreshText("api_request.body"), nullable=False),
    at("created_at", nullable=False, index=True),
)

webhook_event = Table(  # what other systems are to be told; names what it is about, never says it
    "webhook_event",
    metadata,
    id_(),
    Column("key", String, nullable=False),
    Column("url", String, nullable=False),
    Column("lane", String, nullable=False),
    Column("type", String, nullable=False),
    Column("object_id", Integer, nullable=False),
    at("created_at", nullable=False),
    Column("state", String, nullable=False, server_default="pending"),  # sending sent dead withdrawn
    Column("attempts", Integer, nullable=False, server_default="0"),
    at("due_at", nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    Column("fence", Integer, nullable=False, server_default="0"),
    at("lease_until"),
    at("settled_at"),
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
