"""How fast we may send: over all chats, in each chat, and what a 429 forbade."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

CHAT_BURST, CHAT_PER_S = 20, 1.0  # one a second in a chat, bursts are tolerated (Bot FAQ)
GROUP_COUNT, GROUP_S = 20, 60.0  # 20 a minute in a group (Bot FAQ), unless told otherwise
KEEP = 4096  # chats remembered; an idle one needs no memory


class Rate(Protocol):
    def wait(self, now: float) -> float:
        """Seconds until one more is allowed."""

    def take(self, at: float) -> None:
        """Use it, at that time."""

    def idle(self, now: float) -> bool:
        """Whether it is as good as new."""


@dataclass(slots=True)
class Bucket:
    """So many at once, then so many a second."""

    burst: float
    per_s: float
    tokens: float
    at: float

    def wait(self, now: float) -> float:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.per_s)
        self.at = now
        return max(0.0, (1.0 - self.tokens) / self.per_s)

    def take(self, at: float) -> None:
        self.tokens -= 1.0

    def idle(self, now: float) -> bool:
        return self.wait(now) == 0.0 and self.tokens >= self.burst


@dataclass(slots=True)
class Window:
    """At most `count` in any GROUP_S: a bucket that is full at first would let out twice as many."""

    count: int = GROUP_COUNT
    times: deque[float] = field(default_factory=deque)

    def wait(self, now: float) -> float:
        while len(self.times) > self.count:
            self.times.popleft()
        return max(0.0, self.times[0] + GROUP_S - now) if len(self.times) == self.count else 0.0

    def take(self, at: float) -> None:
        self.times.append(at)

    def idle(self, now: float) -> bool:
        return not self.times or self.times[-1] + GROUP_S < now


class Limits:
    """Times are seconds of a monotonic clock that the caller passes in."""

    def __init__(self, per_s: float, group_per_minute: int = GROUP_COUNT) -> None:
        self._all = Bucket(per_s, per_s, per_s, 0.0)
        self._group_count = group_per_minute
        self._chats: dict[str, Rate] = {}
        self._held: dict[str, float] = {}  # chat ("" is all of them) to the end of its retry_after

    def take(self, chat: str, now: float, *, patience_s: float) -> float:
        """Reserve a place and return the seconds to wait for it; above `patience_s` nothing is reserved."""
        rate = self._rate(chat, now)
        wait = max(self.held(chat, now), self._all.wait(now), rate.wait(now))
        if wait <= patience_s:
            self._all.take(now + wait)
            rate.take(now + wait)
        return wait

    def held(self, chat: str, now: float) -> float:
        """Seconds that a 429 still forbids."""
        return max(0.0, *(self._held.get(key, now) - now for key in ("", chat)))

    def hold(self, chat: str, now: float, seconds: float) -> None:
        """Remember a 429. When a second chat is refused while one is held, it is about all of them."""
        self._held = {key: until for key, until in self._held.items() if until > now}
        others = [until for key, until in self._held.items() if key != chat]
        self._held[chat] = max(self._held.get(chat, 0.0), now + seconds)
        if others:
            self._held[""] = now + seconds

    def _rate(self, chat: str, now: float) -> Rate:
        rate = self._chats.get(chat)
        if rate is None:
            if len(self._chats) >= KEEP:
                self._chats = {key: r for key, r in self._chats.items() if not r.idle(now)}
            group = chat.startswith("-")
            rate = Window(self._group_count) if group else Bucket(CHAT_BURST, CHAT_PER_S, CHAT_BURST, now)
            self._chats[chat] = rate
        return rate
