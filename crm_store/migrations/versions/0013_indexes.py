"""Fewer indexes to keep with every message: none that a unique key has already, nothing for rows without a value."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

NEEDLESS = (  # the beginning of a unique key, or never asked for
    ("participant", "conversation_id"),
    ("message", "conversation_id"),
    ("expectation", "conversation_id"),
    ("thread", "ticket_id"),
    ("identity", "handle"),
)
WHERE_GIVEN = (
    ("message", "ticket_id"),
    ("ticket", "assignee_id"),
    ("ticket", "linked_to_id"),
    ("contact", "owner_id"),
    ("outbox", "message_id"),
)


def upgrade() -> None:
    for table, column in NEEDLESS:
        op.drop_index(f"ix_{table}_{column}", table)
    for table, column in WHERE_GIVEN:
        op.drop_index(f"ix_{table}_{column}", table)
        condition = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_{table}_{column}", table, [column], sqlite_where=condition, postgresql_where=condition
        )
