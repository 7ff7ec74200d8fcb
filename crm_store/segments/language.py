"""The language of segments: what may be asked for, and one pass over the text that understands it or says where it
does not. Nothing here knows of a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from crm_store import money, places
from crm_store.search.syntax import QUOTES, QueryError, moment, quoted

LIMIT = 1000  # characters
DEPTH = 20  # brackets inside one another
TERMS = 50
LARGEST = 10**12  # a number; of the smallest currency's minor units still one that databases know

Operator = Literal[":", "=", "!=", "<", "<=", ">", ">="]
Kind = Literal["text", "word", "tag", "date", "number", "money", "custom"]
_OPERATORS = ("<=", ">=", "!=", "≤", "≥", "≠", "：", ":", "=", "<", ">", "＜", "＞", "＝")
_SAME = {"≤": "<=", "≥": ">=", "≠": "!=", "：": ":", "＜": "<", "＞": ">", "＝": "="}

ANY = "*"  # as a value: whatever there is, but something
_UNITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz€$¥￥£元"
_SCALES = {"k": 10**3, "K": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}

# What may be asked for: name → kind, and other spellings of it
FIELDS: dict[str, Kind] = {
    "name": "text", "company": "text", "city": "text", "email": "text", "phone": "text", "note": "text",
    "country": "word", "language": "word", "source": "word", "channel": "word", "tag": "tag", "id": "number",
    "orders": "number", "spent": "money", "last_order": "date", "first_order": "date", "rating": "number",
    "tickets": "number", "open_tickets": "number", "complaints": "number", "last_contact": "date",
    "last_message": "date", "created": "date", "field": "custom", "event": "word", "events": "number",
    "last_event": "date", "timezone": "word", "owner": "word", "consent": "word", "stage": "word", "deals": "number",
    "value": "money", "product": "text",
}  # fmt: skip
_ALSO = {
    "姓名": "name", "公司": "company", "城市": "city", "邮箱": "email", "电话": "phone", "手机": "phone",
    "国家": "country", "语言": "language", "来源": "source", "渠道": "channel", "标签": "tag", "订单数": "orders",
    "消费": "spent", "最近下单": "last_order", "首次下单": "first_order", "评分": "rating", "工单": "tickets",
    "未结工单": "open_tickets", "投诉": "complaints", "最近联系": "last_contact", "最近来信": "last_message",
    "事件": "event", "行为": "event", "事件数": "events", "最近事件": "last_event",
    "时区": "timezone", "负责人": "owner", "授权": "consent", "同意": "consent", "阶段": "stage", "商机": "stage",
    "商机数": "deals", "价值": "value", "商品": "product", "产品": "product", "备注": "note", "编号": "id",
    "字段": "field", "bought": "product", "worth": "value", "purchases": "orders",
    "创建": "created", "tags": "tag", "since": "created", "lang": "language", "mail": "email", "e-mail": "email",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison. `value` is str, Decimal, (Decimal, currency) or Moment, of a list each."""

    field: str
    operator: Operator
    values: tuple[Any, ...]
    part: str = ""  # of a custom field its name


@dataclass(frozen=True, slots=True)
class Group:
    how: Literal["all", "any", "not"]
    inner: tuple[Segment, ...]


Segment = Term | Group


def parse(text: str, *, zone: tzinfo = UTC, currency: str = "") -> Segment:
    """Read a segment; days are of `zone`, and ¥ is `currency` where that is one of those it can mean. Raise
    QueryError, which says where and what is wrong, and nothing else."""
    if len(text) > LIMIT:
        raise QueryError("long", LIMIT)
    return _Parser(text, zone, currency).whole()


class _Parser:
    """One pass over the text; `at` is where it stands."""

    def __init__(self, text: str, zone: tzinfo, currency: str) -> None:
        self.text = text
        self.zone = zone
        self.currency = currency
        self.at = 0
        self.terms = 0

    def whole(self) -> Segment:
        self.space()
        if self.at == len(self.text):
            raise QueryError("empty", 0)
        found = self.any(0)
        if self.at < len(self.text):
            raise QueryError("bracket", self.at, self.text[self.at])
        return found

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def word(self, *words: str) -> bool:
        """Step over one of the words, when one stands here by itself."""
        for word in words:
            end = self.at + len(word)
            here = self.text[self.at : end].lower() == word
            if here and (end == len(self.text) or self.text[end].isspace() or self.text[end] in "(（"):
                self.at = end
                self.space()
                return True
        return False

    def any(self, depth: int) -> Segment:
        found = [self.all(depth)]
        while self.word("or", "||", "|", "或"):
            found.append(self.all(depth))
        return found[0] if len(found) == 1 else Group("any", tuple(found))

    def all(self, depth: int) -> Segment:
        found = [self.one(depth)]
        while self.at < len(self.text) and self.text[self.at] not in ")）":
            place = self.at
            if self.word("or", "||", "|", "或"):
                self.at = place
                break
            self.word("and", "&&", "&", "且")
            found.append(self.one(depth))
        return found[0] if len(found) == 1 else Group("all", tuple(found))

    def one(self, depth: int) -> Segment:
        if depth > DEPTH:
            raise QueryError("deep", self.at)
        if self.at >= len(self.text):
            raise QueryError("end", self.at)
        if self.word("not", "非", "!"):
            return Group("not", (self.one(depth + 1),))
        if self.text[self.at] in "-!":
            self.at += 1
            return Group("not", (self.one(depth + 1),))
        if self.text[self.at] in "(（":
            opened = self.at
            self.at += 1
            self.space()
            found = self.any(depth + 1)
            if self.at >= len(self.text):
                raise QueryError("bracket", opened, self.text[opened])
            self.at += 1
            self.space()
            return found
        return self.term()

    def term(self) -> Term:
        self.terms += 1
        if self.terms > TERMS:
            raise QueryError("long", self.at)
        start = self.at
        while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] in "_.-"):
            self.at += 1
        named = self.text[start : self.at].lower()
        name, _, part = named.partition(".")
        name = _ALSO.get(name, name)
        spaced = named.endswith(".") and self.at < len(self.text) and self.text[self.at] in QUOTES
        if name not in FIELDS or (FIELDS[name] == "custom") != (bool(part) or spaced):
            raise QueryError("field", start, self.text[start : self.at] or self.text[start : start + 1])
        part = self.part(start) if part or FIELDS[name] == "custom" else ""
        place = self.at
        sign = next((one for one in _OPERATORS if self.text.startswith(one, self.at)), "")
        if not sign:
            raise QueryError("operator", place, self.text[start : self.at])
        self.at += len(sign)
        operator: Any = _SAME.get(sign, sign)
        kind = FIELDS[name]
        if operator not in (":", "=", "!=") and kind in ("text", "word", "tag", "custom"):
            raise QueryError("operator", place, sign)
        values = [self.value(name, kind)]
        while self.at < len(self.text) and self.text[self.at] in ",，、":
            self.at += 1
            values.append(self.value(name, kind))
        if len(values) > 1 and operator not in (":", "=", "!="):
            raise QueryError("several", place, sign)
        self.space()
        return Term(name, operator, tuple(values), part)

    def part(self, start: int) -> str:
        """The name of a custom field: what stands after the dot, in quotes where it is several words."""
        if self.text[self.at - 1] != "." or self.at == len(self.text) or self.text[self.at] not in QUOTES:
            return self.text[start : self.at].partition(".")[2]
        opened = self.at
        said, self.at = quoted(self.text, self.at)
        if not _plain(said):
            raise QueryError("value", opened)
        return _plain(said)

    def value(self, name: str, kind: Kind) -> Any:
        start = self.at
        if self.at < len(self.text) and self.text[self.at] in QUOTES:
            said, self.at = quoted(self.text, self.at)
        else:
            while self.at < len(self.text) and not (
                self.text[self.at].isspace() or self.text[self.at] in ",，、()（）"
            ):
                self.at += 1
            said = self.text[start : self.at]
        said = _plain(said)
        if not said:
            raise QueryError("value", start)
        match kind:
            case "date":
                found = moment(said, self.zone)
                if found is None:
                    raise QueryError("date", start, said)
                return found
            case "number":
                return _number(said, start)
            case "money":
                return _money(said, start, self.currency)
            case "word" if name == "country":
                return places.country(said)
            case "word" if name == "language":
                return places.language(said) or said
        return said


def _plain(said: str) -> str:
    return said.replace("\x00", "").encode("utf-8", "ignore").decode().strip()


def _number(digits: str, at: int, said: str = "") -> Decimal:
    said = said or digits
    try:
        found = Decimal(digits)
    except InvalidOperation:
        raise QueryError("number", at, said) from None
    if not found.is_finite() or abs(found) > LARGEST or -found.as_tuple().exponent > 6:  # type: ignore[operator]
        raise QueryError("number", at, said)
    return found


def _money(said: str, at: int, currency: str) -> tuple[Decimal, str]:
    """An amount as people write it (1000, 1000EUR, €1000, 1万元, 2k) with the currency it names, or none."""
    bare = said.lstrip(_UNITS)
    digits = bare.rstrip(_UNITS + "万萬亿億")
    unit, factor = bare[len(digits) :], 1
    if unit[:1] in _SCALES and not money.symbols(unit.upper()):
        unit, factor = unit[1:], _SCALES[unit[0]]
    unit = (said[: len(said) - len(bare)] + unit).upper().replace("￥", "¥")
    named = money.symbols(unit) if unit else ("",)
    amount = _number(digits, at, said) * factor
    if not named or abs(amount) > LARGEST:
        raise QueryError("number", at, said)
    return amount, currency if currency in named else named[0]
