"""The API's tokens and answers, events that other systems tell, and events that other systems are told."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _at(name: str, **kw: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **kw)


def upgrade() -> None:
    op.create_table(
        "customer_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False, server_default=""),
        _at("at", nullable=False),
        sa.Column("key", sa.String()),
        sa.Column("fields", JSON, nullable=False),
        sa.Column("source", sa.String(), nullable=False, server_default=""),
        _at("created_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_customer_event"),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name="fk_customer_event_contact_id"),
        sa.UniqueConstraint("key", name="uq_customer_event_key"),
    )
    op.create_index("ix_customer_event_contact_id_at", "customer_event", ["contact_id", "at"])
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("staff_id", sa.Integer(), nullable=False),
        _at("created_at", nullable=False),
        _at("revoked_at"),
        sa.PrimaryKeyConstraint("id", name="pk_api_token"),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name="fk_api_token_staff_id"),
        sa.UniqueConstraint("name", name="uq_api_token_name"),
        sa.UniqueConstraint("digest", name="uq_api_token_digest"),
    )
    op.create_index("ix_api_token_staff_id", "api_token", ["staff_id"])
    op.create_table(
        "api_request",
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        _at("created_at", nullable=False),
        sa.PrimaryKeyConstraint("token_id", "key", name="pk_api_request"),
        sa.ForeignKeyConstraint(["token_id"], ["api_token.id"], name="fk_api_request_token_id"),
    )
    op.create_index("ix_api_request_created_at", "api_request", ["created_at"])
    op.create_table(
        "webhook_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("object_id", sa.Integer(), nullable=False),
        _at("created_at", nullable=False),
        sa.Column("state", sa.String(), nullable=False, server_default="pending"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        _at("due_at", nullable=False),
        sa.Column("error", sa.Text(), nullable=False, server_default=""),
        sa.Column("fence", sa.Integer(), nullable=False, server_default="0"),
        _at("lease_until"),
        _at("settled_at"),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_event"),
    )
    waits = sa.text("state IN ('pending', 'sending')")
    settled = sa.text("settled_at IS NOT NULL")
    for name, columns, where in (
        ("ix_webhook_event_waiting", ["url", "lane", "id"], waits),
        ("ix_webhook_event_due", ["due_at", "id"], waits),
        ("ix_webhook_event_settled", ["settled_at"], settled),
    ):
        op.create_index(name, "webhook_event", columns, sqlite_where=where, postgresql_where=where)
