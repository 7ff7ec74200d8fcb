"""Currencies: how many digits their minor unit has, and how people write them."""

from __future__ import annotations

# ISO 4217: how many digits the minor unit has where not two
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_EXPONENTS = dict.fromkeys(_WHOLE.split(), 0)
_EXPONENTS |= dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3)  # noqa: SIM905
_HUNDREDTHS = """
AED ARS AUD BDT BGN BRL CAD CHF CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR KES KZT LKR MAD MOP MXN MYR
NGN NOK NZD PEN PHP PKR PLN QAR RON RSD RUB SAR SEK SGD THB TRY TWD UAH USD UYU UZS ZAR
"""
_CODES = frozenset(_EXPONENTS) | frozenset(_HUNDREDTHS.split())
# The first is meant where nothing else is known.
_SYMBOLS: dict[str, tuple[str, ...]] = {
    "¥": ("CNY", "JPY"),
    "元": ("CNY", "TWD", "HKD", "MOP"),
    "RMB": ("CNY",),
    "人民币": ("CNY",),
    "块": ("CNY",),
    "日元": ("JPY",),
    "円": ("JPY",),
    "€": ("EUR",),
    "EURO": ("EUR",),
    "EUROS": ("EUR",),
    "欧元": ("EUR",),
    "$": ("USD", "CAD", "AUD", "NZD", "HKD", "SGD", "TWD", "MXN", "CLP", "COP", "ARS"),
    "US$": ("USD",),
    "美元": ("USD",),
    "HK$": ("HKD",),
    "港币": ("HKD",),
    "港元": ("HKD",),
    "NT$": ("TWD",),
    "新台币": ("TWD",),
    "S$": ("SGD",),
    "A$": ("AUD",),
    "C$": ("CAD",),
    "£": ("GBP",),
    "英镑": ("GBP",),
    "₩": ("KRW",),
    "₹": ("INR",),
    "₽": ("RUB",),
    "₫": ("VND",),
    "฿": ("THB",),
    "R$": ("BRL",),
    "ZŁ": ("PLN",),
    "KČ": ("CZK",),
    "KR": ("SEK", "NOK", "DKK", "ISK"),
    "FR.": ("CHF",),
    "SFR": ("CHF",),
}


def exponent(currency: str) -> int:
    """Digits after the point: 2 for most, 0 for JPY, 3 for KWD."""
    return _EXPONENTS.get(currency, 2)


def symbols(text: str) -> tuple[str, ...]:
    """The currencies that a code, sign or name (upper case) can mean, likeliest first; () for none."""
    if text in _CODES:
        return (text,)
    if text in _SYMBOLS:
        return _SYMBOLS[text]
    for code in (text[:3], text[-3:]):  # "USD$", "¥CNY"
        rest = text.replace(code, "", 1)
        if code in _CODES and code in _SYMBOLS.get(rest, ()):
            return (code,)
    return ()


def in_units(amount_minor: int, currency: str) -> str:
    """1234 CNY as "12.34", exactly; the sign of the currency is for who shows it."""
    digits = exponent(currency)
    if digits == 0:
        return str(amount_minor)
    text = str(abs(amount_minor)).rjust(digits + 1, "0")
    return f"{'-' if amount_minor < 0 else ''}{text[:-digits]}.{text[-digits:]}"
