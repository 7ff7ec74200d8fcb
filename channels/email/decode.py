"""From stored bytes to an Inbound: who wrote, where it belongs, what kind it is.

The `Decoder` travels to a worker process and runs there under limits, so it imports the parser only when
called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from channels.conversation import Address, Attachment, Author, Inbound, Kind, Raw
from channels.email import reply_address
from channels.email.envelope import Transit, hash_of, header_values, identify, unpack
from channels.email.mail import Mail, Mailbox, Part

REFERENCES_LIMIT = 100  # ids of one mail that are looked up
PARTICIPANTS_LIMIT = 100
RECIPIENT_FIELDS = (
    "to",
    "cc",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "x-envelope-to",
    "x-forwarded-to",
)
CLOCK_SKEW = timedelta(minutes=10)
OLDEST = timedelta(days=3650)  # a Date before that is nonsense
_DELIMITERS = re.compile(rb"[\s<>,;:()\"]+")
_TICKET = re.compile(r"\[[^\[\]#]{0,40}#(\d{1,12})\]")
_UNANSWERED = re.compile(r"(no|do-?not|donot|never)[._-]?reply|bounces?\b|mailer-daemon", re.IGNORECASE)
_FORM = re.compile(
    r"(contact|web|online|website)?[._-]?forms?|wordpress|www-data|apache|nobody|web(site|server)?"
)
_IN_ANGLES = re.compile(r"<\s*([^<>\s]{1,300})\s*>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Decoder:
    """Turns one stored mail into one Inbound. Picklable; pure."""

    channel: str
    ours: tuple[str, ...]  # lower-cased
    secret: bytes = field(repr=False)
    senders_checked: bool = True  # False: the operator vouches for whatever comes in
    staff: tuple[str, ...] = ()  # lower-cased: what they forward is the original sender's

    def __call__(self, raw: Raw) -> Sequence[Inbound]:
        transit, content = unpack(raw.body)
        try:
            from channels.email.parse import parse  # its HTML libraries belong to the worker, not to us

            mail = parse(content)
            inbound = self._inbound(raw, transit, content, mail)
        except Exception:  # the parser promises not to; were it to break its word, the mail must still arrive
            return self.undecodable(raw)
        if transit.flaw == "unfetchable" or any(d.startswith("parser_failed") for d in mail.defects):
            files = (*inbound.attachments, _original(content))
            warnings = ("undecodable", *inbound.warnings)
            return (replace(inbound, attachments=files, warnings=warnings, may_acknowledge=False),)
        return (inbound,)

    def undecodable(self, raw: Raw) -> Sequence[Inbound]:
        """What is left of a mail that cannot be understood: its sender if any, and itself as a file.

        Also for a mail whose decoding was stopped at its limits. Never raises.
        """
        transit, content = unpack(raw.body)
        message_id, sender, digest = identify(content)
        sender = sender or (transit.mail_from or "").lower() or f"{digest}@missing.invalid"
        subject = b"".join(v for _, v in header_values(content, ("subject",))[:1]).decode("utf-8", "replace")
        return (
            Inbound(
                address=Address(self.channel, sender),
                event_id=message_id or f"{hash_of(raw.event_id) or digest}@missing",
                dedupe=raw.event_id,
                author=Author(user_id=sender, may_command=False),
                text="",
                sent_at=raw.received_at,
                kind=Kind.AUTOMATIC if transit.mail_from == "" else Kind.MESSAGE,
                subject=_clean(subject, 500),
                thread_hints=tuple(self._signed_keys(transit, content)),
                attachments=(_original(content),) if content else (),
                warnings=("undecodable", *((transit.flaw,) if transit.flaw else ())),
                may_acknowledge=False,
            ),
        )

    def _inbound(self, raw: Raw, transit: Transit, content: bytes, mail: Mail) -> Inbound:
        evidence = _evidence(raw.evidence)
        sender, is_form = self._sender(mail, transit, raw)
        kind = self._kind(mail, transit, content, is_form)
        verified = (
            not is_form
            and evidence.get("verified") is True
            and mail.from_ is not None
            and evidence.get("from") == mail.from_.address.lower()
        )
        participants = self._participants(mail, sender.user_id)
        checked = self.senders_checked  # also when the check itself failed: no evidence is not good evidence
        text = mail.text.replace("\x00", "")
        reply = (mail.reply or mail.text).replace("\x00", "")
        target, subject = "", _clean(mail.subject, 500)
        values = {}
        if mail.bounce is not None:
            target = mail.bounce.message_id
            values = {
                "recipient": mail.bounce.recipient.lower(),
                "status": mail.bounce.status,
                "action": mail.bounce.action,
            }
            reply = " ".join(filter(None, (mail.bounce.recipient, mail.bounce.status, mail.bounce.action)))
        whole = Inbound(
            address=Address(self.channel, sender.user_id),
            event_id=mail.message_id or f"{hash_of(raw.event_id)}@missing",
            dedupe=raw.event_id,
            author=Author(
                user_id=sender.user_id,
                name=sender.name,
                verified_email=sender.user_id if verified else None,
                language=mail.language or None,
                may_command=False,
            ),
            text=reply,
            full_text=text,
            subject=subject,
            sent_at=_sane(mail.date, raw.received_at),
            kind=kind,
            in_reply_to_id=_bare(mail.in_reply_to),
            thread_hints=self._hints(mail, transit, content, text),
            attachments=tuple(_attachment(a) for a in mail.attachments),
            target_id=_bare(target),
            values=values,
            participants=participants,
            private=not participants,
            warnings=tuple(_warnings(mail, evidence, transit, verified=verified, checked=checked)),
            may_acknowledge=(verified or not checked)
            and kind is Kind.MESSAGE
            and not _UNANSWERED.search(sender.user_id.partition("@")[0]),
        )
        by_staff = sender.user_id in self.staff and (verified or not checked) and kind is Kind.MESSAGE
        return self._passed_on(whole, mail) if by_staff else whole

    def _passed_on(self, whole: Inbound, mail: Mail) -> Inbound:
        """A forward by a colleague is the mail of who wrote it first; of whom we know only what it says."""
        from channels.email import forward

        found = forward.find(mail)
        if found is None or self._is_ours(found.address):
            return whole
        first = _author(Mailbox(found.name, found.address))
        refs = (f"ref:{_bare(found.message_id)}",) if found.message_id else ()
        return replace(
            whole,
            address=Address(self.channel, first.user_id),
            author=first,
            text=found.text.replace("\x00", ""),
            subject=_clean(found.subject, 500),
            thread_hints=(*refs, *(h for h in whole.thread_hints if h.startswith("ref:"))),
            participants=(),
            private=True,
            values={"forwarded_by": whole.author.user_id, "note": found.note.replace("\x00", "")},
            warnings=("forwarded",),
            may_acknowledge=False,
        )

    def _sender(self, mail: Mail, transit: Transit, raw: Raw) -> tuple[Author, bool]:
        """Who wrote; True when it is the Reply-To of a form, which nobody can vouch for."""
        if mail.from_ is not None and mail.from_.address:
            address = mail.from_.address.lower()
            local = address.partition("@")[0]
            if self._is_ours(address) or _UNANSWERED.search(local) or _FORM.fullmatch(local):
                for box in mail.reply_to:
                    if box.address and not self._is_ours(box.address) and box.address.lower() != address:
                        return _author(box), True
            return _author(mail.from_), False
        if transit.mail_from:
            return Author(user_id=transit.mail_from.lower()[:254], may_command=False), False
        return Author(user_id=f"{hash_of(raw.event_id)}@missing.invalid", may_command=False), False

    def _is_ours(self, address: str) -> bool:
        return reply_address.accepts(address, self.ours)

    def _kind(self, mail: Mail, transit: Transit, content: bytes, is_form: bool) -> Kind:
        if mail.bounce is not None and mail.bounce.action in ("failed", "delayed"):
            return Kind.BOUNCE  # a receipt of delivery or relaying is no bounce
        passed_on = mail.from_list and self._is_our_list(content)
        automatic = mail.auto_submitted and not passed_on
        if automatic or mail.feedback_report or mail.bounce is not None or transit.mail_from == "":
            return Kind.AUTOMATIC
        address = mail.from_.address.lower() if mail.from_ is not None else ""
        if address.partition("@")[0] == "mailer-daemon" or (self._is_ours(address) and not is_form):
            return Kind.AUTOMATIC
        return Kind.MESSAGE if passed_on or not _says_automatic(content) else Kind.AUTOMATIC

    def _is_our_list(self, content: bytes) -> bool:
        """Whether a list is our own address: a group that hands customers' mail on to us, as Google's do."""
        ours = {address.replace("@", ".", 1) for address in self.ours}
        for name, value in header_values(content, ("list-id", "list-post")):
            for found in _IN_ANGLES.findall(value.decode("utf-8", "replace").lower()):
                if found in ours if name == "list-id" else self._is_ours(found.removeprefix("mailto:")):
                    return True
        return False

    def _signed_keys(self, transit: Transit, content: bytes) -> Iterable[str]:
        tokens = [r.encode("utf-8", "replace") for r in transit.rcpt_tos]
        for _, value in header_values(content, RECIPIENT_FIELDS):
            tokens.extend(_DELIMITERS.split(value))
        found = (
            reply_address.verify(token.decode("utf-8", "replace"), self.ours, self.secret)
            for token in tokens
            if b"+" in token and b"@" in token
        )
        return dict.fromkeys(f"key:{key}" for key in found if key is not None)

    def _hints(self, mail: Mail, transit: Transit, content: bytes, text: str) -> tuple[str, ...]:
        ids = [mail.in_reply_to or "", *reversed(mail.references)]
        refs = [f"ref:{bare}" for i in ids[: REFERENCES_LIMIT + 1] if (bare := _bare(i))]
        marked = [f"weakref:{key}" for key in reply_address.markers(text, self.secret)]
        tickets = [f"subject:{number}" for number in _TICKET.findall(mail.subject)[:3]]
        return tuple(dict.fromkeys([*self._signed_keys(transit, content), *refs, *marked, *tickets]))

    def _participants(self, mail: Mail, sender: str) -> tuple[Author, ...]:
        people: dict[str, Author] = {}
        for box in (*mail.to, *mail.cc, *mail.bcc):
            address = box.address.lower()
            if "@" in address and address != sender and not self._is_ours(address):
                people.setdefault(address, _author(box))
        return tuple(people.values())[:PARTICIPANTS_LIMIT]


def _warnings(
    mail: Mail, evidence: dict[str, Any], transit: Transit, *, verified: bool, checked: bool
) -> Iterable[str]:
    if evidence.get("spf") in ("fail", "softfail"):
        yield "spf_fail"
    if evidence.get("dkim") == "fail":
        yield "dkim_fail"
    if evidence.get("dmarc") == "fail":
        yield "dmarc_fail"
    if checked and not verified:
        yield "unverified_sender"
    if transit.flaw:
        yield transit.flaw
    replies_to = [box.address.lower() for box in mail.reply_to if box.address]
    if mail.from_ is not None and replies_to and mail.from_.address.lower() not in replies_to:
        yield "reply_to_differs"


def _says_automatic(content: bytes) -> bool:
    """Whether a header says that no person wrote this (RFC 3834 and what is used besides)."""
    names = (
        "auto-submitted",
        "precedence",
        "list-id",
        "list-post",
        "list-unsubscribe",
        "x-auto-response-suppress",
        "x-autoreply",
        "x-autorespond",
        "x-loop",
    )
    for name, value in header_values(content, names):
        word = value.lower().split(b";")[0].strip()
        match name:
            case "auto-submitted":
                if word != b"no":
                    return True
            case "precedence":
                if word in (b"bulk", b"junk", b"list", b"auto_reply"):
                    return True
            case "x-auto-response-suppress":
                if word != b"none":
                    return True
            case _:
                return True
    return False


def _author(box: Mailbox) -> Author:
    return Author(
        user_id=_CONTROL.sub("", box.address).lower()[:254], name=_clean(box.name, 200), may_command=False
    )


def _attachment(part: Part) -> Attachment:
    return Attachment(
        filename=_clean(part.shown_name, 255) or "file",
        content_type=part.content_type,
        size=part.size,
        content=part.content,
        content_id=part.content_id,
        inline=part.inline,
    )


def _original(content: bytes) -> Attachment:
    return Attachment("message.eml", "message/rfc822", len(content), content)


def _sane(date: datetime | None, received_at: datetime) -> datetime:
    """The Date field, unless it lies in the future or absurdly far back."""
    if date is None:
        return received_at
    try:
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        return received_at
    if moment > received_at + CLOCK_SKEW or moment < received_at - OLDEST:
        return received_at
    return min(moment, received_at)


def _evidence(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _bare(message_id: str | None) -> str:
    return (message_id or "").strip().strip("<>")


def _clean(text: str | None, limit: int) -> str:
    return " ".join(_CONTROL.sub("", text or "").split())[:limit]
