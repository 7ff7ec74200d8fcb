"""init, run, doctor, migrate, backup, restore, slack-manifest: setting the service up and keeping it well."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import secrets
import sys
from importlib import resources
from pathlib import Path

from bot import i18n
from bot.cli import CommandFailed
from bot.cli.common import load, service_logs
from crm_store.db import StoreError


def init(arguments: argparse.Namespace) -> int:
    """Write a commented configuration; an existing one is never overwritten."""
    directory = Path(arguments.dir)
    path = directory / "wellheard.toml"
    text = resources.files("bot").joinpath("sample", "wellheard.toml").read_text("utf-8")
    text = text.replace('secret = ""', f'secret = "{secrets.token_hex(32)}"', 1)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise CommandFailed(f"{path} is there already; it is left as it is") from error
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error
    print(f"wrote {path}; connect a channel in it, then: wellheard doctor --config {path}", file=sys.stderr)
    return 0


def run(arguments: argparse.Namespace) -> int:
    from bot import app
    from channels.base import ConfigError

    config = load(arguments)
    service_logs()
    try:
        asyncio.run(app.run(config))
    except (ConfigError, StoreError) as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandFailed(f"{error.filename}: {error.strerror}") from error
    return 0


def migrate(arguments: argparse.Namespace) -> int:
    from crm_store import migrations

    config = load(arguments)
    try:
        migrations.upgrade(config.store_url)
    except (StoreError, OSError) as error:
        raise CommandFailed(str(error)) from error
    print(f"the schema is at {migrations.current(config.store_url)}", file=sys.stderr)
    return 0


def backup(arguments: argparse.Namespace) -> int:
    from crm_store.backup import backup as write

    config = load(arguments)
    try:
        write(config.store_url, Path(arguments.file))
    except (StoreError, OSError) as error:
        raise CommandFailed(str(error)) from error
    size = Path(arguments.file).stat().st_size
    print(f"wrote {arguments.file} ({size / 1e6:.1f} MB)", file=sys.stderr)
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Bring a backup back, and erase again whom it brought back; nothing where its key is not ours."""
    from bot.cli.privacy import erase_again
    from crm_store import backup, keyring
    from crm_store.engines import seal_of

    config, file = load(arguments), Path(arguments.file)
    try:
        told = backup.key_of(file)
        if told and (wrong := keyring.problem(told, seal_of(config.privacy.key))):
            raise CommandFailed(f"{file}: {wrong.replace('the store', 'the backup')}; nothing was restored")
        backup.restore(config.store_url, file)
    except (StoreError, OSError) as error:
        raise CommandFailed(str(error)) from error
    print("restored", file=sys.stderr)
    if config.privacy.key and not told:
        erase_again(config, key="")
        print("the backup was not sealed: run `wellheard seal` before anything else", file=sys.stderr)
    else:
        erase_again(config)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    from bot.doctor import examine

    config = load(arguments)
    failed = False
    for check in asyncio.run(examine(config)):
        sign = {"ok": "✓", "warn": "!", "fail": "✗"}[check.state]
        print(f"{sign} {check.what}" + (f": {check.detail}" if check.detail else ""))
        if check.fix and check.state != "ok":
            print(f"    → {check.fix}")
        failed = failed or check.state == "fail"
    return 1 if failed else 0


def slack_manifest(arguments: argparse.Namespace) -> int:
    """Print the manifest; what a configuration says (name, language, transport) is followed, none is needed."""
    from bot import commands

    name, language, public_url, socket_mode = "Wellheard", "en", "", True
    if arguments.config or os.environ.get("WELLHEARD_CONFIG") or Path("wellheard.toml").exists():
        config = load(arguments)
        name, public_url = config.desk.name, config.http.public_url
        language = i18n.pick(*config.desk.languages)
        slack = next((s for s in config.channels.values() if s.kind == "slack"), None)
        socket_mode = slack is None or bool(slack.model_dump()["app_token"])
        if not socket_mode and not public_url:
            raise CommandFailed(
                "without app_token Slack sends its events by HTTP: set http.public_url, or app_token"
            )
    manifest = importlib.import_module("channels.slack.manifest").manifest(
        commands.descriptions(),
        name=name,
        language=language,
        shortcuts=commands.shortcuts(language),
        socket_mode=socket_mode,
        public_url=public_url,
    )
    json.dump(manifest, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
    return 0
