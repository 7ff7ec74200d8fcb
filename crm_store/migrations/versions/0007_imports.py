"""What each import did, so that it can go on and be undone."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    pass
