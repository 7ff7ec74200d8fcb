"""Full text over messages, notes, articles and orders, in any language: `refund "two weeks" from:li before:30d`.

Words are met from their beginning on, Chinese wherever two characters stand side by side; everything asked
for must be in one message. The newest comes first: in a help desk that is the one that is looked for, and it
costs the same for a word that is everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from sqlalchemy import Connection, and_, cast, column, exists, func, or_, select, text
from sqlalchemy import Text as SqlText

from crm_store import schema, sealed_scan
from crm_store import scope as scopes
from crm_store.rows import is_postgresql
from crm_store.scope import Scope
from crm_store.search import state, tables, tokens, veil
from crm_store.search.fold import fold, is_cjk, parts
from crm_store.search.query import Query, all_of, listed, prefix, sql_once, token
from crm_store.search.syntax import QUOTES, Moment, QueryError, moment, quoted

LIMIT = 500  # characters of a query
TERMS = 16
TAIL = 1000  # messages behind the index that are looked at one by one
CHECKED = 1000  # messages with all the words that are looked at for a phrase
SNIPPET = 120  # characters
KINDS = ("in", "out", "note", "article", "order")
_KIND_WORDS = {
    "in": "in", "received": "in", "收到": "in", "来信": "in", "out": "out", "sent": "out", "发出": "out",
    "回复": "out", "note": "note", "notes": "note", "备注": "note", "article": "article", "articles": "article",
    "文章": "article", "order": "order", "orders": "order", "订单": "order", "message": "message", "消息": "message",
}  # fmt: skip
_FILTERS = {
    "from": "from", "channel": "channel", "before": "before", "after": "after", "has": "has", "tag": "tag",
    "kind": "kind", "来自": "from", "渠道": "channel", "之前": "before", "之后": "after", "标签": "tag", "类型": "kind",
    "有": "has", "带": "has",
}  # fmt: skip
_FILTER = re.compile(r"(" + "|".join(_FILTERS) + r")\s*[:：]", re.IGNORECASE)
_HAS = {"attachment": "attachment", "attachments": "attachment", "file": "attachment", "附件": "attachment"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, understood. `terms` are folded; of a phrase the parts stand together."""

    terms: tuple[tuple[str, ...], ...] = ()
    author: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    before: Moment | None = None
    after: Moment | None = None
    attachment: bool = False
    tags: tuple[str, ...] = ()
    kinds: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Match:
    """Where it was found. `ref` is the id of the message, article or order; `ticket` its number or None."""

    kind: str
    ref: int
    at: datetime
    title: str
    snippet: str
    who: str = ""
    channel: str = ""
    ticket: int | None = None
    contact_id: int | None = None


def parse(asked: str, zone: tzinfo = UTC) -> Asked:
    """Read a query. Raise QueryError, which says where."""
    if len(asked) > LIMIT:
        raise QueryError("long", LIMIT)
    found: dict[str, list[Any]] = {name: [] for name in ("term", *_FILTERS.values())}
    place = 0
    while place < len(asked):
        if asked[place].isspace():
            place += 1
        elif filtered := _FILTER.match(asked, place):
            name = _FILTERS[filtered[1].lower()]
            value, after = _value(asked, filtered.end())
            if not value:
                raise QueryError("value", place, filtered[1])
            found[name].append(_understood(name, value, place, zone))
            place = after
        else:
            value, after = _value(asked, place)
            terms = parts(fold(value))
            if terms and asked[place] in QUOTES:
                found["term"].append(tuple(terms))
            else:
                found["term"] += [(term,) for term in terms]
            place = after
    if not any(found.values()):
        raise QueryError("empty", 0)
    return Asked(
        terms=tuple(dict.fromkeys(found["term"]))[:TERMS],
        author=tuple(found["from"]),
        channels=tuple(found["channel"]),
        before=found["before"][-1] if found["before"] else None,
        after=found["after"][-1] if found["after"] else None,
        attachment=bool(found["has"]),
        tags=tuple(found["tag"]),
        kinds=frozenset().union(*found["kind"]),
    )


def search(
    tx: Connection, asked: Asked, now: datetime, *, limit: int = 20, scope: Scope | None = None
) -> list[Match]:
    """What fits, messages and notes first, each newest first; of customers only what is in the scope."""
    kinds = asked.kinds or frozenset(KINDS)
    found: list[Match] = []
    if messages := kinds & {"in", "out", "note"}:
        found += _messages(tx, asked, sorted(messages), now, limit, scope)
    only_messages = asked.author or asked.channels or asked.attachment or asked.tags
    if asked.terms and not only_messages and len(found) < limit:
        others = [kind for kind in ("article", "order") if kind in kinds]
        found += _texts(tx, asked, others, now, limit - len(found), scope)
    return found


def _value(asked: str, place: int) -> tuple[str, int]:
    """A word, or what is in quotes, from a place on."""
    if place < len(asked) and asked[place] in QUOTES:
        return quoted(asked, place)
    end = place
    while end < len(asked) and not asked[end].isspace() and (end == place or asked[end] not in QUOTES):
        end += 1
    return asked[place:end].replace("\x00", ""), max(end, place)


def _understood(name: str, value: str, at: int, zone: tzinfo) -> Any:
    match name:
        case "before" | "after":
            found = moment(value, zone)
            if found is None:
                raise QueryError("date", at, value)
            return found
        case "has":
            if value.lower() not in _HAS:
                raise QueryError("value", at, value)
            return _HAS[value.lower()]
        case "kind":
            kind = _KIND_WORDS.get(value.lower())
            if kind is None:
                raise QueryError("value", at, value)
            return {"in", "out"} if kind == "message" else {kind}
    return value.encode("utf-8", "ignore").decode().lower()


def _as_tokens(terms: Sequence[tuple[str, ...]]) -> Query:
    """The question to the index: a superset of what fits, because it knows no places."""
    found: list[Query] = []
    for term in terms:
        for place, part in enumerate(term):
            if not is_cjk(part):
                whole = place < len(term) - 1
                word = part[: tokens.WORD_LIMIT]
                found.append(token(word) if whole else prefix(word))
            elif len(part) == 1:
                found.append(prefix(part))
            else:
                found += map(token, tokens.pairs(part))
    return all_of(found)


def _fits(terms: Sequence[tuple[str, ...]], *texts: str) -> bool:
    """Whether the terms really are there, a phrase's parts side by side."""
    found = [part for one in texts for part in [*parts(fold(one[: tokens.TEXT_LIMIT])), ""]]
    return all(_has(term, found) for term in terms)


def _has(term: tuple[str, ...], found: list[str]) -> bool:
    for start in range(len(found) - len(term) + 1):
        if all(
            (
                word in other
                if is_cjk(word)
                else other == word
                if place < len(term) - 1
                else other.startswith(word)
            )
            for place, (word, other) in enumerate(zip(term, found[start:], strict=False))
        ):
            return True
    return False


def _messages(
    tx: Connection,
    asked: Asked,
    kinds: Sequence[str],
    now: datetime,
    limit: int,
    scope: Scope | None,
) -> list[Match]:
    message, conversation, ticket = schema.message, schema.conversation, schema.ticket
    contact, attachment, identity = schema.contact, schema.attachment, schema.identity
    query = (
        select(
            message.c.id, message.c.kind, message.c.created_at, message.c.subject, message.c.text,
            message.c.author, message.c.channel, ticket.c.number, conversation.c.contact_id,
            conversation.c.subject.label("about"),
        )
        .select_from(message)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .outerjoin(ticket, ticket.c.id == message.c.ticket_id)
        .where(message.c.kind.in_(kinds))
    )  # fmt: skip
    if scope is not None:
        query = query.where(scopes.of_message(scope))
    if asked.before is not None:
        query = query.where(message.c.created_at < asked.before.before(now))
    if asked.after is not None:
        query = query.where(message.c.created_at >= asked.after.before(now))
    for channel in asked.channels:
        query = query.where(func.lower(message.c.channel).startswith(channel, autoescape=True))
    if asked.author or asked.tags:
        query = query.join(contact, contact.c.id == conversation.c.contact_id)
    for author in asked.author:
        if sealed_scan.is_sealed(tx):
            called, known = sealed_scan.wrote(tx, author)
        else:
            called = func.lower(message.c.author).contains(author, autoescape=True)
            known = func.lower(contact.c.name).contains(author, autoescape=True)
        wrote = or_(called, message.c.author_kind == author, and_(message.c.kind == "in", known))
        if "@" in author:
            whose = select(identity.c.contact_id).where(identity.c.user_id == author)
            by = or_(message.c.author_id.in_(whose), conversation.c.contact_id.in_(whose))
            wrote = or_(wrote, and_(message.c.kind == "in", by))
        query = query.where(wrote)
    for tag in asked.tags:
        query = query.where(has_tag(tx, tag))
    if asked.attachment:
        query = query.where(exists().where(attachment.c.message_id == message.c.id))
    newest_first = message.c.id.desc()
    if not asked.terms:
        return [_match(row, asked) for row in tx.execute(query.order_by(newest_first).limit(limit))]
    read = state.cursors(tx).get("message", 0)
    behind = tx.execute(query.where(message.c.id > read).order_by(newest_first).limit(TAIL))
    found = [_match(row, asked) for row in behind if _fits(asked.terms, row.subject, row.text)]
    matching = (
        text(tables.matching(tx, "search_message"))
        .bindparams(query=tables.rendered(tx, veil.asked(tx, _as_tokens(asked.terms))))
        .columns(column("id"))
        .subquery("f")
    )
    indexed = (
        query.join(matching, matching.c.id == message.c.id)
        .where(message.c.id <= read)
        .order_by(matching.c.id.desc() if not is_postgresql(tx) else newest_first)
        .limit(CHECKED)
    )
    for row in tx.execute(indexed):  # some hold the words, but not side by side
        if len(found) >= limit:
            break
        if _fits(asked.terms, row.subject, row.text):
            found.append(_match(row, asked))
    return found[:limit]


def has_tag(tx: Connection, tag: str) -> Any:
    """Whether the contact has a tag, in whatever case."""
    tags = schema.contact.c.tags
    if is_postgresql(tx):
        each = func.jsonb_array_elements_text(tags).table_valued("value").alias("tag")
    else:
        each = func.json_each(tags).table_valued("value").alias("tag")
    return exists(select(1).select_from(each).where(func.lower(cast(each.c.value, SqlText)) == tag.lower()))


def _match(row: Any, asked: Asked) -> Match:
    return Match(
        kind=row.kind,
        ref=row.id,
        at=row.created_at,
        title=row.subject or row.about,
        snippet=snippet(row.text, asked.terms),
        who=row.author,
        channel=row.channel,
        ticket=row.number,
        contact_id=row.contact_id,
    )


def _texts(
    tx: Connection,
    asked: Asked,
    kinds: Sequence[str],
    now: datetime,
    limit: int,
    scope: Scope | None,
) -> list[Match]:
    """Articles and orders; what the index has not read yet is little and comes a moment later."""
    found: list[Match] = []
    if not kinds:
        return found
    query = veil.asked(tx, _as_tokens(asked.terms))
    for kind in kinds:
        ids = tables.fitting(tx, "search_text", query, kind == "article", 10 * limit)
        statement = f"SELECT id, text FROM search_text WHERE id IN ({listed(ids) or 0})"
        texts: dict[int, str] = dict(tx.execute(sql_once(statement)).all())
        for number in ids:
            if len(found) >= limit:
                break
            said = texts.get(number, "")
            if not _fits(asked.terms, said):
                continue
            one = (_of_order if kind == "order" else _of_article)(tx, number // 2, said, asked)
            if one is None or (one.contact_id and not scopes.has_contact(tx, scope, one.contact_id)):
                continue
            if asked.before is not None and one.at >= asked.before.before(now):
                continue
            if asked.after is not None and one.at < asked.after.before(now):
                continue
            found.append(one)
    return found


def _of_order(tx: Connection, number: int, said: str, asked: Asked) -> Match | None:
    order = schema.order
    known = tx.execute(select(order).where(order.c.id == number)).first()
    if known is None:
        return None
    said = snippet(said, asked.terms)
    return Match("order", number, known.ordered_at, known.number, said, contact_id=known.contact_id)


def _of_article(tx: Connection, number: int, said: str, asked: Asked) -> Match | None:
    article = schema.article
    known = tx.execute(select(article).where(article.c.id == number)).first()
    if known is None:
        return None
    said = snippet(known.body if _fits(asked.terms, known.body) else said, asked.terms)
    return Match("article", number, known.updated_at, known.title, said)


def snippet(said: str, terms: Sequence[tuple[str, ...]]) -> str:
    """The part of a text around the first term, on one line."""
    line = " ".join(said.split())
    if len(line) <= SNIPPET:
        return line
    folded = fold(line)
    places = [place for term in terms for part in term[:1] if (place := folded.find(part)) >= 0]
    start = max(0, min(min(places, default=0) - SNIPPET // 4, len(line) - SNIPPET))
    if start:
        space = line.find(" ", start, start + 15)
        start = space + 1 if space >= 0 else start
    end = start + SNIPPET
    return ("…" if start else "") + line[start:end].strip() + ("…" if end < len(line) else "")
