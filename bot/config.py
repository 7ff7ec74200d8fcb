"""The configuration: one TOML file, `env:NAME` for secrets, and an unknown key is an error that names its path."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bot import i18n
from bot.answers import decide
from bot.registry import everything
from bot.roles import ROLES
from channels.settings import ChannelSettings
from crm_store import retention, sealing
from crm_store.hours import BusinessHours
from crm_store.webhooks import EVENTS

KINDS = ("telegram", "slack", "email", "web", "console")
_STAGE = re.compile(r"[^\W_][\w-]{0,39}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")  # of a channel: it stands in URLs


class Problem(Exception):
    """The configuration cannot be used. The message is one sentence that names what is wrong."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(_Table):
    url: str = "sqlite:///wellheard.db"


class HttpSettings(_Table):
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    metrics: bool = True

    @field_validator("public_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
            raise ValueError("must begin with https:// or http://")
        return value


class AnswerSettings(decide.AnswerSettings):
    """When the bot answers by itself."""

    enabled: bool = True

    @field_validator("order_pattern")
    @classmethod
    def _pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class DeskSettings(_Table):
    name: str = "Wellheard"
    languages: tuple[str, ...] = ("en", "zh")
    business_hours: str = "Mon-Fri 09:00-18:00"
    timezone: str = "UTC"
    currency: str = Field(default="EUR", pattern=r"^[A-Za-z]{3}$")
    country: str = Field(
        default="", pattern=r"^([A-Za-z]{2})?$"
    )  # two letters: how phone numbers without a country are read
    secret: str = ""  # signs links and reply addresses; empty: generated and kept in the store
    ask_rating: bool = True
    show_file_mb: int = Field(default=20, ge=1)  # a larger file of a mail is kept, and staff get a link
    show_files: int = Field(default=10, ge=1)  # … and so are those beyond so many of one message

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone such as Europe/London") from error
        return value

    @field_validator("business_hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        try:
            BusinessHours.parse(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is not like Mon-Fri 09:00-18:00") from error
        return value

    @field_validator("languages")
    @classmethod
    def _languages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one language")
        for code in value:
            if code not in i18n.languages():
                raise ValueError(f"there are no words for {code!r}, only for {', '.join(i18n.languages())}")
        return value


class SlaSettings(_Table):
    """Business minutes within which a customer who waits is to be answered, by the ticket's priority; 0: no clock."""

    urgent_min: int = Field(default=60, ge=0)
    high_min: int = Field(default=240, ge=0)
    normal_min: int = Field(default=480, ge=0)
    low_min: int = Field(default=960, ge=0)
    soon_min: int = Field(default=30, ge=0)  # how long before it is due the card warns

    def minutes(self, priority: str) -> int:
        return int(getattr(self, f"{priority}_min"))


class LineSettings(_Table):
    """How the line retries. Times in seconds."""

    intake_attempts: int = Field(default=5, ge=1)
    lease_s: float = Field(default=60, gt=0)
    keep_raw_days: int = Field(default=30, ge=0)


class ApiSettings(_Table):
    """The API for other systems at /api/v1; without a token (wellheard token add) it answers nobody."""

    per_minute: int = Field(default=600, ge=1)  # requests of one token; a tenth of it at once


class RoleSettings(_Table):
    """What is different for a role: commands it may use besides, or may not; whose rows it sees; whether phones
    and addresses are masked for it (None: as is usual for the role). A role of one's own is `like` one of ours, with
    what is configured for that one, and may have a `title`."""

    like: Literal["", "viewer", "agent", "sales", "manager", "admin"] = ""
    title: str = Field(default="", max_length=40)
    rows: Literal["own", "team", "all"] | None = None
    mask: bool | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class AccessSettings(_Table):
    """Who may do what. `lookups`: how many customers' cards a person may open within `lookup_minutes`."""

    lookups: int = Field(default=60, ge=1)
    lookup_minutes: int = Field(default=10, ge=1)
    mask_rooms: bool = False  # phones and addresses also in what is posted for all staff to read
    roles: Mapping[str, RoleSettings] = {}


class DealSettings(_Table):
    """The stages of a sale in their order, and how many in a hundred of each end with one."""

    stages: Mapping[str, int] = {"lead": 10, "qualified": 25, "offer": 50, "negotiation": 75}

    @field_validator("stages")
    @classmethod
    def _stages(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        if not 1 <= len(value) <= 20:
            raise ValueError("name between one and twenty stages")
        for name, odds in value.items():
            if not _STAGE.fullmatch(name) or name.lower() in ("won", "lost"):
                raise ValueError(
                    f"{name!r} cannot be a stage: letters, digits, - and _; won and lost are there"
                )
            if not 0 <= odds <= 100:
                raise ValueError(f"{name}: {odds} is no percentage")
        return value


class PrivacySettings(_Table):
    """The key that seals contact data in the store; and where the list of the erased lies, which a restored backup
    is read against: a path from the file's own."""

    key: str = ""
    erased_list: str = ""

    @field_validator("key")
    @classmethod
    def _key(cls, value: str) -> str:
        if value:
            sealing.read_key(value)
        return value


class RetentionSettings(_Table):
    """How long what is kept: "24 months", "90 days"; "" for ever."""

    messages: str = ""
    files: str = ""
    raw: str = ""
    audit: str = ""
    events: str = ""
    api_requests: str = ""

    @field_validator("*")
    @classmethod
    def _period(cls, value: str) -> str:
        if value:
            retention.period(value)
        return value

    @property
    def rules(self) -> dict[str, retention.Period]:
        """What was configured: kind → period."""
        given = {kind: getattr(self, kind) for kind in retention.KINDS}
        return {kind: retention.period(text) for kind, text in given.items() if text}


class WebhookSettings(_Table):
    """Another system that is told what happens."""

    url: str = Field(pattern=r"^https?://[^\s/?#@]+[^\s#]*$")
    secret: str = Field(min_length=16)
    events: tuple[Literal[*EVENTS], ...] = Field(min_length=1)  # type: ignore[valid-type]
    timeout_s: float = Field(default=10, gt=0, le=60)
    first_retry_s: float = Field(default=5, gt=0)  # doubles up to three hours, for three days
    allow_private: bool = False  # an address inside our own network

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if self.url.startswith("http://") and not self.allow_private:
            raise ValueError("url must begin with https://; http:// only with allow_private = true")
        return self


class EventsSettings(_Table):
    """A broker that is told what webhooks are told; without a URL there is none."""

    url: str = ""
    topic: str = Field(default="wellheard.events", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    events: tuple[Literal[*EVENTS], ...] = EVENTS  # type: ignore[valid-type]
    timeout_s: float = Field(default=10, gt=0, le=60)
    first_retry_s: float = Field(default=5, gt=0)  # doubles up to three hours, for three days

    @field_validator("url")
    @classmethod
    def _broker(cls, value: str) -> str:
        if value and not re.match(r"(nats|tls|rediss?|amqps?|kafka)://[^\s]+$", value):
            raise ValueError("must begin with nats://, redis://, amqp:// or kafka://")
        return value


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that is configured. `base` is the file's directory: relative paths start there."""

    store: StoreSettings
    http: HttpSettings
    desk: DeskSettings
    sla: SlaSettings
    answers: AnswerSettings
    line: LineSettings
    api: ApiSettings
    access: AccessSettings
    deals: DealSettings
    events: EventsSettings
    privacy: PrivacySettings
    retention: RetentionSettings
    channels: Mapping[str, ChannelSettings]
    webhooks: tuple[WebhookSettings, ...]
    base: Path

    @property
    def store_url(self) -> str:
        """The store's URL with a relative SQLite path resolved against the configuration's directory."""
        prefix = "sqlite:///"
        url = self.store.url
        if url.startswith(prefix) and not url.startswith("sqlite:////"):
            return f"{prefix}{(self.base / url.removeprefix(prefix)).absolute()}"
        return url


_TABLES: dict[str, type[BaseModel]] = {
    "store": StoreSettings,
    "http": HttpSettings,
    "desk": DeskSettings,
    "sla": SlaSettings,
    "answers": AnswerSettings,
    "line": LineSettings,
    "api": ApiSettings,
    "access": AccessSettings,
    "deals": DealSettings,
    "events": EventsSettings,
    "privacy": PrivacySettings,
    "retention": RetentionSettings,
}
_OTHERS = ("channels", "webhooks")


def find(path: str | None) -> Path:
    """The configuration file: the given one, $WELLHEARD_CONFIG, or wellheard.toml here."""
    return Path(path or os.environ.get("WELLHEARD_CONFIG") or "wellheard.toml")


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a configuration file. Raise Problem."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise Problem(f"{path}: no such file; `wellheard init` writes one") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{path}: cannot be read: it is not UTF-8") from error
    except OSError as error:
        raise Problem(f"{path}: cannot be read: {error.strerror}") from error
    return parse(text, path=path, environ=environ)


def parse(
    text: str, *, path: Path = Path("wellheard.toml"), environ: Mapping[str, str] = os.environ
) -> Config:
    """Read the text of a configuration file. Raise Problem."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"{path}: {error}") from error
    for key in raw:
        if key not in _TABLES and key not in _OTHERS:
            raise Problem(f"{path}: {key}: unknown table{_nearest(key, (*_TABLES, *_OTHERS))}")
    if isinstance(raw.get("access"), dict):
        raw["access"] = raw["access"] | {"roles": _roles(path, raw["access"].get("roles", {}), environ)}
    tables = {name: _table(path, name, cls, raw.get(name, {}), environ) for name, cls in _TABLES.items()}
    channels: dict[str, ChannelSettings] = {}
    given = raw.get("channels", {})
    if not isinstance(given, dict):
        raise Problem(f"{path}: channels must be tables such as [channels.support]")
    for name, settings in given.items():
        where = f"channels.{name}"
        if not _NAME.fullmatch(name):
            raise Problem(f"{path}: {where}: a channel's name is made of letters, digits, - and _")
        kind = settings.get("kind") if isinstance(settings, dict) else None
        if kind not in KINDS:
            raise Problem(f"{path}: {where}.kind must be one of {', '.join(KINDS)}")
        cls = importlib.import_module(f"channels.{kind}.settings").Settings
        channels[name] = _table(path, where, cls, settings, environ)
    webhooks = _webhooks(path, raw.get("webhooks", []), environ)
    return Config(channels=channels, webhooks=webhooks, base=path.parent.absolute(), **tables)


def _roles(path: Path, given: Any, environ: Mapping[str, str]) -> dict[str, RoleSettings]:
    if not isinstance(given, dict):
        raise Problem(f"{path}: access.roles must be tables such as [access.roles.sales]")
    found = {}
    for name, settings in given.items():
        where = f"access.roles.{name}"
        like = settings.get("like") if isinstance(settings, dict) else None
        if name not in ROLES and not like:
            own = 'a role of your own says which one it is like: like = "agent"'
            raise Problem(f"{path}: {where}: there is no such role{_nearest(name, ROLES)}; {own}")
        if name in ROLES and like:
            raise Problem(f"{path}: {where}.like: {name} is one of ours; like is for a role of your own")
        if not _NAME.fullmatch(name):
            raise Problem(f"{path}: {where}: a role's name is made of letters, digits, - and _")
        found[name] = _table(path, where, RoleSettings, settings, environ)
        for key in ("allow", "deny"):
            _commands_exist(path, f"{where}.{key}", getattr(found[name], key))
    return found


def _commands_exist(path: Path, where: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in everything():
            raise Problem(f"{path}: {where}: there is no command {name}{_nearest(name, everything())}")


def _webhooks(path: Path, given: Any, environ: Mapping[str, str]) -> tuple[WebhookSettings, ...]:
    if not isinstance(given, list):
        raise Problem(f"{path}: webhooks must be tables such as [[webhooks]]")
    found = tuple(
        _table(path, f"webhooks.{number}", WebhookSettings, one, environ)
        for number, one in enumerate(given, 1)
    )
    urls = [one.url for one in found]
    if twice := next((url for url in urls if urls.count(url) > 1), None):
        raise Problem(f"{path}: webhooks: {twice} is there twice; give one all its events")
    return found


def _table(path: Path, where: str, cls: type[Any], given: Any, environ: Mapping[str, str]) -> Any:
    try:
        return cls(**_resolved(path, where, given, environ))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join([where, *(str(part) for part in first["loc"])])
        what = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            what = "unknown key" + _nearest(str(first["loc"][-1]), cls.model_fields)
        raise Problem(f"{path}: {key}: {what}") from error


def _nearest(key: str, known: Iterable[str]) -> str:
    best = difflib.get_close_matches(key, list(known), 1)
    return f"; did you mean {best[0]}?" if best else ""


def _resolved(path: Path, where: str, given: Any, environ: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Problem(f"{path}: {where} must be a table")
    out: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, str) and value.startswith("env:"):
            name = value.removeprefix("env:")
            if not environ.get(name):
                raise Problem(f"{path}: {where}.{key}: the environment variable {name} is not set")
            value = environ[name]
        out[key] = tuple(value) if isinstance(value, list) else value
    return out
