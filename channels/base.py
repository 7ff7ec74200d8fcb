"""What a channel is: the protocol every adapter answers to, and the ways a delivery can fail.

Exception
├── RetryLater        not now: after N seconds; maybe_sent says the outcome is unknown
├── Undeliverable     never: reason is for the agent; gone marks the identity unreachable
├── ConfigError       what is configured cannot work; one sentence, shown at start and by doctor
└── FetchFailed       a file the platform named cannot be had (any more)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from channels.conversation import Address, Attachment, Author, Inbound, Outbound, Raw, Sent

if TYPE_CHECKING:
    from aiohttp.web import RouteDef

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


class RetryLater(Exception):
    """Delivery did not succeed and may later. `after_s` is None when the platform named no time."""

    def __init__(self, reason: str, *, after_s: float | None = None, maybe_sent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s
        self.maybe_sent = maybe_sent


class Undeliverable(Exception):
    """Delivery can never succeed. `moved_to` names the room's new id when that is why."""

    def __init__(self, reason: str, *, gone: bool = False, moved_to: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.gone = gone
        self.moved_to = moved_to


class ConfigError(Exception):
    """What is configured cannot work. The message is one sentence that names the thing."""


class FetchFailed(Exception):
    """A file cannot be fetched; `final` says that asking again is no use."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform can show or do; as data, so that nobody asks which platform it is."""

    threads: bool = False  # a card opens a thread of its own: it can be a staff side
    buttons: bool = False
    forms: bool = False
    edit: bool = False
    delete: bool = False
    marks: bool = False  # delivery state on the agent's own message
    files_out: bool = False
    private: bool = False  # private_to is honoured
    commands: bool = False  # people may type /commands to the bot here
    safe_repeat: bool = False  # a repeated send is recognised (Message-ID, read-back): repeat after a crash
    attests: bool = False  # the platform vouches for who writes
    subject_threads: bool = False  # conversations are told apart by thread_hints, not by room (e-mail)
    rating_link: bool = False  # buttons cannot be shown: ratings are asked for by signed link
    typing: bool = False  # Op.TYPING
    menus: bool = False  # Op.MENU; a private room's id is the person's
    start_link: str = ""  # a link that opens the chat; what follows it comes back as the text of Kind.START
    text_limit: int = 0  # code points a message; the adapter splits, 0 for none
    shared_rooms: str = ""  # a pattern: the ids of rooms that several people read


class Door(Protocol):
    """Where an adapter hands in what it received. Acknowledge to the platform after `accept` returned."""

    async def accept(self, *raws: Raw, cursor: str | None = None) -> None:
        """Make durable, all or nothing, with the poller's new cursor. A repeat is recognised, no error."""

    async def cursor(self) -> str | None:
        """The cursor stored last for this channel."""

    def report(self, problem: str | None) -> None:
        """Say that the channel is up (None) or what is wrong with it: one sentence for /ready."""


class Channel(Protocol):
    """One configured platform account. See channels/console.py for the smallest."""

    kind: ClassVar[str]
    name: str
    caps: Capabilities

    async def run(self, door: Door) -> None:
        """Receive until cancelled. Raise ConfigError for what retrying cannot mend."""

    def decode(self, raw: Raw) -> Sequence[Inbound]:
        """Turn stored bytes into values. Pure: no network, no clock, no state."""

    async def send(self, message: Outbound) -> Sent:
        """Do it, or raise RetryLater or Undeliverable."""

    async def fetch(self, attachment: Attachment) -> bytes:
        """Get a file by its ref. Raise FetchFailed."""

    async def close(self) -> None:
        """Release connections. Safe to call twice."""

    def routes(self, door: Door) -> Sequence[RouteDef]:
        """HTTP routes this channel answers; [] for none."""

    async def check(self) -> Sequence[Check]:
        """For doctor: try every configured piece for real."""

    async def profile(self, user_id: str) -> Author | None:
        """Look up a person's name where events carry only ids; None where there is nothing to ask."""


@runtime_checkable
class Examines(Protocol):
    """A channel whose mail must be looked into over the network (SPF, DKIM, DMARC) before decoding."""

    async def examine(self, raw: Raw) -> str:
        """Return the evidence for Raw.evidence, never ""."""


@dataclass(frozen=True, slots=True)
class Held:
    """One message that lies on the platform's server. `event_id` is "" where it has none of its own."""

    ref: str
    event_id: str


@runtime_checkable
class Audits(Protocol):
    """A channel whose platform keeps what it delivered: what was missed can be seen, and fetched."""

    async def held(self, since: datetime) -> Sequence[Held]:
        """What came in since then, oldest first. Raise FetchFailed when the server cannot be asked."""

    async def take(self, door: Door, held: Sequence[Held]) -> int:
        """Fetch these and hand them in, whether or not we have them; return how many could be had."""


@runtime_checkable
class NamesStaff(Protocol):
    """A channel that shows staff to each other and has nowhere to look their names up."""

    names: Callable[[str], Awaitable[str]] | None  # set by the owner: user_id → name, "" when unknown


@runtime_checkable
class Types(Protocol):
    """A channel that can show that an answer is being made."""

    async def types(self, address: Address) -> None:
        """Show it for some seconds. What fails is nothing: it never raises."""


class Journal(Protocol):
    """Durable room logs for a channel that is its own platform (the web chat). Shared by all processes."""

    async def append(self, room: str, key: str, body: str) -> int:
        """Add an entry and return its number, counted per room; the same key again returns the first's."""

    async def since(self, room: str, after: int, limit: int = 500) -> Sequence[tuple[int, str]]:
        """Entries numbered above `after`, in order."""

    async def may_read(self, room: str, user_id: str) -> bool:
        """Whether this person may see the room: staff rooms are for enrolled staff only, and one's own is not for
        somebody who was staff."""

    async def changed(self, rooms: Sequence[str], timeout_s: float) -> None:
        """Return when one of the rooms may have new entries, or after the time."""


class Vault(Protocol):
    """Secrets that a platform exchanges while we run, shared by all processes."""

    async def get(self, name: str) -> str:
        """What is kept, "" for nothing."""

    async def exchange(self, name: str, make: Callable[[str], Awaitable[str]]) -> str:
        """Replace what is kept by what `make` of it returns, one process at a time; return that."""


@runtime_checkable
class Isolated(Protocol):
    """A channel whose decode is dangerous: a worker process runs `decoder(raw)` under limits instead."""

    decoder: Callable[[Raw], Sequence[Inbound]]  # picklable, cheap to import


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of doctor: what was tried, how it went, what to do."""

    what: str
    state: Literal["ok", "warn", "fail"]
    detail: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an adapter is built from: `build(setup)` in its package makes the Channel.

    `settings` is its own table from the configuration, secrets resolved. `secret` signs reply addresses
    and links; `public_url` is "" when nothing is reachable from outside. `commands` are the staff commands'
    descriptions by language: {"en": {"help": "…"}}.
    """

    name: str
    settings: Mapping[str, Any]
    secret: bytes
    public_url: str = ""
    state_dir: str = ""
    clock: Clock = utc_now
    desk_name: str = ""
    commands: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    journal: Journal | None = None
    vault: Vault | None = None


class Quiet:
    """The parts of Channel that most adapters leave empty: no files, no routes, nothing to close."""

    async def fetch(self, attachment: Attachment) -> bytes:
        raise FetchFailed("this channel keeps no files", final=True)

    async def close(self) -> None:
        return None

    def routes(self, door: Door) -> Sequence[RouteDef]:
        return ()

    async def check(self) -> Sequence[Check]:
        return ()

    async def profile(self, user_id: str) -> Author | None:
        return None


async def forever() -> None:
    """Wait until cancelled: the `run` of a channel that is only called from outside."""
    await asyncio.Event().wait()
