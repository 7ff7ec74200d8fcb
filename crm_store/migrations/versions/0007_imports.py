"""What each import did, so that it can go on and be undone; and a smaller index of names."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "import_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("undone_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_import_run"),
    )
    op.create_index("ix_import_run_digest", "import_run", ["digest"])
    op.create_table(
        "import_range",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("made", sa.String(), nullable=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "made", "first_id", name="pk_import_range"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["import_run.id"], name="fk_import_range_run_id", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "import_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("changed", sa.String(), nullable=False),
        sa.Column("row_id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer()),
        sa.Column("before", JSON, nullable=False),
        sa.Column("after", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_import_change"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["import_run.id"], name="fk_import_change_run_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], name="fk_import_change_contact_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("run_id", "changed", "row_id", name="uq_import_change_run_id_changed_row_id"),
    )
    op.create_index("ix_import_change_contact_id", "import_change", ["contact_id"])
    op.create_table(
        "contact_mark",
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("was", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("contact_id", "field", name="pk_contact_mark"),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], name="fk_contact_mark_contact_id", ondelete="CASCADE"
        ),
    )
    if op.get_bind().dialect.name == "sqlite":
        # Names are found by one of their tokens: an index over all of them in full was as large as they are.
        # All of the search index is derived; the service builds it anew in the background.
        op.execute("DROP TABLE search_name")
        op.execute(
            "CREATE TABLE search_name (id INTEGER PRIMARY KEY, key VARCHAR NOT NULL, n INTEGER NOT NULL,"
            " contact_id INTEGER)"
        )
    op.execute("DELETE FROM search_state")
