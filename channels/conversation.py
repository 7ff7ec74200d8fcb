"""The unified conversation model: what every platform's traffic becomes before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from channels.rich import Reply


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message came from or goes to. Ids are opaque outside their channel.

    `channel` is the configured name (`[channels.NAME]`), not the kind. `room_id` is the chat, the Slack
    channel, the e-mail address or the web visitor; `thread_id` the thread or forum topic in it, "" for none.
    """

    channel: str
    room_id: str
    thread_id: str = ""


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote. `user_id` is the platform's immutable id ("T1:U2" on Slack, never a handle)."""

    user_id: str
    name: str = ""
    handle: str = ""
    verified_email: str | None = None  # only when the platform or DMARC attests it
    verified_phone: str | None = None  # only when the platform attests it is the sender's own
    language: str | None = None  # BCP 47, as the platform tells it
    is_bot: bool = False
    may_command: bool = True  # False: guest, external, forwarded, edited, anonymous: carries no authority


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file. Either `content` is here, or `ref` names it for `Channel.fetch` of the channel it came by."""

    filename: str
    content_type: str = "application/octet-stream"
    size: int | None = None  # bytes
    content: bytes | None = field(default=None, repr=False)
    ref: str = ""
    content_id: str = ""
    inline: bool = False
    kind: str = "file"  # file | photo | voice | audio | video | sticker | animation


class Kind(StrEnum):
    """What an inbound value is."""

    MESSAGE = "message"
    EDIT = "edit"  # target_id names the message, text is the new text
    DELETE = "delete"  # target_id
    ACTION = "action"  # a button or a submitted form: action, values, trigger
    REACTION = "reaction"  # target_id, action = "+👍" or "-👍"
    COMMAND = "command"  # a platform's own command form (Slack slash); text is "/name args"
    START = "start"  # the person opened the chat; text is the deep-link payload
    GONE = "gone"  # the person blocked us or left
    BACK = "back"  # the person unblocked us
    BOUNCE = "bounce"  # a delivery report; target_id is the message it is about, text the reason
    AUTOMATIC = "automatic"  # auto-reply, list or feedback mail: kept, never answered
    MOVED = "moved"  # the room has a new id: text is the new room_id
    UNKNOWN = "unknown"  # a kind of event we do not know: stored and counted


@dataclass(frozen=True, slots=True)
class Inbound:
    """One thing that happened on a platform."""

    address: Address
    event_id: str  # the platform's own: "chat:message", "channel:ts", Message-ID without brackets
    author: Author
    text: str
    sent_at: datetime
    kind: Kind = Kind.MESSAGE
    in_reply_to_id: str = ""
    subject: str = ""
    thread_hints: tuple[
        str, ...
    ] = ()  # strongest first; "key:…" is a verified thread_key, "ref:…" a message id
    attachments: tuple[Attachment, ...] = ()
    action: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    target_id: str = ""
    trigger: str = ""  # what the platform wants back to open a form
    private: bool = False  # a one-to-one room: nobody else reads the answer
    participants: tuple[Author, ...] = ()  # others who were addressed (To, Cc)
    full_text: str = ""  # with quotes and signature, where `text` is only what is new
    warnings: tuple[str, ...] = ()  # keys of facts to point out to staff: "spf_fail", "undecodable"
    mentions: tuple[str, ...] = ()  # user_ids of people named in the text
    addressed: bool = True  # False: said in a group without naming or answering us
    album: str = ""  # messages of one album share it: they become one message
    dedupe: str = ""  # unique per message where event_id is not (e-mail); "" means event_id
    may_acknowledge: bool = True  # False: no automatic answer (unverified stranger, automatic sender)


class Op(StrEnum):
    """What an outbound value asks of the channel."""

    SEND = "send"
    EDIT = "edit"  # replace target_id by reply
    DELETE = "delete"  # take target_id back
    MARK = "mark"  # show a delivery state on the agent's own message target_id; mark is "held" …
    FORM = "form"  # open reply's Form for `trigger`
    TYPING = "typing"  # show for a moment that somebody is writing
    MENU = (
        "menu"  # the commands that the person of this private room may use: reply's Fields, none for no list
    )


@dataclass(frozen=True, slots=True)
class Outbound:
    """One thing to do on a platform. The same `key` may be sent twice; a channel that can, sends once."""

    address: Address
    reply: Reply
    key: str  # the outbox id
    op: Op = Op.SEND
    in_reply_to_id: str = ""
    subject: str = ""
    target_id: str = ""
    mark: str = ""  # held | sent | failed | unknown | withdrawn
    trigger: str = ""
    private_to: str = ""  # user_id: only this person may see it (Slack ephemeral, else a direct message)
    thread_key: str = ""  # stable opaque key of the conversation; e-mail signs it into Reply-To
    references: tuple[str, ...] = ()  # ids of earlier messages, oldest first
    cc: tuple[Author, ...] = ()
    opens_thread: bool = False  # the card that begins a ticket: Sent.address names its new thread
    closed: bool | None = None  # of a card that is edited: whether its ticket is closed; `subject` names it
    automatic: bool = False  # written by the bot: null sender and Auto-Submitted on e-mail
    attempt: int = 1  # above 1 the outcome of an earlier attempt is unknown or it failed


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of it. `event_id` is the platform's id of the new message; the address may have
    gained its thread_id. `event_ids` lists all when a long text became several messages."""

    event_id: str
    address: Address
    event_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Raw:
    """What the platform gave us, byte for byte. (channel, event_id) is unique: the second is a repeat.

    `lane` is what must stay in order before decoding: the chat, the thread or the sender. `wait_s` asks
    intake to wait for companions (an album). `evidence` is what `examine` found out, "" before it ran.
    """

    channel: str
    event_id: str
    lane: str
    body: bytes
    received_at: datetime
    wait_s: float = 0.0
    evidence: str = ""
