"""What can be set for one mailbox: how mail comes in, how it goes out, and whom to believe."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from channels.settings import ChannelSettings

_ADDRESS = re.compile(r"[^\s@<>(),;:\\\"\x00-\x1f]+@[^\s@<>(),;:\\\"\x00-\x1f]+\Z")

RELAYS = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")


class Settings(ChannelSettings):
    """One `[channels.NAME]` table with `kind = "email"`."""

    address: str  # customers write here; replies come from here
    aliases: tuple[str, ...] = ()  # further addresses that are ours
    staff_addresses: tuple[str, ...] = ()  # a mail these people forward is its first sender's
    hostname: str = ""  # what we call ourselves in SMTP; "" is the machine's name
    # in: as an SMTP or LMTP server ("host:port", LMTP also "unix:/path")
    smtp_listen: str = ""
    lmtp_listen: str = ""
    tls_cert: str = ""  # PEM files for STARTTLS
    tls_key: str = ""
    max_size_mb: int = Field(default=35, ge=1, le=1024)
    max_connections: int = Field(default=500, ge=1)
    max_connections_per_peer: int = Field(default=50, ge=1)
    max_recipients: int = Field(default=100, ge=1)
    max_in_flight_mb: int = Field(default=128, ge=1)  # bytes of DATA held in memory at once
    data_timeout_s: float = Field(default=600.0, gt=0)  # a whole message, however large
    idle_timeout_s: float = Field(default=60.0, gt=0)
    # in: from a mailbox
    imap: str = ""  # "imaps://user@host", "imap://user@host" (STARTTLS, plain only on loopback)
    imap_password: str = ""
    imap_folder: str = "INBOX"
    imap_poll_s: float = Field(default=60.0, ge=0.05)  # also while IDLE: the net under it
    imap_first_days: int = Field(default=3, ge=-1)  # how far back the first start reads; -1 for everything
    # out
    smtp_send: str = ""  # "smtp://user@host:port", "smtps://…"
    smtp_password: str = ""
    smtp_starttls: Literal["auto", "always", "never"] = "auto"  # auto: where offered; needed for a password
    smtp_connections: int = Field(default=4, ge=1, le=50)
    send_timeout_s: float = Field(default=60.0, gt=0)
    ca_file: str = ""  # a private certificate authority, for SMTP and IMAP
    dkim_selector: str = ""
    dkim_key_file: str = ""
    dkim_domain: str = ""  # "" is the address's own domain
    # whom to believe
    authentication: Literal["evaluate", "trust", "none"] = "evaluate"
    trusted_authserv_id: str = ""  # with "trust": whose Authentication-Results count
    dns_servers: tuple[str, ...] = ()  # "ip" or "ip:port"; () is the system's
    relays: tuple[str, ...] = RELAYS  # our own mail servers in front: SPF says nothing about them

    @field_validator("address", "aliases", "staff_addresses")
    @classmethod
    def _addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            if not _ADDRESS.match(address) or len(address) > 254:
                raise ValueError(f"{address[:80]!r} is not an e-mail address")
        return value

    @field_validator("relays")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network, strict=False)  # its ValueError names the text
        return value

    @field_validator("smtp_send")
    @classmethod
    def _smtp_url(cls, value: str) -> str:
        return _checked_url(value, ("smtp", "smtps"))

    @field_validator("imap")
    @classmethod
    def _imap_url(cls, value: str) -> str:
        return _checked_url(value, ("imap", "imaps"))

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.authentication == "trust" and not self.trusted_authserv_id:
            raise ValueError('authentication = "trust" needs trusted_authserv_id')
        if bool(self.dkim_selector) != bool(self.dkim_key_file):
            raise ValueError("dkim_selector and dkim_key_file go together")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key go together")
        return self

    @property
    def ours(self) -> tuple[str, ...]:
        """All addresses that are ours, the main one first, lower-cased."""
        return tuple(dict.fromkeys(a.lower() for a in (self.address, *self.aliases)))


class Server:
    """A parsed server URL; `port` is the scheme's own where none is named."""

    __slots__ = ("host", "port", "scheme", "user")

    PORTS = {"smtp": 25, "smtps": 465, "imap": 143, "imaps": 993}  # noqa: RUF012

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.scheme = parts.scheme
        self.host = parts.hostname or ""
        self.port = parts.port or self.PORTS.get(parts.scheme, 0)
        self.user = unquote(parts.username or "")

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def _checked_url(value: str, schemes: tuple[str, ...]) -> str:
    if not value:
        return value
    try:
        server = Server(value)
    except ValueError as error:
        raise ValueError(f"not a server address: {error}") from error
    if server.scheme not in schemes or not server.host:
        raise ValueError(f"must look like {schemes[-1]}://user@host")
    if urlsplit(value).password:
        raise ValueError("the password has a key of its own: do not put it into the address")
    return value
