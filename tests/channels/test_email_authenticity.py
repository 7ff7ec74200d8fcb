"""Who sent it: SPF, DKIM and DMARC against zones in a dictionary, and a trusted server's word."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dkim
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Setup
from channels.email import dkim_verify, spf
from channels.email.adapter import EmailChannel
from channels.email.authenticity import from_address, organisation, trusted
from channels.email.dns_lookup import DnsPython, Lookups
from channels.email.envelope import Transit, pack
from tests.fakes.dns import FakeDns

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = (Path(__file__).parent.parent / "fixtures/email/dkim.key").read_bytes()
PUBLIC = (Path(__file__).parent.parent / "fixtures/email/dkim.txt").read_text().strip()
PEER = "192.0.2.10"
BODY = b"Where is my order?  \r\n\r\nAnn\r\n\r\n"


def mail(sender: str = "Ann <ann@shop.example>", body: bytes = BODY, more: bytes = b"") -> bytes:
    return b"%bFrom: %b\r\nTo: support@example.com\r\nSubject: Hi\r\n\r\n%b" % (more, sender.encode(), body)


def signed(content: bytes, domain: str = "shop.example", **how: Any) -> bytes:
    how = {"canonicalize": (b"relaxed", b"relaxed"), **how}
    return bytes(dkim.DKIM(content).sign(b"s1", domain.encode(), KEY, **how)) + content


ZONE = {
    ("shop.example", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all", "other=1"],
    ("s1._domainkey.shop.example", "TXT"): [PUBLIC],
    ("_dmarc.shop.example", "TXT"): ["v=DMARC1; p=reject"],
}


def ask(zone: dict[tuple[str, str], list[str]] | None = None, **more: Any) -> Lookups:
    return Lookups(FakeDns(ZONE if zone is None else zone, **more), 10.0)


async def examined(
    content: bytes,
    *,
    peer: str = PEER,
    mail_from: str = "ann@shop.example",
    dns: FakeDns | None = None,
    **settings: Any,
) -> dict[str, Any]:
    base = {"kind": "email", "address": "support@example.com"}
    channel = EmailChannel(Setup("mail", {**base, **settings}, b"s" * 32), resolver=dns or FakeDns(ZONE))
    raw = pack("mail", Transit(mail_from, ("support@example.com",), peer, "mx.shop.example"), content, NOW)
    try:
        found = json.loads(await channel.examine(raw))
    finally:
        await channel.close()
    assert isinstance(found, dict)
    return found


# the whole judgement


async def test_an_aligned_signature_verifies_the_sender_even_through_a_relay() -> None:
    found = await examined(signed(mail()), peer="127.0.0.1")
    assert (found["spf"], found["dkim"], found["dmarc"]) == ("none", "pass", "pass")
    assert found["verified"] is True
    assert (found["from"], found["aligned_domain"]) == ("ann@shop.example", "shop.example")


async def test_an_aligned_host_verifies_the_sender() -> None:
    found = await examined(mail())
    assert (found["spf"], found["dkim"], found["dmarc"], found["verified"]) == ("pass", "none", "pass", True)


async def test_a_forged_sender_is_seen() -> None:
    found = await examined(mail(), peer="203.0.113.9")
    assert (found["spf"], found["dmarc"], found["policy"]) == ("fail", "fail", "reject")
    assert found["verified"] is False


async def test_the_forger_s_own_good_papers_do_not_help() -> None:
    zone = {
        **ZONE,
        ("evil.example", "TXT"): ["v=spf1 ip4:203.0.113.0/24 -all"],
        ("s1._domainkey.evil.example", "TXT"): [PUBLIC],
        ("_dmarc.evil.example", "TXT"): ["v=DMARC1; p=none"],
    }
    found = await examined(
        signed(mail(), "evil.example"), peer="203.0.113.9", mail_from="x@evil.example", dns=FakeDns(zone)
    )
    assert (found["spf"], found["dkim"], found["dmarc"]) == ("pass", "pass", "fail")
    assert found["verified"] is False


async def test_without_a_policy_only_the_very_domain_vouches() -> None:
    zone = {k: v for k, v in ZONE.items() if not k[0].startswith("_dmarc")}
    found = await examined(signed(mail()), dns=FakeDns(zone))
    assert (found["dmarc"], found["verified"]) == ("none", True)
    sub = await examined(signed(mail("a@news.shop.example")), dns=FakeDns(zone))
    assert (sub["dkim"], sub["verified"]) == ("pass", False)


async def test_a_signature_of_the_same_organisation_is_enough_unless_the_policy_is_strict() -> None:
    zone = {**ZONE, ("s1._domainkey.mail.shop.example", "TXT"): [PUBLIC]}
    content = signed(mail("ann@news.shop.example"), "mail.shop.example")
    assert (await examined(content, dns=FakeDns(zone)))["verified"] is True
    strict = {**zone, ("_dmarc.shop.example", "TXT"): ["v=DMARC1; p=reject; adkim=s; aspf=s"]}
    found = await examined(content, mail_from="x@else.example", dns=FakeDns(strict))
    assert (found["dmarc"], found["verified"]) == ("fail", False)


async def test_a_local_mail_without_signature_asks_nobody_and_proves_nothing() -> None:
    dns = FakeDns(ZONE)
    found = await examined(mail(), peer="127.0.0.1", dns=dns)
    assert found["verified"] is False
    assert (found["spf"], found["dmarc"], found["source"]) == ("none", "none", "evaluate")
    assert dns.asked == []


async def test_two_senders_in_one_from_prove_nothing() -> None:
    for content in (
        signed(mail("ann@shop.example, boss@bank.example")),
        mail(more=b"From: boss@bank.example\r\n"),
    ):
        found = await examined(content)
        assert (found["from"], found["verified"]) == ("", False)


async def test_dns_that_does_not_answer_is_no_verdict_and_no_error() -> None:
    broken = FakeDns(ZONE, ["shop.example", "s1._domainkey.shop.example", "_dmarc.shop.example"])
    found = await examined(signed(mail()), dns=broken)
    assert (found["spf"], found["dkim"], found["dmarc"]) == ("temperror", "temperror", "temperror")
    assert found["verified"] is False


async def test_none_and_trust_ask_no_dns() -> None:
    dns = FakeDns(ZONE)
    found = await examined(mail(), dns=dns, authentication="none")
    assert (found["source"], found["verified"]) == ("none", False)
    header = b"Authentication-Results: mx.example.com; dmarc=pass header.from=shop.example\r\n"
    trust = {"authentication": "trust", "trusted_authserv_id": "MX.example.com"}
    assert (await examined(mail(more=header), dns=dns, **trust))["verified"] is True
    assert dns.asked == []


def test_only_the_one_topmost_word_of_the_trusted_server_counts() -> None:
    good = b"Authentication-Results: mx.example.com 1;\r\n dkim=pass (ok) header.d=shop.example;\r\n dmarc=pass\r\n"
    foreign = b"Authentication-Results: evil.example; dmarc=pass header.from=shop.example\r\n"
    assert trusted(mail(more=good), "mx.example.com").verified
    assert trusted(mail(more=good + foreign), "mx.example.com").verified
    for bad in (foreign, good + good, foreign + good, b"Authentication-Results: (mx.example.com) x;\r\n"):
        assert not trusted(mail(more=bad), "mx.example.com").verified
    other = b"Authentication-Results: mx.example.com; dmarc=pass header.from=evil.example\r\n"
    assert not trusted(mail(more=other), "mx.example.com").verified
    hidden = (
        b'Authentication-Results: mx.example.com; spf=fail (x; dmarc=pass) smtp.mailfrom="a; dkim=pass"\r\n'
    )
    assert not trusted(mail(more=hidden), "mx.example.com").verified
    exact = b"Authentication-Results: mx.example.com; dkim=pass header.d=shop.example\r\n"
    assert trusted(mail(more=exact), "mx.example.com").verified


# From


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ann@shop.example", "ann@shop.example"),
        ('"Lee, Ann" <Ann@Shop.example>', "ann@shop.example"),
        ("Ann (the (real) one) <ann@shop.example>", "ann@shop.example"),
        ('"boss@bank.example" <ann@shop.example>', "ann@shop.example"),
        ("<a@b.example> <c@d.example>", ""),
        ("a@b.example, c@d.example", ""),
        ("ann", ""),
        ("<ann@shop.example", ""),
        ("a@b@c.example", ""),
        ("", ""),
    ],
)
def test_the_sender_is_one_address_or_none(value: str, expected: str) -> None:
    assert from_address(mail(value)) == expected


@given(st.binary(max_size=400))
def test_no_bytes_in_the_header_raise(junk: bytes) -> None:
    content = (
        b"From: "
        + junk
        + b"\r\nAuthentication-Results: mx;"
        + junk
        + b"\r\nDKIM-Signature: "
        + junk
        + b"\r\n\r\n"
    )
    from_address(content)
    trusted(content, "mx")
    assert dkim_verify.verify(content, "shop.example", ask())[0] != "pass"


# the organisation


def test_the_organisation_is_found_in_dns() -> None:
    zone = {
        ("_dmarc.example", "TXT"): ["v=DMARC1; p=none; psd=y"],
        ("_dmarc.shop.example", "TXT"): ["v=DMARC1; p=reject"],
        ("_dmarc.own.shop.example", "TXT"): ["v=DMARC1; p=none; psd=n"],
    }
    for name, home in (
        ("a.b.shop.example", "shop.example"),
        ("shop.example", "shop.example"),
        ("other.example", "other.example"),
        ("x.own.shop.example", "own.shop.example"),
        ("nowhere.test", "nowhere.test"),
        (".".join("abcdefghijkl") + ".shop.example", "shop.example"),
    ):
        assert organisation(name, ask(zone))[0] == home


# DKIM


@pytest.mark.parametrize("header", [b"relaxed", b"simple"])
@pytest.mark.parametrize("body", [b"relaxed", b"simple"])
def test_signatures_hold_in_every_canonical_form_until_something_changes(header: bytes, body: bytes) -> None:
    content = signed(mail(), canonicalize=(header, body))
    assert dkim_verify.verify(content, "shop.example", ask()) == ("pass", ("shop.example",))
    assert dkim_verify.verify(content.replace(b"order", b"money"), "shop.example", ask())[0] == "fail"
    assert (
        dkim_verify.verify(content.replace(b"Subject: Hi", b"Subject: Ho"), "x.example", ask())[0] == "fail"
    )
    stored = content.replace(b"\r\n", b"\n")
    assert dkim_verify.verify(stored, "shop.example", ask())[0] == "pass"


def test_a_signature_that_anybody_can_extend_or_of_a_broken_hash_is_none() -> None:
    assert dkim_verify.verify(signed(mail(), length=True), "shop.example", ask())[0] == "permerror"
    old = signed(mail(), signature_algorithm=b"rsa-sha1") if b"rsa-sha1" in dkim.HASH_ALGORITHMS else b""
    assert dkim_verify.verify(old, "shop.example", ask())[0] in ("permerror", "none")


def test_the_aligned_signature_is_found_among_many() -> None:
    content = mail()
    for domain in ("shop.example", *(f"list{n}.example" for n in range(9))):
        content = signed(content, domain, include_headers=[b"from", b"subject"])
    assert dkim_verify.verify(content, "shop.example", ask()) == ("pass", ("shop.example",))


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"\n", b"\r"]), max_size=60).map(b"".join))
def test_our_relaxed_body_is_the_library_s(body: bytes) -> None:
    from dkim.canonicalization import Relaxed

    whole = (body + b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
    assert dkim_verify.relaxed_body(whole) == Relaxed.canonicalize_body(whole)


@pytest.mark.parametrize(
    "content",
    [
        signed(mail(body=b"")) + b" " * 400_000 + b"x\r\n",  # signing this with dkimpy takes two minutes
        b"DKIM-Signature: v=1; a=rsa-sha256; b=" + b" " * 100_000 + b"!\r\n" + mail(),
        b"DKIM-Signature: " + b"a=b;" * 20_000 + b"\r\n" + mail(),
        b"dkim-signature:\r\n" * 5_000 + mail(),
        signed(mail(body=b"")) + b"\r\n" * 500_000 + b"x",
        b"DKIM-Signature: v=1\r\nX: " + b"(" * 100_000 + b"\r\n" + mail(),
    ],
    ids=["blanks", "signature", "tags", "signatures", "newlines", "parentheses"],
)
def test_hostile_mail_is_judged_in_no_time(content: bytes) -> None:
    started = time.process_time()
    dkim_verify.verify(content, "shop.example", ask())
    from_address(content)
    assert time.process_time() - started < 1.0


def test_a_giant_key_is_not_tried() -> None:
    zone = {("s1._domainkey.shop.example", "TXT"): ["p=" + "A" * 20_000]}
    assert dkim_verify.verify(signed(mail()), "shop.example", ask(zone))[0] == "fail"


# SPF: the record of the domain, the peer, what comes of it


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ip4:192.0.2.10 -all", "pass"),
        ("v=spf1 ip4:192.0.2.11 -all", "fail"),
        ("v=spf1 ip4:192.0.2.11 ~all", "softfail"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1", "neutral"),
        ("v=spf10 +all", "none"),
        ("v=spf1 a -all", "pass"),
        ("v=spf1 a:other.example/24 -all", "pass"),
        ("v=spf1 a:other.example -all", "fail"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 mx:other.example//64 -all", "fail"),
        ("v=spf1 include:good.example -all", "pass"),
        ("v=spf1 include:bad.example -all", "fail"),
        ("v=spf1 include:nothing.example -all", "permerror"),
        ("v=spf1 redirect=good.example", "pass"),
        ("v=spf1 redirect=nothing.example", "permerror"),
        ("v=spf1 exists:%{ir}.list.example -all", "pass"),
        ("v=spf1 exists:%{l}.%{d2}.x.example -all", "pass"),
        ("v=spf1 ptr:own.example -all", "pass"),
        ("v=spf1 ip6:2001:db8::/32 -all", "fail"),
        ("v=spf1 nonsense -all", "permerror"),
        ("v=spf1 ip4:999.1.1.1 -all", "permerror"),
        ("v=spf1 a:%{q}.example -all", "permerror"),
        ("v=spf1 include:loop.example -all", "permerror"),
        ("v=spf1 a:n1.x a:n2.x a:n3.x -all", "permerror"),
        ("v=spf1 include:broken.example -all", "temperror"),
        ("v=spf1 unknown=%{d} ip4:192.0.2.10 -all", "pass"),
    ],
)
def test_spf_says_what_the_standard_says(record: str, result: str) -> None:
    zone = {
        ("shop.example", "TXT"): [record],
        ("shop.example", "A"): [PEER],
        ("shop.example", "MX"): ["mx1.shop.example"],
        ("mx1.shop.example", "A"): ["198.51.100.1", PEER],
        ("other.example", "A"): ["192.0.2.99"],
        ("other.example", "MX"): ["mx1.shop.example"],
        ("mx1.shop.example", "AAAA"): ["2001:db8::1"],
        ("good.example", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
        ("bad.example", "TXT"): ["v=spf1 -all"],
        ("loop.example", "TXT"): ["v=spf1 include:loop.example -all"],
        ("10.2.0.192.list.example", "A"): ["127.0.0.2"],
        ("ann.shop.example.x.example", "A"): ["127.0.0.2"],
        ("10.2.0.192.in-addr.arpa", "PTR"): ["host.own.example"],
        ("host.own.example", "A"): [PEER],
    }
    if record.startswith("v=spf1 mx:"):
        zone[("mx1.shop.example", "A")] = ["198.51.100.1"]
    if "192.0.2.11" in record:
        zone[("x", "TXT")] = []
    lookups = ask(zone, broken=["broken.example"])
    assert spf.check(PEER, "ann@shop.example", "h.example", lookups)[0] == result


def test_two_records_are_an_error_and_a_null_sender_is_judged_by_its_greeting() -> None:
    two = {("shop.example", "TXT"): ["v=spf1 -all", "v=spf1 +all"]}
    assert spf.check(PEER, "a@shop.example", "", ask(two))[0] == "permerror"
    assert spf.check(PEER, "", "shop.example", ask()) == ("pass", "shop.example", True)
    assert spf.check("unix", "a@shop.example", "", ask())[0] == "none"
    assert spf.check("::ffff:192.0.2.7", "a@shop.example", "", ask())[0] == "pass"


@pytest.mark.parametrize(
    "record", ["v=spf1 +all", "v=spf1 ip4:0.0.0.0/0 -all", "v=spf1 include:wide.example -all"]
)
def test_a_record_that_lets_everybody_pass_vouches_for_nobody(record: str) -> None:
    zone = {("shop.example", "TXT"): [record], ("wide.example", "TXT"): ["v=spf1 all"]}
    assert spf.check(PEER, "a@shop.example", "", ask(zone)) == ("pass", "shop.example", False)


@given(st.text(alphabet="aims:/=%{}dil0123.+-~? ", max_size=80))
def test_no_record_breaks_the_evaluation(text: str) -> None:
    zone = {("shop.example", "TXT"): [f"v=spf1 {text}"]}
    assert spf.check(PEER, "a@shop.example", "h", ask(zone))[0] in (
        "none", "neutral", "pass", "fail", "softfail", "temperror", "permerror",
    )  # fmt: skip


# signing, and a real resolver


async def test_what_we_sign_verifies(tmp_path: Path) -> None:
    from channels.email.dkim_sign import Signer
    from channels.email.settings import Settings

    path = tmp_path / "dkim.key"
    path.write_bytes(KEY)
    settings = Settings.model_validate(
        {
            "kind": "email",
            "address": "a@shop.example",
            "dkim_selector": "s1",
            "dkim_key_file": str(path),
        }
    )
    content = Signer.load(settings).sign(mail())
    assert dkim_verify.verify(content, "shop.example", ask()) == ("pass", ("shop.example",))
    added = b"Subject: Another\r\n" + content
    assert dkim_verify.verify(added, "shop.example", ask())[0] == "fail"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="PEM"):
        Signer.load(settings)


def test_a_resolver_that_nobody_answers_fails_in_time() -> None:
    from channels.email.dns_lookup import DnsFailure

    started = time.monotonic()
    with pytest.raises(DnsFailure):
        DnsPython(["127.0.0.1:9"]).lookup("shop.example", "TXT", 0.3)
    assert time.monotonic() - started < 3
