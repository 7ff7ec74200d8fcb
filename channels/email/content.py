"""From the MIME tree to what a person reads: text, HTML, files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from channels.email import body, charsets, html_text
from channels.email.body import Node
from channels.email.lines import Line, from_text, to_text
from channels.email.mail import Part

_TEXT_LIMIT = 10_000_000  # characters of one text part
_ENRICHED = re.compile(r"<(?:/?[a-zA-Z]{1,60}|<)>")


@dataclass(slots=True)
class Content:
    """What was found while walking the tree."""

    plain: list[str] = field(default_factory=list)  # text parts in order, where they exist
    html: list[str] = field(default_factory=list)
    html_lines: list[Line] = field(default_factory=list)
    text_lines: list[Line] = field(default_factory=list)
    attachments: list[Part] = field(default_factory=list)
    has_plain: bool = False
    has_html: bool = False
    nesting: int = 0
    encrypted: bool = False
    signed: bool = False
    calendar: bool = False


@dataclass(slots=True)
class _Pick:
    """One body: its readable forms, as an alternative offers them."""

    plain: str | None = None
    html: str | None = None


def collect(raw: bytes, root: Node, defects: list[str]) -> Content:
    """Walk the tree once and sort every leaf into text, HTML or file."""
    out = Content()
    hint = _charset_hint(root)
    picks: list[_Pick] = []
    leaves = [n for n in root.walk() if not n.is_multipart]
    only = len(leaves) == 1
    # (node, parent, the pick an alternative fills or None)
    stack: list[tuple[Node, Node | None, _Pick | None]] = [(root, None, None)]
    while stack:
        node, parent, pick = stack.pop()
        kind = node.content_type
        if node.is_multipart:
            if kind == "multipart/alternative":
                pick = pick or _Pick()
                if not any(p is pick for p in picks[-1:]):
                    picks.append(pick)
            elif kind in ("multipart/related", "multipart/signed", "multipart/report"):
                out.signed = out.signed or kind == "multipart/signed"
            elif kind == "multipart/encrypted":
                out.encrypted = True
            else:
                pick = None if parent is None or parent.content_type != "multipart/alternative" else pick
            children = node.children
            if kind == "multipart/appledouble" and len(children) > 1:
                children = children[1:] + children[:1]
            stack.extend((child, node, pick) for child in reversed(children))
            continue
        if _is_body(node, parent, only, leaves):
            _read_body(raw, node, parent, pick, picks, out, defects, hint)
        else:
            _attach(raw, node, parent, out, defects)
    _compose(picks, out)
    return out


def _charset_hint(root: Node) -> str:
    for node in root.walk():
        label = node.params.get("charset", "")
        if label and charsets.codec_of(label) not in ("", "cp1252", "utf_8_sig"):
            return label
    return ""


def _is_body(node: Node, parent: Node | None, only: bool, leaves: list[Node]) -> bool:
    kind = node.content_type
    if kind.startswith("multipart/"):  # one without parts: its content is words
        return parent is None
    if kind not in (
        "text/plain",
        "text/html",
        "text/enriched",
        "text/richtext",
        "text/x-plain",
        "text/markdown",
    ):
        return False
    if node.disposition == "attachment":
        return False
    if not node.filename:
        return True
    return only or (
        node is leaves[0] and node.disposition != "inline" and kind != "text/html" and not _file_like(node)
    )


def _file_like(node: Node) -> bool:
    return bool(re.search(r"\.\w{1,5}$", node.filename))


def _read_body(
    raw: bytes,
    node: Node,
    parent: Node | None,
    pick: _Pick | None,
    picks: list[_Pick],
    out: Content,
    defects: list[str],
    hint: str,
) -> None:
    if node.content_type == "text/html":
        html = body.text_of(raw, node, defects, hint)[:_TEXT_LIMIT]
        if pick is None:
            picks.append(_Pick(html=html))
        elif not (pick.html or "").strip() or (parent and parent.content_type == "multipart/alternative"):
            pick.html = html if html.strip() else pick.html
        else:  # the HTML side of an alternative in several pieces, with files between (Apple Mail)
            pick.html = f"{pick.html}\n<br>\n{html}"
        return
    text = body.text_of(raw, node, defects, hint)[:_TEXT_LIMIT]
    if node.content_type in ("text/enriched", "text/richtext"):
        text = _ENRICHED.sub(lambda m: "<" if m[0] == "<<>" else "", text)
    if "\nbegin" in text or text.startswith("begin"):
        text = _take_uuencoded(raw, node, text, out, defects)
    if (pick is not None and (pick.plain is None or not pick.plain.strip()) and pick.html is None) or (
        pick is not None and pick.plain is None
    ):
        pick.plain = text
    else:
        picks.append(_Pick(plain=text))


def _take_uuencoded(raw: bytes, node: Node, text: str, out: Content, defects: list[str]) -> str:
    data = text.encode("utf-8", "surrogatepass")
    found = body.uuencoded(data)
    if not found:
        return text
    kept: list[bytes] = []
    pos = 0
    for name, content, start, end in found:
        kept.append(data[pos:start])
        pos = end
        out.attachments.append(make_part(name, _type_by_name(name), content))
    kept.append(data[pos:])
    return b"".join(kept).decode("utf-8", "replace")


def make_part(
    filename: str, content_type: str, content: bytes, *, inline: bool = False, content_id: str = ""
) -> Part:
    """Make an attachment with its size and hash."""
    digest = hashlib.sha256(content).hexdigest()
    return Part(filename, content_type, len(content), digest, inline, content_id, content)


def _type_by_name(name: str) -> str:
    import mimetypes

    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _attach(raw: bytes, node: Node, parent: Node | None, out: Content, defects: list[str]) -> None:
    content = body.decoded(raw, node, defects)
    kind = node.content_type
    name = node.filename
    related = parent is not None and parent.content_type == "multipart/related"
    inline = node.disposition == "inline" or (
        node.disposition != "attachment" and bool(node.content_id or related)
    )
    if kind == "message/external-body":
        name = name or node.params.get("name", "")
    part = make_part(name, kind, content, inline=inline, content_id=node.content_id)
    low = name.lower()
    if kind in ("application/ms-tnef", "application/vnd.ms-tnef") or low == "winmail.dat":
        _tnef(content, out, defects)
    elif kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        if "sign" in node.params.get("smime-type", "") or low.endswith(".p7s"):
            out.signed = True
        else:
            out.encrypted = True
    elif kind in (
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
        "application/pgp-signature",
    ):
        out.signed = True
    elif kind == "application/pgp-encrypted":
        out.encrypted = True
    elif kind == "text/calendar" or low.endswith(".ics"):
        out.calendar = True
    out.attachments.append(part)


def _tnef(content: bytes, out: Content, defects: list[str]) -> None:
    """Unpack Outlook's winmail.dat; whatever goes wrong, the file itself stays attached."""
    if len(content) > 30_000_000:
        return
    try:
        from tnefparse import TNEF

        found = TNEF(content)
        for item in found.attachments:
            name = str(item.long_filename() if callable(item.long_filename) else item.name or "")
            name = name.replace("\0", "").strip()
            out.attachments.append(make_part(name, _type_by_name(name), bytes(item.data)))
        text = found.body if isinstance(found.body, str | bytes) else ""
        html = found.htmlbody
        if isinstance(html, bytes):
            html = charsets.decode(html, charsets.meta_charset(html))[0]
        if isinstance(text, bytes):
            text = charsets.decode(text)[0]
        out.html.extend([html] if html and isinstance(html, str) else [])
        out.plain.extend([text.replace("\r\n", "\n")] if text else [])
    except Exception:  # a third-party parser over a stranger's bytes: anything may rise
        defects.append("tnef_unreadable")


def _compose(picks: list[_Pick], out: Content) -> None:
    """Put the bodies in order: once as text, once as HTML, once as lines for the scanner."""
    tnef_plain, tnef_html = out.plain, out.html
    out.plain, out.html = [], []
    empty = not any((p.plain or "").strip() or (p.html or "").strip() for p in picks)
    if empty and (tnef_plain or tnef_html):
        picks.append(_Pick(plain="\n".join(tnef_plain) or None, html=tnef_html[0] if tnef_html else None))
    several = sum(1 for p in picks if (p.plain or "").strip() or (p.html or "").strip()) > 1
    out.has_plain = any((p.plain or "").strip() for p in picks)
    out.has_html = any((p.html or "").strip() for p in picks)
    for pick in picks:
        plain, html = pick.plain or "", pick.html or ""
        lines: list[Line] = []
        if html.strip():
            lines, nesting = html_text.to_lines(html)
            out.nesting = max(out.nesting, nesting)
            out.html.append(html)
        elif plain.strip() and out.has_html and several:
            out.html.append(f"<pre>{_escape(plain)}</pre>")
        text_lines = from_text(plain) if plain.strip() else []
        if out.has_html:
            out.html_lines += ([Line("")] if out.html_lines else []) + (
                lines or from_text(plain) if html.strip() else from_text(plain)
            )
        if _is_stub(plain, lines):
            text_lines = []
        out.text_lines += ([Line("")] if out.text_lines else []) + (text_lines or lines)
        shown = plain.strip("\n") if text_lines else to_text(lines)
        if shown.strip():
            out.plain.append(shown)


_STUB = re.compile(
    r"html[- ](?:e-?)?(?:mail|message|format|compatible|capable|enabled|version|viewer)|view (?:this"
    r"|the) (?:e-?mail|message)|does(?:n't| not) support html"
    r"|unterstützt kein html|html-format|HTML形式|HTML格式|请使用支持",
    re.I,
)  # fmt: skip


def _is_stub(plain: str, lines: list[Line]) -> bool:
    """Whether the plain alternative only says that there is another one."""
    if not lines:
        return False
    words = len(plain.split())
    rich = sum(len(line.text.split()) for line in lines)
    if not plain.strip():
        return True
    return (words < 30 and rich > 2 * words and bool(_STUB.search(plain))) or (words < 3 and rich > 10)


def _escape(text: str) -> str:
    import html

    return html.escape(text, quote=False)
