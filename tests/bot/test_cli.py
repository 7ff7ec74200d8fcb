"""The command line, as a script uses it: data on stdout, words for people on stderr, exit 0, 1 or 2."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot import commands
from bot.__main__ import main
from bot.cli import COMMANDS
from bot.jobs import Jobs
from channels import rich
from crm_store import audit, inbox, migrations, outbox, people, schema
from crm_store.db import Store
from tests.fakes.slack import FakeSlack
from tests.stores import sqlite_url
from tests.world import running

ROOT = Path(__file__).parents[2]
ARTICLES = ROOT / "bot" / "sample" / "articles.jsonl"
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


CONTRACT = (
    "demo init run doctor migrate backup restore staff import export ask command email dump shelf slack-manifest "
    "train"
)


class Cli:
    """Runs commands in a directory with a configuration."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.url = sqlite_url(directory)
        self.config = directory / "wellheard.toml"
        self.config.write_text(f'[store]\nurl = "{self.url}"\n[desk]\nname = "Example Ltd"\n')
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        self._capsys.readouterr()
        try:
            got = main([*words, "--config", str(self.config)])
        except SystemExit as error:
            got = int(error.code or 0)
        out, err = self._capsys.readouterr()
        assert got == code, (got, out, err)
        return out, err

    def heard(self) -> tuple[str, str]:
        return self._capsys.readouterr()

    def json(self, *words: str, code: int = 0) -> Any:
        out, _ = self(*words, "--json", code=code)
        assert out.count("\n") == 1
        return json.loads(out)

    def file(self, name: str, text: str | bytes) -> str:
        path = self.directory / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def store(self, work: Callable[..., Any], *args: Any) -> Any:
        async def go() -> Any:
            async with Store(self.url) as store:
                return await store.write(work, *args)

        return asyncio.run(go())

    def audits(self) -> list[tuple[str, str, str, str]]:
        return [(e.actor, e.action, e.object, e.outcome) for e in self.store(audit.entries)]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path, capsys)


# --- usage --------------------------------------------------------------------------------------------------


def test_help_is_fast_and_loads_no_sdk() -> None:
    script = (
        "import sys, time; begun = time.perf_counter(); from bot.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit as e: assert e.code == 0\n"
        "print(time.perf_counter() - begun); print(','.join(sys.modules))"
    )
    best = 9.0
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
        )
        took, loaded = done.stdout.splitlines()[-2:]
        heavy = {
            "aiogram",
            "slack_sdk",
            "slack_bolt",
            "aiosmtpd",
            "sqlalchemy",
            "sklearn",
            "numpy",
            "pydantic",
            "aiohttp",
        }
        assert heavy.isdisjoint(loaded.split(","))
        best = min(best, float(took))
    assert best < 0.5


def test_help_names_every_command_of_the_contract() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "--help"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    for name in CONTRACT.split():
        assert name in COMMANDS
        assert name in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["staff"],
        ["staff", "add", "Mei"],
        ["import", "unicorns", "x.csv"],
        ["import", "customers"],
        ["command", "/help"],
        ["email", "parse"],
        ["shelf", "show"],
        ["dump", "--yaml"],
        ["demo", "--port", "x"],
    ],
)
def test_wrong_usage_is_2_and_nothing_on_stdout(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage:" in err


def test_the_configuration_is_taken_before_and_after_the_command(cli: Cli) -> None:
    for words in (["--config", str(cli.config), "staff", "list"], ["staff", "list", "--config", str(cli.config)],
                  ["staff", "--config", str(cli.config), "list"]):  # fmt: skip
        assert main(words) == 0


def test_a_closed_pipe_is_no_traceback(cli: Cli) -> None:
    cli("import", "articles", str(ARTICLES))
    shell = f"{sys.executable} -m bot export articles --config {cli.config} | head -c 10"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "Traceback" not in done.stderr
    assert len(done.stdout) == 10


# --- set-up -------------------------------------------------------------------------------------------------


def test_init_writes_a_configuration_with_a_secret_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["init", str(tmp_path / "desk")]) == 0
    out, err = capsys.readouterr()
    path = tmp_path / "desk" / "wellheard.toml"
    assert out == ""
    assert str(path) in err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    secret = next(line for line in path.read_text().splitlines() if line.startswith("secret"))
    assert len(secret.split('"')[1]) == 64
    monkeypatch.chdir(tmp_path / "desk")
    assert main(["migrate"]) == 0
    assert main(["staff", "list"]) == 0
    assert (tmp_path / "desk" / "wellheard.db").exists()


def test_init_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wellheard.toml").write_text("# mine")
    assert main(["init", str(tmp_path)]) == 1
    assert (tmp_path / "wellheard.toml").read_text() == "# mine"
    assert "left as it is" in capsys.readouterr().err


def test_init_where_nothing_can_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file" / "sub")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_migrate_says_where_the_schema_is_and_may_be_repeated(cli: Cli) -> None:
    for _ in range(2):
        out, err = cli("migrate")
        assert out == ""
        assert migrations.HEAD in err


def test_a_backup_comes_back_into_an_empty_store_only(cli: Cli, tmp_path: Path) -> None:
    cli("staff", "add", "Mei", "--role", "manager")
    cli("import", "articles", str(ARTICLES))
    file = str(tmp_path / "all.backup")
    out, err = cli("backup", file)
    assert (out, file in err) == ("", True)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert "empty" in cli("restore", file, code=1)[1] or True
    before = cli("export", "articles")[0]
    cli.config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/new/wellheard.db"\n')
    out, err = cli("restore", file)
    assert out == ""
    assert cli("export", "articles")[0] == before
    assert cli.json("staff", "list")[0]["name"] == "Mei"
    assert cli("restore", file, code=1)[1].count("\n") == 1
    assert cli("restore", str(tmp_path / "none"), code=1)[1].count("\n") == 1
    assert cli("restore", cli.file("junk", "no backup"), code=1)[1].count("\n") == 1


def test_the_slack_manifest_holds_every_command_and_needs_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WELLHEARD_CONFIG", raising=False)
    assert main(["slack-manifest"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    slash = {c["command"]: c for c in manifest["features"]["slash_commands"]}
    assert set(slash) == {f"/{name}" for name in commands.everything()}
    assert slash["/help"]["description"] == commands.descriptions()["en"]["help"]
    assert manifest["settings"]["socket_mode_enabled"] is True


def test_the_slack_manifest_follows_the_configuration(cli: Cli) -> None:
    cli.config.write_text(
        '[http]\npublic_url = "https://desk.example"\n[desk]\nname = "Harbour"\nlanguages = ["zh"]\n'
        '[channels.slack]\nkind = "slack"\nbot_token = "xoxb-1"\nsigning_secret = "s"'
    )
    manifest = json.loads(cli("slack-manifest")[0])
    assert manifest["display_information"]["name"] == "Harbour"
    assert manifest["settings"]["socket_mode_enabled"] is False
    command = manifest["features"]["slash_commands"][0]
    assert command["url"] == "https://desk.example/slack/events"
    assert command["description"] in commands.descriptions()["zh"].values()
    cli.config.write_text('[channels.slack]\nkind = "slack"\nbot_token = "xoxb-1"\nsigning_secret = "s"')
    assert "public_url" in cli("slack-manifest", code=1)[1]


def test_the_doctor_is_content_with_a_whole_store(cli: Cli) -> None:
    out, _ = cli("doctor")
    assert "✓ store" in out
    assert "✓ clock" in out
    assert "! channels: none is configured" in out


def test_the_doctor_says_what_fails_and_what_to_do(cli: Cli) -> None:
    cli.config.write_text(
        cli.config.read_text()
        + '[channels.telegram]\nkind = "telegram"\ntoken = "1:a"\napi_base = "http://127.0.0.1:1"\n'
        + '[channels.support]\nkind = "email"\naddress = "a@b.example"\nsmtp_send = "smtp://127.0.0.1:1"\n'
    )
    out, _ = cli("doctor", code=1)
    failed = [line for line in out.splitlines() if line.startswith("✗")]
    assert any("telegram:" in line for line in failed), out
    assert any("support:" in line for line in failed), out
    assert "    → " in out


async def test_the_doctor_names_the_missing_slack_scope(tmp_path: Path) -> None:
    from bot.config import parse
    from bot.doctor import examine
    from tests.world import settings

    async with FakeSlack() as slack:
        text = settings(sqlite_url(tmp_path), slack=slack, web=False)
        config = parse(text, path=tmp_path / "wellheard.toml", environ={})
        found = {c.what: c for c in await examine(config)}
        assert {c.state for c in found.values()} <= {"ok", "warn"}, found
        slack.scopes.remove("reactions:write")
        found = {c.what: c for c in await examine(config)}
        check = found["slack: scope reactions:write"]
        assert check.state == "fail"
        assert "reactions:write" in check.fix
        slack.token_valid = False
        found = {c.what: c for c in await examine(config)}
        assert found["slack: bot_token"].state == "fail"


# --- people -------------------------------------------------------------------------------------------------


def test_people_are_added_listed_disabled_and_enabled(cli: Cli) -> None:
    out, err = cli("staff", "add", "Mei Lin", "--role", "manager", "--lang", "zh")
    assert out == ""
    assert "Mei Lin" in err
    cli("staff", "add", "Tom", "--role", "agent")
    assert [(p["name"], p["role"], p["language"]) for p in cli.json("staff", "list")] == [
        ("Mei Lin", "manager", "zh"),
        ("Tom", "agent", None),
    ]
    cli("staff", "disable", "tom")
    assert "Tom\tagent (disabled)" in cli("staff", "list")[0]
    assert "disabled" in cli("staff", "code", "Tom", code=1)[1]
    cli("staff", "enable", "Tom")
    assert "disabled" not in cli("staff", "list")[0]
    assert {a for _, a, _, _ in cli.audits()} == {"staff_add", "staff_disable", "staff_enable"}


@pytest.mark.parametrize(
    "words",
    [
        ["add", "Mei", "--role", "king"],
        ["add", "MEI", "--role", "agent"],
        ["add", " ", "--role", "agent"],
        ["add", "Li", "--role", "agent", "--lang", "tlh"],
        ["code", "Nobody"],
        ["disable", "Nobody"],
        ["enable", "Nobody"],
    ],
)
def test_what_cannot_be_done_to_people_is_one_sentence(cli: Cli, words: list[str]) -> None:
    cli("staff", "add", "Mei", "--role", "agent")
    out, err = cli("staff", *words, code=1)
    assert out == ""
    assert err.startswith("wellheard: ")
    assert err.count("\n") == 1


def test_a_code_is_the_last_word_of_stdout_and_links_a_person(cli: Cli) -> None:
    cli("staff", "add", "Mei", "--role", "manager")
    out, err = cli("staff", "code", "Mei")
    code = out.split()[-1]
    assert people.looks_like_code(code)
    assert code not in err
    row = cli.store(people.redeem, datetime.now(UTC), code, "slack", "T1:U1", "Mei")
    assert row.name == "Mei"
    assert cli.json("staff", "list")[0]["identities"] == [{"channel": "slack", "user_id": "T1:U1"}]


# --- in and out ---------------------------------------------------------------------------------------------

CUSTOMERS = """name,email,phone
Li Wei,li@example.com,+44 7700 900123
Broken,not an address,
,,
Ann,ann@example.com,
"""


def test_broken_rows_are_named_by_line_and_the_rest_is_imported(cli: Cli) -> None:
    file = cli.file("c.csv", CUSTOMERS)
    out, err = cli("import", "customers", file)
    assert out.startswith("2 new")
    assert "line 3: " in err
    assert "not an address" in err
    assert "line 1:" not in err
    assert "line 2:" not in err
    assert "line 5:" not in err
    exported = cli("export", "customers")[0]
    assert "li@example.com" in exported
    assert "ann@example.com" in exported
    only = cli("export", "customers", "--where", "email:ann")[0]
    assert ("ann@example.com" in only, "li@example.com" in only) == (True, False)
    assert cli("import", "customers", file)[0].startswith("0 new, 0 updated, 2 unchanged")


def test_a_dry_run_changes_nothing(cli: Cli) -> None:
    file = cli.file("c.csv", CUSTOMERS)
    assert cli("import", "customers", file, "--dry-run")[0].startswith("2 would be new")
    assert cli("export", "customers")[0].count("\n") == 1
    report = cli.json("import", "customers", file, "--dry-run")
    assert report["new"] == 2
    assert report["rejected"][0]["line"] == 3


def test_a_file_of_which_nothing_could_be_read_is_a_failure(cli: Cli) -> None:
    assert (
        "line 2" in cli("import", "customers", cli.file("c.csv", "name,email\nX,not an address\n"), code=1)[1]
    )


@pytest.mark.parametrize("name", ["c.csv", "c.json"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00junk", b"\x00\x01\x02", b"[{]"])
def test_a_file_that_is_no_table_is_refused_without_a_traceback(
    cli: Cli, name: str, content: bytes | None
) -> None:
    path = str(cli.directory / "none") if content is None else cli.file(name, content)
    got = main(["import", "customers", path, "--config", str(cli.config)])
    out, err = cli.heard()
    assert got == 1 or "no rows" in err
    assert out in ("", "0 new, 0 updated, 0 unchanged\n")
    assert "Traceback" not in err


def test_what_is_exported_can_be_imported(cli: Cli, tmp_path: Path) -> None:
    cli("import", "customers", cli.file("c.csv", CUSTOMERS))
    cli("import", "orders", cli.file("o.csv", "number,date,email,status,total,currency\n"
                                     "A-1001,2026-02-01,li@example.com,shipped,19.90,EUR\n"))  # fmt: skip
    cli("import", "articles", str(ARTICLES))
    for what in ("customers", "orders", "articles"):
        for form in ("csv", "json"):
            text = cli("export", what, "--format", form)[0]
            out, _ = cli("import", what, cli.file(f"{what}.{form}", text))
            assert out.startswith("0 new, 0 updated"), (what, form, out)
    for what in ("tickets", "messages"):
        assert cli("export", what)[0].count("\n") == 1
        assert json.loads(cli("export", what, "--format", "json")[0]) == []


# --- looking ------------------------------------------------------------------------------------------------

ASK_KEYS = {"answer", "kind", "confidence", "article_id", "intent", "choices", "language", "why"}


def test_ask_says_what_the_bot_would_answer_and_why(cli: Cli) -> None:
    assert cli.json("ask", "How long does delivery take?")["kind"] == "handover"
    cli("import", "articles", str(ARTICLES))
    found = cli.json("ask", "How long does delivery take?")
    assert set(found) == ASK_KEYS
    assert found["kind"] == "answer"
    assert "working day" in found["answer"]
    assert found["confidence"] > 0.9
    assert found["article_id"] > 0
    assert found["language"] == "en"
    assert found["why"]
    chinese = cli.json("ask", "多久能送到？")
    assert (chinese["kind"], chinese["language"]) == ("answer", "zh")
    assert cli.json("ask", "delivery", "--lang", "zh")["language"] in ("en", "zh")
    angry = cli.json("ask", "This is outrageous, I want to complain about your service!")
    assert angry["kind"] == "handover"
    assert angry["intent"] == "complaint"
    assert "Example Ltd" in cli.json("ask", "Hello!")["answer"]
    for text in ("where is my order?", "where is my order A-1001?"):
        found = cli.json("ask", text)
        assert found["kind"] == "form"
        assert found["answer"]
    for text in ("", "👍", "\0", "x" * 100_000):
        found = cli.json("ask", text)
        assert set(found) == ASK_KEYS
        assert found["kind"] in ("answer", "choices", "handover", "form")
    cli.config.write_text(cli.config.read_text() + "[answers]\nenabled = false")
    assert "answers.enabled" in cli("ask", "hello", code=1)[1]
    cli.config.write_text(cli.config.read_text().replace("enabled = false", ""))
    out, err = cli("ask", "How long does delivery take?")
    assert "working day" in out
    assert "confidence" in err


def test_a_command_is_run_as_a_person(cli: Cli) -> None:
    cli("staff", "add", "Vera", "--role", "viewer")
    assert "Vera" in cli("command", "/whoami", "--as", "vera")[0]
    assert "Vera" in cli("command", "whoami", "--as", "Vera")[0]
    found = cli.json("command", "!whoami", "--as", "Vera")
    assert set(found) == {"text", "blocks"}
    assert "viewer" in found["text"]


def test_refusals_of_commands_are_1_and_audited(cli: Cli) -> None:
    cli("staff", "add", "Vera", "--role", "viewer")
    assert "viewer" in cli("command", "/ticket 1 close", "--as", "Vera", code=1)[0]
    assert cli.audits()[0] == ("staff:1", "command", "ticket", "refused")
    assert "/stats" in cli("command", "/stat", "--as", "Vera", code=1)[0]
    assert cli.audits()[0] == ("staff:1", "command", "stat", "unknown")
    assert "Nobody found" in cli("command", "/customer xyzzy", "--as", "Vera", code=1)[0]
    cli("command", "/help", "--as", "Nobody", code=1)
    cli("staff", "disable", "Vera")
    out, err = cli("command", "/help", "--as", "Vera", code=1)
    assert out == ""
    assert "active staff" in err


EMAIL_KEYS = {
    "message_id", "in_reply_to", "references", "subject", "from", "to", "cc", "reply_to", "date", "text", "reply",
    "html_sanitized", "attachments", "auto_submitted", "feedback_report", "bounce", "language",
}  # fmt: skip
MAIL = b"""From: Li Wei <li@example.com>
To: support@desk.example
Subject: =?utf-8?b?5L2g5aW9?=
Message-ID: <1@example.com>
Date: Mon, 02 Mar 2026 10:00:00 +0000

Where is it?

On Monday you wrote:
> soon
"""


def test_several_mails_are_one_document_a_line_in_order(cli: Cli) -> None:
    files = [cli.file("a.eml", MAIL), cli.file("b.eml", b"\x00\xff\xed\xa0\x80junk"), cli.file("c.eml", b"")]
    begun = time.monotonic()
    out, _ = cli("email", "parse", *files, "--json")
    assert time.monotonic() - begun < 6
    found = [json.loads(line) for line in out.splitlines()]
    assert len(found) == 3
    for one in found:
        assert set(one) >= EMAIL_KEYS
    assert found[0]["message_id"] == "1@example.com"
    assert found[0]["subject"] == "你好"
    assert found[0]["from"] == {"name": "Li Wei", "address": "li@example.com"}
    assert found[0]["reply"].strip() == "Where is it?"
    assert "soon" in found[0]["text"]


def test_a_mail_file_that_cannot_be_read_is_named_and_the_others_are_parsed(cli: Cli) -> None:
    out, err = cli(
        "email", "parse", str(cli.directory / "none.eml"), cli.file("a.eml", MAIL), "--json", code=1
    )
    assert "none.eml" in err
    assert json.loads(out)["message_id"] == "1@example.com"


def test_a_mail_is_shown_to_people_too(cli: Cli) -> None:
    out, _ = cli("email", "parse", cli.file("a.eml", MAIL))
    assert "Li Wei" in out
    assert "Where is it?" in out


def test_lone_surrogates_in_a_mail_do_not_break_the_output(cli: Cli) -> None:
    body = (
        b"From: a@b.c\nContent-Type: text/plain; charset=utf-16-le\nSubject: \xed\xa0\x80 x\n\n\x00\xd8A\x00"
    )
    path = cli.file("s.eml", body)
    command = [sys.executable, "-m", "bot", "email", "parse", path, "--json"]
    done = subprocess.run(
        command, capture_output=True, cwd=ROOT, env=os.environ | {"LC_ALL": "C"}, check=False
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


TICKET_KEYS = {"number", "status", "kind", "priority", "assignee", "customer", "messages"}
MESSAGE_KEYS = {"id", "kind", "channel", "event_id", "external_id", "author", "text", "at", "delivery"}


async def test_dump_has_the_keys_of_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running(tmp_path, telegram=True, web=False) as world:
        assert world.telegram
        world.telegram.user_says(7001, "I want to talk to a person about my broken parcel", name="Li Wei")
        await world.until(lambda d: d["tickets"] and d["outbox"]["pending"] == 0)
        url = world.config.store.url
    config = tmp_path / "wellheard.toml"
    config.write_text(f'[store]\nurl = "{url}"')
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["dump", "--json", "--config", str(config)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"tickets", "inbox", "outbox", "integrity"}
    assert set(found["inbox"]) == {"pending", "shelved"}
    assert set(found["outbox"]) == {"pending", "sent", "unknown", "dead"}
    assert found["integrity"] == "ok"
    (ticket,) = found["tickets"]
    assert set(ticket) >= TICKET_KEYS
    assert set(ticket["customer"]) == {"id", "name", "identities"}
    assert ticket["customer"]["identities"] == [{"channel": "telegram", "user_id": "7001"}]
    for message in ticket["messages"]:
        assert set(message) == MESSAGE_KEYS
    first, notice = ticket["messages"][:2]
    assert (first["kind"], first["delivery"]) == ("in", None)
    assert first["event_id"].startswith("7001:")
    assert (notice["kind"], notice["delivery"]) == ("out", "sent")
    assert notice["external_id"].startswith("7001:")
    assert await asyncio.to_thread(main, ["dump", "--config", str(config)]) == 0
    assert "#1" in capsys.readouterr().out


# --- shelf --------------------------------------------------------------------------------------------------


def _shelve(tx: Any) -> tuple[int, int]:
    raw = inbox.Accepted("tg", "u:1", "7", b'{"odd": 1}', NOW, 0.0)
    inbox.accept(tx, [raw], [], NOW)
    (lane,) = inbox.claim(tx, NOW, lanes=5, lease_s=60, busy=[])
    inbox.failed(tx, lane[0], "ValueError: odd", retry_at=None, now=NOW)
    order = outbox.Order("tg", "7", "", "to:tg:7", "send", "reply", rich.dump(rich.Reply.of("hello")), NOW)
    out = outbox.put(tx, order, NOW)
    tx.execute(schema.outbox.update().where(schema.outbox.c.id == out).values(state="dead", error="blocked"))
    return lane[0].id, out


def test_the_shelf_is_listed_shown_retried_and_discarded(cli: Cli) -> None:
    assert cli.json("shelf", "list") == []
    assert "empty" in cli("shelf", "list")[1]
    first, second = cli.store(_shelve)
    rows = cli.json("shelf", "list")
    assert [r["id"] for r in rows] == [f"in:{first}", f"out:{second}"]
    assert set(rows[0]) == {"id", "channel", "event_id", "at", "attempts", "reason"}
    assert rows[0]["reason"] == "ValueError: odd"
    assert f"in:{first}" in cli("shelf", "list")[0]
    shown = cli("shelf", "show", f"in:{first}")[0]
    assert '{"odd": 1}' in shown
    assert "ValueError" in shown
    assert "blocked" in cli("shelf", "show", f"out:{second}")[0]
    assert cli("shelf", "retry", f"in:{first}")[0] == ""
    assert cli.json("dump")["inbox"] == {"pending": 1, "shelved": 0}
    cli("shelf", "retry", f"in:{first}", code=1)
    cli("shelf", "discard", f"out:{second}")
    assert cli.json("dump")["outbox"]["dead"] == 0
    assert cli.json("shelf", "list") == []
    for wrong in ("7", "in:999", "sideways:1", "in:x", "in:²", "out:" + "9" * 40):
        out, err = cli("shelf", "show", wrong, code=1)
        assert (out, err.count("\n")) == ("", 1)


# --- answers ------------------------------------------------------------------------------------------------


def test_training_reports_what_held_out_questions_were_answered(cli: Cli) -> None:
    assert "no articles" in cli("train", code=1)[1]
    cli("import", "articles", str(ARTICLES))
    plain = cli.json("train")
    assert plain["languages"].keys() == {"en", "zh"}
    assert "accuracy" not in plain["languages"]["en"]
    report = cli.json("train", "--report")
    for one in report["languages"].values():
        assert one["asked"] >= 40
        assert one["accuracy"] > 0.6
        assert 0.1 < one["coverage"] < 1
        assert one["error_rate"] < 0.15
        assert one["false_answers"] < 0.3
    out, _ = cli("train", "--report")
    assert "error_rate" in out


async def test_a_running_service_learns_articles_that_are_imported(tmp_path: Path) -> None:
    from crm_store import importer
    from crm_store.importing.values import Defaults

    async with running(tmp_path, articles=False) as world:
        office = world.service.office
        jobs = Jobs(world.store, office, world.service.clock)
        await jobs.tick()
        empty = office.index
        await jobs.tick()
        assert office.index is empty
        await importer.run(world.store, "articles", ARTICLES, Defaults(), NOW)
        await jobs.tick()
        assert office.index is not empty
        assert office.index is not None
        assert office.index.exact("How long does delivery take?", "en")


def test_roles_of_ones_own_and_several_teams_are_given_on_the_command_line(cli: Cli) -> None:
    _, err = cli("staff", "add", "Ida", "--role", "intern", code=1)
    assert "there is no role intern; roles are viewer, agent, sales, manager, admin" in err
    with cli.config.open("a") as config:
        config.write('[access.roles.intern]\nlike = "agent"\ntitle = "Intern"\n')
    cli("staff", "add", "Ida", "--role", "intern", "--team", "north, south，North")
    assert cli.json("staff", "list")[0]["team"] == "north, south"
    assert "role Intern" in cli("command", "/whoami", "--as", "Ida")[0]
    assert "Intern" in cli("command", "/merge C1 C2", "--as", "Ida", code=1)[0]
