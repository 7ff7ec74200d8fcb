"""key, seal, unseal, rekey: contact data under a key outside the store."""

from __future__ import annotations

import argparse
import os
import sys

from bot.cli import CommandFailed
from bot.cli.common import load
from bot.config import Config
from crm_store import migrations, sealing
from crm_store import rekey as keys
from crm_store.db import StoreError, seal_of
from crm_store.sealing import Seal


def key(arguments: argparse.Namespace) -> int:
    print(sealing.new_key())
    print(
        "keep it where the database and its backups are not, and a copy of it: without it they stay shut for good",
        file=sys.stderr,
    )
    return 0


def seal(arguments: argparse.Namespace) -> int:
    """Seal a store that is there already."""
    config = load(arguments)
    new = _configured(config)
    rows = _convert(config, None, new)
    print(
        f"{rows} rows are sealed; backups and copies made before are not: delete them when you have a new one",
        file=sys.stderr,
    )
    return 0


def unseal(arguments: argparse.Namespace) -> int:
    config = load(arguments)
    rows = _convert(config, _configured(config), None)
    print(f"{rows} rows are open; now take privacy.key out of the configuration", file=sys.stderr)
    return 0


def rekey(arguments: argparse.Namespace) -> int:
    config = load(arguments)
    name = arguments.new.removeprefix("env:")
    if name == arguments.new or not os.environ.get(name):
        raise CommandFailed("give the new key as env:NAME, a variable of the environment that is set")
    rows = _convert(config, _configured(config), _seal(os.environ[name], name))
    print(
        f"{rows} rows have the new key; now make it privacy.key. Backups made before open with the old one",
        file=sys.stderr,
    )
    return 0


def _configured(config: Config) -> Seal:
    if not config.privacy.key:
        raise CommandFailed(
            'privacy.key is not set: `wellheard key` prints one; then key = "env:WELLHEARD_KEY"'
        )
    return _seal(config.privacy.key, "privacy.key")


def _seal(key: str, name: str) -> Seal:
    try:
        sealing.read_key(key)
        made = seal_of(key)
    except sealing.BadKey as error:
        raise CommandFailed(f"{name} {error}") from error
    except StoreError as error:
        raise CommandFailed(str(error)) from error
    assert made is not None
    return made


def _convert(config: Config, old: Seal | None, new: Seal | None) -> int:
    def progress(rows: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{rows} rows", end="", file=sys.stderr, flush=True)

    try:
        migrations.upgrade(config.store_url)
        return keys.convert(config.store_url, old, new, progress)
    except (StoreError, OSError) as error:
        raise CommandFailed(str(error)) from error
    finally:
        if sys.stderr.isatty():
            print(file=sys.stderr)
