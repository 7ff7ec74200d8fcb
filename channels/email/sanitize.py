"""HTML that is safe to show to an agent: no script, no remote content, no style tricks."""

from __future__ import annotations

import html
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nh3

DEPTH_LIMIT = 400  # html5ever is quadratic in nesting; deeper documents are shown as text
SIZE_LIMIT = 1_000_000
ENTITIES_LIMIT = 50_000  # 1,000,000 ampersands cost html5ever eight seconds
_TAG_NAMES = (
    "a abbr b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt em"
    " figcaption figure font h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span"
    " strike strong sub sup table tbody td tfoot th thead tr tt u ul var wbr"
)
_STYLE_NAMES = (
    "background-color border border-bottom border-collapse border-color border-left border-radius"
    " border-right border-spacing border-style border-top border-width color direction font-family"
    " font-size font-style font-variant font-weight height letter-spacing line-height list-style-type"
    " margin margin-bottom margin-left margin-right margin-top max-width min-width padding padding-bottom"
    " padding-left padding-right padding-top text-align text-decoration text-indent text-transform"
    " vertical-align white-space width word-break word-wrap"
)
_TAGS = set(_TAG_NAMES.split())
_STYLES = set(_STYLE_NAMES.split())
_TRICK = re.compile(
    r"url\s*\(|expression|javascript:|@import|-moz-binding|behavior\s*:|\\|image-set|var\s*\(", re.I
)
_NEGATIVE = re.compile(r"margin[\w-]*\s*:\s*[^;]*-\s*\d|(?:text-indent|width|height)\s*:\s*-", re.I)
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpe?g|gif|webp|bmp);base64,[A-Za-z0-9+/=\s]+\Z")


def clean(document: str, *, nesting: int, text: str = "") -> str:
    """Sanitise an HTML body; one that is too deep or too long is given as escaped text instead."""
    if not document.strip():
        return ""
    if nesting > DEPTH_LIMIT or len(document) > SIZE_LIMIT or document.count("&") > ENTITIES_LIMIT:
        return f"<pre>{html.escape(text, quote=False)}</pre>"
    return _cleaner().clean(document).strip()


@cache
def _cleaner() -> nh3.Cleaner:
    import nh3  # a Rust extension: loaded with the first HTML mail

    return nh3.Cleaner(
        tags=_TAGS,
        clean_content_tags={
            "script",
            "style",
            "title",
            "noscript",
            "template",
            "object",
            "iframe",
            "xml",
            "head",
        }
        - _TAGS
        - {"head"},
        attributes={
            "*": {"style", "align", "dir", "lang", "title", "valign", "width", "height"},
            "a": {"href"},
            "img": {"src", "alt"},
            "td": {"colspan", "rowspan", "bgcolor"},
            "th": {"colspan", "rowspan", "bgcolor"},
            "table": {"border", "cellpadding", "cellspacing", "bgcolor"},
            "tr": {"bgcolor"},
            "font": {"color", "face", "size"},
            "ol": {"start", "type"},
            "blockquote": {"type"},
        },
        attribute_filter=_attribute,
        filter_style_properties=_STYLES,
        url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
        link_rel="noopener noreferrer nofollow",
        strip_comments=True,
    )


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "src":
        low = value.strip().lower()
        if low.startswith("cid:"):
            return value
        return value if len(value) < 500_000 and _DATA_IMAGE.match(value.strip()) else None
    if name == "href":
        low = re.sub(r"[\s\x00-\x20]", "", value).lower()
        return value if low.startswith(("http://", "https://", "mailto:", "tel:")) else None
    if name == "style":
        if _TRICK.search(value):
            kept = [d for d in value.split(";") if not _TRICK.search(d)] if "\\" not in value else []
            value = ";".join(kept)
        return None if not value or _NEGATIVE.search(value) else value
    return value
