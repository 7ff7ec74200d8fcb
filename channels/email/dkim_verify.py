"""DKIM signatures of a received mail, by dkimpy, which is kept from what would cost it too much.

dkimpy's relaxed body form is quadratic in a run of blanks, and some of its header expressions are too; a
hostile key can make one power take minutes. So the body is put into canonical form here first, and
signatures and keys out of all proportion are not tried.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Literal

from channels.email.dns_lookup import DnsFailure, Lookups
from channels.email.envelope import HEADER_LIMIT, split

Result = Literal["none", "pass", "fail", "temperror", "permerror"]
SIGNATURES_LIMIT = 6  # that are tried
SIGNATURE_LIMIT = 4096  # bytes of one header
KEY_LIMIT = 1000  # characters of a key record: RSA 4,096 bits needs 740
MIN_BITS = 1024  # RFC 8301
_TAG = re.compile(rb"(?:^|;)\s*([a-z]+)\s*=([^;]*)")
_BLANKS = re.compile(rb"[ \t]+")

_quiet = logging.getLogger("channels.email.dkim")  # dkimpy logs parts of mails
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def verify(content: bytes, preferred: str, ask: Lookups) -> tuple[Result, tuple[str, ...]]:
    """Return the overall result and the domains whose signature holds; `preferred`'s are tried first."""
    import dkim

    head, body = split(content)
    if b"dkim-signature" not in head[:HEADER_LIMIT].lower():
        return "none", ()
    if len(head) > HEADER_LIMIT:
        return "permerror", ()
    body = _crlf(body)
    try:
        mail = dkim.DKIM(_crlf(head) + b"\r\n", logger=_quiet, minkey=MIN_BITS)
        signatures = [value for name, value in mail.headers if name.lower() == b"dkim-signature"]
    except Exception:  # dkimpy raises whatever its parts raise
        return "permerror", ()
    order = sorted(
        (not _is_for(preferred, _tag(value, b"d")), index)
        for index, value in enumerate(signatures)
        if len(value) <= SIGNATURE_LIMIT
    )
    relaxed: bytes | None = None
    passed: list[str] = []
    results: set[Result] = set()
    for _, index in order[:SIGNATURES_LIMIT]:
        value = signatures[index]
        if _tag(value, b"l") or _tag(value, b"a") != "rsa-sha256":
            results.add("permerror")  # l= lets anybody append; sha1 proves nothing; dkimpy lacks ed25519 here
            continue
        if _tag(value, b"c").endswith("/relaxed"):
            relaxed = relaxed_body(body) if relaxed is None else relaxed
            mail.body = relaxed
        else:
            mail.body = body
        result = _one(mail, index, ask)
        results.add(result)
        if result == "pass":
            domain = _tag(value, b"d").lower()
            passed.append(domain)
            if _is_for(preferred, domain):
                break
    if passed:
        return "pass", tuple(passed)
    for verdict in ("temperror", "fail"):
        if verdict in results:
            return verdict, ()
    return "permerror", ()


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376, 3.4.4, line by line: linear whatever the body."""
    lines = body.split(b"\r\n")
    for index, line in enumerate(lines):
        if b" " in line or b"\t" in line:
            lines[index] = _BLANKS.sub(b" ", line.rstrip(b" \t"))
    while lines and not lines[-1]:
        lines.pop()
    return b"\r\n".join([*lines, b""]) if lines else b""


def _one(mail: object, index: int, ask: Lookups) -> Result:
    failures: list[DnsFailure] = []

    def txt(name: bytes, timeout: float = 5) -> bytes:
        try:
            records = ask(name.decode("ascii", "replace"), "TXT")
        except DnsFailure as failure:
            failures.append(failure)
            return b""
        return _key_record(records)

    try:
        good = mail.verify(idx=index, dnsfunc=txt)  # type: ignore[attr-defined]  # untyped library
    except Exception:  # DKIMException, and what base64, int() and regular expressions raise on rubbish
        good = False
    if failures:
        return "temperror"
    return "pass" if good else "fail"


def _key_record(records: Sequence[str]) -> bytes:
    usable = [r for r in records if len(r) <= KEY_LIMIT and "p=" in r]
    return usable[0].encode("latin-1") if len(usable) == 1 else b""


def _tag(value: bytes, name: bytes) -> str:
    for match in _TAG.finditer(value):
        if match[1] == name:
            return b"".join(match[2].split()).decode("ascii", "replace")
    return ""


def _is_for(preferred: str, domain: str) -> bool:
    domain = domain.lower()
    return domain == preferred or preferred.endswith(f".{domain}") or domain.endswith(f".{preferred}")


def _crlf(data: bytes) -> bytes:
    return data if b"\n" not in data.replace(b"\r\n", b"") else re.sub(rb"\r?\n", b"\r\n", data)
