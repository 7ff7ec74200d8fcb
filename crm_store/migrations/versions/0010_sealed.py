"""Contact data may be sealed: in the columns that it has, as text in text. Nothing changes without a key."""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    pass
