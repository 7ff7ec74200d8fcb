"""Values as people write them, each in its table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm_store.exporter import guarded, unguarded
from crm_store.importing import guesses, phones, times, values
from crm_store.importing.values import Defaults, Wrong
from crm_store.money import exponent, in_units

SHANGHAI = Defaults(timezone=ZoneInfo("Asia/Shanghai"), currency="CNY")
BERLIN = Defaults(timezone=ZoneInfo("Europe/Berlin"), currency="EUR", region="DE")
BARE = Defaults()


@pytest.mark.parametrize(
    ("text", "currency", "defaults", "minor", "code"),
    [
        ("1234.50", "", SHANGHAI, 123450, "CNY"),
        ("¥1,234.50", "", BARE, 123450, "CNY"),
        ("￥1，234．50", "", BARE, 123450, "CNY"),
        ("¥1,234", "JPY", BARE, 1234, "JPY"),
        ("¥1,234", "", Defaults(currency="JPY"), 1234, "JPY"),
        ("1.234,50 €", "", BARE, 123450, "EUR"),
        ("€ 1 234,50", "", BARE, 123450, "EUR"),
        ("CHF 1'234.50", "", BARE, 123450, "CHF"),
        ("$99", "", BARE, 9900, "USD"),
        ("$99", "CAD", BARE, 9900, "CAD"),
        ("HK$99.9", "", BARE, 9990, "HKD"),
        ("12元", "", BARE, 1200, "CNY"),
        ("500円", "", BARE, 500, "JPY"),
        ("1.5", "KWD", BARE, 1500, "KWD"),
        ("1.234", "KWD", BARE, 1234, "KWD"),
        ("1,234", "USD", BARE, 123400, "USD"),
        ("1,234,567.89", "usd", BARE, 123456789, "USD"),
        ("1.234.567", "EUR", BARE, 123456700, "EUR"),
        ("1.234", "EUR", Defaults(decimal=","), 123400, "EUR"),
        ("1.234", "JPY", BARE, 1234, "JPY"),
        ("-12.00", "EUR", BARE, -1200, "EUR"),
        ("(12.00)", "EUR", BARE, -1200, "EUR"),
        ("0", "EUR", BARE, 0, "EUR"),
        ("0,5", "EUR", BARE, 50, "EUR"),
        (19.99, "EUR", BARE, 1999, "EUR"),
        ("12.00", "JPY", BARE, 12, "JPY"),
        (3 * 11.1, "EUR", BARE, 3330, "EUR"),
        ("1.5万元", "", BARE, 1500000, "CNY"),
        ("1.234 万", "CNY", BARE, 1234000, "CNY"),
        ("-3亿", "CNY", BARE, -30000000000, "CNY"),
        ("12,- €", "", BARE, 1200, "EUR"),
        ("12,–", "EUR", BARE, 1200, "EUR"),
        ("12.-", "CHF", BARE, 1200, "CHF"),
        ("12.00-", "EUR", BARE, -1200, "EUR"),
        ("₹12,34,567.50", "", BARE, 123456750, "INR"),
        ("1.234.567,89", "EUR", BARE, 123456789, "EUR"),
    ],
)
def test_money_is_read_in_minor_units(
    text: object, currency: str, defaults: Defaults, minor: int, code: str
) -> None:
    assert values.money(text, currency, defaults) == (minor, code)


@pytest.mark.parametrize(
    ("text", "currency", "reason"),
    [
        ("free", "EUR", "amount"),
        ("", "EUR", "amount"),
        ("12", "", "currency_missing"),
        ("12", "doubloons", "currency"),
        ("€12", "USD", "currency"),
        ("12 pcs", "USD", "currency"),
        ("12.5", "JPY", "amount_precision"),
        ("1.999,999", "EUR", "amount_precision"),
        ("1.234", "EUR", "amount_ambiguous"),
        ("9" * 40, "EUR", "amount"),
        ("10000000000000.01", "EUR", "amount"),  # three of them would be more than a sum can be
        ("12.03.2024", "EUR", "amount"),
        ("12元5角", "USD", "currency"),
        ("1.23456万", "JPY", "amount_precision"),
        ("1.2.3", "EUR", "amount"),
        ("1,2.50", "EUR", "amount"),
        ("12 34", "EUR", "amount"),
        ("1..5", "EUR", "amount"),
    ],
)
def test_money_that_is_not_clear_says_why(text: str, currency: str, reason: str) -> None:
    with pytest.raises(Wrong) as caught:
        values.money(text, currency, BARE)
    assert caught.value.reason == reason


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD", "CNY"]))
def test_money_written_is_money_read(minor: int, currency: str) -> None:
    written = in_units(minor, currency)
    assert values.money(written, currency, Defaults(decimal=".")) == (minor, currency)
    if exponent(currency) == 2:
        assert values.money(written, currency, BARE) == (minor, currency)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-02", "2026-01-01 16:00"),
        ("2026/1/2 13:04", "2026-01-02 05:04"),
        ("2026.1.2", "2026-01-01 16:00"),
        ("20260102", "2026-01-01 16:00"),
        ("02.01.2026", "2026-01-01 16:00"),
        ("02.01.2026 13:04", "2026-01-02 05:04"),
        ("2026年1月2日", "2026-01-01 16:00"),
        ("2026年1月2日 13时04分", "2026-01-02 05:04"),
        ("2026年1月2日 下午1:04", "2026-01-02 05:04"),
        ("２０２６－０１－０２", "2026-01-01 16:00"),
        ("2026-01-02T05:04:00Z", "2026-01-02 05:04"),
        ("2026-01-02T05:04:00.123+00:00", "2026-01-02 05:04"),
        ("2026-01-02 00:04:00 -0500", "2026-01-02 05:04"),
        ("Jan 2, 2026 1:04 PM", "2026-01-02 05:04"),
        ("2 January 2026", "2026-01-01 16:00"),
        ("2-Jan-2026", "2026-01-01 16:00"),
        ("13/1/2026", "2026-01-12 16:00"),
        ("1/13/2026", "2026-01-12 16:00"),
        ("1767330240", "2026-01-02 05:04"),
        ("1767330240000", "2026-01-02 05:04"),
    ],
)
def test_times_are_read_in_the_zone_of_the_file(text: str, utc: str) -> None:
    read = times.moment(text, SHANGHAI)
    assert read.tzinfo is UTC
    assert f"{read:%Y-%m-%d %H:%M}" == utc


def test_a_summer_time_is_not_a_winter_time() -> None:
    assert times.moment("2026-07-01 12:00", BERLIN) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert times.moment("2026-01-01 12:00", BERLIN) == datetime(2026, 1, 1, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("yesterday", "date"),
        ("", "date"),
        ("2026-02-30", "date"),
        ("2026-01-02 25:00", "date"),
        ("0026-01-02", "date"),
        ("2026-01-02 whenever", "date"),
        ("2 Brumaire 2026", "date"),
        ("1/2/2026", "date_ambiguous"),
    ],
)
def test_a_time_that_is_not_clear_says_why(text: str, reason: str) -> None:
    with pytest.raises(Wrong) as caught:
        times.moment(text, SHANGHAI)
    assert caught.value.reason == reason
    assert times.moment("1/2/2026", Defaults(day_first=True)).month == 2
    assert times.moment("1/2/2026", Defaults(day_first=False)).month == 1


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("138 0013 8000", "", "+8613800138000"),
        ("+86 138-0013-8000", "DE", "+8613800138000"),
        ("１３８００１３８０００", "", "+8613800138000"),
        ("13800138000.0", "CN", "+8613800138000"),
        ("030 123456", "DE", "+4930123456"),
        ("0049 30 123456", "", "+4930123456"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("010-62552530", "CN", "+861062552530"),
    ],
)
def test_phones_become_e164(text: str, region: str, e164: str) -> None:
    assert values.phones(text, region) == [e164]


@pytest.mark.parametrize("text", ["call me", "12", "030 123456", "+999999999999999999"])
def test_what_is_no_phone_is_wrong(text: str) -> None:
    with pytest.raises(Wrong, match="phone"):
        values.phones(text, "")


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("Anna@Example.COM", ["anna@example.com"]),
        ("a@example.com; b@example.com, a@example.com", ["a@example.com", "b@example.com"]),
        ("Anna <anna@example.com>", ["anna@example.com"]),
        ("mailto:anna@example.com", ["anna@example.com"]),
        ("ａｎｎａ＠example.com", ["anna@example.com"]),
        ("anna @ example. com", ["anna@example.com"]),
        ("", []),
        (None, []),
    ],
)
def test_addresses_are_lower_case_and_bare(text: object, addresses: list[str]) -> None:
    assert values.emails(text) == addresses


@pytest.mark.parametrize(
    "text",
    [
        "anna",
        "anna@",
        "@example.com",
        "a@b",
        "a..b@example.com",
        "a b@c d",
        "a@b.c1",
        "anna smith@b.cc",
        "a@b.cc c@d.ee",
        f"a@{'b.' * 200}cc",
    ],
)
def test_what_is_no_address_is_wrong(text: str) -> None:
    with pytest.raises(Wrong, match="email"):
        values.emails(text)


@pytest.mark.parametrize(
    ("text", "quantity"),
    [("1,000", 1000), ("12,34,567", 1234567), ("2.0", 2), ("", 1), ("1,5", None), ("2,0", None)],
)
def test_a_quantity_is_whole(text: str, quantity: int | None) -> None:
    if quantity is not None:
        assert values.whole(text) == quantity
        return
    with pytest.raises(Wrong, match="quantity"):  # a decimal comma: not 15, not 20
        values.whole(text)


@given(st.one_of(st.text(max_size=60), st.integers(), st.floats(), st.none(), st.booleans()))
def test_no_reader_raises_anything_but_wrong(value: object) -> None:
    readers: list[Callable[[object], object]] = [
        values.clean,
        values.several,
        values.emails,
        values.handle,
        values.whole,
        values.timezone,
        lambda v: values.phones(v, "CN"),
        lambda v: values.money(v, "EUR", BARE),
        lambda v: times.moment(v, BERLIN),
    ]
    for reader in readers:
        with contextlib.suppress(Wrong):
            reader(value)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20) | st.text("'=+-@a1.", max_size=6))
def test_a_guard_is_put_and_taken_away(cell: str) -> None:
    shown = guarded(cell)
    assert unguarded(shown) == cell or shown == cell
    assert not shown.startswith(("=", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\n=1", "  =1", "＝1+1"]
)
def test_a_formula_is_guarded(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-12.50", "+4930123456", "12", "a=b", ""])
def test_a_number_is_no_formula(cell: str) -> None:
    assert guarded(cell) == cell


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("anna@gmial.com", "anna@gmail.com"),
        ("anna@gmail.con", "anna@gmail.com"),
        ("anna@gmai.com", "anna@gmail.com"),
        ("anna@hotmial.com", "anna@hotmail.com"),
        ("anna@yaho.com", "anna@yahoo.com"),
        ("anna@outlok.com", "anna@outlook.com"),
    ],
)
def test_a_slip_in_a_providers_domain_is_corrected_and_said(written: str, meant: str) -> None:
    notes: list[values.Note] = []
    assert values.emails(written, notes) == [meant]
    assert notes == [values.Note("email", meant, written, "domain")]
    assert values.emails(written) == [written]


@pytest.mark.parametrize(
    "domain", ["ymail.com", "mail.com", "gmx.at", "136.com", "hotmail.dk", "live.fr", "example.com", "qg.com"]
)
def test_another_real_domain_is_left_alone(domain: str) -> None:
    notes: list[values.Note] = []
    assert (values.emails(f"anna@{domain}", notes), notes) == ([f"anna@{domain}"], [])


def test_letters_of_full_width_become_plain_ones() -> None:
    notes: list[values.Note] = []
    assert values.name("ＡＢＣ　公司（北京）１２", notes) == "ABC 公司（北京）12"
    assert [note.how for note in notes] == ["width"]
    assert values.name("公司（北京）", notes) == "公司（北京）"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("anna.smith@example.com", "Anna Smith"),
        ("anna_maria_smith7@example.com", "Anna Maria Smith"),
        ("info@example.com", ""),
        ("sales.team@example.com", ""),
        ("anna@example.com", ""),
        ("a.b@example.com", ""),
    ],
)
def test_a_name_is_told_from_an_address_that_says_it(address: str, name: str) -> None:
    assert guesses.name_from(address) == name


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+8613800138000", "CN"),
        ("+4930123456", "DE"),
        ("+14155552671", "US"),
        ("+14165550123", "CA"),
        ("+77011234567", "KZ"),
        ("+74951234567", "RU"),
        ("+447700900123", "GB"),
    ],
)
def test_a_country_is_told_from_a_phone(number: str, country: str) -> None:
    assert phones.country_of(number) == country


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("46024", "2026-01-02 00:00"),
        ("46024.5", "2026-01-02 12:00"),
        ("Fri, 2 Jan 2026 13:04", "2026-01-02 13:04"),
        ("2026年3月4日", "2026-03-04 00:00"),
        ("2026年3月4日 星期三", "2026-03-04 00:00"),
    ],
)
def test_dates_of_spreadsheets_and_calendars_are_read(text: str, utc: str) -> None:
    assert f"{times.moment(text, BARE):%Y-%m-%d %H:%M}" == utc


@example("+", "03110000", "")  # 031 is not 31
@given(
    st.sampled_from(["", "+", "00", "+0", "+1", "+86"]),
    st.text("0123456789", min_size=5, max_size=14),
    st.sampled_from(["", "CN", "DE", "US", "GB", "FR", "IT", "RU", "JP", "BR", "AR", "MX", "SG"]),
)
def test_a_phone_read_fast_is_the_phone_that_is_read_slowly(before: str, digits: str, region: str) -> None:
    quick = phones.plain(before + digits, region)
    assert quick in ("", phones.phone(before + digits, region))


@pytest.mark.parametrize(("text", "region"), [("12", "DE"), ("12345", "CN"), ("+4912345", ""), ("110", "CN")])
def test_what_only_a_town_dials_is_nobodys_number(text: str, region: str) -> None:
    with pytest.raises(Wrong):
        values.phones(text, region)
    assert values.phones("22158", "SH") == ["+29022158"]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("05.03.26", "2026-03-04 16:00"),
        ("5-Mar-26", "2026-03-04 16:00"),
        ("25/12/98", "1998-12-24 16:00"),
        ("20260305101112", "2026-03-05 02:11"),
        ("Thu Mar 05 2026 10:11:12 GMT+0800 (China Standard Time)", "2026-03-05 02:11"),
        ("二〇二六年三月十五日", "2026-03-14 16:00"),
        ("二零二六年十二月三十一日 下午3:04", "2026-12-31 07:04"),
        ("2026年3月5日下午3点20分", "2026-03-05 07:20"),
        ("2026/03/05 凌晨 12:30", "2026-03-04 16:30"),
        ("2026-03-05 3:04 p.m.", "2026-03-05 07:04"),
        ("2026-03-05 10:11 UTC+8", None),
    ],
)
def test_more_forms_of_times_are_read(text: str, utc: str | None) -> None:
    if utc is None:
        with pytest.raises(Wrong):
            times.moment(text, SHANGHAI)
    else:
        assert f"{times.moment(text, SHANGHAI):%Y-%m-%d %H:%M}" == utc


@pytest.mark.parametrize(
    ("text", "minor", "code"),
    [
        ("人民币99元", 9900, "CNY"),
        ("99.00元整", 9900, "CNY"),
        ("12元5角", 1250, "CNY"),
        ("￥12块5毛", 1250, "CNY"),
        ("12元5角3分", 1253, "CNY"),
        ("$5 USD", 500, "USD"),
        ("$5 CAD", 500, "CAD"),
        ("¥ 5 元", 500, "CNY"),
    ],
)
def test_currencies_may_stand_on_both_sides(text: str, minor: int, code: str) -> None:
    assert values.money(text, "", BARE) == (minor, code)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("c@qq.con", "c@qq.com"),
        ("d@163.cm", "d@163.com"),
        ("f@gmail", "f@gmail.com"),
        ("g@@gmail.com", "g@gmail.com"),
        ("h@gmail.com.", "h@gmail.com"),
        ("r@gmail,com", "r@gmail.com"),
    ],
)
def test_slips_in_addresses_are_mended_and_noted(written: str, meant: str) -> None:
    notes: values.Notes = []
    assert values.emails(written, notes) == [meant]
    assert [note.value for note in notes][-1] == meant
    assert values.emails("a@x.cc,b@y.cc", notes) == ["a@x.cc", "b@y.cc"]
