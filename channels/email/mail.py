"""The values an e-mail is understood as; nothing here parses."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One sender or recipient; `address` may be empty when only a name was given."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Part:
    """One attached or inline file; `filename` is empty where the mail gave it none."""

    filename: str
    content_type: str
    size: int
    sha256: str
    inline: bool
    content_id: str
    content: bytes = field(repr=False)

    @property
    def shown_name(self) -> str:
        """Give a name for people and disks, even to a part without one."""
        if self.filename:
            return self.filename
        kind, _, sub = self.content_type.partition("/")
        known = {"message/rfc822": "message.eml", "text/plain": "text.txt", "text/calendar": "invite.ics"}
        return known.get(self.content_type, f"{kind or 'part'}.{sub.split('+')[-1] or 'bin'}")


@dataclass(frozen=True, slots=True)
class Bounce:
    """A report about a mail that was not (yet) delivered.

    `action` is failed, delayed, delivered, relayed or expanded; `status` an RFC 3463 code or empty;
    `message_id` the returned mail's, without brackets, or empty.
    """

    recipient: str
    status: str
    action: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as a person and a help desk understand it; ids are without angle brackets."""

    message_id: str
    in_reply_to: str
    references: tuple[str, ...]
    subject: str
    from_: Mailbox | None
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]
    date: datetime | None
    text: str
    reply: str
    html_sanitized: str
    attachments: tuple[Part, ...]
    auto_submitted: bool
    feedback_report: bool
    bounce: Bounce | None
    language: str
    bcc: tuple[Mailbox, ...] = ()
    sender: Mailbox | None = None
    return_path: str | None = None  # "" is the null sender <>, None is no such header
    delivered_to: tuple[str, ...] = ()  # Delivered-To, X-Original-To, Envelope-To, X-Envelope-To …
    list_id: str = ""
    list_unsubscribe: str = ""
    precedence: str = ""
    auto_submitted_value: str = ""  # the header's own word: auto-replied, auto-generated, …
    x_auto_response_suppress: str = ""
    authentication_results: tuple[str, ...] = ()  # topmost first
    x_headers: tuple[tuple[str, str], ...] = ()  # every X- header, decoded, lower-case names
    disposition_notification_to: str = ""
    encrypted: bool = False
    signed: bool = False
    calendar: bool = False
    from_list: bool = False  # auto_submitted for no other reason than a mailing list's marks
    quoted_text: str = ""  # what was removed as quote, for a marker inside it
    defects: tuple[str, ...] = ()
