"""Processes: two on one PostgreSQL, one on one SQLite file, and how one ends."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import postgres
from tests.fakes.telegram import FakeTelegram
from tests.fakes.web import Visitor
from tests.stores import sqlite_url
from tests.warm import Started, Warm
from tests.world import running, seed, settings

COMPLAINT = "my parcel is still not here and I want to know why"


def _events(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.startswith("{")]


async def _up(service: Started, log: Path) -> int:
    """Wait until it listens, and say where."""

    def port() -> int:
        assert not service.code.done(), log.read_text()[-2000:]
        return next((int(e["port"]) for e in _events(log) if e["event"] == "started"), 0)

    return int(await _until("it is up", port))


async def _until(what: str, condition: Any, timeout_s: float = 60.0) -> Any:
    try:
        async with asyncio.timeout(timeout_s):
            while not (found := condition()):
                await asyncio.sleep(0.05)
            return found
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


async def _dump(warm: Warm, config: Path) -> dict[str, Any]:
    out = config.with_suffix(".dump")
    out.unlink(missing_ok=True)
    process = await warm.start("dump", "--json", "--config", str(config), log=out)
    assert await process.ended() == 0, out.read_text()
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.timeout(180)
async def test_one_process_polls_and_another_takes_over_when_it_dies(tmp_path: Path) -> None:
    database = postgres.database()
    url = await asyncio.to_thread(database.__enter__)
    try:
        await seed(url, articles=False)
        async with FakeTelegram() as telegram, Warm() as warm:
            processes: dict[int, tuple[Started, Path]] = {}
            for number in range(2):
                config = tmp_path / f"{number}.toml"
                config.write_text(settings(url, telegram=telegram, more="[line]\nlease_s = 6\n"))
                log = tmp_path / f"{number}.log"
                processes[number] = await warm.start("run", "--config", str(config), log=log), log
            await _take_over(telegram, warm, processes, config)
    finally:
        await asyncio.to_thread(database.__exit__, None, None, None)


def _leads(log: Path) -> bool:
    return any(e["event"] == "leads" for e in _events(log))


async def _take_over(
    telegram: FakeTelegram, warm: Warm, processes: dict[int, tuple[Started, Path]], config: Path
) -> None:
    def leaders() -> list[int]:
        return [n for n, (_, log) in processes.items() if _leads(log)]

    await _until("somebody leads", leaders)
    for service, log in processes.values():
        await _up(service, log)
    said = 0

    async def says(count: int) -> None:
        nonlocal said
        for _ in range(count):
            telegram.user_says(7000 + said % 4, f"m{said:03} {COMPLAINT}")
            said += 1
            await asyncio.sleep(0.02)

    await says(40)
    await _until("all are confirmed", lambda: not telegram.pending)
    (leader,) = leaders()
    other = 1 - leader
    talking = asyncio.create_task(says(60))
    await asyncio.sleep(0.3)
    processes[leader][0].kill()
    await processes[leader][0].ended()
    await talking
    await _until("the other one leads", lambda: _leads(processes[other][1]))
    await _until("all are confirmed", lambda: not telegram.pending)

    async with asyncio.timeout(90):  # what the dead one had claimed is free when its lease runs out
        while (dump := await _dump(warm, config))["inbox"]["pending"] or dump["outbox"]["pending"]:
            await asyncio.sleep(0.5)
    for user in range(4):
        (ticket,) = [
            t
            for t in dump["tickets"]
            if {"channel": "telegram", "user_id": str(7000 + user)} in t["customer"]["identities"]
        ]
        stored = [m["text"][:4] for m in ticket["messages"] if m["kind"] == "in"]
        assert stored == [f"m{n:03}" for n in range(user, said, 4)]
        assert len([t for t in telegram.texts(7000 + user) if f"#{ticket['number']}" in t]) <= 1
    assert dump["inbox"]["shelved"] == dump["outbox"]["dead"] == 0
    assert not telegram.violations
    states = [e for e in _events(processes[other][1]) if e["event"] == "channel_state"]
    assert not [e for e in states if e["channel"] == "telegram" and not e["up"]]  # no 409
    processes[other][0].kill(signal.SIGTERM)
    assert await processes[other][0].ended() == 0


async def test_a_second_service_on_one_file_is_refused_and_the_command_line_is_not(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    await seed(url, articles=False)
    config = tmp_path / "wellheard.toml"
    config.write_text(settings(url))
    async with Warm() as warm:
        first = await warm.start("run", "--config", str(config), log=tmp_path / "first.log")
        await _up(first, tmp_path / "first.log")
        second = await warm.start("run", "--config", str(config), log=tmp_path / "second.log")
        assert await second.ended() == 1
        said = (tmp_path / "second.log").read_text().splitlines()
        assert said[-1].startswith("wellheard: the store ")
        assert f"is in use by a running service (process {first.pid})" in said[-1]
        assert (await _dump(warm, config))["integrity"] == "ok"
        command = await warm.start(
            "command", "/tickets", "--as", "Tom", "--config", str(config), log=tmp_path / "c"
        )
        assert await command.ended() == 0, (tmp_path / "c").read_text()
        first.kill()  # a lock that outlives its holder would be worse than none
        await first.ended()
        third = await warm.start("run", "--config", str(config), log=tmp_path / "third.log")
        await _up(third, tmp_path / "third.log")
        third.kill(signal.SIGTERM)
        assert await third.ended() == 0


async def test_sigterm_under_load_drains_and_exits_0(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    await seed(url, articles=False)
    config, log = tmp_path / "wellheard.toml", tmp_path / "log"
    async with FakeTelegram() as telegram, Warm() as warm:
        config.write_text(settings(url, telegram=telegram, web_per_minute=100_000))
        service = await warm.start("run", "--config", str(config), log=log)
        port = await _up(service, log)
        acknowledged = 0

        async def talks() -> None:
            nonlocal acknowledged
            async with Visitor(f"http://127.0.0.1:{port}", timeout_s=5) as visitor:
                while True:
                    telegram.user_says(7000 + acknowledged % 5, COMPLAINT)
                    await visitor.says(f"w{acknowledged:04} {COMPLAINT}")
                    acknowledged += 1

        talking = asyncio.create_task(talks())
        await _until("it is busy", lambda: acknowledged > 50)
        service.kill(signal.SIGTERM)
        assert await service.ended(25) == 0
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        dump = await _dump(warm, config)
        web = [
            m for t in dump["tickets"] for m in t["messages"] if m["channel"] == "web" and m["kind"] == "in"
        ]
        assert acknowledged <= len(web) <= acknowledged + 1
        confirmed = len(telegram.confirmed)
        told = [
            m
            for t in dump["tickets"]
            for m in t["messages"]
            if m["channel"] == "telegram" and m["kind"] == "in"
        ]
        assert len(told) >= confirmed > 0
        assert dump["inbox"] == {"pending": 0, "shelved": 0}
        assert {k: dump["outbox"][k] for k in ("pending", "dead", "unknown")} == dict.fromkeys(
            ("pending", "dead", "unknown"), 0
        )


async def test_it_is_not_ready_while_it_stops(tmp_path: Path) -> None:
    async with running(tmp_path, telegram=True, articles=False) as world, aiohttp.ClientSession() as http:
        assert world.telegram is not None

        async def ready() -> tuple[int, dict[str, Any]]:
            async with http.get(f"{world.url}/ready") as answer:
                return answer.status, await answer.json()

        async with asyncio.timeout(20):
            while (await ready())[0] != 200:
                await asyncio.sleep(0.05)
        world.telegram.fail("sendMessage", "slow", seconds=3.0)
        world.telegram.user_says(7, COMPLAINT)
        await _until(
            "the answer is on its way", lambda: world.telegram and world.telegram.called("sendMessage")
        )
        stopping = asyncio.create_task(world.service.stop())
        await asyncio.sleep(0.1)
        status, body = await ready()
        assert status == 503
        assert set(body["channels"].values()) == {"stopping"}
        assert not stopping.done()
        async with http.get(f"{world.url}/health") as answer:
            assert answer.status == 200
        await stopping
        assert len(world.telegram.texts(7)) == 1  # and what was under way has arrived
