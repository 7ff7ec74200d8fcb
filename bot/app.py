"""The composition root: configuration → store → channels → one task group; and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import IO

import structlog
from aiohttp import web

from bot import commands, decisions, http
from bot.api import Api
from bot.config import Config
from bot.delivery import Delivery
from bot.door import ChannelDoor
from bot.exports import ExportPage
from bot.indexer import Indexer
from bot.intake import Intake
from bot.jobs import Jobs
from bot.journal import StoreJournal
from bot.leader import Leader
from bot.mail_audit import Auditor
from bot.office import Office
from bot.privacy import Eraser, TakeoutPage
from bot.suggester import Suggester
from bot.vault import StoreVault
from bot.webhooks import Outlet, Webhooks
from channels.base import Capabilities, Channel, Clock, ConfigError, NamesStaff, Setup, utc_now
from crm_store import inbox, migrations, moves, outbox, people, upkeep, wakeups
from crm_store.db import Store, StoreError

try:
    import fcntl
except ImportError:  # not there on Windows
    fcntl = None  # type: ignore[assignment]

log = structlog.get_logger()
RESTART_S = (1.0, 2.0, 5.0, 15.0, 60.0)
STEADY_S = 300.0  # a channel that ran this long begins with the first wait again
GC_THRESHOLD = (50_000, 20, 50)  # at 700 and 10 a burst of connections was received a sixth slower
SWITCH_S = 0.001  # at Python's 5 ms the loop answers late while the writer computes, and the other way round
DRAIN_S = 20.0
MAX_REQUEST = 64 * 1024**2  # bytes; channels set their own, lower limits


class _Caps(Mapping[str, Capabilities]):
    """What each channel can do, as it knows by now: a bot learns its name when it is connected."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels

    def __getitem__(self, name: str) -> Capabilities:
        return self._channels[name].caps

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def __len__(self) -> int:
        return len(self._channels)


class Service:
    """Everything that runs. `start`, then `wait` or `stop`; or `async with`."""

    def __init__(
        self, config: Config, *, clock: Clock | None = None, extra: Mapping[str, Channel] = {}
    ) -> None:
        self.config = config
        self.clock: Clock = clock or utc_now
        self.store = Store(config.store_url, clock=clock, key=config.privacy.key)
        self.channels: dict[str, Channel] = dict(extra)
        self.doors: dict[str, ChannelDoor] = {}
        self.port = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._failed = asyncio.Event()
        self._failure: BaseException | None = None
        self._lock: IO[str] | None = None
        self.leader = Leader(self.store)

    async def start(self) -> None:
        """Migrate, build the channels, listen. Raise ConfigError or StoreError in one sentence."""
        try:
            self._take_lock()
            await asyncio.to_thread(migrations.upgrade, self.config.store_url)
            await self.store.open()
            await self._start()
        except BaseException:
            await self.stop()
            raise

    def _take_lock(self) -> None:
        """One service an SQLite file: a second would forget the leases of the first."""
        path = self.store.path
        if path is None or fcntl is None:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.fdopen(os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600), "r+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = lock.read().strip()
            lock.close()
            who = f" (process {holder})" if holder else ""
            raise StoreError(f"the store {path} is in use by a running service{who}") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    async def _start(self) -> None:
        secret = (self.config.desk.secret or await self.store.write(upkeep.secret)).encode()
        self._journals = journals = self._build(secret)
        self.office = Office(self.config, _Caps(self.channels), secret)
        self.office.learn(await self.store.read(moves.known))
        for journal in journals:
            journal.office = self.office
        self.office.index = await self.store.read(decisions.load_index)
        await asyncio.to_thread(decisions.warm, self.office)
        if self.store.dialect == "sqlite":
            await self.store.write(inbox.forget_leases)
            await self.store.write(outbox.forget_leases, self.clock())
        self.delivery = Delivery(
            self.store,
            self.office,
            self.channels,
            clock=self.clock,
            crowded=lambda: self.intake.crowded(),
        )
        self.intake = Intake(
            self.store, self.office, self.channels, wake_delivery=self.delivery.wake, clock=self.clock
        )
        self.doors = {
            name: ChannelDoor(self.store, name, self.clock, self.intake.wake) for name in self.channels
        }
        self.webhooks = Webhooks(self.store, self.config.webhooks, self.clock, outlets=self._relays())
        await self.webhooks.install()
        await self._listen()
        jobs = Jobs(self.store, self.office, self.clock)
        eraser = Eraser(self.store, self.office, self.clock, self.delivery.wake)
        suggester = Suggester(
            self.store,
            self.office,
            self.clock,
            wake_delivery=self.delivery.wake,
            crowded=self.intake.crowded,
        )
        auditor = Auditor(self.store, self.office, self.channels, self.doors, self.clock, self.delivery.wake)
        self._tasks = [
            asyncio.create_task(self._watched(self.intake.run()), name="intake"),
            asyncio.create_task(self._watched(self.delivery.run()), name="delivery"),
            asyncio.create_task(self._watched(jobs.run()), name="jobs"),
            asyncio.create_task(self._watched(auditor.run()), name="audits"),
            asyncio.create_task(self._watched(eraser.run()), name="eraser"),
            asyncio.create_task(self._watched(self.webhooks.run()), name="webhooks"),
            asyncio.create_task(
                self._watched(Indexer(self.store, crowded=self.intake.crowded).run()), name="indexer"
            ),
            asyncio.create_task(self._watched(suggester.run()), name="suggester"),
        ]
        if self.store.dialect == "postgresql":
            self._tasks.append(asyncio.create_task(self._watched(self._hear()), name="wakeups"))
        self._listening = [
            asyncio.create_task(self._watched(self._attend(channel)), name=f"channel:{name}")
            for name, channel in self.channels.items()
        ]
        log.info("started", channels=sorted(self.channels), port=self.port)

    def _relays(self) -> list[Outlet]:
        if not self.config.events.url:
            return []
        from bot.event_relay import EventRelay  # an extra: for who has a broker

        return [EventRelay(self.config.events)]

    def _build(self, secret: bytes) -> list[StoreJournal]:
        journals = []
        for name, settings in self.config.channels.items():
            journal = StoreJournal(self.store, name, self.clock)
            journals.append(journal)
            setup = Setup(
                name=name,
                settings=settings.model_dump(),
                secret=secret,
                public_url=self.config.http.public_url.rstrip("/"),
                state_dir=str(self.store.path.parent) if self.store.path else "",
                clock=self.clock,
                desk_name=self.config.desk.name,
                commands=commands.descriptions(),
                journal=journal,
                vault=StoreVault(self.store, name, secret, self.clock),
            )
            channel = importlib.import_module(f"channels.{settings.kind}").build(setup)
            if isinstance(channel, NamesStaff):
                channel.names = partial(self._name_of, settings.kind)
            self.channels[name] = channel
        return journals

    async def _name_of(self, space: str, user_id: str) -> str:
        row = await self.store.read(people.by_identity, space, user_id)
        return str(row.name) if row is not None else ""

    async def _listen(self) -> None:
        app = web.Application(client_max_size=MAX_REQUEST)
        app.add_routes(
            http.Pages(self.store, self.office, self.doors, self.clock, self.delivery.wake).routes()
        )
        app.add_routes(Api(self.store, self.office, self.clock, self.delivery.wake).routes())
        app.add_routes(TakeoutPage(self.store, self.office, self.clock).routes())
        app.add_routes(ExportPage(self.store, self.office, self.clock).routes())
        for name, channel in self.channels.items():
            app.add_routes(r for r in channel.routes(self.doors[name]) if _is_new(app, r))
        self._runner, self.port = await http.serve(app, self.config.http.host, self.config.http.port)

    async def _attend(self, channel: Channel) -> None:
        """Run a channel here, or, where only one process may (a long poll), while this one leads."""
        door = self.doors[channel.name]
        if not getattr(channel, "exclusive", False):
            await self._keep(channel)
            return
        lease = f"channel:{channel.name}"
        await self.leader.lead(lease, lambda: self._keep(channel), lambda: door.report(None))

    async def _hear(self) -> None:
        """Be woken by other processes as by ourselves."""
        wakes = {"inbox": [self.intake.wake], "outbox": [self.delivery.wake]}
        wakes["webhook"] = [self.webhooks.wake]
        wakes["journal"] = [journal.wake for journal in self._journals]

        def heard(what: str) -> None:
            for wake in wakes.get(what, ()):
                wake()

        while True:
            try:
                await wakeups.listen(self.store, heard)
            except Exception as error:
                log.warning("wakeups_lost", error=type(error).__name__)
            await asyncio.sleep(RESTART_S[1])

    async def _keep(self, channel: Channel) -> None:
        """Run a channel until cancelled: what breaks is started again, what is misconfigured ends us."""
        door = self.doors[channel.name]
        tries = 0
        while True:
            begun = time.monotonic()
            try:
                await channel.run(door)
            except ConfigError:
                raise
            except Exception as error:
                log.exception("channel_failed", channel=channel.name)
                door.report(f"stopped: {type(error).__name__}")
            if time.monotonic() - begun > STEADY_S:
                tries = 0
            wait = RESTART_S[min(tries, len(RESTART_S) - 1)]
            tries += 1
            await asyncio.sleep(wait)

    async def _watched(self, work: object) -> None:
        try:
            await work  # type: ignore[misc]
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._failure = error
            self._failed.set()

    async def wait(self) -> None:
        """Until something that cannot be mended fails; raises it."""
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self, *, drain_s: float = DRAIN_S) -> None:
        """Stop receiving, finish what was received and what is due, close. Safe to call twice."""
        for door in self.doors.values():
            door.close()
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        self._listening = []
        if self._tasks and drain_s and not self._failed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self.intake.drain()
                    await self.delivery.drain()
        for channel in self.channels.values():
            await channel.close()  # before the listener: it would wait for open sockets
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.store.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def __aenter__(self) -> Service:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def now(self) -> datetime:
        return self.clock()


def _is_new(app: web.Application, route: web.RouteDef) -> bool:
    """Two channels of a kind may share a path; it is the first one's, and each has one of its own."""
    taken = {(r.method, r.resource.canonical) for r in app.router.routes() if r.resource is not None}
    return (route.method, route.path) not in taken


async def run(config: Config) -> None:
    """Run the service until SIGTERM or SIGINT, then drain. Raise what cannot be mended."""
    sys.setswitchinterval(SWITCH_S)
    service = Service(config)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await service.start()
    gc.freeze()  # what the start made stays: it need not be looked through for garbage again and again
    gc.set_threshold(*GC_THRESHOLD)
    try:
        waiting = asyncio.create_task(service.wait())
        ending = asyncio.create_task(stopping.wait())
        done, rest = await asyncio.wait([waiting, ending], return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        if waiting in done:
            waiting.result()
        log.info("draining")
    finally:
        await service.stop()
