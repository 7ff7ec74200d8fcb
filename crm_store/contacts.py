"""Contacts and their identities: who somebody is, on which platforms, and how we know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from crm_store import audit, merges, schema, suggestions
from crm_store.db import Conflict
from crm_store.search import indexing
from crm_store.shared_addresses import is_shared
from crm_store.statement import Statement

contact = schema.contact
identity = schema.identity
LIVE = contact.c.merged_into_id.is_(None)  # the condition of whoever lists contacts: nobody who was merged

_insert = Statement(contact.insert())
_get = Statement(select(contact).where(contact.c.id == bindparam("row")))
_set_language = Statement(
    update(contact)
    .where(contact.c.id == bindparam("row"))
    .values(language=bindparam("spoken"), updated_at=bindparam("now"))
)
_find_identity = Statement(
    select(
        identity.c.id,
        identity.c.contact_id,
        identity.c.space,
        identity.c.user_id,
        identity.c.name,
        identity.c.handle,
        identity.c.verified_at,
        identity.c.gone_at,
    ).where(identity.c.space == bindparam("space"), identity.c.user_id == bindparam("user_id"))
)
_insert_identity = Statement(
    lambda insert: (
        insert(identity).on_conflict_do_nothing(index_elements=["space", "user_id"]).returning(identity.c.id)
    )
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A contact on a platform. `space` is the kind of channel, or "phone"; `created` only just now."""

    id: int
    contact_id: int
    space: str
    user_id: str
    name: str
    handle: str
    verified_at: datetime | None
    gone_at: datetime | None
    created: bool = False


def create(
    tx: Connection, now: datetime, *, name: str = "", language: str | None = None, source: str = ""
) -> int:
    return _insert.insert(
        tx,
        name=name,
        language=language,
        tags=[],
        fields={},
        source=source,
        created_at=now,
        updated_at=now,
    )


def find_identity(tx: Connection, space: str, user_id: str) -> Identity | None:
    row = _find_identity.first(tx, space=space, user_id=user_id)
    return Identity(*row) if row else None


def meet(
    tx: Connection,
    now: datetime,
    *,
    space: str,
    user_id: str,
    name: str = "",
    handle: str = "",
    language: str | None = None,
    source: str = "",
) -> Identity:
    """The identity, with a contact of its own when nobody of that id was met before."""
    known = find_identity(tx, space, user_id)
    if known is not None:
        changes = {
            column: value
            for column, value in (("name", name), ("handle", handle))
            if value and value != getattr(known, column)
        }
        if changes:
            tx.execute(update(identity).where(identity.c.id == known.id).values(**changes))
            if "name" in changes:
                tx.execute(
                    update(contact)
                    .where(contact.c.id == known.contact_id, contact.c.name == "")
                    .values(name=name, updated_at=now)
                )
            indexing.changed(tx, "contact", [known.contact_id])
        return known
    contact_id = create(tx, now, name=name, language=language, source=source or space)
    added = add_identity(tx, now, contact_id, space=space, user_id=user_id, name=name, handle=handle)
    if added is None:  # another process met them at the same moment: the transaction is repeated
        raise Conflict(f"{space} identity")
    return added


def add_identity(
    tx: Connection,
    now: datetime,
    contact_id: int,
    *,
    space: str,
    user_id: str,
    name: str = "",
    handle: str = "",
    verified_how: str = "",
) -> Identity | None:
    """Give a contact an identity; None when it belongs to somebody already.

    For a contact that is not new, tell the search index too: indexing.changed.
    """
    row_id = _insert_identity.scalar(
        tx,
        contact_id=contact_id,
        space=space,
        user_id=user_id,
        name=name,
        handle=handle,
        verified_at=now if verified_how else None,
        verified_how=verified_how,
        created_at=now,
    )
    if row_id is None:
        return None
    return Identity(
        row_id, contact_id, space, user_id, name, handle, now if verified_how else None, None, created=True
    )


def verify(tx: Connection, now: datetime, identity_id: int, how: str) -> None:
    """Note how the platform, or the person, proved that this identity is theirs."""
    tx.execute(
        update(identity)
        .where(identity.c.id == identity_id, identity.c.verified_at.is_(None))
        .values(verified_at=now, verified_how=how)
    )


def prove(tx: Connection, now: datetime, contact_id: int, *, space: str, user_id: str, how: str) -> int:
    """A contact proved to hold another identity (own phone, code by mail). Return the contact it is now.

    When nobody holds it, it is added. When it is of a contact we only know from a file, or who proved the very
    address for which a code was typed now, and the writer is nobody yet beyond the account they write from, the
    two are one: the writer is merged into the other.
    Anything else (a shared browser, a family phone) is left apart, suggested for a person to decide, and audited;
    an address of a role (info@) proves nothing about who somebody is.
    """
    known = find_identity(tx, space, user_id)
    if known is None:
        add_identity(tx, now, contact_id, space=space, user_id=user_id, verified_how=how)
        indexing.changed(tx, "contact", [contact_id])
        return contact_id
    if known.contact_id == contact_id:
        verify(tx, now, known.id, how)
        return contact_id
    detail: dict[str, Any] = {"space": space, "how": how, "contact": known.contact_id}
    if space == "email" and is_shared(user_id):  # several people can prove to read info@
        return contact_id
    parted = merges.were_parted(tx, contact_id, known.contact_id)  # staff know better than a platform
    theirs = how == "code" and known.verified_at is not None
    same = theirs or _only_from_a_file(tx, known.contact_id)
    if parted or not (same and _is_nobody_yet(tx, contact_id)):
        if suggestions.proved(tx, now, contact_id, known.contact_id, f"{space} {user_id}"):
            audit.record(tx, now, "system", "suggest_link", f"contact:{contact_id}", "refused", **detail)
        return contact_id
    try:
        merges.merge(tx, now, known.contact_id, contact_id, actor="system", how=f"{space} {how}")
    except merges.Refused:  # one of the two is being erased
        return contact_id
    verify(tx, now, known.id, how)
    audit.record(tx, now, "system", "link", f"contact:{contact_id}", **detail)
    return known.contact_id


def still(tx: Connection, contact_id: int) -> int | None:
    """Who a number of ours is by now; None for nobody, or somebody who was erased."""
    if get(tx, contact_id) is None:
        return None
    now = merges.current(tx, contact_id)
    gone = select(schema.erasure.c.id).where(schema.erasure.c.contact_id.in_([contact_id, now]))
    return None if tx.execute(gone.limit(1)).first() is not None else now


def come_by_link(
    tx: Connection,
    now: datetime,
    contact_id: int,
    wanted: int,
    *,
    space: str,
    user_id: str,
    one_account: bool,
) -> int:
    """Somebody opened a chat by the link that was made for `wanted`. Return the contact they are now.

    They are one when the writer is nobody yet beyond that account, and `wanted` has no other on that platform
    that was verified, where people have `one_account`: who gave the link away is not for a machine to say.
    Anything else is suggested.
    """
    detail: dict[str, Any] = {"space": space, "how": "link", "contact": wanted}
    other = select(identity.c.id).where(
        identity.c.contact_id == wanted, identity.c.space == space, identity.c.verified_at.is_not(None)
    )
    taken = one_account and tx.execute(other.limit(1)).first() is not None
    if taken or merges.were_parted(tx, contact_id, wanted) or not _is_nobody_yet(tx, contact_id):
        if suggestions.proved(tx, now, contact_id, wanted, f"{space} {user_id}"):
            audit.record(tx, now, "system", "suggest_link", f"contact:{contact_id}", "refused", **detail)
        return contact_id
    try:
        merges.merge(tx, now, wanted, contact_id, actor="system", how=f"{space} link")
    except merges.Refused:  # one of the two is being erased
        return contact_id
    known = find_identity(tx, space, user_id)
    if known is not None:
        verify(tx, now, known.id, "link")
    audit.record(tx, now, "system", "link", f"contact:{contact_id}", **detail)
    return wanted


def _only_from_a_file(tx: Connection, contact_id: int) -> bool:
    """Imported and never met: no conversation, no account on a platform."""
    met = select(schema.conversation.c.id).where(schema.conversation.c.contact_id == contact_id)
    accounts = select(identity.c.id).where(
        identity.c.contact_id == contact_id, identity.c.space.not_in(["email", "phone", "ref"])
    )
    real = accounts.where(identity.c.verified_at.is_not(None))
    return tx.execute(met.limit(1)).first() is None and tx.execute(real.limit(1)).first() is None


def _is_nobody_yet(tx: Connection, contact_id: int) -> bool:
    """Known by the one account they write from, with no orders."""
    accounts = tx.execute(select(func.count()).where(identity.c.contact_id == contact_id)).scalar_one()
    orders = select(schema.order.c.id).where(schema.order.c.contact_id == contact_id)
    return accounts == 1 and tx.execute(orders.limit(1)).first() is None


def gone(tx: Connection, now: datetime, space: str, user_id: str, why: str) -> None:
    """Mark an identity as one that cannot be reached any more."""
    tx.execute(
        update(identity)
        .where(identity.c.space == space, identity.c.user_id == user_id)
        .values(gone_at=now, gone_why=why)
    )


def back(tx: Connection, space: str, user_id: str) -> None:
    tx.execute(
        update(identity)
        .where(identity.c.space == space, identity.c.user_id == user_id)
        .values(gone_at=None, gone_why="")
    )


def get(tx: Connection, contact_id: int) -> Any:
    """The contact's row, or None."""
    return _get.first(tx, row=contact_id)


def set_values(tx: Connection, now: datetime, contact_id: int, **values: Any) -> None:
    """Change columns of a contact."""
    tx.execute(update(contact).where(contact.c.id == contact_id).values(**values, updated_at=now))
    indexing.changed(tx, "contact", [contact_id])


def set_language(tx: Connection, contact_id: int, language: str, now: datetime) -> None:
    _set_language.run(tx, row=contact_id, spoken=language, now=now)


def identities(tx: Connection, contact_id: int) -> list[Any]:
    return list(
        tx.execute(select(identity).where(identity.c.contact_id == contact_id).order_by(identity.c.id)).all()
    )


def is_verified(tx: Connection, contact_id: int, space: str, user_id: str) -> bool:
    found = find_identity(tx, space, user_id)
    return found is not None and found.contact_id == contact_id and found.verified_at is not None
