"""Files: content-addressed, so that the same picture twice is stored once."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from crm_store import schema
from crm_store.rows import insert, insert_id
from crm_store.statement import Statement

attachment = schema.attachment
blob = schema.blob

_of_message = Statement(
    select(attachment).where(attachment.c.message_id == bindparam("message")).order_by(attachment.c.id)
)


def keep(tx: Connection, now: datetime, content: bytes) -> str:
    """Store content and return its sha256."""
    digest = hashlib.sha256(content).hexdigest()
    tx.execute(
        insert(tx, blob)
        .values(sha256=digest, size=len(content), content=content, created_at=now)
        .on_conflict_do_nothing()
    )
    return digest


def content(tx: Connection, sha256: str) -> bytes | None:
    return tx.execute(select(blob.c.content).where(blob.c.sha256 == sha256)).scalar()


def attach(
    tx: Connection,
    message_id: int,
    *,
    filename: str,
    content_type: str,
    size: int | None,
    kind: str,
    channel: str,
    inline: bool = False,
    content_id: str = "",
    sha256: str | None = None,
    ref: str = "",
) -> int:
    return insert_id(
        tx,
        attachment.insert().values(
            message_id=message_id,
            filename=filename,
            content_type=content_type,
            size=size,
            kind=kind,
            inline=inline,
            content_id=content_id,
            sha256=sha256,
            channel=channel,
            ref=ref,
        ),
    )


def fetched(tx: Connection, attachment_id: int, data: bytes, now: datetime) -> str:
    """A file that was only a platform's reference has been downloaded."""
    digest = keep(tx, now, data)
    tx.execute(
        update(attachment).where(attachment.c.id == attachment_id).values(sha256=digest, size=len(data))
    )
    return digest


def of_message(tx: Connection, message_id: int) -> list[Any]:
    return _of_message.all(tx, message=message_id)


def get(tx: Connection, attachment_id: int) -> Any:
    return tx.execute(select(attachment).where(attachment.c.id == attachment_id)).first()
