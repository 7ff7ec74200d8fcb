"""The people of a company are found by its name."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"


def upgrade() -> None:
    op.create_index(
        "ix_contact_company",
        "contact",
        ["company"],
        sqlite_where=sa.text("company <> ''"),
        postgresql_where=sa.text("company <> ''"),
    )
