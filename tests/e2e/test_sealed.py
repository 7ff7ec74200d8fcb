"""With a key a thief of the service's files learns what was bought, and not by whom, nor what was said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from bot.__main__ import main
from crm_store import rekey, sealing
from crm_store.search import find_contacts
from tests.api.kit import Caller, token
from tests.e2e import test_erase as shop
from tests.e2e.test_erase import word
from tests.fakes.web import StaffBrowser, Visitor
from tests.store.test_erase import inflated, traces

KEY = sealing.new_key()
PEOPLE = (1, 91, 141, 191)  # one of each channel
OPEN = {"order", "tracking", "product", "tag", "second tag", "event key"}
SEALED = {
    "name", "surname", "local part", "company", "field", "city", "nickname", "shown name", "handle", "subject",
    "first words", "before the edit", "after the edit", "file name", "file content", "note", "note about them",
    "message id", "reply", "held reply", "comment", "consent", "page", "event field", "never said",
}  # fmt: skip


def seen(content: bytes, n: int) -> set[str]:
    """Which places of a customer can be read, however they are spelt."""
    found = {place for place in OPEN | SEALED if traces(content, word(n, place)[5:])}
    numbers = {"phone": shop.phone(n)[1:], "telegram": str(shop.telegram_id(n)), "slack": shop.slack_id(n)}
    return found | {name for name, number in numbers.items() if number.encode() in content}


async def test_who_customers_are_and_what_was_said_stands_in_no_file(tmp_path: Path) -> None:
    shop.lists(tmp_path)
    async with shop.a_world(tmp_path, KEY) as world, aiohttp.ClientSession() as session:
        caller = Caller(world.url, await token(world.store), session)
        await shop.cli(world, "import", "customers", str(tmp_path / "people.csv"))
        await shop.cli(world, "import", "orders", str(tmp_path / "orders.csv"))
        for n in PEOPLE[:3]:
            await shop.writes(world, n)
        visitor = Visitor(world.url)
        await visitor.open()
        await visitor.upload(shop.complaint(191), ("a.bin", "text/plain", word(191, "file content").encode()))
        await world.until(lambda d: all(shop.ticket_of(n, d) for n in PEOPLE))
        async with StaffBrowser(world.url) as mei:
            await mei.sign_in(await world.code("Mei"))
            contacts = {n: await shop.served(world, mei, caller, n) for n in PEOPLE}
        await visitor.close()
        await shop.quiet(world)
        [mailed] = await world.store.read(find_contacts, word(1, "name"))
        assert mailed.contact_id == contacts[1]
        told = await shop.cli(world, "takeout", f"C{contacts[1]}", "--json")
        assert {place for place in SEALED if word(1, place) in told} > {
            "name",
            "first words",
            "reply",
            "note",
        }
        await shop.cli(world, "backup", str(tmp_path / "backup.copy"))
        content = files(tmp_path)
        assert [(n, found) for n in PEOPLE if (found := seen(content, n) & SEALED)] == []
        assert seen(content, 1) == OPEN
        assert not {"phone", "telegram", "slack"} & set().union(*(seen(content, n) for n in PEOPLE))
        config = world.config

    # the key is given up: then all of it can be read, so it would have been seen
    rows = await asyncio.to_thread(rekey.convert, config.store_url, sealing.Seal(KEY), None)
    assert rows > 100
    assert seen(files(tmp_path), 1) >= {"name", "local part", "first words", "phone"}


def files(directory: Path) -> bytes:
    kinds = (".csv", ".toml")  # what was imported, and the configuration
    found = [f.read_bytes() for f in directory.rglob("*") if f.is_file() and f.suffix not in kinds]
    return b"".join(content + inflated(content) for content in found)


def test_a_backup_of_another_key_is_not_restored_and_who_was_erased_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people.csv").write_text(
        "name,email\nAnn Lee,ann@shop.example\nBo Li,bo@shop.example\n", "utf-8"
    )
    config, first, second = tmp_path / "wellheard.toml", sealing.new_key(), sealing.new_key()

    def configure(directory: str) -> None:
        listed = f'erased_list = "{tmp_path}/list"\n'
        where = f'[store]\nurl = "sqlite:///{tmp_path}/{directory}/wellheard.db"\n[desk]\nsecret = "s"\n'
        config.write_text(f'{where}[privacy]\nkey = "env:THE_KEY"\n{listed}', "utf-8")

    def run(key: str, *arguments: str) -> tuple[int, str]:
        monkeypatch.setenv("THE_KEY", key)
        code = main([*arguments, "--config", str(config)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    sealed, plain = str(tmp_path / "sealed.backup"), str(tmp_path / "plain.backup")
    configure("first")
    assert run(first, "import", "customers", str(tmp_path / "people.csv"))[0] == 0
    assert run(first, "backup", sealed)[0] == 0
    assert run(first, "erase", "ann@shop.example")[0] == 0
    configure("second")
    code, said = run(second, "restore", sealed)
    assert (code, "the backup is sealed with; nothing was restored" in said) == (1, True)
    code, said = run(first, "restore", sealed)
    assert (code, "1 who had been erased since were erased again" in said) == (0, True)
    assert "ann@shop" not in run(first, "export", "customers")[1]
    assert run(first, "unseal")[0] == 0

    config.write_text(config.read_text("utf-8").replace('key = "env:THE_KEY"', ""), "utf-8")
    assert run("", "backup", plain)[0] == 0
    assert run("", "erase", "bo@shop.example")[0] == 0
    configure("third")
    code, said = run(first, "restore", plain)
    assert code == 0
    assert "1 who had been erased since were erased again" in said
    assert "run `wellheard seal`" in said
    assert run(first, "seal")[0] == 0
    assert "bo@shop" not in run(first, "export", "customers")[1]


def test_the_command_line_seals_opens_and_says_which_key_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "wellheard.toml"
    store = f'[store]\nurl = "sqlite:///{tmp_path}/wellheard.db"\n'
    config.write_text(store, "utf-8")
    (tmp_path / "people.csv").write_text("name,email\nZqname Zqsurname,zqperson@shop.example\n", "utf-8")

    def run(*arguments: str) -> tuple[int, str]:
        code = main([*arguments, "--config", str(config)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    assert main(["key"]) == 0
    key = capsys.readouterr().out.strip()
    assert run("import", "customers", str(tmp_path / "people.csv"))[0] == 0
    assert "privacy.key is not set" in run("seal")[1]
    config.write_text(store + '[privacy]\nkey = "env:THE_KEY"\n', "utf-8")
    assert "THE_KEY is not set" in run("staff", "list")[1]
    monkeypatch.setenv("THE_KEY", "wrong")
    assert "privacy.key: is not a key" in run("staff", "list")[1]
    monkeypatch.setenv("THE_KEY", key)
    assert "not sealed yet" in run("staff", "list")[1]
    assert run("seal")[0] == 0
    assert traces(files(tmp_path), "zqperson@shop.example") == traces(files(tmp_path), "Zqsurname") == []
    assert "zqperson@shop.example" in run("export", "customers")[1]
    monkeypatch.setenv("NEXT", sealing.new_key())
    assert run("rekey", "env:NEXT")[0] == 0
    code, said = run("doctor")
    assert code == 1
    assert "privacy.key is not the key that the store is sealed with" in said
    config.write_text(store + '[privacy]\nkey = "env:NEXT"\n', "utf-8")
    assert "contact data is sealed with a key" in run("doctor")[1]
    assert run("unseal")[0] == 0
    config.write_text(store, "utf-8")
    assert "zqperson@shop.example" in run("export", "customers")[1]
