"""Tickets know since when their customer waits for an answer, and when their card must say more about it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("ticket", sa.Column("waiting_since", sa.DateTime(timezone=True)))
    op.add_column("ticket", sa.Column("clock_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_ticket_clock",
        "ticket",
        ["clock_at"],
        sqlite_where=sa.text("clock_at IS NOT NULL"),
        postgresql_where=sa.text("clock_at IS NOT NULL"),
    )
    op.execute(
        "UPDATE ticket SET waiting_since = opened_at WHERE status <> 'closed' AND first_response_at IS NULL"
    )
