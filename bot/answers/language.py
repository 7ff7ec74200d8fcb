"""Which language a message is written in, by its script and its smallest words."""

from __future__ import annotations

import re
from collections.abc import Collection

_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
_SMALL_WORDS = {
    "en": "no yes the is are was were my your i you we they it this that what when where how why who do "
    "does did can could would should have has had not and or of to for with from on please hello hi "
    "thanks thank want need order refund return delivery help im don't can't i'm it's there any "
    "about ",
    "de": "der die das ist sind war ich sie wir mein meine ihr und oder nicht ein eine kann wie wo wann "
    "warum bitte danke hallo habe haben mit von für auf zu den dem noch bestellung ",
    "fr": "le la les est sont je vous nous mon ma mes votre et ou pas un une des du de pour avec dans où "
    "quand comment pourquoi bonjour merci s'il commande c'est j'ai ",
    "es": "el los las es son yo usted mi mis su y o no un una de para con en dónde donde cuándo cuando "
    "cómo como por qué que hola gracias pedido está quiero ",
    "it": "il lo gli è sono io voi mio mia e non un una di per con dove quando come perché ciao grazie "
    "ordine che ",
    "pt": "os as é são eu você meu minha e não um uma de para com onde quando como obrigado olá pedido "
    "que está ",
    "nl": "de het een is zijn ik jij u mijn uw en niet van voor met waar wanneer hoe waarom hallo dank "
    "bestelling ",
}
_SPEAKERS: dict[str, tuple[str, ...]] = {}  # a small word and the languages that have it
for _language, _words in _SMALL_WORDS.items():
    for _word in dict.fromkeys(_words.split()):
        _SPEAKERS[_word] = (*_SPEAKERS.get(_word, ()), _language)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_NOISE = re.compile(r"https?://\S+|\S+@\S+|#?\b[A-Za-z]{1,4}-?\d+\b")
# Han characters weigh more than letters: a Chinese sentence may hold a product's Latin name, hardly the
# reverse.
_HAN_WEIGHT = 3


def base(language: str) -> str:
    """Return the language without region and script: zh-Hant-TW is zh."""
    return language.replace("_", "-").split("-")[0].lower()


def detect(text: str, default: str, among: Collection[str] = ()) -> str:
    """Return the language of a text, or the default where the text says nothing ("OK", "A-1001").

    With `among` only those languages are found; any other text keeps the default.
    """
    cleaned = _NOISE.sub(" ", text[:2_000]).replace("’", "'").lower()
    words = _WORD.findall(cleaned)
    latin = sum(map(len, words if cleaned.isascii() else filter(str.isascii, words)))
    best, most = "", 0
    for language, pattern in () if cleaned.isascii() else _SCRIPTS:
        count = len(pattern.findall(cleaned))
        if language == "ja" and count:
            count += len(_SCRIPTS[2][1].findall(cleaned))
        if count > most:
            best, most = language, count
    if best and most * _HAN_WEIGHT >= latin:
        return _allowed(best, default, among)
    scores = dict.fromkeys(_SMALL_WORDS, 0)
    for word in words:
        for language in _SPEAKERS.get(word, ()):
            scores[language] += 1
    top = max(scores.values())
    if top == 0 or (len(words) < 2 and top < 2 and not _telling(words)):
        return default
    leaders = [language for language, score in scores.items() if score == top]
    # A tie goes to what the customer spoke before, then to English.
    return _allowed(default if default in leaders else leaders[0], default, among)


def _telling(words: list[str]) -> bool:
    """One word alone is evidence only if no other language has it."""
    return len(_SPEAKERS.get(words[0], ())) == 1 if words else False


def _allowed(language: str, default: str, among: Collection[str]) -> str:
    if among and language not in {base(tag) for tag in among}:
        return default
    # The default may say more of the same language (zh-TW): keep it.
    return default if base(default) == language else language
