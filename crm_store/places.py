"""Countries and languages as people write them, in English and Chinese."""

from __future__ import annotations

import unicodedata
from functools import cache

_COUNTRIES = """
AE united arab emirates,uae,阿联酋;AR argentina,阿根廷;AT austria,österreich,奥地利;AU australia,澳大利亚,澳洲
BD bangladesh,孟加拉国;BE belgium,比利时;BG bulgaria,保加利亚;BR brazil,brasil,巴西;CA canada,加拿大
CH switzerland,schweiz,suisse,瑞士;CL chile,智利;CN china,prc,people's republic of china,中国,中国大陆
CO colombia,哥伦比亚
CZ czechia,czech republic,捷克;DE germany,deutschland,德国;DK denmark,丹麦;EE estonia,爱沙尼亚;EG egypt,埃及
ES spain,españa,西班牙;FI finland,芬兰;FR france,法国;GB united kingdom,uk,great britain,england,英国
GR greece,希腊
HK hong kong,香港,中国香港;HR croatia,克罗地亚;HU hungary,匈牙利;ID indonesia,印度尼西亚,印尼
IE ireland,爱尔兰
IL israel,以色列;IN india,印度;IR iran,伊朗;IS iceland,冰岛;IT italy,italia,意大利;JP japan,日本
KE kenya,肯尼亚
KR south korea,korea,republic of korea,韩国;KZ kazakhstan,哈萨克斯坦;LT lithuania,立陶宛;LU luxembourg,卢森堡
LV latvia,拉脱维亚;MA morocco,摩洛哥;MO macau,macao,澳门,中国澳门;MX mexico,méxico,墨西哥;MY malaysia,马来西亚
NG nigeria,尼日利亚;NL netherlands,the netherlands,holland,荷兰;NO norway,挪威;NZ new zealand,新西兰
PE peru,秘鲁
PH philippines,菲律宾;PK pakistan,巴基斯坦;PL poland,波兰;PT portugal,葡萄牙;RO romania,罗马尼亚
RS serbia,塞尔维亚
RU russia,russian federation,俄罗斯;SA saudi arabia,沙特阿拉伯,沙特;SE sweden,瑞典;SG singapore,新加坡
SI slovenia,斯洛文尼亚;SK slovakia,斯洛伐克;TH thailand,泰国;TR turkey,türkiye,土耳其;TW taiwan,台湾,中国台湾
UA ukraine,乌克兰;US united states,usa,united states of america,america,美国;UY uruguay,乌拉圭
VN vietnam,viet nam,越南
ZA south africa,南非
"""
_LANGUAGES = """
en english,英文,英语;zh chinese,mandarin,中文,汉语,简体中文,普通话,华语;de german,deutsch,德语,德文
fr french,français,法语;es spanish,español,西班牙语;it italian,italiano,意大利语
pt portuguese,português,葡萄牙语
ja japanese,日本語,日语,日文;ko korean,한국어,韩语;ru russian,русский,俄语;nl dutch,nederlands,荷兰语
ar arabic,阿拉伯语
tr turkish,türkçe,土耳其语;pl polish,polski,波兰语;vi vietnamese,越南语;th thai,泰语;id indonesian,印尼语
"""


def country(text: str) -> str:
    """The ISO code of a country's code or name; what is not known stays as it is."""
    return _table(_COUNTRIES).get(_plain(text), text)


def region(text: str) -> str:
    """The ISO code, "" for what is not known."""
    code = country(text)
    return code if len(code) == 2 and code.isascii() and code.isupper() else ""


def language(text: str) -> str:
    """The primary tag of a language's tag or name ("zh-Hans-CN" is "zh"); "" for what is not known."""
    plain = _plain(text)
    if plain in _table(_LANGUAGES):
        return _table(_LANGUAGES)[plain]
    tag = plain.replace("_", "-").split("-")[0]
    return tag if 2 <= len(tag) <= 3 and tag.isascii() and tag.isalpha() else ""


def language_called(code: str, lang: str) -> str:
    """A language's name in English or Chinese: "German", "德语"; the code where there is none."""
    for entry in _entries(_LANGUAGES):
        known, names = entry.split(" ", 1)
        if known == code:
            first, *more = names.split(",")
            return (
                next((name for name in more if _is_han(name)), code) if lang == "zh" else first.capitalize()
            )
    return code


def _is_han(name: str) -> bool:
    return "\u4e00" <= name[-1] <= "\u9fff" and name not in ("日本語",)


def _entries(listed: str) -> list[str]:
    return listed.strip().replace("\n", ";").split(";")


@cache
def _table(listed: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for entry in _entries(listed):
        code, names = entry.split(" ", 1)
        table |= {_plain(name): code for name in [code, *names.split(",")]}
    return table


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()
