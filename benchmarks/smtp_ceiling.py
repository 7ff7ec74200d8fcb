"""The ceiling of receiving by SMTP: a server that discards, aiosmtpd as it comes and ours.

    python benchmarks/smtp_ceiling.py [--quick] [--json]

Each server runs in a process of its own, the load in another (benchmarks/smtp_load.py). CPU is the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOAD = Path(__file__).with_name("smtp_load.py")


class Discard:
    """aiosmtpd's handler that answers yes."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        return "250 2.0.0 Ok"


async def serve_stock(pipe: Connection) -> None:
    from aiosmtpd.smtp import SMTP

    logging.getLogger("mail.log").setLevel(logging.WARNING)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Discard(), hostname="localhost", data_size_limit=35 << 20), sock=sock, backlog=1024
    )
    await _until_told(pipe, sock.getsockname()[1])
    server.close()


async def serve_ours(pipe: Connection) -> None:
    from channels.email.smtp_server import Envelope, Limits, Server

    async def deliver(_: Envelope) -> None:
        return None

    limits = Limits(max_sessions_per_address=1000)
    async with Server(
        listen="127.0.0.1:0",
        accepts={"support@example.com"}.__contains__,
        deliver=deliver,
        limits=limits,
        hostname="localhost",
    ) as server:
        await _until_told(pipe, server.port)


async def _until_told(pipe: Connection, port: int) -> None:
    """Send the port; answer each "cpu" with the CPU seconds used so far; return on "end"."""
    pipe.send(port)
    told = asyncio.Event()

    def heard() -> None:
        if pipe.recv() == "cpu":
            use = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send((use.ru_utime + use.ru_stime, use.ru_maxrss))
        else:
            told.set()

    asyncio.get_running_loop().add_reader(pipe.fileno(), heard)
    await told.wait()
    asyncio.get_running_loop().remove_reader(pipe.fileno())


def _serve(name: str, pipe: Connection) -> None:
    sys.path.insert(0, str(ROOT))
    asyncio.run({"aiosmtpd": serve_stock, "ours": serve_ours}[name](pipe))


def measure(name: str, plans: list[list[str]]) -> list[dict[str, Any]]:
    """Run every plan (arguments of smtp_load.py) against one server."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(name, there))
    process.start()
    try:
        port = here.recv()
        found = []
        for plan in plans:
            here.send("cpu")
            before, _ = here.recv()
            output = subprocess.run(
                [sys.executable, str(LOAD), "--port", str(port), "--json", *plan],
                capture_output=True,
                check=True,
                text=True,
            ).stdout
            here.send("cpu")
            after, peak_kb = here.recv()
            result = json.loads(output)
            result["server_us_per_message"] = round((after - before) / max(1, result["accepted"]) * 1e6)
            result["client_cpu"] = round(result["client_cpu_s"] / result["seconds"], 2)
            found.append({"server": name, "plan": " ".join(plan), "peak_mb": peak_kb // 1024, **result})
        here.send("end")
        process.join(10)
        return found
    finally:
        if process.is_alive():
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the messages")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    plans = []
    for size, messages in ((1000, 4000), (100_000, 800)):
        for keep in ("--no-keep", "--keep"):
            for sessions in (1, 10, 50):
                count = messages // (4 if args.quick else 1)
                plan = ["--sessions", str(sessions), "--messages", str(count), "--size", str(size), keep]
                plans.append(plan)
    plans.append(["--sessions", "10", "--messages", "4000", "--size", "1000", "--keep", "--pipeline"])
    rows = measure("aiosmtpd", plans) + measure("ours", plans)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; a server that discards, one process")
    print(
        f"{'size':>7} {'connection':>11} {'sessions':>8} | {'aiosmtpd/s':>10} {'CPU µs':>7} | {'ours/s':>7} ",
        end="",
    )
    print(f"{'CPU µs':>7} {'times':>5} | client busy")
    for stock, ours in zip(rows[: len(plans)], rows[len(plans) :], strict=True):
        words = ours["plan"].split()
        kind = "pipelined" if "--pipeline" in words else "kept" if "--keep" in words else "new"
        print(
            f"{words[5]:>7} {kind:>11} {words[1]:>8} | {stock['accepted_per_s']:>10.0f} "
            f"{stock['server_us_per_message']:>7} | {ours['accepted_per_s']:>7.0f} "
            f"{ours['server_us_per_message']:>7} {ours['accepted_per_s'] / stock['accepted_per_s']:>5.1f} | "
            f"{ours['client_cpu'] * 100:.0f} %"
        )
    for row in rows:
        if row["accepted"] != row["messages"]:
            print("NOT ALL ACCEPTED", row)


if __name__ == "__main__":
    main()
