"""Nobody floods: a token bucket for each visitor and each network address."""

from __future__ import annotations

from collections import OrderedDict

from channels.base import Clock

KEPT = 20_000  # buckets remembered; the ones unused for longest are forgotten, which only ever forgives


class Limits:
    """`take(key, per_minute)` spends one token; a bucket holds a third of a minute's worth, at least 5."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: tokens, when

    def take(self, key: str, per_minute: float, cost: float = 1.0) -> float:
        """Return 0.0 when allowed, else the seconds until it will be."""
        now = self._clock().timestamp()
        size = max(5.0, per_minute / 3, cost)
        tokens, at = self._buckets.pop(key, (size, now))
        tokens = min(size, tokens + max(0.0, now - at) * per_minute / 60)
        wait_s = 0.0
        if tokens >= cost:
            tokens -= cost
        else:
            wait_s = (cost - tokens) * 60 / per_minute
        self._buckets[key] = (tokens, now)
        while len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        return wait_s
