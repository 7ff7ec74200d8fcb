"""How fast we may send: a bucket for everything, one for each chat, and what a 429 forbade."""

from __future__ import annotations

from dataclasses import dataclass

CHAT_BURST, CHAT_PER_S = 20, 1.0  # one a second in a chat, bursts are tolerated (Bot FAQ)
GROUP_BURST, GROUP_PER_S = 20, 20 / 60  # 20 a minute in a group (Bot FAQ)
KEEP = 4096  # chats remembered; a full bucket needs no memory


@dataclass(slots=True)
class Bucket:
    burst: float
    per_s: float
    tokens: float
    at: float

    def wait(self, now: float) -> float:
        """Seconds until a token is there."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.per_s)
        self.at = now
        return max(0.0, (1.0 - self.tokens) / self.per_s)


class Limits:
    """Times are seconds of a monotonic clock that the caller passes in."""

    def __init__(self, per_s: float) -> None:
        self._all = Bucket(per_s, per_s, per_s, 0.0)
        self._chats: dict[str, Bucket] = {}
        self._held: dict[str, float] = {}  # chat ("" is all of them) to the end of its retry_after

    def take(self, chat: str, now: float, *, patience_s: float) -> float:
        """Reserve a place and return the seconds to wait for it; above `patience_s` nothing is reserved."""
        held = self.held(chat, now)
        bucket = self._bucket(chat, now)
        wait = max(held, self._all.wait(now), bucket.wait(now))
        if wait <= patience_s:
            self._all.tokens -= 1
            bucket.tokens -= 1
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

    def _bucket(self, chat: str, now: float) -> Bucket:
        bucket = self._chats.get(chat)
        if bucket is None:
            if len(self._chats) >= KEEP:
                self._chats = {k: b for k, b in self._chats.items() if b.wait(now) or b.tokens < b.burst}
            group = chat.startswith("-")
            burst, per_s = (GROUP_BURST, GROUP_PER_S) if group else (CHAT_BURST, CHAT_PER_S)
            bucket = self._chats[chat] = Bucket(burst, per_s, burst, now)
        return bucket
