"""What the start tags of mail clients say: this is a quote, an attribution, a signature, the end of the new."""

from __future__ import annotations

import re
from enum import StrEnum


class Role(StrEnum):
    """What an element means for the reply."""

    NONE = ""
    QUOTE = "quote"  # everything inside is quoted one level deeper
    BOX = "box"  # holds an attribution and a quote; answers may follow the quote
    ATTRIBUTION = "attribution"
    CUT = "cut"  # everything from here on is the earlier mail
    SIGNATURE = "signature"
    RULE = "rule"  # a line that often, not always, stands above the earlier mail


# Ids and classes, lower case. Outlook on the web prefixes those of the mail it quotes with x_: they are quoted
# already, so a prefix is taken off only for CUT.
_CUT_IDS = {
    "divrplyfwdmsg", "appendonsend", "olk_src_body_section", "fmoriginalcontent", "isforwardcontent",
    "mail-editor-reference-message-container", "zwchr", "stopspelling", "reply-intro", "replysplit",
    "mailmasterquote", "ntes-iosmail-quote", "ntes-android-quote", "original-content", "_mailoriginal",
    "hmquote", "divtagdefaultwrapper_quote", "quoted_text", "replybody", "originalmessage", "oldcontent",
    "oldmail", "ymail_android_quote",
}  # fmt: skip
_CUT_CLASSES = {
    "outlookmessageheader", "outlook-message-header", "zmail_extra", "zmail_extra_hr", "ntes-mailmaster-quote",
    "alimail-quote", "mail-quote-collapse-original", "sh-quoted-content", "front-blockquote", "missive_quote",
    "__aliyun_previous_quote", "hs_reply_quote", "wisestamp_quote", "x-apple-quoted", "freshdesk_quote",
    "lark-mail-quote", "qt-previous", "originalmessage", "quoted-mail", "reply-quote", "mailquote",
}  # fmt: skip
_BOX_CLASSES = {
    "gmail_quote", "gmail_quote_container", "yahoo_quoted", "protonmail_quote", "gmail_extra_quote", "ntes_reply",
    "tutanota_quote", "history-quote-wrapper", "adit-html-block--collapsed", "qmbox_quote", "mailbird_quote",
    "moz-forward-container_", "mimestream_quote", "quote-container", "email-quote", "gmailquote",
}  # fmt: skip
_BOX_IDS = {"isreplycontent", "yahoo_quoted", "quote", "reply_quote", "quotedtext", "quoted-content"}
_BOX_PREFIXES = ("yahoo_quoted", "history-quote", "lark-mail-quote", "ymail_android_quote")
_ATTRIBUTION_CLASSES = {
    "moz-cite-prefix",
    "gmail_attr",
    "quote_header",
    "attribution",
    "history-quote-meta-wrapper",
}
_SIGNATURE = re.compile(
    r"(?:^|[\s_-])(?:gmail_signature(?:_prefix)?|moz-signature|ms-outlook-mobile-signature|signature|x_signature"
    r"|protonmail_signature_block(?:-user|-proton)?|applemailsignature(?:beginning)?|composer_signature"
    r"|spneditorsign(?:_app)?|ntes-pcmac-signature|ntes-iosmail-signature|lark-mail-signature|foxmail_signature"
    r"|aliyun_signature_wrap|mail_?signature|messagesignaturesection|elm-signature|mailspring-signature"
    r"|ydp\w{0,12}signature|naver_?signature|daum_?signature|email-signature|tinymce-signature)(?:$|\s|_\w+$)",
    re.I,
)
_BORDER_TOP = re.compile(
    r"border(?:-top(?:-style|-width|-color)?)?\s*:[^;]*solid[^;]*|border-top\s*:\s*\d", re.I
)
_NAMED_TOP = re.compile(r"border-top", re.I)


def role_of(tag: str, values: dict[str, str]) -> Role:
    """Read an element's role from its tag and attributes."""
    if tag == "blockquote":
        return Role.QUOTE
    if not values:
        return Role.CUT if tag == "includetail" else Role.NONE
    ident = values.get("id", "").strip().lower()
    if ident:
        bare = ident.removeprefix("x_")
        if bare in _CUT_IDS:
            return Role.CUT
        if ident in _BOX_IDS or ident.startswith(_BOX_PREFIXES):
            return Role.BOX
        if ident != "signature_top" and _SIGNATURE.search(ident):
            return Role.SIGNATURE
    classes = values.get("class", "").lower()
    if classes:
        names = set(classes.split())
        if names & _ATTRIBUTION_CLASSES:
            return Role.ATTRIBUTION
        if names & _CUT_CLASSES:
            return Role.CUT
        if names & _BOX_CLASSES or any(n.startswith(_BOX_PREFIXES) for n in names):
            return Role.BOX
        if _SIGNATURE.search(classes):
            return Role.SIGNATURE
    if tag == "hr":
        return Role.NONE
    if "data-signatureblock" in values:
        return Role.SIGNATURE
    name = values.get("name", "").lower()
    if name in ("quote", "messagereplysection"):
        return Role.BOX
    if name == "messagesignaturesection":
        return Role.SIGNATURE
    if values.get("data-marker", "") in ("__DIVIDER__", "__HEADERS__", "__QUOTED_TEXT__"):
        return Role.CUT
    style = values.get("style", "")
    if style and _NAMED_TOP.search(style) and "solid" in style.lower() and tag in ("div", "td", "p", "table"):
        return Role.RULE
    return Role.NONE
