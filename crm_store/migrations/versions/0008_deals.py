"""Deals, their stages and products; notes about customers; whose customer somebody is, and staff's teams."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def _at(name: str, **kw: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **kw)


def _refers(table: str, column: str, target: str, **kw: Any) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", **kw)


def upgrade() -> None:
    op.create_table(
        "deal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer()),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("expected_on", sa.Date()),
        sa.Column("lost_reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("key", sa.String()),
        sa.Column("source", sa.String(), nullable=False, server_default=""),
        _at("created_at", nullable=False),
        _at("updated_at", nullable=False),
        _at("stage_at", nullable=False),
        _at("closed_at"),
        sa.PrimaryKeyConstraint("id", name="pk_deal"),
        _refers("deal", "contact_id", "contact.id"),
        _refers("deal", "owner_id", "staff.id"),
        sa.UniqueConstraint("number", name="uq_deal_number"),
        sa.UniqueConstraint("key", name="uq_deal_key"),
    )
    op.create_index("ix_deal_contact_id", "deal", ["contact_id"])
    op.create_index("ix_deal_owner_id", "deal", ["owner_id"])
    op.create_index("ix_deal_stage", "deal", ["stage"])
    op.create_table(
        "deal_product",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deal_id", sa.Integer(), nullable=False),
        sa.Column("sku", sa.String(), nullable=False, server_default=""),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deal_product"),
        _refers("deal_product", "deal_id", "deal.id", ondelete="CASCADE"),
    )
    op.create_index("ix_deal_product_deal_id", "deal_product", ["deal_id"])
    op.create_table(
        "deal_stage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deal_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        _at("at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deal_stage"),
        _refers("deal_stage", "deal_id", "deal.id", ondelete="CASCADE"),
    )
    op.create_index("ix_deal_stage_deal_id", "deal_stage", ["deal_id"])
    op.create_table(
        "contact_note",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("staff_id", sa.Integer()),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        _at("created_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_contact_note"),
        _refers("contact_note", "contact_id", "contact.id"),
        _refers("contact_note", "staff_id", "staff.id"),
    )
    op.create_index("ix_contact_note_contact_id", "contact_note", ["contact_id"])
    op.create_index("ix_contact_note_staff_id", "contact_note", ["staff_id"])
    # no foreign key: SQLite would have to write the table anew
    op.add_column("contact", sa.Column("owner_id", sa.Integer()))
    op.create_index("ix_contact_owner_id", "contact", ["owner_id"])
    op.add_column("staff", sa.Column("team", sa.String(), nullable=False, server_default=""))
    op.create_index("ix_audit_actor_at", "audit", ["actor", "at"])
