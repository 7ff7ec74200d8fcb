"""stub"""

from __future__ import annotations

from collections.abc import Sequence

from channels.email.content import Content
from channels.email.lines import to_text
from channels.email.mail import Mailbox


def extract(found: Content, *, sender: Mailbox | None = None, ours: Sequence[str] = ()) -> tuple[str, str]:
    keep = [l for l in found.text_lines if not l.depth]
    return to_text(keep).strip(), ""
