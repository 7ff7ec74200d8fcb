"""Read single values as people write them: addresses, phones, money, times. Pure; the rest is Wrong."""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm_store.money import exponent, symbols


class Wrong(Exception):
    """A value that cannot be understood: a reason key and the value."""

    def __init__(self, reason: str, value: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = str(value)[:80]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a file leaves unsaid. `region` is a country code for phones; `decimal` "" means: tell by form."""

    timezone: tzinfo = UTC
    region: str = ""
    currency: str = ""
    language: str = ""
    decimal: str = ""
    day_first: bool | None = None


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_ADDRESS = re.compile(
    r"[^\s@<>\"',;:()\[\]]{1,64}@(?:[^\s@<>\"',;:()\[\].]{1,63}\.)+[^\s@<>\"',;:()\[\].\d]{2,63}"
)


def clean(value: Any) -> str:
    """One line of text without control characters."""
    return re.sub(r"\s+", " ", multiline(value)).strip()


def multiline(value: Any) -> str:
    """Text as it is, without what no database or terminal should be given."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value).replace("\r\n", "\n")
    return unicodedata.normalize("NFC", _CONTROL.sub("", text)).strip()


def listed(value: Any) -> Any:
    """A list that stands as JSON in a cell, else the value as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def several(value: Any) -> list[str]:
    """A list, or text with separators, as distinct texts in order."""
    value = listed(value)
    parts = value if isinstance(value, list) else re.split(r"[,;|\n，；、]", multiline(value))
    return list(dict.fromkeys(text for text in map(clean, parts) if text))


def emails(value: Any) -> list[str]:
    """Addresses in lower case. Raise Wrong for text that holds something else."""
    found: list[str] = []
    for part in several(value):
        text = unicodedata.normalize("NFKC", part).lower().removeprefix("mailto:").replace(" ", "")
        bare = re.sub(r"^.*<([^<>]*)>$", r"\1", text)
        if not _ADDRESS.fullmatch(bare) or ".." in bare or bare.startswith(".") or ".@" in bare:
            raise Wrong("email", part)
        found.append(bare)
    return list(dict.fromkeys(found))


def phones(value: Any, region: str) -> list[str]:
    """Numbers in E.164. `region` reads those without a country code. Raise Wrong."""
    parts = map(clean, re.split(r"[,;|\n，；、]|/{1,2}(?=\s*\+)", multiline(value)))
    return list(dict.fromkeys(phone(part, region) for part in parts if part))


def phone(value: str, region: str) -> str:
    import phonenumbers  # its metadata takes 40 ms; a file without phones does not pay for it

    text = unicodedata.normalize("NFKC", value).removesuffix(".0")
    digits = re.sub(r"\D", "", text)
    if not text.startswith(("+", "00")) and re.fullmatch(r"1[3-9]\d{9}", digits) and region in ("", "CN"):
        return f"+86{digits}"  # nobody else writes a mobile number like this
    if text.startswith("00") and not region:
        text = f"+{digits[2:]}"
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException as error:
        raise Wrong("phone", value) from error
    if not phonenumbers.is_possible_number(number) or number.extension:
        raise Wrong("phone", value)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def handle(value: Any) -> str:
    """A Telegram handle without its @ or link, in lower case. Raise Wrong."""
    text = clean(value).lower()
    text = re.sub(r"^(https?://)?(t|telegram)\.me/", "", text).removeprefix("@")
    if text and not re.fullmatch(r"[a-z][a-z0-9_]{3,31}", text):
        raise Wrong("telegram", value)
    return text


def timezone(value: Any) -> str:
    """The name of a time zone, "" for what is none."""
    try:
        return str(ZoneInfo(clean(value))) if clean(value) else ""
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ""


def whole(value: Any, default: int = 1) -> int:
    """A quantity. Raise Wrong."""
    text = unicodedata.normalize("NFKC", clean(value)).replace(",", "")
    if not text:
        return default
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise Wrong("quantity", value) from error
    if not number.is_finite() or number != number.to_integral_value() or not -(10**9) < number < 10**9:
        raise Wrong("quantity", value)
    return int(number)


def money(value: Any, currency: str, defaults: Defaults) -> tuple[int, str]:
    """(minor units, currency) from "¥1,234.50", "1.234,50 €", "(12.00)", 99.5. Raise Wrong.

    `currency` is what another column says; a sign in the value must not contradict it.
    """
    text = unicodedata.normalize("NFKC", clean(value)).upper()
    amount = re.search(r"\d[\d.,'’\s]*", text)
    if amount is None:
        raise Wrong("amount", value)
    around = (text[: amount.start()] + " " + text[amount.end() :]).replace(" ", "")
    negative = "-" in around or "−" in around or ("(" in around and ")" in around)
    sign = around.translate({ord(c): None for c in "-−+()"})
    named = _currency(currency, value)
    candidates = symbols(sign) if sign else ()
    if sign and not candidates:
        raise Wrong("currency", value)
    wanted = named or (defaults.currency if not sign or defaults.currency in candidates else candidates[0])
    if not wanted:
        raise Wrong("currency_missing", value)
    if sign and wanted not in candidates:
        raise Wrong("currency", value)
    number = _number(re.sub(r"['’\s]", "", amount.group()), exponent(wanted), defaults.decimal, value)
    minor = number.scaleb(exponent(wanted))
    if minor != minor.to_integral_value():
        raise Wrong("amount_precision", value)
    if abs(minor) >= 2**62:
        raise Wrong("amount", value)
    return (-int(minor) if negative else int(minor)), wanted


def _currency(text: str, value: Any) -> str:
    text = unicodedata.normalize("NFKC", text).upper().strip()
    if not text:
        return ""
    found = symbols(text)
    if not found:
        raise Wrong("currency", text)
    return found[0]


def _number(text: str, digits: int, decimal: str, value: Any) -> Decimal:
    text = text.rstrip(".,")
    points, commas = text.count("."), text.count(",")
    if decimal:
        sign = decimal
    elif points and commas:
        sign = "." if text.rindex(".") > text.rindex(",") else ","
    elif points + commas == 1:
        sign = "." if points else ","
        whole_part, fraction = text.split(sign)
        if len(fraction) == 3 and digits != 3 and re.fullmatch(r"[1-9]\d{0,2}", whole_part):
            if sign == "." and digits > 0:
                raise Wrong("amount_ambiguous", value)  # 1.234: a thousand and more, or one and a bit?
            sign = "," if sign == "." else "."
    else:
        sign = "," if points else "."  # several of one kind are thousands
    plain = text.replace("," if sign == "." else ".", "").replace(sign, ".")
    try:
        return Decimal(plain)
    except InvalidOperation as error:
        raise Wrong("amount", value) from error


_DATE = [
    re.compile(r"(?P<y>\d{4})[-/.年]\s?(?P<m>\d{1,2})[-/.月]\s?(?P<d>\d{1,2})日?(?P<rest>.*)"),
    re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?P<rest>(?:\D.*)?)"),
    re.compile(r"(?P<d>\d{1,2})\.\s?(?P<m>\d{1,2})\.\s?(?P<y>\d{4})(?P<rest>.*)"),
    re.compile(
        r"(?P<d>\d{1,2})(?:st|nd|rd|th|\.)?[ -](?P<month>[A-Za-z]{3,9})\.?,?[ -](?P<y>\d{4}),?(?P<rest>.*)"
    ),
    re.compile(r"(?P<month>[A-Za-z]{3,9})\.? (?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4}),?(?P<rest>.*)"),
]
_SLASHED = re.compile(r"(\d{1,2})[-/](\d{1,2})[-/](\d{4})(.*)")
_TIME = re.compile(
    r"[T ]*(?:(?P<before>上午|下午|中午|晚上|am|pm)\s*)?(?P<h>\d{1,2})[:时点](?P<min>\d{1,2})?分?"
    r"(?::?(?P<s>\d{1,2})秒?(?:[.,](?P<f>\d{1,9}))?)?\s*(?P<after>am|pm)?\s*(?P<zone>z|utc|gmt|[+-]\d{2}:?\d{2}|[+-]\d{2})?",
    re.IGNORECASE,
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def moment(value: Any, defaults: Defaults) -> datetime:
    """A time in UTC from the many forms people write; without a zone it is the file's. Raise Wrong."""
    text = unicodedata.normalize("NFKC", clean(value))
    if re.fullmatch(r"\d{10}|\d{13}", text):
        return datetime.fromtimestamp(int(text) / (1000 if len(text) == 13 else 1), UTC)
    try:
        year, month, day, rest = _date(text, value, defaults)
        return _with_time(year, month, day, rest, value, defaults)
    except (ValueError, OverflowError) as error:
        raise Wrong("date", value) from error


def _date(text: str, value: Any, defaults: Defaults) -> tuple[int, int, int, str]:
    for pattern in _DATE:
        found = pattern.fullmatch(text)
        if found is None:
            continue
        parts = found.groupdict()
        month = int(parts["m"]) if "m" in parts else _month(parts["month"], value)
        return int(parts["y"]), month, int(parts["d"]), parts["rest"]
    slashed = _SLASHED.fullmatch(text)
    if slashed is None:
        raise Wrong("date", value)
    first, second = int(slashed[1]), int(slashed[2])
    if first > 12 or second > 12 or first == second:
        day_first = first > 12
    elif defaults.day_first is None:
        raise Wrong("date_ambiguous", value)
    else:
        day_first = defaults.day_first
    day, month = (first, second) if day_first else (second, first)
    return int(slashed[3]), month, day, slashed[4]


def _month(name: str, value: Any) -> int:
    short = name.lower()[:3]
    if short not in _MONTHS:
        raise Wrong("date", value)
    return _MONTHS.index(short) + 1


def _with_time(year: int, month: int, day: int, rest: str, value: Any, defaults: Defaults) -> datetime:
    if not 1970 <= year <= 2199:
        raise Wrong("date", value)
    if not rest.strip():
        return datetime(year, month, day, tzinfo=defaults.timezone).astimezone(UTC)
    found = _TIME.fullmatch(rest.strip())
    if found is None:
        raise Wrong("date", value)
    hour, half = int(found["h"]), (found["before"] or found["after"] or "").lower()
    if half in ("pm", "下午", "晚上") and hour < 12:
        hour += 12
    elif half in ("am", "上午") and hour == 12:
        hour = 0
    micro = int((found["f"] or "0").ljust(6, "0")[:6])
    local = datetime(year, month, day, hour, int(found["min"] or 0), int(found["s"] or 0), micro)  # noqa: DTZ001
    zone = (found["zone"] or "").upper()
    if not zone:
        return local.replace(tzinfo=defaults.timezone).astimezone(UTC)
    offset = "+00:00" if zone in ("Z", "UTC", "GMT") else zone
    return datetime.fromisoformat(f"{local.isoformat()}{offset}").astimezone(UTC)
