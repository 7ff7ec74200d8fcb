"""Load for an SMTP server: as many mails a second as it takes, from a client that costs little itself.

    python benchmarks/smtp_load.py --port 8025 --sessions 10 --messages 3000 --size 1000 --keep --json

Every mail has a sender, a Message-ID and a subject of its own. Without --pipeline the client waits for each
answer, as most software does. Run it in a process of its own; `client_cpu_s` tells whether it was the limit.
"""

from __future__ import annotations

import argparse
import json
import secrets
import selectors
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field

WHO = ("the customer", "my neighbour", "a driver", "the clerk", "my aunt", "the shop", "a friend")
WHAT = (
    "asked about the blue lamp that came without its shade last week",
    "said the parcel had been left in front of the wrong door again",
    "wrote down every number on the box, and none was the right one",
    "would like to know if the chair also comes in dark green",
    "found two invoices for the same order in one envelope",
    "waited for an answer the whole morning and then went out",
    "says the cable is a hand too short for the new table",
    "thinks the second screw in the bag belongs to another set",
)
# 56 sentences: each mail begins with another, so that nothing which remembers sentences looks fast
FILLER = [f"{who} {what}.\r\n".capitalize().encode() for what in WHAT for who in WHO]


@dataclass(slots=True)
class Outcome:
    """What a run did. `latencies_ms` is from MAIL (or the connection) to the answer to the final dot."""

    messages: int = 0
    accepted: int = 0
    refused: int = 0
    broken: int = 0  # connections that ended without an answer
    seconds: float = 0.0
    client_cpu_s: float = 0.0
    accepted_per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    last_refusal: str = ""
    latencies_ms: list[float] = field(default_factory=list, repr=False)


@dataclass(slots=True)
class Plan:
    """What to send. `recipients` are used in turn; `senders` 0 means that every mail has its own."""

    host: str = "127.0.0.1"
    port: int = 8025
    sessions: int = 10
    messages: int = 1000
    size: int = 1000
    keep: bool = True
    pipeline: bool = False
    recipients: tuple[str, ...] = ("support@example.com",)
    senders: int = 0
    timeout_s: float = 300.0


class Load:
    """One run: hands out numbers to its sessions and counts the answers.

    The sessions live on a bare selector: with asyncio the client took more CPU than the server it measured.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcome = Outcome(messages=plan.messages)
        self.run_id = secrets.token_hex(4)
        self.next = 0
        self.selector = selectors.DefaultSelector()
        self.bodies = [
            b"".join(FILLER[at:] + FILLER * (plan.size // sum(map(len, FILLER)) + 1))
            for at in range(len(FILLER))
        ]

    def mail(self, number: int) -> tuple[bytes, bytes, bytes]:
        """The commands MAIL and RCPT and the content with its final dot."""
        plan = self.plan
        sender = number % plan.senders if plan.senders else number
        who = f"c{sender}.{self.run_id}@customers.example"
        to = plan.recipients[number % len(plan.recipients)]
        head = (
            f"From: Customer {sender} <{who}>\r\nTo: <{to}>\r\n"
            f"Subject: Question {number} of {self.run_id}\r\n"
            f"Message-ID: <{number}.{self.run_id}@customers.example>\r\n"
            "Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\n\r\nThis is number {number}.\r\n"
        ).encode()
        rest = max(0, plan.size - len(head))
        body = self.bodies[number * 11 % len(FILLER)]
        content = head + body[:rest].rpartition(b"\r\n")[0] + b"\r\n.\r\n"
        return f"MAIL FROM:<{who}>\r\n".encode(), f"RCPT TO:<{to}>\r\n".encode(), content

    def take(self) -> int | None:
        if self.next >= self.plan.messages:
            return None
        self.next += 1
        return self.next - 1

    def run(self) -> Outcome:
        cpu, since = time.process_time(), time.perf_counter()
        clients = [Client(self) for _ in range(min(self.plan.sessions, self.plan.messages))]
        for client in clients:
            client.connect()
        while self.selector.get_map():
            if time.perf_counter() - since > self.plan.timeout_s:
                raise TimeoutError(f"{self.outcome.accepted} of {self.plan.messages} mails in time")
            for key, _ in self.selector.select(1.0):
                key.data.ready()
        outcome = self.outcome
        outcome.seconds = time.perf_counter() - since
        outcome.client_cpu_s = time.process_time() - cpu
        outcome.accepted_per_s = outcome.accepted / outcome.seconds
        ordered = sorted(outcome.latencies_ms) or [0.0]
        outcome.p50_ms = ordered[len(ordered) // 2]
        outcome.p99_ms = ordered[int(len(ordered) * 0.99)]
        return outcome


class Client:
    """One session after another. `steps` is what is still to be said, last first."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.number: int | None = None  # of the mail on its way

    def connect(self) -> None:
        self.steps = [b"EHLO load.example\r\n"]
        self.expected = 1  # answers before the next step
        self.buffer = b""
        self.quitting = False
        self.since = time.perf_counter()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect((self.load.plan.host, self.load.plan.port))
        self.load.selector.register(self.sock, selectors.EVENT_READ, self)

    def ready(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._lost()
            return
        data = self.buffer + data
        if not data.endswith(b"\n"):
            self.buffer = data
            return
        self.buffer = b""
        for line in data.split(b"\r\n"):
            if line and line[3:4] != b"-":
                self._answered(line)

    def _answered(self, line: bytes) -> None:
        if line[:1] > b"3":
            self.load.outcome.refused += 1
            self.load.outcome.last_refusal = line.decode("ascii", "replace")
            self.number, self.steps = None, []
            self._quit()
            return
        self.expected -= 1
        if self.expected or self.quitting:
            return
        if self.steps:
            self._say(self.steps.pop())
            return
        if self.number is not None:
            now = time.perf_counter()
            self.load.outcome.accepted += 1
            self.load.outcome.latencies_ms.append((now - self.since) * 1000)
            self.since, self.number = now, None
            if not self.load.plan.keep:
                self._quit()
                return
        self._next_mail()

    def _next_mail(self) -> None:
        self.number = self.load.take()
        if self.number is None:
            self._quit()
            return
        mail, rcpt, content = self.load.mail(self.number)
        if self.load.plan.pipeline:
            self.steps = [content]
            self.expected = 3
            self.sock.sendall(mail + rcpt + b"DATA\r\n")
        else:
            self.steps = [content, b"DATA\r\n", rcpt]
            self._say(mail)

    def _say(self, step: bytes) -> None:
        self.expected = 1
        self.sock.sendall(step)

    def _quit(self) -> None:
        self.quitting = True
        with suppress(ConnectionError):  # a server that refused may be gone already
            self._say(b"QUIT\r\n")

    def _lost(self) -> None:
        load = self.load
        load.selector.unregister(self.sock)
        self.sock.close()
        if not self.quitting:
            load.outcome.broken += 1
            self.number = None
        if load.next < load.plan.messages:
            try:
                self.connect()
            except OSError as error:
                self.sock.close()
                load.outcome.broken += 1
                load.outcome.last_refusal = str(error)


def run(plan: Plan) -> Outcome:
    """Send the plan's mails and say how it went. Blocks."""
    return Load(plan).run()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--size", type=int, default=1000, help="bytes of a mail with its headers")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--pipeline", action="store_true", help="MAIL, RCPT and DATA in one segment")
    parser.add_argument("--to", action="append", default=None, help="recipient; may be repeated")
    parser.add_argument("--senders", type=int, default=0, help="distinct senders; 0: one a mail")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    plan = Plan(
        host=args.host,
        port=args.port,
        sessions=args.sessions,
        messages=args.messages,
        size=args.size,
        keep=args.keep,
        pipeline=args.pipeline,
        recipients=tuple(args.to or ["support@example.com"]),
        senders=args.senders,
    )
    found = asdict(run(plan))
    del found["latencies_ms"]
    if args.json:
        print(json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in found.items()}))
    else:
        print(
            f"{found['accepted']} accepted, {found['refused']} refused, {found['broken']} broken: "
            f"{found['accepted_per_s']:.0f}/s, "
            f"{found['p50_ms']:.2f} ms median, {found['p99_ms']:.2f} ms p99, "
            f"client {found['client_cpu_s'] / found['seconds'] * 100:.0f} % of a core"
        )


if __name__ == "__main__":
    main()
