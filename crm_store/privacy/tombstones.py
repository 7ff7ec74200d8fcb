"""Keyed hashes of what was erased, so that a file, a mailbox or another system does not bring it back.

The key is random and lies in the store: the hashes tell nobody who was erased by being read. (Whoever has the
whole store and tries every phone number there is could still find one; who has it has all others in plain.)
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from crm_store import schema
from crm_store.rows import insert
from crm_store.statement import Statement

KEY = "privacy_key"
AT_ONCE = 500
table = schema.erased_key
meta = schema.meta

ANY = select(table.c.digest).exists()  # whether anybody was ever erased: for a query that asks for more
_any = Statement(select(table.c.digest).limit(1))
_key = Statement(select(meta.c.value).where(meta.c.name == bindparam("name")))
_holds = Statement(select(table.c.digest).where(table.c.digest == bindparam("wanted")))


def key(tx: Connection) -> bytes:
    """The store's key, made when first asked for."""
    found = _key.scalar(tx, name=KEY)
    if found is None:
        fresh = insert(tx, meta).values(name=KEY, value=secrets.token_hex(32))
        tx.execute(fresh.on_conflict_do_nothing())
        found = _key.scalar(tx, name=KEY)
    return bytes.fromhex(str(found))


def digest(key: bytes, *parts: object) -> str:
    """What is remembered of ("identity", "email", "li@example.com"): 128 bits in hex."""
    said = "\0".join(str(part) for part in parts)
    return hmac.new(key, said.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]


def identity(key: bytes, space: str, user_id: str) -> str:
    return digest(key, "identity", space, user_id.casefold())


def event(key: bytes, channel: str, event_id: str) -> str:
    """A platform's event or message."""
    return digest(key, "event", channel, event_id)


def contact(key: bytes, contact_id: int, created_at: datetime) -> str:
    return digest(key, "contact", contact_id, created_at.isoformat())


def remember(tx: Connection, digests: Iterable[str], now: datetime) -> None:
    rows = [{"digest": one, "at": now} for one in dict.fromkeys(digests)]
    for start in range(0, len(rows), AT_ONCE):
        tx.execute(insert(tx, table).on_conflict_do_nothing(), rows[start : start + AT_ONCE])


def holds(tx: Connection, *parts: object) -> bool:
    """Whether something of this kind and name was erased; where nobody ever was, one look at an empty table."""
    if _any.first(tx) is None:
        return False
    return _holds.first(tx, wanted=digest(key(tx), *parts)) is not None


def any_erased(tx: Connection) -> bool:
    """Whether anybody ever was."""
    return _any.first(tx) is not None


def event_was_erased(tx: Connection, channel: str, event_id: str) -> bool:
    return holds(tx, "event", channel, event_id)


def erased_of(tx: Connection, kind: str, named: Iterable[tuple[object, ...]]) -> set[tuple[object, ...]]:
    """Which of these were erased: ("identity", [("email", "li@example.com"), …])."""
    if _any.first(tx) is None:
        return set()
    secret = key(tx)
    by_digest = {digest(secret, kind, *parts): parts for parts in named}
    found: set[tuple[object, ...]] = set()
    wanted = list(by_digest)
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        found |= {
            by_digest[d] for d in tx.execute(select(table.c.digest).where(table.c.digest.in_(some))).scalars()
        }
    return found


def identities_erased(tx: Connection, keys: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these (space, user_id) were erased."""
    plain = {(space, user_id.casefold()): (space, user_id) for space, user_id in keys}
    return {plain[(str(s), str(u))] for s, u in erased_of(tx, "identity", plain)}
