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
_SPEAKERS: dict[str, tuple[str, ...]] = {}  # a small word and the languages that have it
for _code, _small in _SMALL.items():
    for _word in dict.fromkeys(_small.split()):
        _SPEAKERS[_word] = (*_SPEAKERS.get(_word, ()), _code)
_SCRIPTS = {
    "han": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]"),
    "kana": re.compile(r"[\u3040-\u309f\u30a0-\u30fa\u30fd-\u30ff\uff66-\uff9d]"),  # not ・ー
    "ko": re.compile(r"[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]"),
    "cyr": re.compile(r"[\u0400-\u052f]"),
    "el": re.compile(r"[\u0370-\u03ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "he": re.compile(r"[\u0590-\u05ff]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
}
_LATIN = re.compile(r"[a-z\xaa\xb5\xba\xdf-\xf6\xf8-\u02c1\u02c6-\u02d1\u02e0-\u02e4\u02ec\u02ee]+")
_ONLY = {"ß": "de", "ñ": "es", "ł": "pl", "ř": "cs", "ů": "cs", "ğ": "tr", "ı": "tr", "ã": "pt", "õ": "pt",
         "ő": "hu", "ű": "hu", "ț": "ro", "ș": "ro", "ă": "ro", "đ": "vi", "ơ": "vi", "ư": "vi", "æ": "da"}  # fmt: skip


def guess(text: str) -> str:
    """Give an ISO 639-1 code, or "" when there is too little to say."""
    sample = text[:_SAMPLE].lower()
    # a pattern counts a script in a hundredth of the time that a loop over the characters takes
    plain = sample.isascii()
    found = {script: 0 if plain else len(pattern.findall(sample)) for script, pattern in _SCRIPTS.items()}
    han, kana = found["han"], found["kana"]
    # one ideograph says about as much as three letters
    weights = {"cjk": 3 * (han + kana), "ko": 2 * found["ko"]}
    weights |= {script: found[script] for script in ("cyr", "el", "ar", "he", "th")}
    weights["latin"] = sum(map(len, _LATIN.findall(sample)))
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
    scores = dict.fromkeys(_SMALL, 0.0)
    for word in words:
        for code in _SPEAKERS.get(word, ()):
            scores[code] += 1
    for c in () if sample.isascii() else _ONLY:
        if c in sample:
            scores[_ONLY[c]] += 1.5
    if scores["fi"] and any(c in sample for c in "äö"):
        scores["fi"] += 0.5
    best = max(scores, key=lambda k: scores[k])
    return best if scores[best] >= max(1.0, 0.04 * len(words)) else ""
