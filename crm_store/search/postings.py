"""The index on PostgreSQL: blocks of postings in order, and beside them what is newer.

search_block    (term, first) → a block: what comes from that term and id on, up to the next block
search_fresh    postings that are in no block yet, and those that are to leave theirs (`gone`)

Reading takes all tokens of a question, and of the next ones, from both tables in one statement; the sets are
put together here. Writing adds rows to search_fresh, and now and then the blocks they belong to are rewritten:
in order, some at a time, so that many fall into each. With tsvector and GIN names took four times the room, most
of it for the tokens it is made from, and a question each 0.4 ms. All share the tables: the first character of a
term tells whose token it is.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import Connection

from crm_store.search import blocks, state
from crm_store.search.query import Query, Token, fetched, given, sql

DENSE = 8  # postings that wait for each block, on the average, before blocks are rewritten
DENSER, MANY = 32, 1000  # … where so many rows are indexed at once: a first run, that nobody waits for
FEW = 20_000  # that many wait in any case
AT_ONCE = 4000  # of them are taken into their blocks in one statement
BEGINNING = 1000  # ids that a beginning is looked for among, and that few are: a hundred names are enough
LAST = "\U0010fffd"
NAME, WORD, TEXT, BEARER = "n", "w", "t", "b"  # whose token a term is

_FLOOR = (
    "SELECT term, first, data FROM search_block WHERE (term, first) <= (t.term, {id})"
    " ORDER BY term DESC, first DESC LIMIT 1"
)
_TOKEN, _FEW, _PREFIX = (given(kind, "text") for kind in ("token", "few", "prefix"))
_FETCH = {  # by kind of question
    "token": f"""
SELECT b.term, b.first, b.data, false FROM unnest({_TOKEN}) t(term)
    CROSS JOIN LATERAL ({_FLOOR.format(id=0)}) b
UNION ALL SELECT term, first, data, false FROM search_block WHERE term = ANY({_TOKEN})
UNION ALL SELECT term, id, NULL, gone FROM search_fresh WHERE term = ANY({_TOKEN})
""",
    "few": f"""
SELECT b.term, b.first, b.data, false FROM unnest({_FEW}) t(term)
    CROSS JOIN LATERAL ({_FLOOR.format(id=0)}) b
UNION ALL SELECT b.term, b.first, b.data, false FROM unnest({_FEW}) t(term) CROSS JOIN LATERAL
    (SELECT term, first, data FROM search_block WHERE term = t.term ORDER BY first LIMIT {{blocks}}) b
UNION ALL SELECT f.term, f.id, NULL, f.gone FROM unnest({_FEW}) t(term) CROSS JOIN LATERAL
    (SELECT term, id, gone FROM search_fresh WHERE term = t.term ORDER BY id LIMIT {{fresh}}) f
""",
    "prefix": f"""
SELECT b.term, b.first, b.data, false FROM unnest({_PREFIX}) t(term)
    CROSS JOIN LATERAL ({_FLOOR.format(id=0)}) b
UNION ALL SELECT b.term, b.first, b.data, false FROM unnest({_PREFIX}) t(term) CROSS JOIN LATERAL
    (SELECT term, first, data FROM search_block WHERE term >= t.term AND term < t.term || '{LAST}'
    ORDER BY term, first LIMIT {{blocks}}) b
UNION ALL SELECT f.term, f.id, NULL, f.gone FROM unnest({_PREFIX}) t(term) CROSS JOIN LATERAL
    (SELECT term, id, gone FROM search_fresh WHERE term >= t.term AND term < t.term || '{LAST}'
    ORDER BY term, id LIMIT {{fresh}}) f
""",
}
_HIT = (
    "SELECT b.term, b.first, b.data FROM search_block b JOIN (SELECT DISTINCT f.term, f.first"
    " FROM unnest(CAST(:terms AS text[]), CAST(:ids AS integer[])) t(term, id)"
    f" CROSS JOIN LATERAL ({_FLOOR.format(id='t.id').replace('data', 'NULL')}) f) hit"
    " ON hit.term = b.term AND hit.first = b.first ORDER BY b.term, b.first"
)
_ALL_BLOCKS = f"""
SELECT b.data FROM (VALUES (CAST(:whose AS text))) t(term) CROSS JOIN LATERAL ({_FLOOR.format(id=0)}) b
UNION ALL SELECT data FROM search_block WHERE (term, first) > (:whose, 0) AND term < :after
"""
_ALL_FRESH = (
    "SELECT term, id, gone FROM search_fresh WHERE term > :whose AND term < :after"
    " AND id = ANY(CAST(:ids AS integer[]))"
)


class Postings:
    """Which ids bear which tokens. A block is read once, and taken apart only when it is asked. Tokens that begin
    with some letters are looked for among so many ids, about, and as many that are in no block yet."""

    def __init__(self, tx: Connection, *, beginning: int = BEGINNING) -> None:
        self._tx = tx
        self._beginning = beginning
        self._blocks: dict[tuple[str, int], bytes | blocks.Opened] = {}
        self._keys: list[tuple[str, int]] = []  # of the blocks, in order
        self._fresh: dict[str, dict[int, bool]] = {}  # term → id → whether it is gone
        self._read: set[Query] = set()
        self._known: dict[Query, set[int]] = {}

    def ids(self, *queries: Query) -> list[set[int]]:
        """Who fits each of the questions."""
        self.soon(queries)
        return list(map(self._fitting, queries))

    def soon(self, queries: Iterable[Query]) -> None:
        """Read what these ask for, in one question to the database."""
        wanted = set(chain.from_iterable(map(_leaves, queries))) - self._read
        if not wanted:
            return
        self._read |= wanted
        asked = {kind: sorted(word for other, word in wanted if other == kind) for kind in _FETCH}
        values = {kind: words for kind, words in asked.items() if words}
        for term, number, data, gone in fetched(self._tx, _fetch(self._beginning, *values), **values):
            if data is None:
                self._fresh.setdefault(term, {})[number] = gone
            else:
                self._blocks[term, number] = data
        self._keys = sorted(self._blocks)

    def nearest(self, query: Query, limit: int) -> list[int]:
        """Who fits most of the parts of a question."""
        self.soon([query])
        parts = query[1] if query[0] == "any" else [query]
        counts = Counter(chain.from_iterable(map(self._fitting, parts)))
        if len(counts) <= limit:
            return list(counts)
        return [number for number, _ in counts.most_common(limit)]

    def _fitting(self, query: Query) -> set[int]:
        match query:
            case ("all", inner):
                least, *others = sorted(map(self._fitting, inner), key=len)
                return least.intersection(*others)
            case ("any", inner):
                return set().union(*map(self._fitting, inner))
        if query not in self._known:
            self._known[query] = self._collected(*query)
        return self._known[query]

    def _collected(self, kind: str, term: str) -> set[int]:
        """What blocks and fresh rows say together."""
        found: set[int] = set()
        begins = kind == "prefix"
        at = max(0, bisect_right(self._keys, (term, 0)) - 1)
        while at < len(self._keys):
            key = self._keys[at]
            if key[0] > term and not (begins and key[0].startswith(term)):
                break
            block = self._blocks[key]
            if isinstance(block, bytes):
                block = self._blocks[key] = blocks.Opened(block)
            found.update(block.beginning(term) if begins else block.ids(term))
            at += 1
        terms = [one for one in self._fresh if one.startswith(term)] if begins else [term]
        for one in terms:
            for number, gone in self._fresh.get(one, {}).items():
                (found.discard if gone else found.add)(number)
        return found


@lru_cache(maxsize=32)
def _fetch(beginning: int, *kinds: str) -> str:
    said = "UNION ALL".join(_FETCH[kind] for kind in kinds)
    return said.format(blocks=1 + beginning // blocks.FULL, fresh=beginning)


def of(whose: str, query: Query) -> Query:
    """The question as it is asked of names, words …"""
    kind, inner = query
    if kind in ("all", "any"):
        return (kind, tuple(of(whose, one) for one in inner))
    return (kind, whose + inner)


def _leaves(query: Query) -> Iterable[Query]:
    kind, inner = query
    return chain.from_iterable(map(_leaves, inner)) if kind in ("all", "any") else (query,)


def tokens_of(tx: Connection, whose: str, numbers: Iterable[int]) -> dict[int, set[Token]]:
    """Which tokens some ids bear, which reads all there are."""
    wanted = set(numbers)
    found: dict[int, set[Token]] = {}
    for (data,) in tx.execute(sql(_ALL_BLOCKS), {"whose": whose, "after": whose + LAST}):
        for term, ids in blocks.unpack(data).items():
            if term.startswith(whose):
                for number in wanted.intersection(ids):
                    found.setdefault(number, set()).add(term[1:])
    values = {"whose": whose, "after": whose + LAST, "ids": list(wanted)}
    for term, number, gone in tx.execute(sql(_ALL_FRESH), values):
        (set.discard if gone else set.add)(found.setdefault(number, set()), term[1:])
    return found


# --- writing ------------------------------------------------------------------------------------------


def write(
    tx: Connection, whose: str, rows: Sequence[tuple[int, Iterable[Token]]], *, gone: bool = False
) -> None:
    """Note that these ids bear these tokens, or do not any more."""
    pairs = [(whose + token, number) for number, tokens in rows for token in tokens]
    if not pairs:
        return
    tx.execute(
        sql(
            "INSERT INTO search_fresh (term, id, gone) SELECT term, id, :gone"
            " FROM unnest(CAST(:terms AS text[]), CAST(:ids AS integer[])) t(term, id)"
            " ON CONFLICT (term, id) DO UPDATE SET gone = excluded.gone"
        ),
        {"terms": [token for token, _ in pairs], "ids": [number for _, number in pairs], "gone": gone},
    )
    _counted(tx, fresh=len(pairs))


def tidy(tx: Connection, rows: int) -> None:
    """After so many rows were indexed: when much waits, take some of it into the blocks."""
    known: dict[str, int] = dict(
        tx.execute(sql("SELECT name, value FROM search_state WHERE name LIKE 'block:%'")).all()
    )
    dense = DENSE if rows < MANY else DENSER
    too_many = known.get("block:fresh", 0) - FEW - dense * known.get("block:blocks", 0)
    if too_many > 0:
        _sweep(tx, known.get("block:at", 0), min(too_many, 16 * rows))


def _sweep(tx: Connection, at: int, limit: int) -> None:
    """Go on through the blocks from where the last sweep ended, round and round: so each has had the longest time
    to be waited for, and twice as much as the average goes into it at once."""
    from_block = "SELECT term, first FROM search_block ORDER BY term, first OFFSET :at LIMIT 1"
    start: tuple[str, int] = tuple(tx.execute(sql(from_block), {"at": at}).first() or ("", 0))
    for _ in range(0, limit, AT_ONCE):
        last = _take_in(tx, "(term, id) >= (:term, :id)", term=start[0], id=start[1])
        start = last or ("", 0)
        if last is None:
            break
    before = "SELECT count(*) FROM search_block WHERE (term, first) < (:term, :id)"
    state.keep(tx, "block:at", tx.execute(sql(before), {"term": start[0], "id": start[1]}).scalar_one())


def merge(tx: Connection, limit: int, *, gone: bool = False) -> bool:
    """Take up to so many postings into their blocks, in order; only those that are to leave when `gone`. Tell
    whether any are left."""
    for _ in range(0, limit, AT_ONCE):
        if _take_in(tx, "gone" if gone else "true") is None:
            if not gone:
                state.keep(tx, "block:fresh", 0)
            return False
    return True


def _take_in(tx: Connection, which: str, **values: object) -> tuple[str, int] | None:
    """Take the first of what waits into its blocks and return where that ended, None at the end."""
    statement = (
        "DELETE FROM search_fresh WHERE ctid = ANY(ARRAY(SELECT ctid FROM search_fresh"
        f" WHERE {which} ORDER BY term, id LIMIT :limit)) RETURNING term, id, gone"
    )
    rows = tx.execute(sql(statement), {"limit": AT_ONCE, **values}).all()
    changes = sorted((term, number, gone) for term, number, gone in rows)
    if changes:
        _into_blocks(tx, changes)
    return changes[-1][:2] if len(changes) == AT_ONCE else None


def _into_blocks(tx: Connection, changes: list[tuple[Token, int, bool]]) -> None:
    terms, ids = [term for term, _, _ in changes], [number for _, number, _ in changes]
    hit = tx.execute(sql(_HIT), {"terms": terms, "ids": ids}).all()
    keys = [(term, first) for term, first, _ in hit]
    by_block: dict[int, list[tuple[Token, int, bool]]] = {}
    for change in changes:
        by_block.setdefault(bisect_right(keys, change[:2]) - 1, []).append(change)
    new: dict[tuple[str, int], bytes] = {}
    for at, some in by_block.items():
        block = blocks.unpack(hit[at][2]) if at >= 0 else {}
        _apply(block, some)
        # the lowest block begins before everything: what comes before its first term has its place there
        lowest = at < 0 or keys[at] == ("", 0)
        for place, (term, first, part) in enumerate(blocks.split(block)):
            new["" if lowest and not place else term, 0 if lowest and not place else first] = blocks.pack(
                part
            )
    if keys:
        tx.execute(
            sql(
                "DELETE FROM search_block b USING unnest(CAST(:terms AS text[]), CAST(:firsts AS integer[]))"
                " t(term, first) WHERE b.term = t.term AND b.first = t.first"
            ),
            {"terms": [term for term, _ in keys], "firsts": [first for _, first in keys]},
        )
    if new:
        tx.execute(
            sql(
                "INSERT INTO search_block (term, first, data) SELECT * FROM"
                " unnest(CAST(:terms AS text[]), CAST(:firsts AS integer[]), CAST(:data AS bytea[]))"
            ),
            {
                "terms": [term for term, _ in new],
                "firsts": [first for _, first in new],
                "data": list(new.values()),
            },
        )
    _counted(tx, fresh=-len(changes), blocks=len(new) - len(keys))


def _apply(block: blocks.Block, changes: list[tuple[Token, int, bool]]) -> None:
    wanted: dict[Token, tuple[set[int], set[int]]] = {}
    for term, number, gone in changes:
        wanted.setdefault(term, (set(), set()))[gone].add(number)
    for term, (added, gone_) in wanted.items():
        found = sorted((added | set(block.get(term, ()))) - gone_)
        if found:
            block[term] = array("I", found)
        else:
            block.pop(term, None)


def _counted(tx: Connection, **by: int) -> None:
    for name, number in by.items():
        if number:
            tx.execute(
                sql(
                    "INSERT INTO search_state (name, value) VALUES (:name, :by)"
                    " ON CONFLICT (name) DO UPDATE SET value = search_state.value + :by"
                ),
                {"name": f"block:{name}", "by": number},
            )
