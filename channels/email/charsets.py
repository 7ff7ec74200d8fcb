"""Bytes to text for mail as it is, not as its label says."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable

# A label names the family; real mail is written in the family's largest member.
_WIDER = {
    "gb2312": "gb18030", "gb_2312_80": "gb18030", "gb2312_80": "gb18030", "gbk": "gb18030", "cp936": "gb18030",
    "gb18030": "gb18030", "hz": "hz", "x_gbk": "gb18030", "chinese": "gb18030", "euc_cn": "gb18030",
    "euccn": "gb18030", "ms936": "gb18030", "936": "gb18030",
    "iso_8859_1": "cp1252", "iso8859_1": "cp1252", "latin1": "cp1252", "latin_1": "cp1252", "l1": "cp1252",
    "us_ascii": "cp1252", "ascii": "cp1252", "ansi_x3.4_1968": "cp1252", "646": "cp1252", "8859_1": "cp1252",
    "iso_8859_9": "cp1254", "iso_8859_11": "cp874", "tis_620": "cp874", "windows_874": "cp874",
    "x_windows_874": "cp874", "dos_874": "cp874", "iso_8859_8_i": "iso8859_8", "iso_8859_8_e": "iso8859_8",
    "iso_8859_6_i": "iso8859_6", "iso_8859_6_e": "iso8859_6", "logical": "cp1255",
    "shift_jis": "cp932", "sjis": "cp932", "s_jis": "cp932", "x_sjis": "cp932", "ms_kanji": "cp932",
    "csshiftjis": "cp932", "windows_31j": "cp932", "ms932": "cp932", "ms_shift_jis": "cp932",
    "euc_kr": "cp949", "euckr": "cp949", "ks_c_5601_1987": "cp949", "ks_c_5601": "cp949", "ksc5601": "cp949",
    "ks_c_5601_1989": "cp949", "korean": "cp949", "uhc": "cp949", "windows_949": "cp949", "ms949": "cp949",
    "x_windows_949": "cp949", "ksc_5601": "cp949", "ks_x_1001": "cp949",
    "iso_2022_jp": "iso2022_jp_ext", "iso_2022_jp_ms": "iso2022_jp_ext", "csiso2022jp": "iso2022_jp_ext",
    "iso2022_jp": "iso2022_jp_ext", "iso_2022_jp_1": "iso2022_jp_ext", "iso_2022_jp_2": "iso2022_jp_2",
    "cp50220": "iso2022_jp_ext", "cp50221": "iso2022_jp_ext", "jis": "iso2022_jp_ext",
    "iso_2022_kr": "iso2022_kr", "x_euc_jp": "euc_jp", "eucjp": "euc_jp",
    "euc_jp": "euc_jp", "x_euc": "euc_jp",
    "big5": "big5hkscs", "cn_big5": "big5hkscs", "x_x_big5": "big5hkscs", "big5_hkscs": "big5hkscs",
    "big_5": "big5hkscs", "csbig5": "big5hkscs", "ms950": "cp950", "x_big5": "big5hkscs",
    "utf8": "utf_8_sig", "utf_8": "utf_8_sig", "utf8mb4": "utf_8_sig", "utf8mb3": "utf_8_sig",
    "unicode_1_1_utf_8": "utf_8_sig", "x_utf_8": "utf_8_sig", "cp65001": "utf_8_sig", "utf": "utf_8_sig",
    "unicode": "utf_16", "ucs_2": "utf_16", "unicode_1_1_utf_7": "utf_7", "x_unicode_2_0_utf_7": "utf_7",
    "utf_7_imap": "utf_7", "macintosh": "mac_roman", "x_mac_roman": "mac_roman", "x_mac_cyrillic": "mac_cyrillic",
    "koi8": "koi8_r", "koi": "koi8_r", "koi8_ru": "koi8_u", "x_cp1251": "cp1251", "win_1251": "cp1251",
    "x_cp1252": "cp1252", "ansi": "cp1252", "windows_28591": "cp1252", "ibm_437": "cp437", "viscii": "cp1258",
}  # fmt: skip
_UNKNOWN = {
    "", "x_unknown", "unknown", "unknown_8bit", "unknown_8_bit", "default", "default_charset", "none", "null",
    "8bit", "7bit", "_autodetect", "_autodetect_all", "utf_8_or_something", "binary", "x_user_defined",
    "undefined", "charset", "iso", "windows", "x_roman8", "idna", "punycode", "unicode_escape", "mbcs", "oem",
    "raw_unicode_escape", "unicode_internal", "string_escape",
}  # fmt: skip
_BOMS = ((codecs.BOM_UTF8, "utf_8_sig"), (codecs.BOM_UTF16_LE, "utf_16"), (codecs.BOM_UTF16_BE, "utf_16"))
_TEXT_CODECS = re.compile(r"[a-z0-9_.]{1,40}\Z")
_ASCII = re.compile("[\x00-\x7f]+")
_META = re.compile(rb"<meta[^>]{0,200}?charset\s{0,8}=\s{0,8}[\"']?\s{0,8}([\w.:+-]{2,40})", re.I)
_JIS = re.compile(rb"\x1b(?:\$[@B]|\(J|\$\(D)")
_HZ = re.compile(rb"~\{[!-~]{2,}~\}")


def codec_of(label: str) -> str:
    """Name the codec to decode a charset label with; empty when the label says nothing."""
    key = label.strip().strip("\"'<>;,= ").lower()
    for prefix in ("charset=", "cs=", "x-ms-"):
        key = key.removeprefix(prefix)
    key = key.split("*")[0].strip("\"' ").replace("-", "_").replace(" ", "_")
    if key in _UNKNOWN or not _TEXT_CODECS.match(key):
        return ""
    if key in _WIDER:
        return _WIDER[key]
    for guess in (key, key.removeprefix("x_"), key.replace("windows_", "cp").replace("win_", "cp"),
                  key.replace("ibm_", "cp"), key.removeprefix("cs")):  # fmt: skip
        if guess in _WIDER:
            return _WIDER[guess]
        try:
            info = codecs.lookup(guess)
        except (LookupError, ValueError):
            continue
        if getattr(info, "_is_text_encoding", True):
            name = info.name.replace("-", "_")
            return _WIDER.get(name, name)
    if "utf" in key and "8" in key:
        return "utf_8_sig"
    if "gb" in key and ("2312" in key or "k" in key or "18030" in key):
        return "gb18030"
    if "big" in key and "5" in key:
        return "big5hkscs"
    if "2022" in key and "jp" in key:
        return "iso2022_jp_ext"
    return ""


def decode(data: bytes, label: str = "", *, hint: str = "") -> tuple[str, bool]:
    """Decode bytes under a label that may lie; also say whether it was guessed.

    UTF-8 is recognised by its own bytes whatever the label says: multi-byte text in another encoding
    almost never is valid UTF-8. `hint` is a second label to try (a message's other parts).
    """
    codec = codec_of(label)
    for bom, name in _BOMS:
        if data.startswith(bom):
            return data.decode(name, "replace"), codec not in (name, "utf_8_sig", "utf_16", "utf_16_le")
    if data.isascii():
        if b"\x1b" in data and (_JIS.search(data) or b"\x1b$)" in data):
            korean = codec == "iso2022_kr" or b"\x1b$)C" in data
            return _iso_2022(data, "iso2022_kr" if korean else "iso2022_jp_ext"), not codec.startswith(
                "iso2022"
            )
        if codec == "hz" or (codec == "gb18030" and b"~{" in data and _HZ.search(data)):
            return data.decode("hz", "replace"), codec != "hz"
        if codec == "utf_7":
            return _utf_7(data), False
        if codec.startswith(("utf_16", "utf_32")) and b"\0" in data:
            return data.decode(_wide(codec, data), "replace"), False
        if codec.startswith("cp") and not codec.startswith(("cp12", "cp9", "cp8", "cp4")):
            return data.decode(codec, "replace"), False  # EBCDIC and its kind
        return data.decode("ascii"), False
    if codec.startswith(("utf_16", "utf_32")):
        return data.decode(_wide(codec, data), "replace"), False
    try:
        return data.decode("utf-8"), codec != "utf_8_sig"
    except UnicodeDecodeError as error:
        if codec == "utf_8_sig" and _mostly_utf8(data, error):
            return data.decode("utf-8", "replace"), False
    if codec.startswith("iso2022"):
        if b"\x1b" in data:
            return _iso_2022(data, codec), True
        codec = "" if codec == "iso2022_jp_ext" else codec
    if codec and codec != "utf_8_sig":
        try:
            text = data.decode(codec)
        except (UnicodeDecodeError, ValueError):
            if codec.startswith(("cp125", "iso8859", "koi8", "mac", "cp8")):
                return data.decode(codec, "replace"), False
        else:
            if codec != "cp1252":
                return text, False
            wider = guess(data)
            if wider in ("cp1252", ""):
                return text, False
            return data.decode(wider, "replace"), True
    second = codec_of(hint)
    for name in (second, guess(data), codec):
        if name and name != "utf_8_sig":
            try:
                return data.decode(name), True
            except (UnicodeDecodeError, ValueError):
                continue
    best = codec if codec not in ("", "utf_8_sig") else guess(data) or "cp1252"
    return data.decode(best, "replace"), True


def meta_charset(data: bytes) -> str:
    """Find the charset an HTML document declares for itself."""
    found = _META.search(data[:4096])
    return found[1].decode("ascii") if found else ""


def guess(data: bytes) -> str:
    """Guess the codec of 8-bit text that is not UTF-8, from the shape of its byte pairs.

    Empty when nothing fits; cp1252 when it looks like a Western single-byte text.
    """
    sample = data[:65536]
    high = sum(sample.count(bytes((b,))) for b in range(0x80, 0x100)) if len(sample) < 512 else None
    highs = high if high is not None else len(sample) - len(sample.translate(None, bytes(range(0x80, 0x100))))
    if not highs:
        return ""
    best, best_score = "cp1252", 0.0
    for name in ("gb18030", "cp932", "big5hkscs", "cp949", "euc_jp"):
        score = _east_asian_score(sample, name, highs)
        if score > best_score:
            best, best_score = name, score
    if best_score >= 0.55:
        return best
    for name in ("cp1251", "koi8_r"):
        found = _beyond_ascii(sample.decode(name, "replace"))
        lower = sum(times for c, times in found.items() if "а" <= c <= "я")
        upper = sum(times for c, times in found.items() if "А" <= c <= "Я")
        if lower + upper >= 0.9 * highs and lower > upper and highs > 0.25 * len(sample.strip()):
            return name
    return "cp1252"


# The most frequent characters of each script: a wrong pairing hits them only by accident.
_COMMON = {
    "gb18030": set(
        "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过"
        "发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本"
        "前开但因只"
        "从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手"
        "应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海"
        "通教儿原东"
        "声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太"
        "量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白"
        "却界达光放"
        "强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切"
        "院让识候带导争运您请谢发送邮件客户公司订单收到好，。：；！？、“”（）"),
    "cp932": set(
        "のにはをたがでてとしれさあいうえおかきくけこすせそちつなねへほまみむめもやゆよらりるろわんだ"
        "っょゃゅアイウエオカキクケコサシスセソタチツテトナニネノハヒフヘホマミムメモヤユヨラリルレロ"
        "ワンーッャ"
        "ュョガギグゲゴザジズゼゾダデドバビブベボパピプペポ日本人一大年中会社様お願致申上件名送信、。・「」"),
    "big5hkscs": set(
        "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過"
        "發後作里用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本"
        "前開但因只"
        "從想實日軍者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手"
        "應戰向頭文體政美相見被利什二等產或新己制身果加西斯月話合回特代內信表化老給世位次度門任常先海"
        "通教兒原東"
        "聲提立及比員解水名真論處走義各入幾口認條平系氣題活您請謝發送郵件客戶公司訂單收到好，。：；！？、「」（）"),
    "cp949": set(
        "이다는을를에의가고하은로도지한기사인어나그있수것해서대시들리아니정일스자보라만부요제과주안여장구"
        "원전상면으게우조문성동선공안녕세합습감니까메일주문확인부탁드립회신답변"),
}  # fmt: skip
_COMMON["euc_jp"] = _COMMON["cp932"]


def _east_asian_score(sample: bytes, name: str, highs: int) -> float:
    """Share of the decoded wide characters that are frequent ones, 0 where decoding breaks often."""
    found = _beyond_ascii(sample.decode(name, "replace"))
    wide = found.total()
    if not wide:
        return 0.0

    def count(is_one: Callable[[str], bool]) -> int:
        return sum(times for c, times in found.items() if is_one(c))

    broken = count(lambda c: c == "\ufffd" or "\uff61" <= c <= "\uff9f" or "\ue000" <= c <= "\uf8ff")
    if broken > 0.03 * wide + 1 or wide * 3 < highs:
        return 0.0
    common = _COMMON[name]
    hits = count(lambda c: c in common)
    if name == "gb18030" and hits < 0.2 * wide:
        return 0.0
    cjk = count(lambda c: "\u3040" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3" or c >= "\uff00")
    if name == "cp949":
        hits = max(hits, int(0.8 * count(lambda c: "\uac00" <= c <= "\ud7a3")))
    return (0.45 * cjk + 0.75 * hits) / wide - broken / wide


def _beyond_ascii(text: str) -> Counter[str]:
    """How often each character stands there: a long text has few different ones, and the rest runs in C."""
    return Counter(_ASCII.sub("", text))


def _mostly_utf8(data: bytes, error: UnicodeDecodeError) -> bool:
    """Tell UTF-8 with a scar (cut in a character, one bad byte) from text in another encoding."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = len(_ASCII.sub("", text)) - bad
    return good >= 3 * bad or error.start >= len(data) - 4


def _iso_2022(data: bytes, codec: str) -> str:
    if codec == "iso2022_jp_ext":
        data = data.replace(b"\x1b$(Q", b"\x1b$B").replace(b"\x1b&@\x1b$B", b"\x1b$B")
    if not data.isascii():  # ISO-2022 with raw Shift_JIS or UTF-8 around it
        pieces = re.split(rb"(\x1b\$[@B][^\x1b]*\x1b\([BJ])", data)
        return "".join(
            p.decode(codec, "replace") if p.startswith(b"\x1b") else decode(p, "utf-8", hint="shift_jis")[0]
            for p in pieces
        )
    for name in (codec, "iso2022_jp_3", "iso2022_jp_2004"):
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    try:  # vendor rows (circled digits, ㈱) live in cp932 only: turn JIS pairs into EUC, then try
        return _jis_as_cp932(data)
    except (UnicodeDecodeError, ValueError):
        return data.decode(codec, "replace")


def _jis_as_cp932(data: bytes) -> str:
    out: list[str] = []
    for piece in re.split(rb"(\x1b\$[@B][^\x1b]*)", data):
        if piece[:3] in (b"\x1b$B", b"\x1b$@"):
            pairs = piece[3:]
            sjis = bytearray()
            for high, low in zip(pairs[::2], pairs[1::2], strict=False):
                if not 0x21 <= high <= 0x7E or not 0x21 <= low <= 0x7E:
                    sjis += bytes((high, low))
                    continue
                lead = ((high - 0x21) >> 1) + 0x81
                lead += 0x40 if lead > 0x9F else 0
                trail = low + 0x7E if not high & 1 else low + (0x20 if low > 0x5F else 0x1F)
                sjis += bytes((lead, trail))
            out.append(sjis.decode("cp932", "replace"))
        else:
            out.append(re.sub(rb"\x1b\([BJIH]|\x1b\$\(D", b"", piece).decode("ascii", "replace"))
    return "".join(out)


def _utf_7(data: bytes) -> str:
    try:
        return data.decode("utf_7")
    except (UnicodeDecodeError, ValueError):
        return data.decode("utf_7", "replace") if len(data) < 100_000 else data.decode("ascii", "replace")


def _wide(codec: str, data: bytes) -> str:
    """Pick the byte order of UTF-16 without a mark by where the zero bytes are."""
    if codec in ("utf_16", "utf_32") and codec == "utf_16":
        even, odd = data[::2][:500].count(0), data[1::2][:500].count(0)
        return "utf_16_le" if odd >= even else "utf_16_be"
    return codec
