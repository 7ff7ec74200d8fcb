"""Read single values as people write them: addresses, phones, money. Pure; the rest is Wrong."""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm_store.consent import GRANTED, PURPOSE, WITHDRAWN
from crm_store.importing import guesses
from crm_store.importing.phones import phone as _phone
from crm_store.importing.phones import plain as plain_phone
from crm_store.money import exponent, symbols


class Wrong(Exception):
    """A value that cannot be understood: a reason key and the value."""

    def __init__(self, reason: str, value: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = str(value)[:80]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a file leaves unsaid. `region` is a country code for phones; `decimal` "" means: tell by form, and
    `usual` is the sign to take where the form does not tell."""

    timezone: tzinfo = UTC
    region: str = ""
    currency: str = ""
    language: str = ""
    decimal: str = ""
    day_first: bool | None = None
    usual: str = ""


class Note(NamedTuple):
    """A value that is not as the file has it: corrected (`how` domain, width or form, `was` what stood there), or
    inferred (`how` phone or email, `was` what it was told from)."""

    field: str
    value: str
    was: str
    how: str


Notes = list[Note]
LARGEST = 10**15  # minor units, as the API takes them: exact in every JSON reader, and sums stay numbers
LONGEST = 200  # characters of a name, a number or a key: PostgreSQL cannot index some thousand

_SEVERAL = re.compile(r"[,;|\n，；、]")
_SPLIT_DOMAIN = re.compile(r"(@[\w-]+)[,，。、]\s?(com|cn|net|org|de)\b(?![.@\w])")
# by signs, and by a stroke between two that are as long as a number
_SEVERAL_PHONES = re.compile(
    r"[,;|\n，；、]|/{1,2}(?=\s*\+)|(?:(?<=\d{7})|(?<=\d{4}[- ]\d{4}))\s?/\s?(?=[\d(][\d\s()-]{6})"
)
_YES = frozenset(("yes", "y", "true", "1", "on", "granted", "是", "同意", "已同意"))
_NO = frozenset(("no", "n", "false", "0", "off", "withdrawn", "否", "不同意", "已撤回"))
_WIDE = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff0b\uff20\u3000]+")  # letters, digits, + @
_PLAIN_ADDRESS = re.compile(r"[a-z0-9_%+-]+(?:\.[a-z0-9_%+-]+)*@(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}")
_LETTERS_INSIDE = re.compile(r"\d[^\W\d_]+[+-]?\d")  # 1.38E+10: a spreadsheet has lost the rest
_DIGITS = re.compile(r"\d[\d.,'’\s]*")
_PLAIN_AMOUNT = re.compile(r"\d+\.\d{1,2}")
_AMOUNT = re.compile(r"\d[\d.,]*|\d{1,3}(?:['’\s]\d{3})+(?:[.,]\d*)?")
_NO_CENTS = re.compile(r"(?<=\d)[.,]\s?[-–—]{1,2}(?!\d)")
_JIAO = re.compile(r"\s*[元块]\s*(?=\d)(?:(?P<jiao>\d)\s*[角毛])?\s*(?:(?P<fen>\d)\s*分)?$")
_POWERS = {"万": 4, "萬": 4, "亿": 8, "億": 8}
_GROUPED = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}")  # 1,234,567; in India 12,34,567
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_ADDRESS = re.compile(
    r"[^\s@<>\"',;:()\[\]]{1,64}@(?:[^\s@<>\"',;:()\[\].]{1,63}\.)+[^\s@<>\"',;:()\[\].\d]{2,63}"
)


def clean(value: Any) -> str:
    """One line of text without control characters."""
    if (
        type(value) is str
        and value.isprintable()  # no control characters, and of spaces only the plain one
        and "  " not in value
        and (value.isascii() or unicodedata.is_normalized("NFC", value))
    ):
        return value.strip()
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
    if type(value) is str and value.isprintable() and _SEVERAL.search(value) is None:
        return [text] if (text := clean(value)) else []
    parts = value if isinstance(value, list) else _SEVERAL.split(multiline(value))
    return list(dict.fromkeys(text for text in map(clean, parts) if text))


def consents(value: Any) -> tuple[tuple[str, str], ...]:
    """Purposes with what was said of them: "marketing_email", "-marketing_email" for withdrawn; a yes or a no
    is about mail. What is no purpose says nothing."""
    found: dict[str, str] = {}
    for text in several(value):
        word = text.casefold()
        state = WITHDRAWN if word.startswith("-") or word in _NO else GRANTED
        purpose = "marketing_email" if word in _YES or word in _NO else "_".join(word.lstrip("-+").split())
        if PURPOSE.fullmatch(purpose):
            found[purpose] = state
    return tuple(found.items())


def emails(value: Any, notes: Notes | None = None, wrong: list[Wrong] | None = None) -> list[str]:
    """Addresses in lower case. Raise Wrong for text that holds something else; with `wrong`, that is put there.

    Slips in the domains of the big providers are corrected where there are `notes` to say so.
    """
    if (
        type(value) is str
        and len(value) <= 254
        and (plain := value.lower())
        and _PLAIN_ADDRESS.fullmatch(plain)
    ):
        return [_provider(plain, notes)]
    found: list[str] = []
    if type(value) is str and notes is not None and _SPLIT_DOMAIN.search(value):
        was, value = value, _SPLIT_DOMAIN.sub(r"\1.\2", value)  # r@gmail,com
        notes.append(Note("email", value, was, "form"))
    for part in several(value):
        text = unicodedata.normalize("NFKC", part).lower()
        bare = re.sub(r"^.*<([^<>]*)>$", r"\1", text).strip().removeprefix("mailto:")
        bare = re.sub(r" ?([@.]) ?", r"\1", bare)  # "anna @ example . com"; other spaces may stand for a sign
        mended = bare
        if notes is not None:
            mended = re.sub(r"@{2,}", "@", bare.replace("。", ".")).rstrip(".")
            host = mended.rpartition("@")[2]
            mended += guesses.ENDINGS.get(host, "") if "." not in host else ""
        if (
            len(mended) > 254
            or not _ADDRESS.fullmatch(mended)
            or ".." in mended
            or mended[0] == "."
            or ".@" in mended
        ):
            if wrong is None:
                raise Wrong("email", part)
            wrong.append(Wrong("email", part))
            continue
        if notes is not None and mended != bare:
            notes.append(Note("email", mended, part, "form"))
        elif notes is not None and not part.isascii() and bare.isascii() and _WIDE.search(part):
            notes.append(Note("email", bare, part, "width"))
        found.append(_provider(mended, notes))
    return list(dict.fromkeys(found))


def _provider(address: str, notes: Notes | None) -> str:
    if notes is None:
        return address
    local, _, domain = address.rpartition("@")
    better = guesses.provider(domain)
    if better == domain:
        return address
    notes.append(Note("email", f"{local}@{better}", address, "domain"))
    return f"{local}@{better}"


def phones(
    value: Any, region: str, notes: Notes | None = None, wrong: list[Wrong] | None = None
) -> list[str]:
    """Numbers in E.164. `region` reads those without a country code. Raise Wrong; with `wrong`, put it there."""
    if type(value) is str and (number := plain_phone(value, region)):
        return [number]
    value = listed(value)
    text = "\n".join(map(multiline, value)) if isinstance(value, list) else multiline(value)
    found = []
    for part in map(clean, _SEVERAL_PHONES.split(text)):
        if part in ("", "-", "/"):
            continue
        try:
            found.append(phone(part, region))
        except Wrong as error:
            if wrong is None:
                raise
            wrong.append(error)
            continue
        if notes is not None and _WIDE.search(part):
            notes.append(Note("phone", found[-1], part, "width"))
    return list(dict.fromkeys(found))


def phone(text: str, region: str) -> str:
    """One number in E.164. Raise Wrong."""
    number = _phone(text, region)
    if not number or _LETTERS_INSIDE.search(text):
        raise Wrong("phone", text)
    return number


def name(value: Any, notes: Notes, field: str = "name") -> str:
    """One line; letters and digits of full width become plain ones."""
    text = clean(value)
    if not text.isascii() and _WIDE.search(text):
        plain = clean(_WIDE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text))
        notes.append(Note(field, plain, text, "width"))
        return plain
    return text


def key(value: Any) -> str:
    """What a thing is called by, one line. Raise Wrong for what is too long to be found by."""
    text = clean(value)
    if len(text) > LONGEST:
        raise Wrong("too_long", text)
    return text


def handle(value: Any) -> str:
    """A Telegram handle without its @ or link, in lower case. Raise Wrong."""
    text = clean(value).lower()
    text = re.sub(r"^(https?://)?(t|telegram)\.me/", "", text).removeprefix("@")
    if text and not re.fullmatch(r"[a-z][a-z0-9_]{3,31}", text):
        raise Wrong("telegram", value)
    return text


def timezone(value: Any) -> str:
    """The name of a time zone, "" for what is none."""
    return _timezone(clean(value))


@lru_cache(maxsize=1024)
def _timezone(text: str) -> str:
    try:
        return str(ZoneInfo(text)) if text else ""
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ""


def whole(value: Any, default: int = 1) -> int:
    """A quantity. Raise Wrong."""
    text = unicodedata.normalize("NFKC", clean(value))
    if not text:
        return default
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise Wrong("quantity", value) from error
    if not number.is_finite() or number != number.to_integral_value() or not -(10**9) < number < 10**9:
        raise Wrong("quantity", value)
    return int(number)


def money(value: Any, currency: str, defaults: Defaults) -> tuple[int, str]:
    """(minor units, currency) from "¥1,234.50", "1.234,50 €", "12,- €", "1.5万元", "(12.00)", 99.5. Raise Wrong.

    `currency` is what another column says; a sign in the value must not contradict it.
    """
    # 33.300000000000004 is what 3 * 11.1 makes
    said = f"{value:.15g}" if isinstance(value, float) else clean(value)
    text = unicodedata.normalize("NFKC", said).upper()
    if "-" in text or "–" in text or "—" in text:
        text = _NO_CENTS.sub("", text)
    amount = _DIGITS.search(text)
    if amount is None:
        raise Wrong("amount", value)
    behind = text[amount.end() :]
    if jiao := _JIAO.match(behind):
        return _in_jiao(text, amount, jiao, currency, defaults, value)
    power = _POWERS.get(behind[:1], 0)
    before, after = text[: amount.start()], behind[power > 0 :]
    around = f"{before} {after}"
    negative = "-" in around or "−" in around or ("(" in around and ")" in around)
    wanted = _meant(before, after, currency, defaults, value)
    digits = amount.group()
    if digits.isdecimal() or (defaults.decimal != "," and _PLAIN_AMOUNT.fullmatch(digits)):
        number = Decimal(digits)
    else:
        digits = digits.strip()
        if not _AMOUNT.fullmatch(digits):
            raise Wrong("amount", value)
        decimal = defaults.decimal or ("." if power else "")
        number = _number(re.sub(r"['’\s]", "", digits), exponent(wanted), decimal, value, defaults.usual)
    minor = number.scaleb(exponent(wanted) + power)
    if minor != minor.to_integral_value():
        raise Wrong("amount_precision", value)
    if abs(minor) > LARGEST:
        raise Wrong("amount", value)
    return (-int(minor) if negative else int(minor)), wanted


def _meant(before: str, after: str, currency: str, defaults: Defaults, value: Any) -> str:
    """The currency that another column, what stands around a number, or else the desk says. Raise Wrong."""
    named = _currency(currency, value)
    signs = [_bare(before), _bare(after)]
    candidates = symbols("".join(signs)) if any(signs) else ()
    if all(signs) and not candidates:  # 人民币99元, $5 USD
        first, second = map(symbols, signs)
        candidates = tuple(code for code in first if code in second)
    if any(signs) and not candidates:
        raise Wrong("currency", value)
    wanted = named or (
        defaults.currency if not candidates or defaults.currency in candidates else candidates[0]
    )
    if not wanted:
        raise Wrong("currency_missing", value)
    if candidates and wanted not in candidates:
        raise Wrong("currency", value)
    return wanted


def _bare(around: str) -> str:
    return re.sub(r"(?<=[元圆])[整正]$", "", around.translate(_NO_SIGNS)).replace("圆", "元")


_NO_SIGNS = {ord(c): None for c in " -−+()"}


def _in_jiao(
    text: str, yuan: re.Match[str], jiao: re.Match[str], currency: str, defaults: Defaults, value: Any
) -> tuple[int, str]:
    """12元5角3分."""
    wanted = _meant(text[: yuan.start()], "元", currency, defaults, value)
    if not yuan.group().strip().isdecimal() or wanted != "CNY":
        raise Wrong("amount", value)
    minor = int(yuan.group()) * 100 + int(jiao["jiao"] or 0) * 10 + int(jiao["fen"] or 0)
    return -minor if "-" in text[: yuan.start()] else minor, wanted


def _currency(text: str, value: Any) -> str:
    text = unicodedata.normalize("NFKC", text).upper().strip()
    if not text:
        return ""
    found = symbols(text)
    if not found:
        raise Wrong("currency", text)
    return found[0]


def _number(text: str, digits: int, decimal: str, value: Any, usual: str = "") -> Decimal:
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
            if sign == "." and digits > 0 and usual != ",":
                raise Wrong("amount_ambiguous", value)  # 1.234: a thousand and more, or one and a bit?
            sign = "," if sign == "." else "."
    else:
        sign = "," if points else "."  # several of one kind are thousands
    units, _, cents = text.partition(sign)
    thousands = units.replace(".", ",")
    if "," in thousands and not _GROUPED.fullmatch(thousands):
        raise Wrong("amount", value)  # 12.03.2024 is a day
    try:
        return Decimal(f"{thousands.replace(',', '')}.{cents}" if cents else thousands.replace(",", ""))
    except InvalidOperation as error:
        raise Wrong("amount", value) from error
