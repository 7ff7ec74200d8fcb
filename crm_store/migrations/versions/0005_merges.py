"""What is to be confirmed, who was merged with whom, and suggestions of it."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def _at(name: str, **kw: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **kw)


def upgrade() -> None:
    op.create_table(
        "confirmation",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("staff_id", sa.Integer(), nullable=False),
        sa.Column("command", sa.String(), nullable=False),
        sa.Column("args", sa.Text(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=False, server_default=""),
        _at("created_at", nullable=False),
        _at("expires_at", nullable=False),
        _at("used_at"),
        sa.PrimaryKeyConstraint("digest", name="pk_confirmation"),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name="fk_confirmation_staff_id"),
    )
    op.create_index("ix_confirmation_staff_id", "confirmation", ["staff_id"])
