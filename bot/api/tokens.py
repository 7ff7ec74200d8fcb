"""Who asks: tokens, what they may do, and how often."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.access import Access, Member, member
from bot.api.problems import Problem
from bot.api.routes import Route
from crm_store import api_tokens
from crm_store.db import Store


@dataclass(frozen=True, slots=True)
class Caller:
    """A token that counts, and the staff member it acts as."""

    id: int
    name: str
    scopes: frozenset[str]
    member: Member

    @property
    def actor(self) -> str:
        return f"token:{self.name}"


async def recognise(store: Store, header: str) -> Caller:
    """Whose token an Authorization header carries. Raise Problem 401."""
    kind, _, secret = header.partition(" ")
    secret = secret.strip()
    row: Any = None
    if (
        kind.lower() == "bearer"
        and secret.startswith(api_tokens.MARK)
        and secret.isascii()
        and len(secret) < 200
    ):
        row = await store.read(api_tokens.by_secret, secret)
    if row is None:
        said = "a token is needed: Authorization: Bearer …; wellheard token add makes one"
        raise Problem(
            401, said if not header else "this token does not count", headers={"WWW-Authenticate": "Bearer"}
        )
    who = member(_Staff(row.staff_id, row.staff_name, row.role, row.language))
    return Caller(row.id, row.name, frozenset(row.scopes), who)


def check(access: Access, caller: Caller, route: Route) -> None:
    """Whether a token may do this: by its scopes, and by what its staff member's role may. Raise Problem 403."""
    if route.scope not in caller.scopes:
        raise Problem(403, f"this token lacks the scope {route.scope}")
    if not access.may(caller.member, f"api {route.scope}"):
        raise Problem(403, f"the token acts as {caller.member.name}, whose role may not do this")


@dataclass(frozen=True, slots=True)
class _Staff:
    id: int
    name: str
    role: str
    language: str | None


class Meter:
    """How often each token may ask: so many a minute, a tenth of them at once and at least ten."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._most = max(10.0, per_minute / 10)
        self._clock = clock
        self._left: dict[int, tuple[float, float]] = {}

    def take(self, token_id: int) -> None:
        """Count a request. Raise Problem 429."""
        now = self._clock()
        left, since = self._left.get(token_id, (self._most, now))
        left = min(self._most, left + (now - since) * self._rate)
        if left < 1:
            wait = max(1, math.ceil((1 - left) / self._rate))
            self._left[token_id] = (left, now)
            raise Problem(
                429, f"too many requests: try again in {wait} s", headers={"Retry-After": str(wait)}
            )
        self._left[token_id] = (left - 1, now)
