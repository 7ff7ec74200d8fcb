"""Who was merged with whom, and suggestions of it."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    pass
