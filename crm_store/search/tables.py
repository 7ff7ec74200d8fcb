"""The index's own tables. They are derived: a backup leaves them out, and they can be built anew at any time.

search_state    how far the index has come, by kind         search_due      what changed behind that
search_name     each distinct name once, with how many contacts bear it, and who: see bearers.py
search_contact  … who else, on SQLite                       search_phone    numbers from their end
search_word     each distinct word of names                 search_text     orders and articles as indexed
NAME_tokens     the tokens of names, words, messages and texts: FTS5 without content on SQLite (no
                positions, 1 to 2 bytes a token); on PostgreSQL a tsvector with GIN for messages
search_block, search_fresh      … and for all others postings of our own, see postings.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest

from sqlalchemy import Connection

from crm_store.rows import is_postgresql
from crm_store.search import postings, state, veil
from crm_store.search.asking import Index
from crm_store.search.query import Query, Token, sql

INDEXES: tuple[Index, ...] = ("search_name", "search_word", "search_message", "search_text")
# … of which these are in blocks on PostgreSQL
BLOCKS: dict[Index, str] = {
    "search_name": postings.NAME,
    "search_word": postings.WORD,
    "search_text": postings.TEXT,
}
ON_POSTGRESQL = (  # all there are, to be vacuumed
    "search_name", "search_word", "search_phone", "search_block", "search_fresh", "search_text",
    "search_message_tokens",
)  # fmt: skip
ON_BOTH = ("search_state", "search_due", "search_name", "search_phone", "search_word", "search_text")
FITTING = 1_000_000  # texts that are looked through for a beginning, on PostgreSQL


def rendered(tx: Connection, query: Query) -> str:
    """The query as FTS5 or as a tsquery has it. Tokens are quoted: they cannot be operators."""
    return _tsquery(query) if is_postgresql(tx) else _fts5(query)


def _fts5(query: Query) -> str:
    match query:
        case ("token", word):
            return f'"{_plain(word)}"'
        case ("prefix", word):
            return f'"{_plain(word)}" *'
        case ("all", inner):
            return "(" + " AND ".join(map(_fts5, inner)) + ")"
        case ("any", inner):
            return "(" + " OR ".join(map(_fts5, inner)) + ")"
    raise ValueError(query)


def _tsquery(query: Query) -> str:
    match query:
        case ("token", word):
            return f"'{_plain(word)}'"
        case ("prefix", word):
            return f"'{_plain(word)}':*"
        case ("all", inner):
            return "(" + " & ".join(map(_tsquery, inner)) + ")"
        case ("any", inner):
            return "(" + " | ".join(map(_tsquery, inner)) + ")"
    raise ValueError(query)


def _plain(word: str) -> str:
    return "".join(c for c in word if c.isalnum())


def matching(tx: Connection, index: Index) -> str:
    """SELECT of the ids that fit :query, to be used inside a statement."""
    if is_postgresql(tx):
        return f"SELECT id FROM {index}_tokens WHERE tokens @@ CAST(:query AS tsquery)"
    return f"SELECT rowid AS id FROM {index}_tokens WHERE {index}_tokens MATCH :query"


def fitting(tx: Connection, index: Index, query: Query, odd: bool, limit: int) -> list[int]:
    """The highest ids that fit, of the odd ones or of the even ones, highest first."""
    if is_postgresql(tx):
        (found,) = postings.Postings(tx, beginning=FITTING).ids(postings.of(BLOCKS[index], query))
        return nlargest(limit, (number for number in found if number % 2 == odd))
    statement = (
        f"SELECT rowid FROM {index}_tokens WHERE {index}_tokens MATCH :query AND rowid & 1 = :odd"
        " ORDER BY rowid DESC LIMIT :limit"
    )
    values = {"query": rendered(tx, query), "odd": int(odd), "limit": limit}
    return list(tx.execute(sql(statement), values).scalars())


def add(tx: Connection, index: Index, rows: Sequence[tuple[int, Iterable[Token]]]) -> None:
    """Index rows that are not in the index."""
    if not rows:
        return
    rows = veil.indexed(tx, index, rows)
    if is_postgresql(tx) and index in BLOCKS:
        postings.write(tx, BLOCKS[index], rows)
        return
    if is_postgresql(tx):
        statement = (
            f"INSERT INTO {index}_tokens (id, tokens) VALUES (:id, array_to_tsvector(CAST(:tokens AS text[])))"
            " ON CONFLICT (id) DO UPDATE SET tokens = excluded.tokens"
        )
        tx.execute(sql(statement), [{"id": number, "tokens": list(found)} for number, found in rows])
        return
    tx.execute(
        sql(f"INSERT INTO {index}_tokens (rowid, tokens) VALUES (:id, :tokens)"),
        [{"id": number, "tokens": " ".join(found)} for number, found in rows],
    )


def remove(tx: Connection, index: Index, rows: Sequence[tuple[int, Iterable[Token]]]) -> None:
    """Take rows out of the index. The tokens must be those they were added with."""
    if not rows:
        return
    rows = veil.indexed(tx, index, rows)
    if is_postgresql(tx) and index in BLOCKS:
        postings.write(tx, BLOCKS[index], rows, gone=True)
        return
    if is_postgresql(tx):
        tx.execute(sql(f"DELETE FROM {index}_tokens WHERE id = :id"), [{"id": number} for number, _ in rows])
        return
    tx.execute(
        sql(f"INSERT INTO {index}_tokens ({index}_tokens, rowid, tokens) VALUES ('delete', :id, :tokens)"),
        [{"id": number, "tokens": " ".join(found)} for number, found in rows],
    )


def delete(tx: Connection, table: str, ids: Sequence[int]) -> None:
    """Delete rows whose tokens were removed."""
    if ids:
        tx.execute(sql(f"DELETE FROM {table} WHERE id = :id"), [{"id": number} for number in ids])


def clear(tx: Connection) -> None:
    """Empty everything that is derived."""
    for table in (
        *ON_BOTH,
        *(("search_block", "search_fresh") if is_postgresql(tx) else ("search_contact",)),
    ):
        tx.execute(sql(f"DELETE FROM {table}"))
    for index in INDEXES:
        if not is_postgresql(tx):
            tx.execute(sql(f"INSERT INTO {index}_tokens ({index}_tokens) VALUES ('delete-all')"))
        elif index not in BLOCKS:
            tx.execute(sql(f"DELETE FROM {index}_tokens"))


def tidy(tx: Connection, rows: int) -> None:
    """After so many rows were indexed. FTS5 looks after its segments by itself."""
    if is_postgresql(tx):
        postings.tidy(tx, rows)


def settle(tx: Connection) -> None:
    """After much was indexed, on PostgreSQL: dead rows leave the tables, what waits beside GIN goes into it, and
    the planner learns how many there are. Autovacuum does nearly that, some minutes later, where it is on."""
    if is_postgresql(tx):
        for table in ON_POSTGRESQL:
            tx.execute(sql(f"CLUSTER {table} USING {table}_pkey"))
            tx.execute(sql(f"ANALYZE {table}"))


def scrub(tx: Connection, *, pages: int = 2000, whole: bool = False) -> bool:
    """Rewrite some of the index, so that nothing of what was taken out stays in the file; True when all is.

    Debian 12's SQLite (3.40) has no secure-delete for FTS5 (3.42): a removed token stays in its segment until
    segments are merged. On PostgreSQL the blocks are rewritten that hold a token which was taken out; with
    `whole`, those too that others wait for. Repeat until True, each time in a transaction of its own: no write
    waits long.
    """
    if is_postgresql(tx):
        state.wait_alone(tx)  # whoever indexes rewrites blocks too
        return not postings.merge(tx, 4 * pages, gone=not whole)
    done = True
    for index in INDEXES:
        before = tx.execute(sql("SELECT total_changes()")).scalar_one()
        tx.execute(
            sql(f"INSERT INTO {index}_tokens ({index}_tokens, rank) VALUES ('merge', :pages)"),
            {"pages": -pages},
        )
        done &= tx.execute(sql("SELECT total_changes()")).scalar_one() - before < 2
    return done
