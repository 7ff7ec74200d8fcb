"""What docs/api.md shows works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.api.routes import SCOPES
from bot.config import parse
from bot.webhooks import SIGNATURE, sign
from crm_store import webhooks
from tests.api.kit import served
from tests.stores import sqlite_url

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")


def block(language: str, containing: str) -> str:
    found = [b for b in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if containing in b]
    assert len(found) == 1
    return str(found[0])


def test_the_signature_is_verified_by_the_lines_that_are_shown() -> None:
    scope: dict[str, Any] = {}
    exec(block("python", "def verify"), scope)
    body, now = b'{"id": "x"}', int(time.time())
    assert scope["verify"]("secret", sign("secret", body, now), body)
    assert not scope["verify"]("secret", sign("secret", body, now), body + b" ")
    assert not scope["verify"]("other", sign("secret", body, now), body)
    assert not scope["verify"]("secret", sign("secret", body, now - 3600), body)
    assert SIGNATURE in PAGE


async def test_the_call_that_is_shown_writes_an_order(tmp_path: Path) -> None:
    words = shlex.split(block("sh", "curl").replace("\\\n", " "))
    path = words[1].split("/api/v1")[1]
    body = json.loads(words[words.index("-d") + 1])
    async with served(tmp_path) as (_, caller):
        got = await caller.ask(words[words.index("-X") + 1], path, body)
        assert got.status == 201, got
        assert got.body["lines"][0]["quantity"] == 2


def test_the_tokens_that_are_shown_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wellheard.toml").write_text(f'[store]\nurl = "{sqlite_url(tmp_path)}"')
    monkeypatch.chdir(tmp_path)
    main(["staff", "add", "Mei", "--role", "manager"])
    capsys.readouterr()
    add, listing, revoke = [shlex.split(line)[1:] for line in block("sh", "token add").strip().splitlines()]
    assert main(add) == 0
    assert capsys.readouterr().out.startswith("whl_")
    assert main(add) == 1
    assert "already" in capsys.readouterr().err
    assert main([*add[:2], "x", *add[3:]]) == 0
    assert main(listing) == 0
    assert "shop\tas Mei\tcustomers:read, events:write, orders:write" in capsys.readouterr().out
    assert main(revoke) == 0
    assert main(revoke) == 1
    main([*listing, "--json"])
    assert [one["revoked"] for one in json.loads(capsys.readouterr().out)] == [True, False]
    assert main(["token", "add", "y", "--scopes", "customers:eat", "--as", "Mei"]) == 1
    assert main(["token", "add", "y", "--scopes", "customers:read", "--as", "Nobody"]) == 1


def test_the_configuration_that_is_shown_loads() -> None:
    text = block("toml", "[[webhooks]]")
    assert parse(text, environ={"WEBHOOK_SECRET": "s" * 16}).webhooks[0].events == tuple(
        tomllib.loads(text)["webhooks"][0]["events"]
    )


def test_all_scopes_and_events_are_named() -> None:
    for event in webhooks.EVENTS:
        assert f"`{event}`" in PAGE
    for scope in SCOPES:
        assert f"`{scope.split(':')[0]}`" in PAGE or f"`{scope}`" in PAGE
