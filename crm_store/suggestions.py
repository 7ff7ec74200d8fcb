"""Who may be the same person: pairs of customers with a score and its evidence, for staff to decide.

Nothing is ever linked here: what a platform attests is linked by `contacts.prove`, everything else is a guess.
Whoever writes is compared, some time later and outside the line, with whoever is known by what they say: a
phone or an address in their text or signature, an order's number, their name. Addresses of roles (info@,
noreply@, 客服@) and phones that several have are no evidence, and neither is a domain by itself. A pair that was
rejected is never suggested again, also when the two were merged with others since.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from crm_store import merges, schema
from crm_store.rows import insert
from crm_store.search.contacts import find_contacts
from crm_store.shared_addresses import is_shared, own_domain

suggestion, contact, identity = schema.suggestion, schema.contact, schema.identity
conversation, message, order = schema.conversation, schema.message, schema.order

SHOWN_FROM = 50  # a name that one other bears is 55, a phone in a text 75
OPEN_AT_MOST = 500
OF_ONE_AT_MOST = 3
WEIGHTS = {  # how likely it is one person, were this all we knew; together 1 - (1-a)(1-b)…
    "proved": 0.95,  # attested, but both are somebody already: a shared browser, a family phone
    "phone_held": 0.85,  # the same number, written otherwise
    "email_typed": 0.75,
    "phone_typed": 0.75,
    "order_named": 0.6,
    "name": 0.55,  # divided by how many bear it
    "name_like": 0.45,
    "name_read": 0.45,  # as it is pronounced or written in letters
    "handle": 0.4,
    "domain": 0.3,
    "company": 0.2,
    "city": 0.1,
}
BEGIN_WITH = 5000  # messages that are looked at when this is first used
CURSOR, TOLD = "suggest:message", "suggest:told"
TEXT = 4000  # characters of a message
SIGNATURE = 1500  # … and of what stands below it
_EMAIL = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}")
_PHONE = re.compile(r"(?<![\w.@-])(?:\+|00)?\(?\d(?:[ ().\-/]{0,2}\d){6,14}(?![\w@])")
_NUMBER = re.compile(r"(?<![\w-])#?([A-Za-z]{0,6}-?\d[\w-]{2,20})(?![\w-])")
_QUOTE = re.compile(
    r"^\s*>|^\s*On .{0,200}:\s*$|写道[:：]|^-{2,}\s*(?:Original|Forwarded|原始)|^(?:From|Von|De|发件人)\s*[:：]",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contacts who may be one, and why: [(kind, value), …]."""

    one: int
    other: int
    score: int
    evidence: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at some messages found: from which to which, and the pairs."""

    since: str
    until: str
    pairs: tuple[Pair, ...]


@dataclass(slots=True)
class _Clues:
    """What is known of a candidate: (kind, value) → weight."""

    found: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, kind: str, value: str, share: int = 1) -> None:
        self.found[kind, value] = WEIGHTS[kind] / share

    @property
    def score(self) -> int:
        left = 1.0
        for weight in self.found.values():
            left *= 1 - weight
        return round(100 * (1 - left))


# --- looking ------------------------------------------------------------------------------------------------


def look(tx: Connection, limit: int = 25) -> Looked | None:
    """Compare who wrote the next few messages with whoever is known; None when none is new. Only reads."""
    since = _position(tx, CURSOR)
    newest = tx.execute(select(func.max(message.c.id))).scalar() or 0
    start = int(since) if since else max(0, newest - BEGIN_WITH)
    m = message.c
    rows = tx.execute(
        select(m.id, m.kind, m.seq, m.text, m.full_text, conversation.c.contact_id)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(message.c.id > start)
        .order_by(message.c.id)
        .limit(limit)
    ).all()
    if not rows:
        return None
    said: dict[int, list[str]] = {}
    new: set[int] = set()
    for row in rows:
        if row.kind == "in":
            said.setdefault(row.contact_id, []).append(_own_words(row.text, row.full_text))
            if row.seq <= 2:  # whoever has only begun to write is looked for by name
                new.add(row.contact_id)
    pairs = (pair for who, texts in said.items() for pair in compare(tx, who, texts, by_name=who in new))
    return Looked(since, str(rows[-1].id), tuple(_news(tx, pairs)))


def compare(tx: Connection, who: int, texts: Sequence[str], *, by_name: bool = True) -> list[Pair]:
    """Whom somebody who says this may be, best first."""
    row = tx.execute(select(contact).where(contact.c.id == who)).first()
    if row is None or row.merged_into_id is not None:
        return []
    known = _identities(tx, [who]).get(who, [])
    if known and all(i.space == "email" and is_shared(i.user_id) for i in known):
        return []
    clues: dict[int, _Clues] = {}

    def clue(other: int, kind: str, value: str, share: int = 1) -> None:
        if other != who:
            clues.setdefault(other, _Clues()).add(kind, value, share)

    _by_words(tx, "\n".join(texts), clue)
    for i in known:
        if i.space == "phone" and (other := _only_phone(tx, i.user_id, who)):
            clue(other, "phone_held", i.user_id)
    if by_name:
        _by_name(tx, row, known, clue)
    others = _identities(tx, list(clues))
    people = {r.id: r for r in tx.execute(select(contact).where(contact.c.id.in_(list(clues))))}
    pairs = []
    for other, found in clues.items():
        theirs = others.get(other, [])
        if other not in people or (
            theirs and all(i.space == "email" and is_shared(i.user_id) for i in theirs)
        ):
            continue
        _support(row, known, people[other], theirs, found)
        if found.score >= SHOWN_FROM:
            pairs.append(Pair(who, other, min(found.score, 99), tuple(found.found)))
    return sorted(pairs, key=lambda pair: -pair.score)[:OF_ONE_AT_MOST]


def _own_words(text: str, full_text: str) -> str:
    """What they wrote and what stands below it, but nobody else's words."""
    quoted = _QUOTE.search(full_text)
    whole = full_text[: quoted.start()] if quoted else full_text
    return f"{text[:TEXT]}\n{whole[-SIGNATURE:]}"


def _by_words(tx: Connection, text: str, clue: Any) -> None:
    emails = [e.lower().rstrip(".") for e in dict.fromkeys(_EMAIL.findall(text))][:5]
    if personal := [e for e in emails if not is_shared(e)]:
        held = select(identity.c.contact_id, identity.c.user_id).where(
            identity.c.space == "email", identity.c.user_id.in_(personal)
        )
        for other, address in tx.execute(held):
            clue(other, "email_typed", address)
    rest = _EMAIL.sub(" ", text)
    for phone in list(dict.fromkeys(_PHONE.findall(rest)))[:3]:
        if other := _only_phone(tx, phone):
            clue(other, "phone_typed", phone.strip())
    tokens = list(dict.fromkeys(_NUMBER.findall(rest)))[:20]
    if tokens:
        named = {t for token in tokens for t in (token, token.upper(), f"#{token}")}
        for other, number in tx.execute(
            select(order.c.contact_id, order.c.number).where(order.c.number.in_(named))
        ):
            clue(other, "order_named", number)


def _only_phone(tx: Connection, number: str, but: int = 0) -> int | None:
    """The one contact, besides `but`, whose phone that is; None when several have it: a family's, a shop's."""
    if sum(c.isdigit() for c in number) < 7:
        return None
    hits = [hit for hit in find_contacts(tx, number, limit=4) if hit.contact_id != but]
    return hits[0].contact_id if len(hits) == 1 and hits[0].why == "phone" else None


def _by_name(tx: Connection, row: Any, known: Sequence[Any], clue: Any) -> None:
    names = [row.name, *(i.name for i in known)]
    name = next((n.strip() for n in names if _is_whole(n)), "")
    if not name:
        return
    hits = [hit for hit in find_contacts(tx, name, limit=6) if hit.contact_id != row.id and hit.score >= 90]
    best = [hit for hit in hits if hit.score >= hits[0].score - 3]
    for hit in best[:OF_ONE_AT_MOST]:
        kind = "name_read" if hit.why in ("pinyin", "sound") else "name" if hit.score >= 99 else "name_like"
        if hit.why not in ("initials", "prefix", "part"):
            clue(hit.contact_id, kind, name, len(best))


def _is_whole(name: str) -> bool:
    """Two words, or two Chinese characters: less is a nickname of many."""
    han = sum("\u3400" <= c <= "\u9fff" for c in name)
    return han >= 2 or len([word for word in name.split() if len(word) > 1]) >= 2


def _support(row: Any, known: Sequence[Any], other: Any, theirs: Sequence[Any], clues: _Clues) -> None:
    """What makes a guess likelier and would be none by itself."""
    mine, their = ([i.user_id for i in some if i.space == "email"] for some in (known, theirs))
    domains = {own_domain(a) for a in mine} & {own_domain(a) for a in their} - {""}
    if domains:
        clues.add("domain", min(domains))
    handles = {i.handle.lstrip("@").lower() for i in known if i.handle}
    locals_ = {a.partition("@")[0] for a in their if not is_shared(a)}
    handles_there = {i.handle.lstrip("@").lower() for i in theirs if i.handle}
    if same := handles & (locals_ | handles_there):
        clues.add("handle", min(same))
    for column in ("company", "city"):
        value = getattr(row, column)
        if value and value.casefold() == getattr(other, column).casefold():
            clues.add(column, value)


def _identities(tx: Connection, ids: Sequence[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in tx.execute(select(identity).where(identity.c.contact_id.in_(ids)).order_by(identity.c.id)):
        found.setdefault(row.contact_id, []).append(row)
    return found


# --- keeping ------------------------------------------------------------------------------------------------


def note(tx: Connection, now: datetime, looked: Looked) -> list[int]:
    """Keep what was found and return the ids of what is new; nothing when another process was faster."""
    if not _move_on(tx, now, CURSOR, looked.since, looked.until):
        return []
    made = (_keep(tx, now, pair) for pair in looked.pairs)
    return [number for number in made if number is not None]


def suggest(tx: Connection, now: datetime, pair: Pair) -> int | None:
    """Keep a pair; return its id when it is new. None when it is known, was rejected, or there are enough."""
    kept = [_keep(tx, now, one) for one in _news(tx, [pair])]
    return kept[0] if kept else None


def _news(tx: Connection, pairs: Iterable[Pair]) -> Iterable[Pair]:
    """Those of them that are worth keeping, between who they are now. All that can be asked is asked here, in a
    snapshot: the writer has other things to do."""
    added: Counter[int] = Counter()
    for pair in pairs:
        one, other = merges.current(tx, pair.one), merges.current(tx, pair.other)
        if one == other:
            continue
        known = tx.execute(
            select(suggestion.c.state, suggestion.c.score).where(
                suggestion.c.low_id == min(one, other), suggestion.c.high_id == max(one, other)
            )
        ).first()
        if known is not None and (known.state != "open" or known.score >= pair.score):
            continue
        if known is None and _many(tx, added, one, other):
            continue
        if _was_rejected(tx, one, other) or merges.were_parted(tx, one, other):
            continue
        added.update((one, other) if known is None else ())
        yield replace(pair, one=one, other=other)


def _keep(tx: Connection, now: datetime, pair: Pair) -> int | None:
    low, high = sorted((pair.one, pair.other))
    values = {"score": pair.score, "evidence": [list(clue) for clue in pair.evidence]}
    made = tx.execute(
        insert(tx, suggestion)
        .values(low_id=low, high_id=high, created_at=now, **values)
        .on_conflict_do_nothing()
        .returning(suggestion.c.id)
    ).scalar()
    if made is None:
        there = and_(suggestion.c.low_id == low, suggestion.c.high_id == high, suggestion.c.state == "open")
        tx.execute(update(suggestion).where(there).values(**values))
    return made


def proved(tx: Connection, now: datetime, one: int, other: int, what: str) -> int | None:
    """Somebody proved to be another one, and both are somebody already: people decide. None when that is known."""
    return suggest(tx, now, Pair(one, other, round(100 * WEIGHTS["proved"]), (("proved", what),)))


def reject(tx: Connection, now: datetime, suggestion_id: int, actor: str) -> bool:
    """They are two. False when that is decided already."""
    one = suggestion.c.id == suggestion_id
    done = update(suggestion).where(one, suggestion.c.state == "open")
    return tx.execute(done.values(state="rejected", decided_at=now, decided_by=actor)).rowcount == 1


def get(tx: Connection, suggestion_id: int) -> Any:
    return tx.execute(select(suggestion).where(suggestion.c.id == suggestion_id)).first()


def of(tx: Connection, contact_id: int) -> list[tuple[Any, int]]:
    """What is to be decided about a contact: (suggestion, the other one as they are now), likeliest first."""
    ids = merges.group(tx, contact_id)
    mine = or_(suggestion.c.low_id.in_(ids), suggestion.c.high_id.in_(ids))
    rows = tx.execute(
        select(suggestion).where(mine, suggestion.c.state == "open").order_by(suggestion.c.score.desc())
    ).all()
    found = {}
    for row in rows:
        other = merges.current(tx, row.high_id if row.low_id in ids else row.low_id)
        if other not in ids and other not in found:
            found[other] = row
    return [(row, other) for other, row in found.items()]


def best(tx: Connection, limit: int = 10) -> list[Any]:
    """The likeliest of all that is to be decided."""
    query = select(suggestion).where(suggestion.c.state == "open")
    return list(tx.execute(query.order_by(suggestion.c.score.desc(), suggestion.c.id).limit(limit)))


def untold(tx: Connection, limit: int = 20) -> list[Any]:
    """What staff were not told of yet, oldest first."""
    last = int(_position(tx, TOLD) or 0)
    return list(
        tx.execute(select(suggestion).where(suggestion.c.id > last).order_by(suggestion.c.id).limit(limit))
    )


def told(tx: Connection, now: datetime, rows: Sequence[Any]) -> bool:
    """Note that staff are told of these; False when another process does it."""
    before = _position(tx, TOLD)
    return int(before or 0) < rows[0].id and _move_on(tx, now, TOLD, before, str(rows[-1].id))


def _was_rejected(tx: Connection, one: int, other: int) -> bool:
    ids, others = merges.group(tx, one), merges.group(tx, other)
    pair = or_(
        and_(suggestion.c.low_id.in_(ids), suggestion.c.high_id.in_(others)),
        and_(suggestion.c.low_id.in_(others), suggestion.c.high_id.in_(ids)),
    )
    query = select(suggestion.c.id).where(pair, suggestion.c.state == "rejected").limit(1)
    return tx.execute(query).first() is not None


def _many(tx: Connection, added: Counter[int], one: int, other: int) -> bool:
    """Whether there is enough to decide about one of the two (theirs is a shared phone, or a very common name),
    or altogether; `added` is what comes on top."""
    is_open = suggestion.c.state == "open"
    count = select(func.count()).where(is_open)
    if tx.execute(count).scalar_one() + added.total() // 2 >= OPEN_AT_MOST:
        return True
    for who in (one, other):
        theirs = count.where(or_(suggestion.c.low_id == who, suggestion.c.high_id == who))
        if tx.execute(theirs).scalar_one() + added[who] >= OF_ONE_AT_MOST:
            return True
    return False


def _position(tx: Connection, name: str) -> str:
    cursor = schema.cursor
    return str(tx.execute(select(cursor.c.value).where(cursor.c.channel == name)).scalar() or "")


def _move_on(tx: Connection, now: datetime, name: str, before: str, value: str) -> bool:
    """False when another process has moved it."""
    cursor = schema.cursor
    if not before:
        first = insert(tx, cursor).values(channel=name, value=value, updated_at=now)
        return bool(tx.execute(first.on_conflict_do_nothing()).rowcount == 1)
    there = update(cursor).where(cursor.c.channel == name, cursor.c.value == before)
    return tx.execute(there.values(value=value, updated_at=now)).rowcount == 1


def kinds() -> Iterable[str]:
    """Every kind of evidence there is: each has its words."""
    return WEIGHTS
