"""The search index. Its tables are derived from the others and filled by the service, in the background."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE search_state (name VARCHAR PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE search_due (kind VARCHAR NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE search_name (id INTEGER PRIMARY KEY, key VARCHAR NOT NULL UNIQUE, n INTEGER NOT NULL,
    contact_id INTEGER);
CREATE TABLE search_word (id INTEGER PRIMARY KEY, word VARCHAR NOT NULL UNIQUE, n INTEGER NOT NULL);
CREATE TABLE search_contact (contact_id INTEGER NOT NULL, name_id INTEGER NOT NULL,
    PRIMARY KEY (name_id, contact_id)) WITHOUT ROWID;
CREATE TABLE search_phone (tail BIGINT NOT NULL, contact_id INTEGER NOT NULL,
    PRIMARY KEY (tail, contact_id)) WITHOUT ROWID;
CREATE TABLE search_text (id INTEGER PRIMARY KEY, kind VARCHAR NOT NULL, ref INTEGER NOT NULL,
    text VARCHAR NOT NULL, UNIQUE (kind, ref))
"""
INDEXES = ("search_name", "search_word", "search_message", "search_text")


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in TABLES.split(";"):
        op.execute(statement if sqlite else statement.replace("WITHOUT ROWID", ""))
    for index in INDEXES:
        if sqlite:
            op.execute(
                f"CREATE VIRTUAL TABLE {index}_tokens USING fts5(tokens, content='', columnsize=0,"
                " detail=none, tokenize='ascii')"
            )
        else:
            op.execute(f"CREATE TABLE {index}_tokens (id INTEGER PRIMARY KEY, tokens TSVECTOR NOT NULL)")
            op.execute(f"CREATE INDEX ix_{index}_tokens ON {index}_tokens USING gin (tokens)")
