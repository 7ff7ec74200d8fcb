"""PostgreSQL's index of names takes less room."""

from alembic import op

revision = "0012"
down_revision = "0011"

TABLES = """
DROP TABLE search_name_tokens;
DROP TABLE search_word_tokens;
DROP TABLE search_name;
CREATE TABLE search_name (id INTEGER PRIMARY KEY, key VARCHAR NOT NULL, n INTEGER NOT NULL, contact_id INTEGER);
DROP TABLE search_phone;
CREATE TABLE search_phone (bucket BIGINT PRIMARY KEY, tails BIGINT[] NOT NULL, contacts INTEGER[] NOT NULL);
CREATE TABLE search_block (term TEXT COLLATE "C" NOT NULL, first INTEGER NOT NULL, data BYTEA NOT NULL,
    PRIMARY KEY (term, first)) WITH (toast_tuple_target = 8160);
ALTER TABLE search_block ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE search_fresh (term TEXT COLLATE "C" NOT NULL, id INTEGER NOT NULL, gone BOOLEAN NOT NULL,
    PRIMARY KEY (term, id))
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # Tokens stood in the index twice, as tsvector and in GIN, names in full once more, and a phone number
        # took a row of its own. All of it is derived; the service builds it anew in the background.
        for statement in TABLES.split(";"):
            op.execute(statement)
        op.execute("DELETE FROM search_state")
