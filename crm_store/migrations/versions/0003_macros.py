"""Ready-made answers, and tickets that are put off until later."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "macro",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_macro"),
        sa.UniqueConstraint("name", "language", name="uq_macro_name_language"),
    )
    op.add_column("ticket", sa.Column("snoozed_until", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_ticket_snoozed",
        "ticket",
        ["snoozed_until"],
        sqlite_where=sa.text("snoozed_until IS NOT NULL"),
        postgresql_where=sa.text("snoozed_until IS NOT NULL"),
    )
