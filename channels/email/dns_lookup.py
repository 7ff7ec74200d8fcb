"""DNS as the authenticity checks need it: a few record types, counted, bounded and injectable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

RecordType = Literal["TXT", "A", "AAAA", "MX", "PTR"]
LOOKUPS_PER_MAIL = 80  # SPF 10 terms with up to 10 hosts each are the largest honest user
QUERY_S = 4.0


class DnsFailure(Exception):
    """No answer now; another time perhaps."""


class Resolver(Protocol):
    """Answers a question: TXT strings joined, addresses, host names by preference; [] when there is none."""

    def lookup(self, name: str, record: RecordType, timeout_s: float) -> Sequence[str]:
        """Raise DnsFailure when no answer can be had."""


class DnsPython:
    """The system's resolver, or the servers named ("ip" or "ip:port")."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        import dns.nameserver
        import dns.resolver

        try:
            self._resolver = dns.resolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration:
            self._resolver = dns.resolver.Resolver(configure=False)
        if servers:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*_endpoint(s)) for s in servers]
        self._resolver.cache = dns.resolver.LRUCache(20_000)

    def lookup(self, name: str, record: RecordType, timeout_s: float) -> Sequence[str]:
        import dns.exception
        import dns.resolver

        try:
            answer = self._resolver.resolve(
                name.rstrip(".") + ".", record, lifetime=timeout_s, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return ()
        except (dns.exception.DNSException, OSError, ValueError, UnicodeError) as error:
            if isinstance(error, dns.exception.Timeout | dns.resolver.NoNameservers | OSError):
                raise DnsFailure(type(error).__name__) from error
            return ()  # not a name that DNS could know
        if answer.rrset is None:
            return ()
        match record:
            case "TXT":
                return [b"".join(r.strings).decode("latin-1") for r in answer.rrset]
            case "MX":
                ordered = sorted(answer.rrset, key=lambda r: r.preference)
                return [r.exchange.to_text(omit_final_dot=True) for r in ordered]
            case "PTR":
                return [r.target.to_text(omit_final_dot=True) for r in answer.rrset]
            case _:
                return [r.address for r in answer.rrset]


class Lookups:
    """The questions of one mail: each asked once, all within a deadline and a number."""

    def __init__(
        self, resolver: Resolver, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._ends = clock() + seconds
        self._known: dict[tuple[str, RecordType], Sequence[str]] = {}
        self._left = LOOKUPS_PER_MAIL

    def __call__(self, name: str, record: RecordType) -> Sequence[str]:
        """Ask. Raise DnsFailure when there is no answer, or no time or turn left for the question."""
        name = name.lower().rstrip(".")
        if not is_name(name):
            return ()
        key = (name, record)
        if key not in self._known:
            remaining = self._ends - self._clock()
            if remaining <= 0 or self._left <= 0:
                raise DnsFailure("out of time" if remaining <= 0 else "too many questions")
            self._left -= 1
            self._known[key] = self._resolver.lookup(name, record, min(QUERY_S, remaining))
        return self._known[key]


def is_name(name: str) -> bool:
    """Whether a name fits into DNS."""
    return (
        0 < len(name) <= 253
        and name.isascii()
        and name.isprintable()
        and all(0 < len(label) < 64 for label in name.split("."))
    )


def _endpoint(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(port)
    return server.strip("[]"), 53
