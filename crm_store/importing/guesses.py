"""What a file does not say and nearly says: slips in well-known domains, names and countries from addresses."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Where most private addresses are; a domain one slip away from one of them is meant for it.
PROVIDERS = """
gmail.com googlemail.com yahoo.com yahoo.co.uk yahoo.co.jp yahoo.fr yahoo.de hotmail.com hotmail.co.uk hotmail.fr
outlook.com outlook.de live.com msn.com icloud.com aol.com protonmail.com proton.me gmx.de gmx.net gmx.com web.de
t-online.de mail.ru yandex.ru orange.fr wanadoo.fr free.fr laposte.net libero.it qq.com foxmail.com 163.com 126.com
yeah.net sina.com sina.cn sohu.com 139.com 189.cn aliyun.com naver.com daum.net hanmail.net comcast.net verizon.net
btinternet.com zoho.com fastmail.com
"""
# Real domains that look like a slip of one of those.
REAL = """
ymail.com email.com mail.com hotmail.de hotmail.it hotmail.es live.de live.fr live.cn gmx.at gmx.ch gmx.fr free.com
aol.de 188.com 136.com 169.com 123.com fmail.com gmail.de yahoo.com.cn yahoo.cn sina.com.cn vip.163.com vip.qq.com
mail.de tmail.com rmail.com jmail.com mailo.com me.com mac.com qq.cn 263.net 21.cn 21cn.com outlook.fr outlook.es
outlook.cn outlook.jp gmal.net libero.com wp.pl o2.pl bk.ru inbox.ru list.ru ya.ru yandex.com proton.com sohu.net
yahoo.es yahoo.it yahoo.in yahoo.ca yahoo.com.hk yahoo.com.tw yahoo.com.br icloud.cn aliyun.cn
"""
_KNOWN = tuple(PROVIDERS.split())
_FINE = frozenset(_KNOWN) | frozenset(REAL.split())
# Of addresses that end with the provider's name; and endings that do not exist, but are written for .com.
ENDINGS = dict.fromkeys("gmail hotmail outlook icloud yahoo qq foxmail 163 126 aliyun".split(), ".com")  # noqa: SIM905
_FOR_COM = frozenset("con cmo ocm vom xom comm coom cim cpm c0m ccom om cm clm con.cn".split())  # noqa: SIM905
ROLES = """
info sales support admin office contact service hello noreply no reply mail team help billing accounts webmaster
postmaster marketing press jobs customer test user kontakt vertrieb
"""
_ROLES = frozenset(ROLES.split())
_WORD = re.compile(r"[^\W\d_]{2,20}")
_GENERIC = frozenset(
    {"io", "ai", "me", "tv", "co", "cc", "ws", "fm", "to", "ly", "gg", "im", "sh", "nu", "eu"}
)


@lru_cache(maxsize=50_000)
def provider(domain: str) -> str:
    """The provider's domain that was meant, or the domain as it is."""
    if domain in _FINE or not 5 <= len(domain) <= 20:
        return domain
    host, _, ending = domain.partition(".")
    if ending in _FOR_COM and f"{host}.com" in _KNOWN:
        return f"{host}.com"
    for known in _KNOWN:
        name, _, its_ending = known.partition(".")
        if host == name and len(name) > 3:
            if "." not in its_ending and _slips(ending, its_ending) == 1 and not _is_country(ending):
                return known
        elif ending == its_ending and len(name) > 3 and _slips(host, name) == 1 and _likely(host, name):
            return known
    return domain


def _likely(host: str, name: str) -> bool:
    """Not another word of that look: slips keep the first letter, or swap it with its neighbour; digits are
    other numbers (136.com)."""
    return not name.isdigit() and len(name) > 4 and (host[0] == name[0] or sorted(host) == sorted(name))


def _is_country(ending: str) -> bool:
    """Endings that exist: a real site may be there (gmail.cm is a slip, hotmail.dk a country)."""
    return len(ending) == 2 and ending not in ("co", "cm", "om")


def _slips(a: str, b: str) -> int:
    if abs(len(a) - len(b)) > 1:
        return 9
    from rapidfuzz.distance import OSA  # 40 ms of import; a file without doubtful domains does not pay

    return int(OSA.distance(a, b))


def name_from(address: str) -> str:
    """Anna Smith for anna.smith@…; "" where the address does not say it in two or three words."""
    parts = [part for part in re.split(r"[._-]", address.partition("@")[0].rstrip("0123456789")) if part]
    if not 2 <= len(parts) <= 3 or not all(_WORD.fullmatch(part) for part in parts):
        return ""
    if any(part in _ROLES for part in parts):
        return ""
    return " ".join(part.capitalize() for part in parts)


def are_others(one: str, other: str) -> bool:
    """Whether these are the names of two people: of one are A. Smith and Anna Smith, or 张三 and San Zhang, for all
    that is known here."""
    if not one or not other or _is_latin(one) != _is_latin(other):
        return False
    few, many = sorted((_words(one), _words(other)), key=len)
    return not all(any(_stands_for(word, whole) for whole in many) for word in few)


def _is_latin(name: str) -> bool:
    return all(character < "\u0250" for character in name)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).casefold())


def _stands_for(word: str, whole: str) -> bool:
    return word == whole or (min(len(word), len(whole)) == 1 and word[0] == whole[0] and word[0] < "\u0250")


def region_from(address: str) -> str:
    """The country an address's ending stands for, "" for those that stand for none."""
    ending = address.rpartition(".")[2]
    if len(ending) != 2 or not ending.isascii() or ending in _GENERIC:
        return ""
    return "GB" if ending == "uk" else ending.upper()
