"""What customers did, undone like other imports; addresses confirmed by a mailed code."""

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    pass
