"""Find customers by whatever somebody remembers of them: a number, an address, or roughly the name."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from math import log2
from typing import Any

from sqlalchemy import Connection, column, or_, select, table

from crm_store import schema
from crm_store.search import names, naming, phones, state, veil
from crm_store.search.fold import name_key
from crm_store.search.query import fetched, sql
from crm_store.search.rank import LEAST, Asked

AMBIGUOUS = 6.0  # names that fit so nearly as well as the best are shown before a second bearer of it
FAR = 15.0  # what fits so much less than the best is not shown beside it
WORTH = 77.0  # fits well enough to be shown beside another kind; a Chinese name with one wrong character
CHARACTER = 65.0
READ = ("pinyin", "initials", "sound")
ANY_NAME = 40.0  # the same where one character is wrong: any name that is nearly it may be meant
_PUNCTUATION = str.maketrans("", "", " -–()./+·\u00a0")
_SHORTEST_NUMBER = 4  # digits of a phone's end
BEHIND = 5000  # addresses that the index has not read yet and that are opened, where they are sealed
HELD_BY = "identity.user_id"  # what they are sealed as
identity = schema.identity


@dataclass(frozen=True, slots=True)
class Hit:
    """A contact, how well it fits (100 = exactly) and why: id, email, phone, handle, order, identity, exact,
    prefix, words, part, pinyin, initials, sound or similar."""

    contact_id: int
    score: float
    why: str


def find_contacts(tx: Connection, text: str, limit: int = 8) -> list[Hit]:
    """The contacts that fit, best first; those that fit exactly by a number or an address alone."""
    text = unicodedata.normalize("NFKC", text[:300]).replace("\x00", "").strip()
    text = text.encode("utf-8", "ignore").decode()
    if not text or limit < 1:
        return []
    exact = _exact(tx, text) or _exact_behind(tx, text)
    if exact:
        return [Hit(contact_id, 100.0, why) for contact_id, why in list(exact.items())[:limit]]
    asked = Asked(text)
    return _by_name(tx, asked, limit) if asked else []


def _exact(tx: Connection, text: str) -> dict[int, str]:
    """Contacts by what is theirs alone. One statement: whatever the text cannot be is not asked for."""
    bare = text.lstrip("#").strip()
    if " " in text and not any(c.isdigit() for c in text):
        return {}
    lowered = text.lower()
    asked = [
        # (space, user_id) is the index: the few spaces there are are found by leaps
        "SELECT 1 AS place, i.contact_id AS id, CASE WHEN i.space IN ('email', 'phone') THEN i.space"
        " ELSE 'identity' END AS why FROM spaces s CROSS JOIN identity i WHERE i.space = s.space"
        " AND i.user_id IN (:text, :lowered, :at, :plus)",
        "SELECT 2, o.contact_id, 'order' FROM customer_order o"
        " WHERE o.number IN (:bare, :upper, :lower, :hash)",
    ]
    digits = text.translate(_PUNCTUATION)
    seal = veil.seal_of(tx)
    sealed = seal is not None
    addresses = {"text": text, "lowered": lowered, "at": "@" + lowered.lstrip("@"), "plus": "+" + digits}
    values: dict[str, object] = {
        **{name: seal.shut(HELD_BY, one) if seal else one for name, one in addresses.items()},
        "bare": bare,
        "upper": bare.upper(),
        "lower": bare.lower(),
        "hash": "#" + bare,
    }
    if digits.isdecimal() and digits.isascii() and len(digits) >= _SHORTEST_NUMBER:
        national = digits.lstrip("0") if len(digits) > 6 else digits
        low, below = veil.tail_asked(
            tx, national, phones.tail_of(national), 10 ** max(0, phones.DIGITS - len(national))
        )
        ends = "" if sealed else " AND i.user_id LIKE :end"
        asked.append(
            # CROSS: SQLite would read all phones first
            f"SELECT 4, p.contact_id, 'phone' FROM ({phones.ending(tx)}) p CROSS JOIN identity i"
            f" WHERE i.contact_id = p.contact_id AND i.space = 'phone'{ends}"
        )
        values |= {"tail": low, "tail_end": below} | ({} if sealed else {"end": "%" + national})
    if bare.isdecimal() and bare.isascii() and len(bare) < 10:
        asked.append("SELECT 5, coalesce(merged_into_id, id), 'id' FROM contact WHERE id = :id")
        values["id"] = int(bare)
    statement = (
        "WITH RECURSIVE spaces(space) AS (SELECT min(space) FROM identity UNION ALL"
        " SELECT (SELECT min(space) FROM identity WHERE space > spaces.space) FROM spaces"
        " WHERE spaces.space IS NOT NULL) " + " UNION ALL ".join(asked) + " LIMIT 200"
    )
    rows = sorted(map(tuple, fetched(tx, statement, **values)))
    if text.startswith("@") and (not rows or rows[0][0] > 3) and (handle := name_key(text)):
        rows = [*((3, number, "handle") for number in naming.bearing(tx, handle, 200)), *rows]
    if sealed and any(place == 4 for place, _, _ in rows):  # a hash may be another's too
        whose = _phones(tx, identity.c.contact_id.in_([number for place, number, _ in rows if place == 4]))
        fit = {number for number, phone in whose if phone.endswith(national)}
        rows = [row for row in rows if row[0] != 4 or row[1] in fit]
    if not rows:
        return {}
    best = rows[0][0]
    if best >= 4:  # few digits: somebody's id, and the end of phones
        return {contact_id: why for _, contact_id, why in (rows if len(digits) > 6 else reversed(rows))}
    return {contact_id: why for place, contact_id, why in rows if place == best}


def _exact_behind(tx: Connection, text: str) -> dict[int, str]:
    """The same for handles and the ends of phones of contacts that the index has not read yet."""
    digits = text.translate(_PUNCTUATION)
    national = digits.lstrip("0") if len(digits) > 6 else digits
    if not text.startswith("@") and not (digits.isdecimal() and len(national) >= _SHORTEST_NUMBER):
        return {}
    if veil.seal_of(tx) is not None:
        return _opened_behind(tx, text, national if digits.isdecimal() else "")
    rows = tx.execute(
        sql(
            "SELECT contact_id, space FROM identity WHERE (contact_id > :last OR contact_id IN"
            " (SELECT id FROM search_due WHERE kind = 'contact')) AND ((space = 'phone' AND user_id LIKE :end)"
            " OR lower(handle) = :handle) ORDER BY contact_id LIMIT 200"
        ),
        {
            "last": state.cursors(tx).get("contact", 0),
            "end": f"%{national}" if digits.isdecimal() else "-",
            "handle": text.lstrip("@").lower() if text.startswith("@") else "-",
        },
    )
    return {contact_id: "phone" if space == "phone" else "handle" for contact_id, space in rows}


def _opened_behind(tx: Connection, text: str, national: str) -> dict[int, str]:
    """The same where SQL sees nothing in an address: each is looked at."""
    last = state.cursors(tx).get("contact", 0)
    due: Any = select(column("id")).select_from(table("search_due")).where(column("kind") == "contact")
    behind = or_(identity.c.contact_id > last, identity.c.contact_id.in_(due))
    found = {
        number: "phone" for number, phone in _phones(tx, behind) if national and phone.endswith(national)
    }
    if text.startswith("@"):
        handle = text.lstrip("@").lower()
        query = select(identity.c.contact_id, identity.c.handle).where(behind, identity.c.handle != "")
        for number, said in tx.execute(query.limit(BEHIND)):
            if said.lower() == handle:
                found.setdefault(number, "handle")
    return found


def _phones(tx: Connection, whose: Any) -> list[tuple[int, str]]:
    query = select(identity.c.contact_id, identity.c.space, identity.c.user_id).where(whose).limit(BEHIND)
    # asked for phones only, or for an order, SQLite would read everybody's
    return sorted((number, phone) for number, space, phone in tx.execute(query) if space == "phone")


def _by_name(tx: Connection, asked: Asked, limit: int) -> list[Hit]:
    found = names.candidates(tx, asked, limit)
    ordered = nsmallest(
        3 * limit,
        ((-score - min(0.9, 0.1 * log2(1 + n)), number, score, why)
         for number, (_, n, score, why) in found.names.items() if score >= LEAST),
    )  # fmt: skip
    ids = [number for _, number, _, _ in ordered]
    behind = {contact_id: (score, why) for contact_id, score, why in names.behind(found)}
    whole = [number for _, number, score, _ in ordered[:limit] if score == 100.0]
    hits, _ = _borne(ordered, found.index.bearers(ids, whole, limit), behind)
    for contact_id, (score, why) in behind.items():
        if score >= LEAST:
            hits[contact_id] = Hit(contact_id, score, why)
    first = sorted(hits.values(), key=_order)
    if not first:
        return []
    gap = ANY_NAME if asked.run and first[0].score < 90 else AMBIGUOUS
    near = [hit for hit in first if hit.score >= first[0].score - gap]
    best = near[:limit]
    if len(near) < limit:  # further bearers of the same names, and what fits less
        _, second = _borne(ordered, found.index.bearers(ids, ids[:limit], limit), behind)
        chosen = {hit.contact_id for hit in near}
        rest = [hit for hit in sorted([*first, *second.values()], key=_order) if hit.contact_id not in chosen]
        best = sorted([*near, *rest[: limit - len(near)]], key=_order)
    if best[0].score >= 90 and best[0].why not in READ:
        best = [hit for hit in best if hit.score >= best[0].score - FAR]
    return [
        Hit(h.contact_id, round(min(h.score, 100.0), 1), h.why)
        for h in _both_kinds(best, first, limit, CHARACTER if asked.run else WORTH)
    ]


def _borne(
    ordered: Sequence[tuple[float, int, float, str]], bearers: dict[int, list[int]], behind: Container[int]
) -> tuple[dict[int, Hit], dict[int, Hit]]:
    """Who bears these names, and who else does: of a name that is not just what was typed one is shown first."""
    hits: dict[int, Hit] = {}
    second: dict[int, Hit] = {}
    for rank, number, score, why in ordered:
        for place, contact_id in enumerate(bearers.get(number, ())):
            if contact_id not in behind:
                alone = score == 100.0 or place == 0
                (hits if alone else second).setdefault(contact_id, Hit(contact_id, -rank, why))
    return hits, second


def _both_kinds(best: list[Hit], first: list[Hit], limit: int, least: float) -> list[Hit]:
    """What was typed may be letters of a name, or how another is read: when the best are all of one kind, the
    best two of the other are shown as the fourth and fifth. Not when it is somebody's whole name."""
    if best[0].score >= 100 or len(best) < 3:
        return best
    read = [hit.why in READ for hit in best[:5]]
    if any(read) and not all(read):
        return best
    others = [hit for hit in first if (hit.why in READ) != read[0] and hit.score >= least][:2]
    kept = [hit for hit in best if hit not in others]
    return [*kept[:3], *others, *kept[3:]][:limit]


def _order(hit: Hit) -> tuple[float, int]:
    return -hit.score, hit.contact_id
