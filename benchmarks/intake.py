"""The whole line for mail: SMTP → durable → processed → reply queued, by the service as it runs.

    python benchmarks/intake.py [--quick] [--sessions 10] [--json]

Each case starts `python -m bot run` on a fresh directory (SQLite, synchronous FULL, a staff room on the web, a
smarthost that discards) and sends mails of 1 KB, each with a sender, a subject and a Message-ID of its own.
The service answers 250 after the commit. "Right through" lasts from the first mail until the last inbox row
is done, its ticket, card and acknowledgement queued; delivery works meanwhile. CPU is that of the service with
its decoding workers. Beside it stands a bare aiosmtpd that answers yes and forgets. All share one machine with
the client: compare within a run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from smtp_ceiling import measure  # noqa: E402
from smtp_load import Outcome, Plan, run  # noqa: E402

from crm_store.sealing import new_key  # noqa: E402

ADDRESS = "support@desk.example"
WARM_UP = 60  # mails before a case is measured: workers started, modules loaded
SIZE = 1000  # bytes of a mail
TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = """
[store]
url = "sqlite:///wellheard.db"
[http]
port = {http}
[desk]
name = "Example Ltd"
secret = "a benchmark has no secrets"
[channels.support]
kind = "email"
address = "{address}"
smtp_listen = "127.0.0.1:{smtp}"
smtp_send = "smtp://127.0.0.1:{sink}"
max_connections_per_peer = 200
authentication = "none"
[channels.web]
kind = "web"
staff_channel = "staff"
"""


@dataclass(slots=True)
class Case:
    """One row of the table. Times in seconds, CPU in microseconds a mail."""

    keep: bool
    sessions: int
    messages: int
    accepted_per_s: float
    accept_cpu_us: float  # of the service while mails came in, whatever else it did meanwhile
    p50_ms: float
    p99_ms: float
    through_per_s: float
    through_cpu_us: float  # of the service and its workers, from the first mail to the last row done
    queued_per_mail: float  # outbox rows: card and acknowledgement
    sent_meanwhile: int
    client_busy: float
    ceiling_per_s: float = 0.0
    ceiling_cpu_us: float = 0.0


class Service:
    """The service in a process of its own."""

    def __init__(self, directory: Path, sink: int, key: str = "") -> None:
        self.port, http = free_port(), free_port()
        self.database = directory / "wellheard.db"
        config = directory / "wellheard.toml"
        said = CONFIG.format(http=http, smtp=self.port, sink=sink, address=ADDRESS)
        config.write_text(said + (f'[privacy]\nkey = "{key}"\n' if key else ""))
        self._log = (directory / "log").open("wb")
        command = [sys.executable, "-m", "bot", "run", "--config", str(config)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=self._log)
        self._wait_for_port(directory / "log")

    def _wait_for_port(self, log: Path) -> None:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise RuntimeError(f"the service did not start:\n{log.read_text()[-2000:]}")

    def cpu_s(self) -> float:
        """CPU seconds of the process and its children so far."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [child for task in tasks for child in task.read_text().split()]
        return sum(cpu_of(pid) for pid in (str(self.process.pid), *children))

    def ask(self, query: str) -> Any:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(query).fetchone()

    def wait_until_done(self, timeout_s: float = 300.0) -> None:
        """Until no inbox row is pending."""
        deadline = time.monotonic() + timeout_s
        while self.ask("SELECT count(*) FROM inbox WHERE state = 'pending'")[0]:
            if time.monotonic() > deadline:
                raise TimeoutError("the inbox was not worked off in time")
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)  # what is queued for the smarthost may stay
        self.process.wait()
        self._log.close()


def measure_case(*, keep: bool, sessions: int, messages: int, sink: int, key: str = "") -> Case:
    with tempfile.TemporaryDirectory(prefix="wellheard-") as directory:
        service = Service(Path(directory), sink, key)
        try:
            return _measured(service, keep=keep, sessions=sessions, messages=messages)
        finally:
            service.stop()


def _measured(service: Service, *, keep: bool, sessions: int, messages: int) -> Case:
    _send(Plan(port=service.port, sessions=sessions, messages=WARM_UP, recipients=(ADDRESS,)))
    service.wait_until_done()
    time.sleep(1.0)  # what the warm-up queued leaves
    (rows_before,) = service.ask("SELECT coalesce(max(id), 0) FROM inbox")
    (queued_before,) = service.ask("SELECT coalesce(max(id), 0) FROM outbox")
    plan = Plan(
        port=service.port,
        sessions=sessions,
        messages=messages,
        size=SIZE,
        keep=keep,
        recipients=(ADDRESS,),
    )
    cpu, since = service.cpu_s(), time.time()
    outcome = _send(plan)
    accept_cpu = service.cpu_s() - cpu
    service.wait_until_done()
    through_cpu = service.cpu_s() - cpu
    done, last = service.ask(
        f"SELECT count(*), max(finished_at) FROM inbox WHERE state = 'done' AND id > {rows_before}"
    )
    queued, sent = service.ask(
        f"SELECT count(*), sum(state = 'sent') FROM outbox WHERE id > {queued_before} "
        "AND purpose IN ('card', 'post', 'notice', 'answer')"
    )
    if done != messages:
        raise RuntimeError(f"{done} of {messages} mails were processed")
    through_s = datetime.fromisoformat(f"{last}+00:00").timestamp() - since
    return Case(
        keep=keep,
        sessions=sessions,
        messages=messages,
        accepted_per_s=outcome.accepted_per_s,
        accept_cpu_us=accept_cpu / messages * 1e6,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        through_per_s=messages / through_s,
        through_cpu_us=through_cpu / messages * 1e6,
        queued_per_mail=queued / messages,
        sent_meanwhile=sent or 0,
        client_busy=outcome.client_cpu_s / outcome.seconds,
    )


def _send(plan: Plan) -> Outcome:
    outcome = run(plan)
    if outcome.accepted != plan.messages:
        raise RuntimeError(f"{outcome.accepted} of {plan.messages} accepted: {outcome.last_refusal}")
    return outcome


@contextmanager
def sink() -> Iterator[int]:
    """A smarthost that discards, in a process of its own; its port."""
    code = (
        "import asyncio, structlog, sys; from channels.email.smtp_server import Limits, Server\n"
        "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))\n"
        "async def main():\n"
        "  async def deliver(_): pass\n"
        "  limits = Limits(max_sessions_per_address=1000)\n"
        "  async with Server(listen='127.0.0.1:0', accepts=lambda _: True, deliver=deliver, limits=limits,\n"
        "                    hostname='localhost') as server:\n"
        "    print(server.port, flush=True); await asyncio.to_thread(sys.stdin.read)\n"
        "asyncio.run(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdout is None:
        raise RuntimeError("no pipe")
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def cpu_of(pid: str) -> float:
    """CPU seconds of a process with those of its children that have ended."""
    try:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(int(n) for n in numbers[11:15]) / TICKS


def fsync_ms(directory: Path) -> float:
    """What one small durable write costs here: the median of 50."""
    times = []
    with (directory / "probe").open("wb") as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            since = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - since)
    return sorted(times)[25] * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a fifth of the mails, 10 sessions only")
    parser.add_argument("--sessions", type=int, action="append", help="only these; may be repeated")
    parser.add_argument("--sealed", action="store_true", help="with contact data under a key (privacy.key)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    wanted = args.sessions or ([10] if args.quick else [1, 10, 50])
    plans = [(keep, sessions) for keep in (False, True) for sessions in wanted]
    counts = [(600 if sessions == 1 else 3000) // (5 if args.quick else 1) for _, sessions in plans]
    with tempfile.TemporaryDirectory(prefix="wellheard-") as directory:
        fsync = fsync_ms(Path(directory))
    key = new_key() if args.sealed else ""
    with sink() as port:
        cases = [
            measure_case(keep=keep, sessions=sessions, messages=count, sink=port, key=key)
            for (keep, sessions), count in zip(plans, counts, strict=True)
        ]
    ceilings = measure(
        "aiosmtpd",
        [
            ["--sessions", str(c.sessions), "--messages", str(c.messages), "--size", str(SIZE)]
            + (["--keep"] if c.keep else ["--no-keep"])
            for c in cases
        ],
    )
    for case, ceiling in zip(cases, ceilings, strict=True):
        case.ceiling_per_s = ceiling["accepted_per_s"]
        case.ceiling_cpu_us = ceiling["server_us_per_message"]
    if args.json:
        found = [{name: getattr(case, name) for name in case.__slots__} for case in cases]  # type: ignore[attr-defined]
        print(json.dumps({"cores": os.cpu_count(), "fsync_ms": round(fsync, 3), "cases": found}, indent=1))
        return
    show(cases, fsync)


def show(cases: list[Case], fsync: float) -> None:
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores (load {load:.1f}), Python {sys.version.split()[0]}, fsync {fsync:.2f} ms; "
        f"mails of {SIZE} bytes"
    )
    print(
        "connection sessions | accepted/s CPU µs  p50 ms  p99 ms | through/s CPU µs queued/mail sent "
        "| aiosmtpd/s CPU µs | client"
    )
    for c in cases:
        print(
            f"{'kept' if c.keep else 'new':>10} {c.sessions:>8} | {c.accepted_per_s:>10.0f} "
            f"{c.accept_cpu_us:>6.0f} {c.p50_ms:>7.1f} {c.p99_ms:>7.1f} | {c.through_per_s:>9.0f} "
            f"{c.through_cpu_us:>6.0f} {c.queued_per_mail:>11.1f} {c.sent_meanwhile:>4} | "
            f"{c.ceiling_per_s:>10.0f} {c.ceiling_cpu_us:>6.0f} | {c.client_busy * 100:.0f} %"
        )


if __name__ == "__main__":
    main()
