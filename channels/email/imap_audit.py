"""What lies in the mailbox, whether or not we have it; over a connection of its own. Everything blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from channels.base import FetchFailed, Held
from channels.conversation import Raw
from channels.email.envelope import Transit, pack
from channels.email.imap_session import TROUBLE, Gone, Refused, Session, call
from channels.email.settings import Settings


def held(settings: Settings, since: datetime) -> list[Held]:
    """All mails since a day, oldest first. Raise FetchFailed."""
    with _session(settings) as session:
        uids = session.new(0, since.date())
        return [Held(f"{session.uidvalidity}:{uid}", id_) for uid, id_ in session.message_ids(uids)]


def fetch(channel: str, settings: Settings, wanted: Sequence[Held], now: datetime) -> Iterator[Raw]:
    """These mails, one after the other; what is gone or was renumbered is left out. Raise FetchFailed."""
    with _session(settings) as session:
        for one in wanted:
            validity, _, uid = one.ref.partition(":")
            if validity != str(session.uidvalidity):
                continue
            try:
                mail = session.fetch(int(uid), settings.max_size_mb << 20)
            except Gone:
                continue
            yield pack(
                channel, Transit(via="imap", flaw="" if mail.whole else "truncated"), mail.content, now
            )


@contextmanager
def _session(settings: Settings) -> Iterator[Session]:
    session = Session(settings)
    try:
        call(session.open)
        yield session
    except Refused as refusal:
        raise FetchFailed(str(refusal)) from refusal
    except (*TROUBLE, AttributeError) as error:
        raise FetchFailed(type(error).__name__) from error
    finally:
        session.close()
