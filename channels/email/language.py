"""A cheap guess of the language a reply is written in: script first, then small words."""

from __future__ import annotations

import re

_SAMPLE = 2_000
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_SMALL = {
    "en": "the and you is to of in for that this have with it not are please we your can be was i my our but from will",
    "de": "der die das und ist nicht ich sie wir mit für ein eine zu den auf bitte haben auch dass von im es bei kann",
    "fr": "le la les des est une un pour vous nous je et que dans pas avec sur merci bonjour ce qui mon votre du au",
    "es": "el los las que de una por para con está es no se mi su del gracias hola usted pero como me lo en un",
    "it": "il che di non per una sono con è gli grazie del della mi ho ma anche questo più ciao buongiorno la le un",
    "pt": "o os que não uma para com por em do da é você obrigado olá meu seu mas isso um ao na no foi está",
    "nl": "de het een en van ik je niet is dat voor met op we zijn te heb bedankt graag ook maar naar kan uw u",
    "sv": "och att det är jag inte en som för på med av vi har den till du kan tack hej om ni ett så",
    "no": "og det er jeg ikke en som for på med av vi har den til du kan takk hei om et så fra vil meg",
    "da": "og det er jeg ikke en som for på med af vi har den til du kan tak hej om et så fra vil mig",
    "fi": "ja on ei se että en hän ovat mutta olen kiitos hei minä voi tämä jos kun niin myös ole kuin",
    "pl": "i w nie na się jest to że z do proszę dziękuję dzień dobry jak ale co mam czy za od przez są",
    "cs": "a je se na v že to s z do děkuji dobrý den prosím jsem ale jak co by pro tak si za od",
    "tr": "ve bir bu için ile de da çok var ben ne değil merhaba teşekkürler olarak gibi ama daha mi ki",
    "ro": "și este nu în de la cu pentru că un o mulțumesc bună vă am sunt din pe dar care mai",
    "hu": "a az és nem hogy van egy köszönöm kérem is de ez meg már csak vagy én jó nap",
    "vi": "và là của không tôi bạn có cho được này trong một với các cảm ơn xin chào để",
    "id": "dan yang di ini untuk dengan tidak saya anda terima kasih dari ada akan bisa kami",
}  # fmt: skip
_SMALL_SETS = {code: frozenset(small.split()) for code, small in _SMALL.items()}
_ONLY = {"ß": "de", "ñ": "es", "ł": "pl", "ř": "cs", "ů": "cs", "ğ": "tr", "ı": "tr", "ã": "pt", "õ": "pt",
         "ő": "hu", "ű": "hu", "ț": "ro", "ș": "ro", "ă": "ro", "đ": "vi", "ơ": "vi", "ư": "vi", "æ": "da"}  # fmt: skip


def guess(text: str) -> str:
    """Give an ISO 639-1 code, or "" when there is too little to say."""
    sample = text[:_SAMPLE].lower()
    kana = hangul = han = cyrillic = greek = arabic = hebrew = thai = latin = 0
    for c in sample:
        o = ord(c)
        if o < 0x370:
            latin += c.isalpha()
        elif 0x4E00 <= o <= 0x9FFF or 0x3400 <= o <= 0x4DBF:
            han += 1
        elif 0x3040 <= o <= 0x30FF or 0xFF66 <= o <= 0xFF9D:
            kana += c not in "・ー"
        elif 0xAC00 <= o <= 0xD7A3 or 0x1100 <= o <= 0x11FF or 0x3130 <= o <= 0x318F:
            hangul += 1
        elif 0x400 <= o <= 0x52F:
            cyrillic += 1
        elif 0x370 <= o <= 0x3FF:
            greek += 1
        elif 0x600 <= o <= 0x6FF:
            arabic += 1
        elif 0x590 <= o <= 0x5FF:
            hebrew += 1
        elif 0xE00 <= o <= 0xE7F:
            thai += 1
    # one ideograph says about as much as three letters
    weights = {"cjk": 3 * (han + kana), "ko": 2 * hangul, "cyr": cyrillic, "el": greek, "ar": arabic,
               "he": hebrew, "th": thai, "latin": latin}  # fmt: skip
    top = max(weights, key=lambda k: weights[k])
    if not weights[top]:
        return ""
    match top:
        case "cjk":
            return "ja" if kana > 0.08 * (han + kana) or (kana and han + kana < 8) else "zh"
        case "cyr":
            return _cyrillic(sample)
        case "latin":
            return _latin(sample)
        case _:
            return top


def _cyrillic(sample: str) -> str:
    if any(c in sample for c in "іїєґ"):
        return "be" if "ў" in sample else "uk"
    if any(c in sample for c in "ђћџљњј"):
        return "sr"
    if "ъ" in sample and "ы" not in sample and sample.count("ъ") > 0.008 * len(sample):
        return "bg"
    return "ru"


def _latin(sample: str) -> str:
    words = _WORD.findall(sample)
    scores = {code: float(sum(w in small for w in words)) for code, small in _SMALL_SETS.items()}
    for c, code in _ONLY.items():
        if c in sample:
            scores[code] += 1.5
    if any(c in sample for c in "äö") and scores["fi"]:
        scores["fi"] += 0.5
    best = max(scores, key=lambda k: scores[k])
    return best if scores[best] >= max(1.0, 0.04 * len(words)) else ""
