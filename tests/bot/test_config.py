"""The configuration: what is wrong is named in one sentence, and the example covers every key."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from bot import config
from bot.__main__ import main
from bot.app import Service
from bot.config import KINDS, Problem, parse
from channels.base import ConfigError
from channels.settings import ChannelSettings
from tests.stores import sqlite_url

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.toml"
SECRETS = {
    "TELEGRAM_TOKEN": "123456:AAbb",
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_APP_TOKEN": "xapp-1",
    "SLACK_SIGNING_SECRET": "s1",
    "IMAP_PASSWORD": "p1",
    "SMTP_PASSWORD": "p2",
    "WEBHOOK_SECRET": "w" * 16,
}
MAIL = '[channels.support]\nkind = "email"\naddress = "a@b.example"\n'


HOOK = f"""[[webhooks]]
url = "https://shop.example/in"
secret = "{"s" * 16}"
events = ["ticket.opened"]
"""


def uncommented() -> str:
    """The example with its channels switched on."""
    return re.sub(r"(?m)^# (?=\[\[?channels\.|\[\[webhooks|\w+ = )", "", EXAMPLE.read_text("utf-8"))


def problem(text: str, **environ: str) -> str:
    with pytest.raises(Problem) as caught:
        parse(text, environ=environ)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_the_example_is_the_file_that_init_writes() -> None:
    sample = resources.files("bot").joinpath("sample", "wellheard.toml").read_text("utf-8")
    assert EXAMPLE.read_text("utf-8") == sample


def test_the_example_loads_without_anything_in_the_environment() -> None:
    assert dict(parse(EXAMPLE.read_text("utf-8"), environ={}).channels) == {}


def test_the_example_with_all_its_channels_loads() -> None:
    found = parse(uncommented(), environ=SECRETS)
    assert {c.kind for c in found.channels.values()} == set(KINDS)


def keys() -> Iterator[tuple[str, str]]:
    for name, cls in config._TABLES.items():
        for key in cls.model_fields:
            yield name, key
    for kind in KINDS:
        fields = importlib.import_module(f"channels.{kind}.settings").Settings.model_fields
        for key in fields:
            if key not in ChannelSettings.model_fields:
                yield kind, key
    for key in ChannelSettings.model_fields:
        yield "channels", key


@pytest.mark.parametrize(("table", "key"), list(keys()))
def test_the_example_covers_every_key(table: str, key: str) -> None:
    raw = tomllib.loads(uncommented())
    if table in config._TABLES:
        assert key in raw[table]
        return
    channels = [c for c in raw["channels"].values() if table in ("channels", c["kind"])]
    assert any(key in c for c in channels)


def test_what_the_example_says_is_what_happens_without_it() -> None:
    given = parse(EXAMPLE.read_text("utf-8"), environ={})
    bare = parse('[desk]\nname = "Example Ltd"', environ={})
    assert (given.store, given.http, given.desk, given.answers, given.line) == (
        bare.store,
        bare.http,
        bare.desk,
        bare.answers,
        bare.line,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[stor]\nurl = 'x'", ["stor", "did you mean store?"]),
        ("[http]\nprt = 1", ["http.prt", "unknown key", "did you mean port?"]),
        (MAIL + "colour = 1", ["channels.support.colour", "unknown key"]),
        (MAIL + "[channels.support.inner]\na = 1", ["channels.support.inner"]),
        ("[http]\nport = 'eighty'", ["http.port", "integer"]),
        ("[http]\nport = 70000", ["http.port"]),
        ("http = 8080", ["http must be a table"]),
        ("channels = 1", ["channels must be tables"]),
        ("[channels]\nweb = 1", ["channels.web.kind"]),
        ("[channels.x]\nkind = 'fax'", ["channels.x.kind", "email"]),
        ("[channels.x]\n", ["channels.x.kind"]),
        ("[channels.'a/b']\nkind = 'web'", ["channels.a/b", "letters"]),
        ("[channels.x]\nkind = 'email'", ["channels.x.address"]),
        ("[channels.x]\nkind = 'email'\naddress = 'nobody'", ["channels.x.address", "nobody"]),
        ("[channels.x]\nkind = 'telegram'\ntoken = 'two words'", ["channels.x.token"]),
        (
            "[channels.x]\nkind = 'telegram'\ntoken = '1:a'\nmode = 'webhook'",
            ["channels.x", "webhook_secret"],
        ),
        ("[channels.x]\nkind = 'slack'\nbot_token = 'x'", ["channels.x", "signing_secret"]),
        ("[channels.x]\nkind = 'web'\nreply_mode = 'sometimes'", ["channels.x.reply_mode", "explicit"]),
        ("[channels.x]\nkind = 'web'\nhold_s = -1", ["channels.x.hold_s"]),
        ("[desk]\ntimezone = 'Mars/Olympus'", ["desk.timezone", "Mars/Olympus"]),
        ("[desk]\ntimezone = '../etc/passwd'", ["desk.timezone"]),
        ("[desk]\nbusiness_hours = 'always'", ["desk.business_hours", "always"]),
        ("[desk]\nlanguages = 'en'", ["desk.languages"]),
        ("[desk]\nlanguages = []", ["desk.languages"]),
        ("[desk]\nlanguages = ['en', 'tlh']", ["desk.languages", "tlh"]),
        ("[desk]\ncurrency = 'Euro'", ["desk.currency"]),
        ("[answers]\norder_pattern = '['", ["answers.order_pattern"]),
        ("[http]\npublic_url = 'desk.example.com'", ["http.public_url", "https://"]),
        ("webhooks = 1", ["webhooks", "[[webhooks]]"]),
        (HOOK.replace("https", "http"), ["webhooks.1", "https://"]),
        (HOOK.replace("ticket.opened", "ticket.opend"), ["webhooks.1.events"]),
        (HOOK.replace("s" * 16, "short"), ["webhooks.1.secret"]),
        (HOOK + HOOK, ["webhooks", "twice"]),
        ("[desk", ["wellheard.toml"]),
        ("a = 1\na = 2", ["wellheard.toml"]),
    ],
)
def test_what_is_wrong_is_named_by_its_path(text: str, words: list[str]) -> None:
    said = problem(text)
    assert all(word in said for word in words), said


def test_a_missing_secret_is_named_with_its_variable() -> None:
    text = '[channels.tg]\nkind = "telegram"\ntoken = "env:TELEGRAM_TOKEN"'
    for environ in ({}, {"TELEGRAM_TOKEN": ""}):
        said = problem(text, **environ)
        assert "channels.tg.token" in said
        assert "TELEGRAM_TOKEN" in said


def test_a_secret_of_the_environment_is_not_repeated_in_a_complaint() -> None:
    text = '[channels.tg]\nkind = "telegram"\ntoken = "env:TELEGRAM_TOKEN"'
    assert "two words" not in problem(text, TELEGRAM_TOKEN="two words")


@pytest.mark.parametrize("what", ["missing", "directory", "not UTF-8", "unreadable"])
def test_a_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wellheard.toml"
    if what == "directory":
        path.mkdir()
    elif what == "not UTF-8":
        path.write_bytes(b"[desk]\nname = '\xff'")
    elif what == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        path.write_text("")
        path.chmod(0)
    assert main(["dump", "--config", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("wellheard: ")
    assert str(path) in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u@h/d",
        "nonsense",
        "sqlite:////proc/nowhere/x.db",
        "postgresql://u@127.0.0.1:1/none",
        "sqlite://",
    ],
)
def test_a_store_that_cannot_be_opened_is_one_sentence(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wellheard.toml"
    path.write_text(f'[store]\nurl = "{url}"')
    for command in (["dump"], ["staff", "list"], ["migrate"], ["run"], ["backup", str(tmp_path / "b")]):
        assert main([*command, "--config", str(path)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("wellheard: ")
        assert err.count("\n") == 1, err


def test_a_file_that_is_no_database_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.db").write_text("Dear diary, " * 1000)
    path = tmp_path / "wellheard.toml"
    path.write_text('[store]\nurl = "sqlite:///x.db"')
    for command in ("dump", "migrate", "run"):
        assert main([command, "--config", str(path)]) == 1
        err = capsys.readouterr().err
        assert err.count("\n") == 1, err
        assert "not a database" in err


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def configured(directory: Path, more: str, port: int = 0) -> Path:
    path = directory / "wellheard.toml"
    path.write_text(f'[store]\nurl = "{sqlite_url(directory)}"\n[http]\nport = {port}\n{more}')
    return path


def run(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bot", "run", "--config", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)


def test_a_port_in_use_ends_the_service_with_one_sentence(tmp_path: Path, taken: int) -> None:
    done = run(configured(tmp_path, "", taken))
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("wellheard: ")
    assert "http.port" in last
    assert str(taken) in last
    assert "Traceback" not in done.stderr


def test_a_mail_port_in_use_ends_the_service_with_one_sentence(tmp_path: Path, taken: int) -> None:
    done = run(configured(tmp_path, MAIL + f'smtp_listen = "127.0.0.1:{taken}"'))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("wellheard: ")
    assert str(taken) in last
    assert "Traceback" not in done.stderr


async def test_a_host_that_is_not_ours_is_refused_in_one_sentence(tmp_path: Path) -> None:
    text = f'[store]\nurl = "{sqlite_url(tmp_path)}"\n[http]\nhost = "192.0.2.1"\nport = 0'
    service = Service(parse(text, path=tmp_path / "wellheard.toml"))
    with pytest.raises(ConfigError, match=re.escape("192.0.2.1")):
        async with asyncio.timeout(10):
            await service.start()


def test_a_relative_store_lies_beside_its_configuration(tmp_path: Path) -> None:
    found = parse('[store]\nurl = "sqlite:///desk.db"', path=tmp_path / "sub" / "wellheard.toml")
    assert found.store_url == f"sqlite:///{tmp_path}/sub/desk.db"


def test_the_configuration_is_found_by_argument_environment_or_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WELLHEARD_CONFIG", raising=False)
    assert config.find(None) == Path("wellheard.toml")
    monkeypatch.setenv("WELLHEARD_CONFIG", "/etc/w.toml")
    assert config.find(None) == Path("/etc/w.toml")
    assert config.find("mine.toml") == Path("mine.toml")
