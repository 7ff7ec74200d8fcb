"""What a receiving server gives away, and what it hands on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

SMALL = 1 << 16  # bytes; what a mail that does not tell its size gets to begin with


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
    """The bytes all sessions of a server may hold together; who asks for more waits in a queue."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.peak = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def take(self, size: int) -> bool:
        """Reserve now or not at all. Small mails never queue behind big ones: max_sessions bounds them."""
        if size > SMALL and (self._waiting or self.held + size > self.limit):
            return False
        self.held += size
        self.peak = max(self.peak, self.held)
        return True

    def wait(self, size: int, granted: Callable[[], None]) -> Callable[[], None]:
        """Call `granted` when there is room; the returned function gives up waiting."""
        entry = (size, granted)
        self._waiting.append(entry)

        def withdraw() -> None:
            with suppress(ValueError):
                self._waiting.remove(entry)

        return withdraw

    def free(self, size: int) -> None:
        self.held -= size
        while self._waiting and self.held + self._waiting[0][0] <= self.limit:
            more, granted = self._waiting.popleft()
            self.held += more
            self.peak = max(self.peak, self.held)
            granted()
