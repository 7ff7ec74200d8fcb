"""The fidelity table, walked: every cell is tried against far sides as strict as the platforms.

Each source is walked once: all it can do is done, and looked for on every side where it should arrive."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import tempfile
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot import fidelity
from bot.fidelity import CUSTOMER_SIDES, KINDS, STAFF_SIDES, Way, cell
from bot.i18n import say
from tests.e2e.fidelity_acts import AGENTS, CUSTOMERS, Want, until
from tests.e2e.fidelity_sides import Sides, everybody, mail
from tests.fakes.mail import send_mail
from tests.world import running

PARCEL = "My parcel by {} arrived broken and nobody answers. This is the third time I write!"
PATIENCE_S = 15.0
LINKED = re.compile(r"http://desk\.example(/f/[\w.-]+)")
EVERYTHING: dict[str, Any] = {
    **dict.fromkeys(("telegram", "slack", "mail", "telegram_staff"), True),
    "web_per_minute": 3000,
}
CELLS = [(way, kind) for way in fidelity.ways() for kind in KINDS]
Walk = dict[tuple[Way, str], str]  # what is missing, "" for nothing; a kind that nobody can do is not in it


def test_the_page_is_made_of_the_data() -> None:
    page = Path(__file__).parents[2] / "docs" / "channels.md"
    assert page.read_text(encoding="utf-8") == fidelity.page(), (
        "run python -m bot.fidelity > docs/channels.md"
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("way", "kind"), CELLS, ids=[f"{w.source}-to-{w.target}-{w.direction}-{kind}" for w, kind in CELLS]
)
def test_what_people_do_arrives_as_the_table_says(way: Way, kind: str) -> None:
    found = walked(way.direction, way.source)
    assert not isinstance(found, str), found
    if cell(way, kind).how == "absent":
        assert (way, kind) not in found, "the table says that this cannot be done there"
        return
    assert (way, kind) in found, "nobody tried"
    assert found[way, kind] == "", f"missing: {found[way, kind]}"


@cache
def walked(direction: str, source: str) -> Walk | str:
    """Walk a source once, whatever worker asks first; why not, when that was not possible."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    if not run:
        return _walk(direction, source)
    place = Path(tempfile.gettempdir()) / f"wellheard-walks-{run}"
    place.mkdir(exist_ok=True)
    with (place / f"{direction}-{source}").open("a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        if text := shared.read():
            found = json.loads(text)
            return found if isinstance(found, str) else {(Way(d, s, t), k): m for d, s, t, k, m in found}
        walk = _walk(direction, source)
        plain = (
            walk if isinstance(walk, str) else [(*astuple(way), kind, m) for (way, kind), m in walk.items()]
        )
        shared.write(json.dumps(plain))
    return walk


def _walk(direction: str, source: str) -> Walk | str:
    directory = Path(tempfile.mkdtemp(prefix="wellheard-walk-"))
    walk = _inward if direction == "in" else _outward
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "channels.telegram.limits.CHAT_BURST", 500
            )  # nobody says so much in so short a time
            return asyncio.run(walk(directory, source))
    except Exception as error:
        return f"the walk ended early: {type(error).__name__}: {error}"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _complains(sides: Sides, channel: str) -> None:
    text = PARCEL.format(channel)
    if channel == "email":
        await send_mail(
            sides.world.smtp_port, "li.wei@customer.example", "support@desk.example", mail(text, first=True)
        )
    else:
        await CUSTOMERS[channel](sides).says(text)


async def _seen(sides: Sides, side: str, words: str) -> Any:
    """The post on a staff side that has these words, once it is there."""

    async def look() -> str:
        return Want([words]).missing(await sides.staff[side].posts())

    missing = await until(look, 40.0)
    assert not missing, missing
    return next(p.raw for p in await sides.staff[side].posts() if words in p.text)


async def _inward(directory: Path, source: str) -> Walk:
    async with running(directory, **EVERYTHING) as world:
        sides = await everybody(world)
        try:
            await _complains(sides, source)
            card = await _seen(sides, "slack", "third time")
            assert world.slack
            await world.slack.says("U0AGENT", world.slack.staff_channel, "Hello from Tom", card["ts"])
            hello = sides.customers[source]

            async def greeted() -> str:
                return Want(["Hello from Tom"]).missing(await hello.posts())

            assert await until(greeted, 40.0) == ""
            done: dict[str, Want | Exception] = {}
            for kind, act in CUSTOMERS[source](sides).kinds().items():
                done[kind] = await _try(act())
            done["button"] = await _try(_rates(sides, source, card))
            ways = [Way("in", source, side) for side in STAFF_SIDES]
            return await _judged(sides, dict.fromkeys(ways, done), {w: sides.staff[w.target] for w in ways})
        finally:
            await sides.page.close()
            await sides.visitor.close()


async def _outward(directory: Path, source: str) -> Walk:
    async with running(directory, **EVERYTHING) as world:
        sides = await everybody(world)
        try:
            done: dict[Way, dict[str, Want | Exception]] = {}
            agents = {}
            for channel in CUSTOMER_SIDES:
                await _complains(sides, channel)
                card = await _seen(sides, source, f"by {channel}")
                card = await sides.page.thread(f"by {channel}") if source == "web" else card
                agents[channel] = AGENTS[source](sides, card)
                done[Way("out", source, channel)] = {}
            for kind in agents["web"].kinds():
                for channel, agent in agents.items():
                    done[Way("out", source, channel)][kind] = await _try(agent.kinds()[kind]())
            for channel, agent in agents.items():
                done[Way("out", source, channel)]["button"] = await _try(_asks(agent, channel))
            return await _judged(sides, done, {w: sides.customers[w.target] for w in done})
        finally:
            await sides.page.close()
            await sides.visitor.close()


async def _try(act: Any) -> Want | Exception:
    try:
        async with asyncio.timeout(90):
            return await act  # type: ignore[no-any-return]
    except (Exception, AssertionError) as error:
        return error if isinstance(error, Exception) else RuntimeError(str(error))


async def _asks(agent: Any, channel: str) -> Want:
    await agent.closes()
    if channel == "email":
        return Want(["How did we do", "http://desk.example/r/"])
    return Want(["How did we do", "5 ★★★★★"])


async def _rates(sides: Sides, source: str, card: Any) -> Want:
    """The agent closes; the customer presses five stars, or follows the link of the mail."""
    world = sides.world
    assert world.slack
    assert world.telegram
    await _settled(sides)  # what comes after the closing would open the ticket again
    await world.slack.press("U0AGENT", card["ts"], "Close")

    async def asked() -> str:
        return Want(["How did we do"]).missing(await sides.customers[source].posts())

    assert await until(asked, 40.0) == ""
    post = next(p for p in await sides.customers[source].posts() if "How did we do" in p.text)
    match source:
        case "telegram":
            world.telegram.press(7001, post.raw, "5 ★★★★★")
        case "slack":
            await world.slack.press("U0CUSTOMER", post.raw, "5 ★★★★★")
        case "web":
            await sides.visitor.press("5 ★★★★★")
        case _:
            found = re.search(r"/r/[^\s?]+", post.text)
            assert found
            async with (
                aiohttp.ClientSession() as http,
                http.post(world.url + found[0], data={"n": "5"}) as page,
            ):
                assert page.status == 200
    return Want(["rated 5 of 5"])


async def _judged(sides: Sides, done: dict[Way, dict[str, Want | Exception]], far: dict[Way, Any]) -> Walk:
    """Wait until nothing is on its way, then look for everything."""
    walk: Walk = {}
    await _settled(sides)
    for way, kinds in done.items():
        for kind, want in kinds.items():
            walk[way, kind] = await _missing(sides, way, kind, want, far[way])
    return walk


async def _settled(sides: Sides) -> None:
    async def look() -> str:
        found = await sides.world.dump()
        return "" if found["inbox"]["pending"] == found["outbox"]["pending"] == 0 else "still on its way"

    await until(look, 60.0)


async def _missing(sides: Sides, way: Way, kind: str, want: Want | Exception, far: Any) -> str:
    if isinstance(want, Exception):
        return f"it could not be done: {type(want).__name__}: {want}"
    known = cell(way, kind)
    if known.words:
        side = sides.staff[way.source if way.direction == "out" else way.target]
        pattern = re.sub(r"\\\{\w+\\\}", ".*", re.escape(say(known.words, "en", **_Any())))
        pattern = pattern.replace(re.escape(_Any.MARK), ".*")

        async def said() -> str:
            return (
                ""
                if any(re.search(pattern, p.text) for p in await side.posts())
                else f"the words {pattern!r}"
            )

        if missing := await until(said, PATIENCE_S):
            return missing
    if known.how == "refused":
        gone = Want(gone=[*want.gone, *([] if known.words == "thread.file_missing" else want.words)])
        gone.gone += ["never sent"] if kind == "quote" else []
        if kind in ("edit", "delete"):
            return ""  # what was sent stands there as it was
        return gone.missing(await far.posts())

    async def look() -> str:
        return want.missing(await far.posts()) or await _unlinked(sides, far, want.linked)

    return await until(look, PATIENCE_S)


async def _unlinked(sides: Sides, far: Any, content: bytes) -> str:
    """Follow the links that stand there."""
    if not content:
        return ""
    found = [link for post in await far.posts() for link in LINKED.findall(repr(post.raw))]
    async with aiohttp.ClientSession(sides.world.url) as http:
        for link in dict.fromkeys(found):
            async with http.get(link) as response:
                if response.status == 200 and await response.read() == content:
                    return ""
    return f"a link to {len(content)} bytes among {found}"


class _Any(dict[str, str]):
    """Whatever a sentence has a place for."""

    MARK = "\0any\0"

    def keys(self) -> Any:
        return ("channel", "reason", "recipients", "filename", "mb", "name", "text")

    def __getitem__(self, key: str) -> str:
        return self.MARK


def test_every_kind_is_somewhere_carried() -> None:
    for kind in KINDS:
        assert any(cell(way, kind).how in ("carried", "degraded") for way in fidelity.ways()), kind


def test_what_is_refused_is_said_in_words_that_exist() -> None:
    for way in fidelity.ways():
        for kind in KINDS:
            if words := cell(way, kind).words:
                assert say(words, "zh", **_Any()) != say(words, "en", **_Any())
