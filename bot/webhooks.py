"""Webhooks: tells other systems what happened, signed, at least once, in order for each object.

The rows are there already (crm_store/webhooks.py); this claims them, reads what they are about, sends it outside
any transaction and settles what became of it. A receiver that does not answer rests as a whole, so that its
events are not each tried in vain; an event that is refused for three days goes to the shelf, and at once one that
a broker refuses again and again while it takes others: that is the event's fault, and waiting mends nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from sqlalchemy import Connection

from bot.api import shapes
from bot.config import WebhookSettings
from crm_store import webhooks
from crm_store.db import Store
from crm_store.webhooks import Leaving

log = structlog.get_logger()
AT_ONCE = 32
OF_ONE_URL = 8
POLL_S = 0.5
STORE_AGAIN_S = 1.0
LEASE_S = 120.0  # more than the longest timeout, and the settling after it
LONGEST_RETRY_S = 3 * 3600.0
LONGEST_REST_S = 300.0  # of a receiver that does not answer at all
GIVE_UP_AFTER = timedelta(days=3)
STRIKES = 5  # refusals by a broker that took something else since the one before
REMEMBERED = 10_000  # refused events
SIGNATURE = "Wellheard-Signature"
# IPv6 that ends at an IPv4 address: NAT64 (RFC 6052), IPv4-compatible, IPv4-translated (RFC 2765)
_CARRIERS = [ipaddress.IPv6Network(one) for one in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")]
_OWN_TRANSLATION = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: of one's own network


class Refused(Exception):
    """The receiver did not take it. `rest_s`: it is better to leave it alone for so long."""

    def __init__(self, reason: str, rest_s: float | None = None, *, away: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rest_s = rest_s
        self.away = away


def sign(secret: str, body: bytes, at: int) -> str:
    """The value of the signature header: the time, and HMAC-SHA256 over the time, a dot and the body."""
    made = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={made}"


def body_of(row: Leaving, said: Any) -> bytes:
    """What is sent. `data` is the object as the API shows it, as it is now; null when it is gone. `at` always has
    its fraction: "…:54Z" would sort after "…:54.2Z", and receivers compare these as strings."""
    told = {
        "id": row.key,
        "type": row.type,
        "at": row.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "object": row.lane,
        "data": None if said is None else json.loads(said.model_dump_json()),
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


class Outlet(Protocol):
    """A receiver that is no URL: the event relay. `url` is what its rows are addressed to."""

    @property
    def url(self) -> str: ...
    @property
    def events(self) -> Sequence[str]: ...

    first_retry_s: float

    async def send(self, row: Leaving, body: bytes) -> None: ...  # or Refused
    async def close(self) -> None: ...


class Webhooks:
    """Tells until cancelled."""

    def __init__(
        self,
        store: Store,
        receivers: Sequence[WebhookSettings],
        clock: Callable[[], datetime],
        *,
        outlets: Sequence[Outlet] = (),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._outlets = {one.url: one for one in outlets}
        self._receivers: dict[str, WebhookSettings | Outlet] = {one.url: one for one in receivers}
        self._receivers |= self._outlets
        self._clock = clock
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._resting: dict[str, datetime] = {}
        self._away: Counter[str] = Counter()  # how often in a row a receiver did not answer
        self._busy: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._refused: dict[
            str, tuple[int, int]
        ] = {}  # of an event: what was taken until then, and its strikes
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def install(self) -> None:
        """Have the store write what these receivers want to be told."""
        await self._store.write(webhooks.install, {url: one.events for url, one in self._receivers.items()})
        if self._store.dialect == "sqlite":
            await self._store.write(webhooks.forget_leases)

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        if not self._receivers:
            return
        async with _session(private=False) as outside, _session(private=True) as inside:
            self._sessions = {False: outside, True: inside}
            try:
                await self._run()
            finally:
                for outlet in self._outlets.values():
                    await outlet.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                try:
                    found = await self._claim(group)
                except Exception:  # the store is away: what it holds is still there when it is back
                    log.exception("webhooks_wait_for_the_store")
                    await asyncio.sleep(STORE_AGAIN_S)
                    continue
                if not found:
                    await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _claim(self, group: asyncio.TaskGroup) -> int:
        room = AT_ONCE - self._busy.total()
        now = self._clock()
        skip = [url for url in self._receivers if self._busy[url] >= OF_ONE_URL or self._rests(url, now)]
        if room <= 0 or len(skip) == len(self._receivers):
            return 0
        if not await self._store.read(webhooks.is_due, now, skip):
            return 0
        claiming = asyncio.ensure_future(self._store.write(self._claim_now, min(room, OF_ONE_URL), skip))
        try:
            rows = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await self._store.write(webhooks.unclaim, await claiming)
            raise
        for row in rows:
            self._busy[row.url] += 1
            group.create_task(self._guarded(row)).add_done_callback(partial(self._done, row.url))
        return len(rows)

    def _claim_now(self, tx: Connection, room: int, skip: list[str]) -> list[Leaving]:
        return webhooks.claim(tx, self._store.now(tx), limit=room, lease_s=LEASE_S, skip=skip)

    def _done(self, url: str, _: object) -> None:
        self._busy[url] -= 1
        self._wake.set()

    async def _guarded(self, row: Leaving) -> None:
        try:
            await self._tell(row)
        except Exception:  # not recorded: the lease runs out, and it is told again
            log.exception("webhook_not_recorded", id=row.key)

    async def _tell(self, row: Leaving) -> None:
        receiver = self._receivers[row.url]
        try:
            body = body_of(row, await self._store.read(_said, row))
            if isinstance(receiver, WebhookSettings):
                await self._send(receiver, row, body)
            else:
                await receiver.send(row, body)
        except Refused as refused:
            await self._later(receiver, row, refused)
        except Exception as error:
            log.exception("webhook_failed", id=row.key)
            await self._later(receiver, row, Refused(type(error).__name__))
        else:
            self._away[row.url] = 0
            self._resting.pop(row.url, None)
            self._taken[row.url] += 1
            self._refused.pop(row.key, None)
            await self._store.write(webhooks.settle, row, "sent", self._clock())

    async def _send(self, receiver: WebhookSettings, row: Leaving, body: bytes) -> None:
        """One attempt. Raise Refused."""
        if not receiver.allow_private and _is_private(urlsplit(row.url).hostname or ""):
            raise Refused("the address is in a private range, and allow_private is not set")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Wellheard",
            "Wellheard-Event": row.key,
            "Wellheard-Attempt": str(row.attempts),
            SIGNATURE: sign(receiver.secret, body, int(self._clock().timestamp())),
        }
        try:
            async with (
                asyncio.timeout(receiver.timeout_s),
                self._sessions[receiver.allow_private].post(
                    row.url, data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                status, after = response.status, response.headers.get("Retry-After", "")
        except TimeoutError:
            raise Refused("no answer in time", away=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = getattr(error, "os_error", error)
            raise Refused(f"{type(error).__name__}: {said}"[:300], away=True) from error
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise Refused(f"answered {status}: redirects are not followed")
        if status in (429, 503):
            raise Refused(f"answered {status}", _seconds(after, self._clock()), away=True)
        raise Refused(f"answered {status}")

    async def _later(self, receiver: WebhookSettings | Outlet, row: Leaving, refused: Refused) -> None:
        now = self._clock()
        strikes = self._strikes(row)
        # those that were on their way together are one silence; who took others meanwhile is not silent at all
        if refused.away and (strikes == 0 or refused.rest_s is not None) and not self._rests(row.url, now):
            self._away[row.url] += 1
            pause = receiver.first_retry_s * 2 ** min(self._away[row.url] - 1, 16)
            rest_s = refused.rest_s if refused.rest_s is not None else min(LONGEST_REST_S, pause)
            self._resting[row.url] = now + timedelta(seconds=rest_s)
        poison = strikes >= STRIKES and row.url in self._outlets
        if poison or now - row.created_at > GIVE_UP_AFTER:
            log.warning("webhook_undelivered", id=row.key, type=row.type)
            self._refused.pop(row.key, None)
            await self._store.write(webhooks.settle, row, "dead", now, refused.reason)
            return
        backoff = min(LONGEST_RETRY_S, receiver.first_retry_s * 2 ** min(row.attempts - 1, 16))
        delay = refused.rest_s if refused.rest_s is not None else backoff * (0.8 + 0.4 * self._jitter())
        log.info("webhook_later", id=row.key, after_s=round(delay, 1))
        await self._store.write(webhooks.postpone, row, now + timedelta(seconds=delay), error=refused.reason)

    def _rests(self, url: str, now: datetime) -> bool:
        return self._resting.get(url, now) > now

    def _strikes(self, row: Leaving) -> int:
        """How often this event was refused by a receiver that had taken others since the refusal before."""
        taken = self._taken[row.url]
        before, strikes = self._refused.get(row.key, (taken, 0))
        if len(self._refused) >= REMEMBERED:
            self._refused.clear()
        self._refused[row.key] = taken, strikes + (taken > before)
        return self._refused[row.key][1]


def _said(tx: Connection, row: Leaving) -> Any:
    return shapes.of_event(tx, row.type, row.object_id)


def _session(*, private: bool) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=AT_ONCE, resolver=_Resolver(private=private), ttl_dns_cache=30)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


def _seconds(after: str, now: datetime) -> float | None:
    """What a Retry-After header says, as seconds, an hour at most."""
    if after.isascii() and after.isdigit():
        return min(3600.0, float(after))
    try:
        return min(3600.0, max(0.0, (parsedate_to_datetime(after) - now).total_seconds()))
    except (ValueError, TypeError):
        return None


def _is_private(host: str) -> bool:
    """Whether a host is an address that is not one of the public internet; a name is none."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local or address in _OWN_TRANSLATION:
            return True
        carried = address.ipv4_mapped or address.sixtofour
        if carried is None and any(address in network for network in _CARRIERS):
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return not (carried or address).is_global or address.is_multicast
    return not address.is_global or address.is_multicast


class _Resolver(AbstractResolver):
    """Looks a name up and keeps to public addresses: those that are connected to, whatever the name said before."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [one for one in found if self._private or not _is_private(str(one["host"]))]
        if not allowed:
            raise OSError("its address is in a private range, and allow_private is not set")
        return allowed

    async def close(self) -> None:
        await self._inner.close()
