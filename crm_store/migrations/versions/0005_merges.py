"""What is to be confirmed, who was merged with whom, and suggestions of it."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


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
    op.create_table(
        "merge",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("keep_id", sa.Integer(), nullable=False),
        sa.Column("drop_id", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False, server_default=""),
        sa.Column("gave", JSON, nullable=False),
        sa.Column("marks", JSON, nullable=False),
        _at("at", nullable=False),
        _at("undone_at"),
        sa.Column("undone_by", sa.String(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_merge"),
        sa.ForeignKeyConstraint(["keep_id"], ["contact.id"], name="fk_merge_keep_id"),
        sa.ForeignKeyConstraint(["drop_id"], ["contact.id"], name="fk_merge_drop_id"),
    )
    op.create_index("ix_merge_keep_id", "merge", ["keep_id"])
    op.create_index("ix_merge_drop_id", "merge", ["drop_id"])
    _partial("ix_merge_done", "merge", "at", "undone_at IS NULL")
    op.create_table(
        "merge_row",
        sa.Column("merge_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("row_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("merge_id", "kind", "row_id", name="pk_merge_row"),
        sa.ForeignKeyConstraint(["merge_id"], ["merge.id"], name="fk_merge_row_merge_id", ondelete="CASCADE"),
    )
    op.create_table(
        "suggestion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("low_id", sa.Integer(), nullable=False),
        sa.Column("high_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.Column("state", sa.String(), nullable=False, server_default="open"),
        _at("created_at", nullable=False),
        _at("decided_at"),
        sa.Column("decided_by", sa.String(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_suggestion"),
        sa.ForeignKeyConstraint(["low_id"], ["contact.id"], name="fk_suggestion_low_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["high_id"], ["contact.id"], name="fk_suggestion_high_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("low_id", "high_id", name="uq_suggestion_low_id_high_id"),
    )
    op.create_index("ix_suggestion_low_id", "suggestion", ["low_id"])
    op.create_index("ix_suggestion_high_id", "suggestion", ["high_id"])
    _partial("ix_suggestion_open", "suggestion", "score", "state = 'open'")
    op.add_column("contact", sa.Column("merged_into_id", sa.Integer()))
    _partial("ix_contact_merged", "contact", "merged_into_id", "merged_into_id IS NOT NULL")
    op.add_column("conversation", sa.Column("identity_id", sa.Integer()))


def _partial(name: str, table: str, column: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], sqlite_where=condition, postgresql_where=condition)
