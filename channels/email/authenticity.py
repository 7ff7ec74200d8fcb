"""Is the sender who the From says? SPF, DKIM and DMARC together, or one trusted server's word for it.

The organisational domain is found by the tree walk of DMARC's current form: DNS itself says where an
organisation ends, no list of public suffixes is needed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache

import idna

from channels.conversation import Raw
from channels.email import dkim_verify, spf
from channels.email.dns_lookup import DnsFailure, DnsPython, Lookups, Resolver, is_name
from channels.email.envelope import Transit, header_values, unpack
from channels.email.settings import Settings

__all__ = ["Authenticator", "Resolver", "Verdict"]

EXAMINE_S = 20.0  # for everything DNS is asked about one mail
THREADS = 8
_COMMENT = re.compile(r"\([^()]*\)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_RESULT = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=\s*([A-Za-z]+)(.*)\Z", re.DOTALL)
_PROPERTY = re.compile(r"([a-z]+\.[A-Za-z0-9_-]+)\s*=\s*(\"[^\"]*\"|[^\s;]+)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out. `verified` says that aligned_domain vouches for the address in `from_`."""

    source: str = "none"  # evaluate | trust | none
    from_: str = ""  # the one address in From, lower-cased; "" when there is not exactly one
    spf: str = "none"
    spf_domain: str = ""
    dkim: str = "none"
    dkim_domains: tuple[str, ...] = ()
    dmarc: str = "none"
    policy: str = ""
    aligned_domain: str = ""
    verified: bool = False

    def dump(self) -> str:
        return _dumped(self)


@lru_cache(maxsize=64)  # most mails of a minute have the same, such as none
def _dumped(verdict: Verdict) -> str:
    plain = asdict(verdict)
    plain["from"] = plain.pop("from_")
    return json.dumps(plain, separators=(",", ":"))


class Authenticator:
    """Examines mails as the settings say. Blocking DNS runs in threads of its own, within a time limit."""

    def __init__(self, settings: Settings, *, resolver: Resolver | None = None) -> None:
        self._settings = settings
        self._resolver = resolver
        self._relays = tuple(ipaddress.ip_network(n, strict=False) for n in settings.relays)
        self._threads: ThreadPoolExecutor | None = None

    async def examine(self, raw: Raw) -> str:
        """Return a Verdict as JSON. Never raises for what is in the mail or not in DNS."""
        transit, content = unpack(raw.body)
        match self._settings.authentication:
            case "none":
                return Verdict().dump()
            case "trust":
                return trusted(content, self._settings.trusted_authserv_id).dump()
            case "evaluate":
                return (await self._evaluate(transit, content)).dump()

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def _evaluate(self, transit: Transit, content: bytes) -> Verdict:
        author = from_address(content)
        peer = "" if self._is_relay(transit.peer) else transit.peer
        if not peer and not header_values(content, ("dkim-signature",)):
            return Verdict("evaluate", author)  # nothing to go by, so nothing to ask
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mail-dns")
        if self._resolver is None:
            self._resolver = DnsPython(self._settings.dns_servers)
        ask = Lookups(self._resolver, EXAMINE_S)
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, evaluate, content, author, peer, transit.mail_from, transit.helo, ask
        )
        try:
            async with asyncio.timeout(EXAMINE_S + 5.0):
                return await work
        except TimeoutError:
            return Verdict("evaluate", author, spf="temperror", dkim="temperror", dmarc="temperror")

    def _is_relay(self, peer: str) -> bool:
        try:
            ip = ipaddress.ip_address(peer)
        except ValueError:
            return True  # a unix socket, or unknown
        return any(ip.version == network.version and ip in network for network in self._relays)


def evaluate(
    content: bytes, author: str, peer: str, mail_from: str | None, helo: str, ask: Lookups
) -> Verdict:
    """Judge a mail; blocks on DNS. `peer` "" means that SPF has nothing to say."""
    domain = wire_domain(author)
    spf_result, spf_domain, attests = "none", "", False
    if peer and mail_from is not None:
        spf_result, spf_domain, attests = spf.check(peer, _wire(mail_from), helo, ask)
    dkim_result, signed = dkim_verify.verify(content, domain, ask)
    candidates = [*signed, *([spf_domain] if attests else [])]
    dmarc, policy, aligned = "none", "", ""
    if domain:
        dmarc, policy, aligned = _dmarc(domain, signed, spf_domain if attests else "", ask)
        if not peer and dkim_result == "none":
            dmarc = "none"  # SPF might have passed at our own relay: no verdict
        if dmarc in ("none", "temperror") and domain in candidates:
            aligned = domain  # whatever a policy may say, the very domain vouches for itself
    return Verdict(
        source="evaluate",
        from_=author,
        spf=spf_result,
        spf_domain=spf_domain,
        dkim=dkim_result,
        dkim_domains=signed,
        dmarc=dmarc,
        policy=policy,
        aligned_domain=aligned,
        verified=bool(aligned),
    )


def trusted(content: bytes, authserv_id: str) -> Verdict:
    """Believe the topmost Authentication-Results, if our server's own and the only one that claims to be."""
    author = from_address(content)
    domain = wire_domain(author)
    values = [v.decode("utf-8", "replace") for _, v in header_values(content, ("authentication-results",))]
    ours = [_authserv(value) == authserv_id.lower() for value in values]
    if ours.count(True) != 1 or not ours[0]:
        return Verdict("trust", author)
    found = _results(values[0])
    dmarc, dmarc_about = found.get("dmarc", ("none", {}))
    spf_result, spf_about = found.get("spf", ("none", {}))
    passed = _results_all(values[0], "dkim")
    signed = tuple(
        (about.get("header.d") or about.get("header.i", "").rpartition("@")[2]).lower()
        for result, about in passed
        if result == "pass"
    )
    dkim_result = "pass" if signed else passed[0][0] if passed else "none"
    spf_domain = spf_about.get("smtp.mailfrom", "").rpartition("@")[2].lower()
    aligned = ""
    if domain:
        if dmarc == "pass":
            if dmarc_about.get("header.from", domain).lower().rpartition("@")[2] == domain:
                aligned = domain
        elif dmarc == "none" and (domain in signed or (spf_result == "pass" and spf_domain == domain)):
            aligned = domain
    return Verdict(
        "trust", author, spf_result, spf_domain, dkim_result, signed, dmarc, "", aligned, bool(aligned)
    )


def from_address(content: bytes) -> str:
    """The address in From, lower-cased; "" unless there is exactly one From with exactly one address."""
    values = header_values(content, ("from",))
    if len(values) != 1 or len(values[0][1]) > 2000:
        return ""
    text = _QUOTED.sub(" ", values[0][1].decode("utf-8", "replace"))
    while (shorter := _COMMENT.sub(" ", text)) != text:
        text = shorter
    text = text.strip()
    if "<" in text or ">" in text:
        _, bracket, rest = text.partition("<")
        if text.count("<") != 1 or text.count(">") != 1 or not bracket or not rest.endswith(">"):
            return ""
        text = rest[:-1].strip()
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain or "@" in local or re.search(r"[\s,;:<>()\[\]\"]", text):
        return ""
    return text.lower()


def wire_domain(address: str) -> str:
    """The domain of an address as DNS knows it; "" when it cannot be one."""
    domain = address.rpartition("@")[2].lower().rstrip(".")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            return ""
    return domain if is_name(domain) and "." in domain else ""


def organisation(domain: str, ask: Lookups) -> tuple[str, dict[str, str] | None]:
    """The organisational domain by tree walk, and the DMARC record that holds for `domain`, if any."""
    labels = domain.split(".")
    steps = list(range(len(labels)))
    if len(labels) > 8:
        steps = [0, *range(len(labels) - 7, len(labels))]
    found: list[tuple[str, dict[str, str]]] = []
    for step in steps:
        name = ".".join(labels[step:])
        record = _dmarc_record(name, ask)
        if record is None:
            continue
        found.append((name, record))
        if record.get("psd") == "n" or (record.get("psd") == "y" and name != domain):
            break
    if not found:
        return domain, None
    own = found[0][1] if found[0][0] == domain else None
    name, record = found[-1]
    if record.get("psd") == "y" and name != domain:
        below = ".".join(labels[len(labels) - name.count(".") - 2 :])
        inherited = next((r for n, r in found if n == below), record)
        return below, own or inherited
    return name, own or record


def _dmarc(domain: str, signed: tuple[str, ...], spf_domain: str, ask: Lookups) -> tuple[str, str, str]:
    try:
        home, record = organisation(domain, ask)
        if record is None:
            return "none", "", ""
        policy = record.get("p", "none")
        for candidates, mode in (
            (signed, record.get("adkim", "r")),
            ((spf_domain,), record.get("aspf", "r")),
        ):
            for candidate in filter(None, candidates):
                if candidate == domain:
                    return "pass", policy, candidate
                if mode != "s" and _same_house(candidate, home, ask):
                    return "pass", policy, candidate
    except DnsFailure:
        return "temperror", "", ""
    return "fail", policy, ""


def _same_house(candidate: str, home: str, ask: Lookups) -> bool:
    if candidate != home and not candidate.endswith(f".{home}"):
        return False  # another tree: saves the walk
    return organisation(candidate, ask)[0] == home


def _dmarc_record(name: str, ask: Lookups) -> dict[str, str] | None:
    records = [t for t in ask(f"_dmarc.{name}", "TXT") if re.match(r"v\s*=\s*DMARC1\s*(;|\Z)", t)]
    if len(records) != 1:
        return None
    pairs = (part.partition("=") for part in records[0][:2000].split(";"))
    return {key.strip().lower(): value.strip().lower() for key, equals, value in pairs if equals}


def _wire(mail_from: str) -> str:
    local, at, _ = mail_from.rpartition("@")
    return f"{local}@{wire_domain(mail_from)}" if at else mail_from


def _authserv(value: str) -> str:
    words = _without_comments(value).partition(";")[0].split()
    return words[0].strip('"').lower() if words else ""


def _without_comments(value: str) -> str:
    text = value[:10_000]
    for _ in range(5):
        text = _COMMENT.sub(" ", text)
    return text


def _results_all(value: str, method: str) -> list[tuple[str, dict[str, str]]]:
    out = []
    for part in _without_comments(value).split(";")[1:]:
        match = _RESULT.match(part)
        if match and match[1].lower() == method:
            about = {k.lower(): v.strip('"') for k, v in _PROPERTY.findall(match[3])}
            out.append((match[2].lower(), about))
    return out


def _results(value: str) -> dict[str, tuple[str, dict[str, str]]]:
    return {m: found[0] for m in ("spf", "dmarc") if (found := _results_all(value, m))}
