"""The far side of DNS: a zone in a dictionary, which counts questions and can fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from channels.email.dns_lookup import DnsFailure, RecordType


class FakeDns:
    """`zone` maps (name, type) to answers; names in `broken` give no answer at all."""

    def __init__(self, zone: Mapping[tuple[str, str], Sequence[str]], broken: Sequence[str] = ()) -> None:
        self.zone = {(name.lower(), kind): list(values) for (name, kind), values in zone.items()}
        self.broken = set(broken)
        self.asked: list[tuple[str, str]] = []

    def lookup(self, name: str, record: RecordType, timeout_s: float) -> Sequence[str]:
        assert name == name.lower()
        assert timeout_s > 0
        self.asked.append((name, record))
        if name in self.broken:
            raise DnsFailure("broken")
        return self.zone.get((name, record), [])
