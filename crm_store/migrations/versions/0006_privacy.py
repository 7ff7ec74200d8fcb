"""What customers agreed to, and what must not come back."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _at(name: str, **kw: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **kw)


def upgrade() -> None:
    op.create_table(
        "consent",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("message_id", sa.Integer()),
        _at("at", nullable=False),
        _at("created_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_consent"),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name="fk_consent_contact_id"),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name="fk_consent_message_id"),
    )
    op.create_index("ix_consent_contact_id", "consent", ["contact_id"])
    op.create_index("ix_consent_message_id", "consent", ["message_id"])
    op.create_table(
        "erasure",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        _at("asked_at", nullable=False),
        _at("done_at"),
        sa.Column("counts", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasure"),
        sa.UniqueConstraint("uid", name="uq_erasure_uid"),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name="fk_erasure_contact_id"),
    )
    op.create_index("ix_erasure_contact_id", "erasure", ["contact_id"])
    op.create_table(
        "erased_key",
        sa.Column("digest", sa.String(), nullable=False),
        _at("at", nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_erased_key"),
    )
