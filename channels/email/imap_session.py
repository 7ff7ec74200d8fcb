"""One blocking IMAP session, for a thread of its own: connect, look for new mail, fetch it unread, wait.

Nothing in the mailbox is changed: the folder is opened read-only and mail is fetched with PEEK.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar

import imap_tools
from imap_tools.errors import ImapToolsError
from imap_tools.utils import encode_folder

from channels.email.envelope import identify
from channels.email.settings import Server, Settings

TIMEOUT_S = 60.0  # for one answer of the server
PARTIAL = 1 << 20  # bytes fetched of a mail larger than we take
TROUBLE = (imaplib.IMAP4.error, ImapToolsError, OSError, EOFError, ValueError)
IDS_AT_ONCE = 200  # mails whose Message-ID one FETCH asks for
T = TypeVar("T")
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_UID = re.compile(rb"UID (\d+)")
_DATE = re.compile(rb'INTERNALDATE "([^"]+)"')


class Gone(Exception):
    """The mail was removed before it was fetched."""


class Refused(Exception):
    """The server answers, but does not let us in or does not have the folder."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A mail as the mailbox has it. `whole` is False when only its first megabyte was fetched."""

    uid: int
    content: bytes
    whole: bool
    received_at: datetime | None


class Session:
    """A connection with the folder open. Every method blocks; `abort` may be called from outside."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._box: Any = None
        self.uidvalidity = 0
        self.can_idle = False

    def open(self) -> None:
        """Connect, secure, log in, open the folder. Raise Refused, or one of TROUBLE."""
        settings = self._settings
        server = Server(settings.imap)
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if server.scheme == "imaps":
            self._box = imap_tools.MailBox(server.host, server.port, timeout=TIMEOUT_S, ssl_context=context)
        elif server.loopback:
            self._box = imap_tools.MailBoxUnencrypted(server.host, server.port, timeout=TIMEOUT_S)
        else:
            self._box = imap_tools.MailBoxStartTls(
                server.host, server.port, timeout=TIMEOUT_S, ssl_context=context
            )
        try:
            if server.user.isascii() and settings.imap_password.isascii():
                self._box.login(server.user, settings.imap_password, initial_folder=None)
            else:
                self._box.login_utf8(server.user, settings.imap_password, initial_folder=None)
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, ImapToolsError) as error:
            raise Refused("imap_login_refused") from error
        self.can_idle = "IDLE" in self._box.client.capabilities
        self._select()

    def new(self, after: int, since: date | None) -> list[int]:
        """UIDs above `after` in order; with `since` only mail that arrived on or after that day."""
        criteria = f"UID {after + 1}:*" + (f" SINCE {_imap_day(since)}" if since else "")
        found = self._box.uids(criteria, charset=None)
        # "n:*" always includes the last mail, even below n
        return sorted({int(uid) for uid in found if uid.isdigit() and int(uid) > after})

    def highest(self) -> int:
        """The highest UID in the folder, 0 when it is empty."""
        return max((int(uid) for uid in self._box.uids("UID *", charset=None) if uid.isdigit()), default=0)

    def fetch(self, uid: int, limit: int) -> Fetched:
        """Fetch one mail, or its beginning where it is larger than `limit`. Raise Gone, or one of TROUBLE."""
        lines = self._uid_fetch(uid, "(UID RFC822.SIZE INTERNALDATE)")
        facts = b" ".join(part if isinstance(part, bytes) else part[0] for part in lines)
        size = _SIZE.search(facts)
        if size is None:
            raise Gone
        whole = int(size[1]) <= limit
        for part in self._uid_fetch(uid, "(UID BODY.PEEK[])" if whole else f"(UID BODY.PEEK[]<0.{PARTIAL}>)"):
            if isinstance(part, tuple):
                return Fetched(uid, part[1], whole, _moment(facts))
        raise Gone

    def message_ids(self, uids: Sequence[int]) -> list[tuple[int, str]]:
        """The Message-ID of each mail, without brackets; "" for one without."""
        found = []
        for at in range(0, len(uids), IDS_AT_ONCE):
            some = ",".join(str(uid) for uid in uids[at : at + IDS_AT_ONCE])
            answer, lines = self._box.client.uid("FETCH", some, "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
            if answer != "OK":
                raise imaplib.IMAP4.error("FETCH refused")
            for line in lines:
                uid = _UID.search(line[0]) if isinstance(line, tuple) else None
                if uid is not None:
                    found.append((int(uid[1]), identify(line[1])[0]))
        return sorted(found)

    def wait(self, seconds: float) -> None:
        """Return when the server says that something changed, or after the time, by IDLE or without."""
        if not self.can_idle:
            self._box.client.noop()
            return
        idle = self._box.idle
        idle.start()
        # What arrived between the last search and IDLE is told with the next search: the net is the caller's.
        idle.poll(timeout=min(seconds, 28 * 60))
        idle.stop()

    def abort(self) -> None:
        """Cut the connection so that a blocked call returns. Safe from any thread, and twice."""
        client = getattr(self._box, "client", None)
        sock = getattr(client, "sock", None)
        if sock is not None:
            with suppress(OSError, ValueError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Log out if that still works, and free the socket."""
        box, self._box = self._box, None
        if box is None:
            return
        with suppress(*TROUBLE):
            box.logout()
        with suppress(*TROUBLE, AttributeError):
            box.client.shutdown()

    def _select(self) -> None:
        client = self._box.client
        answer, _ = client.select(encode_folder(self._settings.imap_folder), readonly=True)
        if answer != "OK":
            raise Refused("imap_folder_not_found")
        _, validity = client.response("UIDVALIDITY")
        if not validity or validity[0] is None:
            raise Refused("imap_without_uidvalidity")
        self.uidvalidity = int(validity[0])

    def _uid_fetch(self, uid: int, what: str) -> list[Any]:
        answer, lines = self._box.client.uid("FETCH", str(uid), what)
        if answer != "OK":
            raise imaplib.IMAP4.error("FETCH refused")
        mine = []
        for line in lines:
            head = line[0] if isinstance(line, tuple) else line
            if isinstance(head, bytes):
                mine.append(line)
        return mine


def call(work: Callable[[], T]) -> T:
    """Run a session's method; imaplib raises AttributeError when its socket was cut under it."""
    try:
        return work()
    except AttributeError as error:
        raise OSError("connection cut") from error


def _imap_day(day: date) -> str:
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return f"{day.day:02d}-{months[day.month - 1]}-{day.year}"


def _moment(facts: bytes) -> datetime | None:
    match = _DATE.search(facts)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1].decode("ascii").strip(), "%d-%b-%Y %H:%M:%S %z")
    except ValueError:
        return None
