"""What a receiving server gives away, and what it hands on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

SMALL = 1 << 16  # bytes; what a mail that does not tell its size gets to begin with
ROOM_STEP = 1 << 20  # bytes; what it gets at a time when it turns out to be longer


@dataclass(frozen=True, slots=True)
class Envelope:
    """A mail as it was handed over. `content` has CRLF where the sender had it and is otherwise untouched."""

    mail_from: str  # "" for the null sender
    rcpt_tos: tuple[str, ...]
    content: bytes = field(repr=False)
    peer: str  # IP address, or "unix"
    helo: str
    tls: bool
    smtputf8: bool
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server gives away. Defaults are for a support inbox on a small machine."""

    max_size: int = 35 << 20  # bytes
    max_recipients: int = 100
    max_sessions: int = 500
    max_sessions_per_address: int = 50  # IPv6: a /64
    exempt_loopback: bool = True  # from max_sessions_per_address
    command_timeout_s: float = 60.0  # for a whole command, not for its next byte
    data_deadline_s: float = 600.0  # for a whole mail
    min_rate_bytes_s: float = 256.0  # of a mail, once rate_grace_s are over
    rate_grace_s: float = 30.0
    bytes_in_flight: int = 128 << 20  # held by all sessions together
    room_wait_s: float = 30.0  # how long a mail waits for its share of them
    deliver_timeout_s: float = 120.0
    drain_s: float = 10.0  # for mails being stored when the server closes


class Room:
    """The bytes all sessions of a server may hold together; who asks for more waits in a queue.

    A mail may be longer than it said, and then holds memory while it waits for more. So that mails never wait
    for each other for ever, `reserve` bytes (one whole mail) are kept for a single owner at a time, who may
    then grow without asking.
    """

    def __init__(self, limit: int, reserve: int) -> None:
        self.limit = limit
        self.held = 0
        self.peak = 0
        self._common = limit - reserve
        self._finisher: object | None = None
        self._waiting: deque[tuple[object, int, Callable[[], None]]] = deque()

    def take(self, owner: object, size: int) -> bool:
        """Reserve now or not at all. Small mails never queue behind big ones: max_sessions bounds them."""
        granted = (
            size <= SMALL or self._finisher is owner or (not self._waiting and self._may_have(owner, size))
        )
        if granted:
            self._give(size)
        return granted

    def wait(self, owner: object, size: int, granted: Callable[[], None]) -> Callable[[], None]:
        """Call `granted` when there is room; the returned function gives up waiting."""
        entry = (owner, size, granted)
        self._waiting.append(entry)

        def withdraw() -> None:
            with suppress(ValueError):
                self._waiting.remove(entry)

        return withdraw

    def free(self, owner: object, size: int) -> None:
        """Give back all an owner held."""
        self.held -= size
        if self._finisher is owner:
            self._finisher = None
        while self._waiting and self._may_have(*self._waiting[0][:2]):
            _, more, granted = self._waiting.popleft()
            self._give(more)
            granted()

    def _may_have(self, owner: object, size: int) -> bool:
        if self.held + size <= self._common:
            return True
        if self._finisher is None:
            self._finisher = owner
        return self._finisher is owner

    def _give(self, size: int) -> None:
        self.held += size
        self.peak = max(self.peak, self.held)
