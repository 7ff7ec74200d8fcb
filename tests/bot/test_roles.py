"""Who may do what, of whose rows, and what is masked: the same by command, button, form, reaction and API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from bot import access, commands, masking
from bot.access import BY_COMMAND, Member
from bot.api.routes import SCOPES
from bot.config import Problem, parse
from bot.office import Office, Turn
from bot.roles import ROLES
from channels.conversation import Author
from crm_store import contacts, people
from tests.deciding import CHANNELS, Deciding, deciding

CUSTOMERS = """name,email,phone
Li Wei,li@example.com,+447700900123
Wang Fang,fang@example.com,+8613800138000
Ann O'Neil,ann@example.com,+442079460018
"""
OWN = '[access.roles.sales]\nrows = "own"\nmask = true\n'
TEAM = '[access.roles.sales]\nrows = "team"\n'


def _people(tx: Connection) -> None:
    from tests.deciding import NOW

    for name in ("Sam", "Sue", "Tim"):
        people.add(tx, NOW, name, "sales", "en")
    people.set_team(tx, people.by_name(tx, "Sam").id, "north")
    people.set_team(tx, people.by_name(tx, "Sue").id, "north")
    for contact_id, name in ((1, "Sam"), (2, "Sue"), (3, "Tim")):
        contacts.set_values(tx, NOW, contact_id, owner_id=people.by_name(tx, name).id)


async def filled(door: Deciding, directory: Path) -> Deciding:
    """Customers 1 to 3 of Sam, Sue and Tim; a ticket of a visitor (customer 4) that is Mei's, about a sofa."""
    await door.bring(directory, "customers", CUSTOMERS)
    await door.store.write(_people)
    await door.take("A person please: the sofa is green, call +447700900999", room="v")
    await door.staff("/ticket 1 assign Mei", "Mei")
    await door.new()
    door.later(minutes=1)
    return door


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path, more=f"{CHANNELS}\n{OWN}") as door:
        yield await filled(door, tmp_path)


async def run(door: Deciding, text: str, name: str) -> str:
    def work(tx: Connection) -> Any:
        turn = Turn(tx, door.office, door.now, via="web")
        who = access.member(people.by_name(tx, name))
        done = commands.perform(turn, who, text)
        commands.audited(turn, who, done)
        return done.reply

    from channels import rich

    return rich.to_text(await door.store.write(work))


# --- the table ----------------------------------------------------------------------------------------------


def office_of(more: str) -> Office:
    return Office(parse(more), {}, b"")


@pytest.mark.parametrize("what", sorted(BY_COMMAND))
def test_what_is_done_without_a_command_goes_by_one_that_exists(what: str) -> None:
    known = set(commands.everything())
    assert BY_COMMAND[what] in known
    if what.startswith("api "):
        assert what.removeprefix("api ") in SCOPES


@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_of_the_api_goes_by_a_command(scope: str) -> None:
    assert f"api {scope}" in BY_COMMAND


@pytest.mark.parametrize("role", ROLES)
def test_without_configuration_the_records_decide(role: str) -> None:
    table = office_of("").access
    who = Member(1, "X", role, None)
    for name, record in commands.everything().items():
        assert table.may(who, name) == (role in record.roles)
    assert table.rows(role) == "all"
    assert table.masks(role) == (role == "viewer")


def test_the_configuration_adds_and_takes_away() -> None:
    table = office_of(
        '[access.roles.agent]\nallow = ["shelf"]\ndeny = ["search", "reply"]\nmask = true'
    ).access
    agent, sales = Member(1, "A", "agent", None), Member(2, "S", "sales", None)
    assert table.may(agent, "shelf")
    assert not table.may(agent, "search")
    assert not table.may(agent, "ticket send")
    assert not table.may(agent, "api messages:write")
    assert table.may(agent, "ticket close")
    assert table.masks("agent")
    assert table.may(sales, "reply")
    assert not table.may(sales, "shelf")
    assert not table.may(Member(3, "N", "nobody", None), "help")


def test_a_role_of_ones_own_is_like_one_of_ours() -> None:
    table = office_of(
        '[access.roles.agent]\nallow = ["shelf"]\nrows = "team"\n'
        '[access.roles.intern]\nlike = "agent"\ntitle = "Intern"\ndeny = ["reply"]\nmask = true\n'
        '[access.roles.guest]\nlike = "viewer"\nrows = "own"\n[access.roles.manager]\ntitle = "Head"'
    ).access
    intern, guest = Member(1, "I", "intern", None), Member(2, "G", "guest", None)
    assert table.may(intern, "shelf")
    assert table.may(intern, "note")
    assert not table.may(intern, "api messages:write")
    assert not table.may(intern, "merge")
    assert (table.rows("intern"), table.masks("intern")) == ("team", True)
    assert (table.rows("guest"), table.masks("guest"), table.may(guest, "customer")) == ("own", True, True)
    assert [table.called(role, "en") for role in ("intern", "guest", "manager", "sales", "gone")] == [
        "Intern",
        "guest",
        "Head",
        "sales",
        "gone",
    ]


async def test_who_has_a_role_that_is_gone_may_do_nothing_and_is_told(own: Deciding) -> None:
    await own.store.write(lambda tx: people.set_role(tx, people.by_name(tx, "Tim").id, "intern"))
    assert "intern" in await run(own, "/customer Li Wei", "Tim")
    assert "intern" in await run(own, "/whoami", "Tim")
    assert (own.office.access.rows("intern"), own.office.access.masks("intern")) == ("own", True)


async def test_who_is_in_two_teams_sees_the_rows_of_both(own: Deciding) -> None:
    def teams(tx: Connection) -> list[int]:
        sam, sue, tim = (people.by_name(tx, name).id for name in ("Sam", "Sue", "Tim"))
        people.set_team(tx, sam, "north, South")
        people.set_team(tx, tim, "south")
        assert people.team_of(tx, tim) == [sam, tim]
        assert people.team_of(tx, sue) == [sam, sue]
        return people.team_of(tx, sam)

    assert len(await own.store.write(teams)) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[access.roles.intern]\nlike = 'agents'", ["access.roles.intern.like", "agent"]),
        ("[access.roles.intern]\nrows = 'own'", ["access.roles.intern", 'like = "agent"']),
        ("[access.roles.sales]\nlike = 'agent'", ["access.roles.sales.like", "of your own"]),
        ("[access.roles.'a b']\nlike = 'agent'", ["access.roles.a b", "letters"]),
        ("[access.roles.sale]\nrows = 'own'", ["access.roles.sale", "did you mean sales?"]),
        (
            "[access.roles.agent]\nallow = ['shelve']",
            ["access.roles.agent.allow", "shelve", "did you mean shelf?"],
        ),
        ("[access.roles.agent]\ndeny = ['serch']", ["access.roles.agent.deny", "did you mean search?"]),
        ("[access.roles.agent]\nrow = 'own'", ["access.roles.agent.row", "did you mean rows?"]),
        ("[access.roles.agent]\nrows = 'mine'", ["access.roles.agent.rows", "own"]),
        ("[access]\nroles = 1", ["access.roles must be tables"]),
        ("[access]\nlookup = 1", ["access.lookup", "did you mean lookups?"]),
        ("[deals]\nstages = {won = 1}", ["deals.stages", "won"]),
        ("[deals]\nstages = {a = 101}", ["deals.stages", "101"]),
        ("[deals]\nstages = {}", ["deals.stages"]),
    ],
)
def test_a_mistake_in_the_table_is_named(text: str, words: list[str]) -> None:
    with pytest.raises(Problem) as caught:
        parse(text)
    assert all(word in str(caught.value) for word in words), caught.value


# --- rows ---------------------------------------------------------------------------------------------------


async def test_who_sees_their_own_customers_finds_no_others(own: Deciding) -> None:
    assert "Li Wei" in await run(own, "/customer Li Wei", "Sam")
    for text in ("Wang Fang", "fang@example.com", "+8613800138000", "C2", "2", "Ann O'Neil"):
        assert "Nobody found" in await run(own, f"/customer {text}", "Sam"), text
    assert "Wang Fang" in await run(own, "/customer fang@example.com", "Sue")
    assert "Wang Fang" in await run(own, "/customer Wang Fang", "Tom")


async def test_a_ticket_of_somebody_else_is_not_there_for_them(own: Deciding) -> None:
    for text in (
        "/ticket 1",
        "/ticket 1 take",
        "/ticket 1 close",
        "/note 1 x",
        "/reply 1 x",
        "/macro use 1 x",
    ):
        assert "no ticket #1" in await run(own, text, "Sam"), text
    assert "No tickets" in await run(own, "/tickets", "Sam")
    assert "sofa" in await run(own, "/tickets", "Tom")
    assert "Nothing" in await run(own, "/search sofa", "Sam")
    assert "sofa" in await run(own, "/search sofa", "Tom")
    assert "Tickets opened: 0" in await run(own, "/stats", "Sam")
    assert "Tickets opened: 1" in await run(own, "/stats", "Tom")
    assert "sofa" not in await run(own, "/home", "Sam")
    assert (await own.tickets())[0]["status"] == "open"


async def test_what_is_assigned_to_them_they_see(own: Deciding) -> None:
    await own.staff("/ticket 1 assign Sam", "Mei")
    assert "sofa" in await run(own, "/ticket 1", "Sam")
    assert "sofa" in await run(own, "/tickets", "Sam")
    assert "sofa" in await run(own, "/search sofa", "Sam")
    assert "Tickets opened: 1" in await run(own, "/stats", "Sam")
    assert "Nobody found" not in await run(own, "/customer C4", "Sam")


async def test_buttons_and_forms_keep_to_the_rows(own: Deciding) -> None:
    await own.take(await own.code("Sam"), room="sam", author=Author("sam", name="Sam"))
    before = await own.tickets()
    for action in (
        *(
            "profile:2",
            "profile:2:edit",
            "profile:2:note",
            "profile:2:noted",
            "ticket:1:close",
            "ticket:1:reply",
        ),
        *(
            "ticket:1:send",
            "ticket:1:note",
            "ticket:1:noted",
            "ticket:1:snoozed:1h",
            "ticket:1:set:priority=urgent",
        ),
        *("command:customer C2", "command:ticket 1 close", "deal:1:lost"),
    ):
        said = await own.press(
            action, room="sam", author=Author("sam", name="Sam"), values={"text": "x", "reason": "x"}
        )
        texts = " ".join(s.text for s in said)
        assert "Wang" not in texts, action
        assert "sofa" not in texts, action
        assert said, action
    assert await own.tickets() == before
    assert "Li" in " ".join(s.text for s in await own.press("profile:1", room="sam", author=Author("sam")))


async def test_a_team_sees_what_is_of_the_team(tmp_path: Path) -> None:
    async with deciding(tmp_path, more=f"{CHANNELS}\n{TEAM}") as door:
        await filled(door, tmp_path)
        assert "Li Wei" in await run(door, "/customer Li Wei", "Sue")
        assert "Wang Fang" in await run(door, "/customer Wang Fang", "Sam")
        assert "Nobody found" in await run(door, "/customer Ann O'Neil", "Sam")
        assert "Nobody found" in await run(door, "/customer Li Wei", "Tim")


# --- masks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to li@example.com now", "write to l***@example.com now"),
        ("a.b+c@x.co.uk, 王@例子.公司", "a***@x.co.uk, 王***@例子.公司"),
        ("+447700900123", "+44 ••• 23"),
        ("call +44 7700 900-123.", "call +44 ••• 23."),
        ("13800138000", "••• 00"),
        ("07700 900123", "••• 23"),
        ("+15551234567", "+1 ••• 67"),
        (
            "order A-1001 of 2026-02-01 12:30, 1234.50 EUR, T1",
            "order A-1001 of 2026-02-01 12:30, 1234.50 EUR, T1",
        ),
        ("2026-11-22T04:48:30Z", "2026-11-22T04:48:30Z"),
        ("", ""),
    ],
)
def test_what_a_mask_hides(text: str, masked: str) -> None:
    assert masking.text(text) == masked
    assert masking.text(masked) == masked


def test_a_mask_is_quick_on_what_is_long() -> None:
    assert masking.text("a" * 100_000 + "@") == "a" * 100_000 + "@"
    assert len(masking.text("1 " * 20_000)) > 0


async def test_who_may_not_see_addresses_sees_masks_and_still_finds(own: Deciding) -> None:
    for text in ("/customer li@example.com", "/customer +447700900123", "/customer Li Wei"):
        found = await run(own, text, "Sam")
        assert "Li Wei" in found
        assert "l***@example.com" in found
        assert "+44 ••• 23" in found
        assert "li@example.com" not in found
        assert "7700900123" not in found
    assert "li@example.com" in await run(own, "/customer Li Wei", "Tom")
    viewer = await run(own, "/customer Li Wei", "Vera")
    assert "l***@example.com" in viewer
    assert "li@example.com" not in await run(own, "/customer zebra+li@example.com", "Vera")


async def test_masks_hold_in_threads_results_and_buttons(own: Deciding) -> None:
    await own.staff("/ticket 1 assign Sam", "Mei")
    for text in ("/ticket 1", "/search sofa"):
        found = await run(own, text, "Sam")
        assert "sofa" in found
        assert "900999" not in found, found
    assert "900999" in await run(own, "/ticket 1", "Tom")
    for name in ("Wang One", "Wang Two"):
        await own.take(f"hello {name}", room=name)
    await own.store.write(_same_name)
    listed = await run(own, "/customer Same Name", "Vera")
    assert "f***@example.com" in listed or "+86" in listed
    assert "fang@" not in listed


def _same_name(tx: Connection) -> None:
    from tests.deciding import NOW

    for contact_id in (2, 3):
        contacts.set_values(tx, NOW, contact_id, name="Same Name")


async def test_what_is_posted_for_all_is_masked_when_that_is_wanted(tmp_path: Path) -> None:
    async with deciding(tmp_path, more=f"{CHANNELS}\n[access]\nmask_rooms = true") as door:
        said = await door.take("I want a person, call +447700900123 or li@example.com", room="v")
        cards = [s.text for s in said if s.purpose in ("card", "post")]
        assert cards
        for text in cards:
            assert "7700900123" not in text
            assert "li@example.com" not in text
            assert "+44 ••• 23" in text


async def test_a_masked_form_saved_as_it_was_changes_nothing(own: Deciding) -> None:
    def rename(tx: Connection) -> None:
        contacts.set_values(tx, own.now, 1, name="li@example.com")

    await own.store.write(rename)
    sam = Author("sam", name="Sam")
    await own.take(await own.code("Sam"), room="sam", author=sam)
    await own.press(
        "profile:1:set", room="sam", author=sam, values={"name": "l***@example.com", "city": "Leeds"}
    )
    row = await own.store.read(contacts.get, 1)
    assert (row.name, row.city) == ("li@example.com", "Leeds")


# --- lookups ------------------------------------------------------------------------------------------------


async def test_who_opens_many_cards_is_stopped_and_the_staff_rooms_are_told_once(tmp_path: Path) -> None:
    limit = "[access]\nlookups = 2\nlookup_minutes = 10"
    async with deciding(tmp_path, more=f"{CHANNELS}\n{limit}") as door:
        await filled(door, tmp_path)
        for text in ("C1", "C2", "C1", "C2", "li@example.com"):
            assert "Known as" in await run(door, f"/customer {text}", "Tom")
        await door.new()
        for _ in range(2):
            assert "wait" in await run(door, "/customer C3", "Tom")
        tom = Author("tom", name="Tom")
        await door.take(await door.code("Tom"), room="tom", author=tom)
        said = await door.press("profile:3", room="tom", author=tom)
        assert "wait" in said[-1].text
        alarms = [text for text in await door.heard() if "Tom has looked up" in text]
        assert len(alarms) == len(door.office.rooms)
        outcomes = [(a, o) for _, a, _, o in await door.audits() if a.startswith("lookups")]
        assert outcomes.count(("lookups", "refused")) == 3
        assert outcomes.count(("lookups_alarm", "ok")) == 1
        assert "Known as" in await run(door, "/customer C1", "Tom")  # what was open may be looked at again
        door.later(minutes=11)
        assert "Known as" in await run(door, "/customer C3", "Tom")


async def test_who_lists_all_customers_letter_by_letter_is_stopped_too(tmp_path: Path) -> None:
    async with deciding(tmp_path, more=f"{CHANNELS}\n[access]\nlookups = 1") as door:
        rows = "".join(
            f"Person {letter}{letter} Smith,p{letter}@example.com\n" for letter in "abcdefghijklmnopqrst"
        )
        await door.bring(tmp_path, "customers", "name,email\n" + rows)
        assert "Smith" in await run(door, "/customer Smith", "Tom")
        assert "Smith" in await run(door, "/customer Smith", "Tom")  # the same again are no more
        assert "wait" in await run(door, "/segment email:example id>8", "Tom")
        assert "wait" in await run(door, "/history C15", "Tom")
        assert any("Tom has looked up" in text for text in await door.heard())
        assert "Smith" in await run(door, "/customer Smith", "Tom")
        door.later(minutes=11)
        assert "Smith" in await run(door, "/segment email:example id>8", "Tom")


# --- the audit ----------------------------------------------------------------------------------------------


async def test_every_way_to_see_a_card_is_in_the_audit(own: Deciding) -> None:
    tom = Author("tom", name="Tom")
    await own.take(await own.code("Tom"), room="tom", author=tom)
    await run(own, "/customer C1", "Tom")
    await own.press("profile:1", room="tom", author=tom)
    await own.press("profile:1:edit", room="tom", author=tom)
    await own.press("home:found", room="tom", author=tom, values={"text": "li@example.com"})
    await own.press("command:customer C1", room="tom", author=tom)
    reads = [a for a in await own.audits() if a[1] == "profile" and a[2] == "contact:1"]
    assert len(reads) == 5
    assert {a[0] for a in reads} == {"staff:2"}
    said = await run(own, "/audit customer Li Wei", "Mei")
    assert said.count("查看资料") == 5
    assert "Tom" in said
    assert "网页聊天" in said
    assert "Tom" not in await run(own, "/audit ticket 1", "Mei")
    assert "Li Wei" in await run(own, "/audit staff Tom", "Mei")
    assert "may not use /audit" in await run(own, "/audit staff Tom", "Tom")


async def test_an_audit_names_nobody_of_others_rows(tmp_path: Path) -> None:
    rows = '[access.roles.manager]\nrows = "own"\n'
    async with deciding(tmp_path, more=f"{CHANNELS}\n{rows}") as door:
        await filled(door, tmp_path)
        await door.store.write(lambda tx: people.add(tx, door.now, "Mia", "manager", "en"))
        await door.store.write(
            lambda tx: contacts.set_values(tx, door.now, 1, owner_id=people.by_name(tx, "Mia").id)
        )
        await run(door, "/customer Li Wei", "Tom")
        await run(door, "/customer Wang Fang", "Tom")
        await run(door, "/ticket 1", "Tom")
        await run(door, "/deal new C2 5 EUR a chair", "Tim")
        said = await run(door, "/audit staff Tom", "Mia") + await run(door, "/audit staff Tim", "Mia")
        assert "C1 Li Wei" in said
        assert "Wang" not in said
        assert "#1" not in said
        assert "D1" not in said
        assert "no ticket" in await run(door, "/audit ticket 1", "Mia")
        assert await run(door, "/audit deal 1", "Mia") == (await run(door, "/audit deal 9", "Mia")).replace(
            "9", "1"
        )


async def test_an_audit_is_read_page_by_page(own: Deciding) -> None:
    for _ in range(30):
        await run(own, "/whoami", "Tom")
    first = await run(own, "/audit staff Tom", "Mei")
    again = next(line for line in first.splitlines() if line.startswith("/audit"))
    seen = 0
    while again:
        page = await run(own, again, "Mei")
        seen += page.count("/whoami")
        again = next((line for line in page.splitlines() if line.startswith("/audit")), "")
    assert seen + first.count("/whoami") == 30


async def test_help_and_suggestions_know_only_what_one_may(own: Deciding) -> None:
    def names(text: str) -> set[str]:
        return {line.split()[0].lstrip("/") for line in text.splitlines() if line.startswith("/")}

    for name, role in (("Vera", "viewer"), ("Tom", "agent"), ("Sam", "sales"), ("Mei", "manager")):
        allowed = {n for n, one in commands.everything().items() if role in one.roles}
        assert names(await run(own, "/help", name)) == allowed
    assert "/shelf" not in await run(own, "/shelv", "Vera")
    assert "/shelf" in await run(own, "/shelv", "Mei")
