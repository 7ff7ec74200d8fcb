"""What customers agreed to, and what must not come back."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    pass
