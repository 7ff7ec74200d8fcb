"""The search index takes less room: names many to a row on PostgreSQL, texts under the id of what they are of."""

from alembic import op

revision = "0014"
down_revision = "0013"

POSTGRESQL = """
DROP TABLE search_name;
CREATE TABLE search_name (id INTEGER PRIMARY KEY, keys TEXT NOT NULL, counts INTEGER[] NOT NULL,
    contacts INTEGER[] NOT NULL);
DROP TABLE search_contact;
DROP TABLE search_text_tokens;
DROP TABLE search_phone;
CREATE TABLE search_phone (bucket BIGINT PRIMARY KEY, tails INTEGER[] NOT NULL, contacts INTEGER[] NOT NULL)
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRESQL.split(";"):
            op.execute(statement)
    op.execute("DROP TABLE search_text")
    op.execute("CREATE TABLE search_text (id INTEGER PRIMARY KEY, text VARCHAR NOT NULL)")
    op.execute(
        "DELETE FROM search_state"
    )  # all of it is derived; the service builds it anew in the background
