"""SPF (RFC 7208): may this host send mail for that domain?"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from channels.email.dns_lookup import DnsFailure, Lookups, is_name

Result = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]
TERM_LIMIT = 10  # RFC 7208, 4.6.4: terms that ask DNS
VOID_LIMIT = 2  # of them without an answer
HOST_LIMIT = 10  # names of one mx or ptr
_QUALIFIERS: dict[str, Result] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(\S*)\Z")
_CIDR = re.compile(r"(?:/(\d{1,2}))?(?://(\d{1,3}))?\Z")
_MACRO = re.compile(r"%(?:([%_-])|\{([slodiphcrtvSLODIPHCRTV])(\d{0,3})(r?)([.\-+,/_=]*)\}|(.?))")


class _Permanent(Exception):
    pass


@dataclass(slots=True)
class _Check:
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    sender: str
    helo: str
    ask: Lookups
    terms: int = 0
    voids: int = 0
    wide: bool = False  # the match was by "all" or a giant network: it attests nobody
    records: dict[str, str | None] = field(default_factory=dict)


def check(peer: str, mail_from: str, helo: str, ask: Lookups) -> tuple[Result, str, bool]:
    """Return the result, the domain it is about, and whether the match attests anybody (not "+all").

    With the null sender the HELO name is checked.
    """
    try:
        ip = ipaddress.ip_address(peer)
    except ValueError:
        return "none", "", False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    sender = mail_from or f"postmaster@{helo}"
    local, _, domain = sender.rpartition("@")
    domain = domain.lower().rstrip(".")
    if not is_name(domain) or "." not in domain:
        return "none", domain, False
    job = _Check(ip, f"{local or 'postmaster'}@{domain}", helo, ask)
    try:
        result = _domain(job, domain, 0)
    except DnsFailure:
        return "temperror", domain, False
    except _Permanent:
        return "permerror", domain, False
    return result, domain, result == "pass" and not job.wide


def _domain(job: _Check, domain: str, depth: int) -> Result:
    if depth > TERM_LIMIT:
        raise _Permanent
    record = _record(job, domain)
    if record is None:
        return "none"
    terms, redirect = _parse(record)
    for qualifier, name, argument, cidr in terms:
        if _matches(job, domain, name, argument, cidr, depth):
            if name == "all" and qualifier == "+":
                job.wide = True
            return _QUALIFIERS[qualifier]
    if redirect is None:
        return "neutral"
    _spend(job)
    result = _domain(job, _expand(job, redirect, domain), depth + 1)
    if result == "none":
        raise _Permanent
    return result


def _record(job: _Check, domain: str) -> str | None:
    found = [t for t in job.ask(domain, "TXT") if t.lower() == "v=spf1" or t.lower().startswith("v=spf1 ")]
    if len(found) > 1:
        raise _Permanent
    return found[0] if found else None


def _parse(record: str) -> tuple[list[tuple[str, str, str, str]], str | None]:
    """All terms are looked at before any is used: a mistake anywhere is permanent (4.6)."""
    terms: list[tuple[str, str, str, str]] = []
    redirect: str | None = None
    for word in record.split(" ")[1:]:
        if not word:
            continue
        modifier = _MODIFIER.match(word)
        if modifier:
            if modifier[1].lower() == "redirect":
                if redirect is not None or not modifier[2]:
                    raise _Permanent
                redirect = modifier[2]
            continue
        terms.append(_term(word))
    if any(name == "all" for _, name, _, _ in terms):
        redirect = None
    return terms, redirect


def _term(word: str) -> tuple[str, str, str, str]:
    body = word[1:] if word[:1] in "+-~?" else word
    qualifier = word[0] if word[:1] in "+-~?" else "+"
    name, colon, rest = body.partition(":")
    if not colon:
        name, slash, tail = body.partition("/")
        argument, cidr = "", slash + tail
    elif name.lower() in ("ip4", "ip6"):
        argument, cidr = rest, ""
    else:
        # a domain may hold "/" only as a macro delimiter; the prefix length stands at the very end
        found = re.search(r"(/\d{1,3})?(//\d{1,3})?\Z", rest)
        cidr = found[0] if found else ""
        argument = rest[: len(rest) - len(cidr)]
    name = name.lower()
    if name in ("all",):
        good = not argument and not cidr and not colon
    elif name in ("include", "exists"):
        good = bool(argument) and not cidr
    elif name in ("a", "mx"):
        good = bool(_CIDR.match(cidr)) and (bool(argument) or not colon)
    elif name == "ptr":
        good = not cidr
    elif name in ("ip4", "ip6"):
        good = _network(name, argument) is not None
    else:
        good = False
    if not good:
        raise _Permanent
    return qualifier, name, argument, cidr


def _matches(job: _Check, domain: str, name: str, argument: str, cidr: str, depth: int) -> bool:
    match name:
        case "all":
            return True
        case "ip4" | "ip6":
            network = _network(name, argument)
            if network is None or network.version != job.ip.version or job.ip not in network:
                return False
            job.wide = job.wide or network.prefixlen < (8 if network.version == 4 else 16)
            return True
        case "include":
            _spend(job)
            match _domain(job, _expand(job, argument, domain), depth + 1):
                case "pass":
                    return True
                case "none":
                    raise _Permanent
                case _:
                    return False
        case "a":
            _spend(job)
            return _on_network(job, [_expand(job, argument, domain) if argument else domain], cidr)
        case "mx":
            _spend(job)
            hosts = _ask(job, _expand(job, argument, domain) if argument else domain, "MX")
            if len(hosts) > HOST_LIMIT:
                raise _Permanent
            return _on_network(job, [h for h in hosts if h], cidr, counted=False)
        case "exists":
            _spend(job)
            return bool(_ask(job, _expand(job, argument, domain), "A"))
        case "ptr":
            _spend(job)
            target = (_expand(job, argument, domain) if argument else domain).lower()
            return any(h == target or h.endswith(f".{target}") for h in _own_names(job))
        case _:
            raise _Permanent


def _on_network(job: _Check, hosts: list[str], cidr: str, *, counted: bool = True) -> bool:
    found = _CIDR.match(cidr)
    four, six = (found[1], found[2]) if found else (None, None)
    prefix = int(four) if job.ip.version == 4 and four else int(six) if job.ip.version == 6 and six else None
    longest = 32 if job.ip.version == 4 else 128
    if prefix is not None and prefix > longest:
        raise _Permanent
    for host in hosts:
        kind: Literal["A", "AAAA"] = "A" if job.ip.version == 4 else "AAAA"
        for address in _ask(job, host, kind) if counted else job.ask(host, kind):
            try:
                if job.ip in ipaddress.ip_network(f"{address}/{prefix or longest}", strict=False):
                    job.wide = job.wide or (prefix is not None and prefix < (8 if longest == 32 else 16))
                    return True
            except ValueError:
                continue
    return False


def _own_names(job: _Check) -> list[str]:
    names = []
    try:
        for host in job.ask(job.ip.reverse_pointer, "PTR")[:HOST_LIMIT]:
            kind: Literal["A", "AAAA"] = "A" if job.ip.version == 4 else "AAAA"
            if str(job.ip) in job.ask(host, kind):
                names.append(host.lower().rstrip("."))
    except DnsFailure:
        pass  # 5.5: a failing PTR is no match, not an error
    return names


def _ask(job: _Check, name: str, record: Literal["A", "AAAA", "MX"]) -> list[str]:
    answer = list(job.ask(name, record))
    if not answer:
        job.voids += 1
        if job.voids > VOID_LIMIT:
            raise _Permanent
    return answer


def _spend(job: _Check) -> None:
    job.terms += 1
    if job.terms > TERM_LIMIT:
        raise _Permanent


def _network(name: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        if name == "ip4":
            return ipaddress.IPv4Network(text, strict=False)
        return ipaddress.IPv6Network(text, strict=False)
    except ValueError:
        return None


def _expand(job: _Check, spec: str, domain: str) -> str:
    """Macros (section 7); the result is cut from the left to what DNS can hold."""

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return {"%": "%", "_": " ", "-": "%20"}[match[1]]
        if match[2] is None:
            raise _Permanent
        letter = match[2].lower()
        local, _, sender_domain = job.sender.rpartition("@")
        text = {
            "s": job.sender,
            "l": local,
            "o": sender_domain,
            "d": domain,
            "i": _dotted(job.ip),
            "p": "unknown",
            "v": "in-addr" if job.ip.version == 4 else "ip6",
            "h": job.helo,
        }.get(letter)
        if text is None:
            raise _Permanent  # c, r and t are for explanations only
        parts = re.split(f"[{re.escape(match[5] or '.')}]", text)
        if match[4]:
            parts.reverse()
        if match[3]:
            if int(match[3]) == 0:
                raise _Permanent
            parts = parts[-int(match[3]) :]
        text = ".".join(parts)
        return quote(text, safe="") if match[2].isupper() else text

    name = _MACRO.sub(value, spec).lower().rstrip(".")
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]
    return name


def _dotted(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(ip) if ip.version == 4 else ".".join(ip.exploded.replace(":", ""))
