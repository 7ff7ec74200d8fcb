"""One readable line for an invitation, without words of any language."""

from __future__ import annotations

import re

from channels.email import charsets

_WHEN = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d{0,2}(Z?))?")
_ESCAPED = re.compile(r"\\([\\;,nN])")
_SIGNS = {"CANCEL": "❌", "REPLY": "↩"}


def summary(data: bytes) -> str:
    """Say what, when and where: `📅 Title · 2024-05-03 10:00–11:00 Europe/Berlin · Room 5`."""
    text = charsets.decode(data[:200_000], "utf-8")[0].replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"\n[ \t]", "", text)
    fields: dict[str, tuple[str, str]] = {}
    method, inside = "", False
    for line in text.split("\n")[:5_000]:
        name, _, value = line.partition(":")
        if line.upper().startswith("BEGIN:VEVENT"):
            inside = True
        elif line.upper().startswith("END:VEVENT"):
            break
        elif name.upper() == "METHOD":
            method = value.strip().upper()
        elif inside:
            key, _, params = name.partition(";")
            fields.setdefault(key.upper(), (value.strip(), params))
    if not fields:
        return ""
    title = _plain(fields.get("SUMMARY", ("", ""))[0])
    start, zone = fields.get("DTSTART", ("", ""))
    when = _moment(start)
    until = _moment(fields.get("DTEND", ("", ""))[0])
    if when and until and until != when:
        same_day = until[:10] == when[:10] and len(until) > 10
        when += "–" + (until[11:] if same_day else until)
    found = re.search(r"TZID=\"?([^;:\"]+)", zone, re.I)
    if when and ":" in when:
        when += " UTC" if start.endswith("Z") else f" {found[1]}" if found else ""
    place = _plain(fields.get("LOCATION", ("", ""))[0])
    return f"{_SIGNS.get(method, '📅')} " + " · ".join(x for x in (title, when, place) if x)


def _plain(value: str) -> str:
    text = _ESCAPED.sub(lambda m: " " if m[1] in "nN" else m[1], value)
    return re.sub(r"\s+", " ", text).strip()[:300]


def _moment(value: str) -> str:
    found = _WHEN.match(value)
    if not found:
        return ""
    day = f"{found[1]}-{found[2]}-{found[3]}"
    return f"{day} {found[4]}:{found[5]}" if found[4] else day
