"""Large patterns, asked only where they could be found.

A pattern of forty alternatives is tried at every character: 0.3 ms for 1 KB, of which nearly every mail is
innocent. Looking for a word that each match must hold is a hundred times quicker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quick:
    """A pattern that ignores case, with words of which every match holds one, in lower case."""

    pattern: re.Pattern[str]
    words: tuple[str, ...]

    def search(self, text: str) -> re.Match[str] | None:
        """As the pattern's own search."""
        lower = text.lower()
        for word in self.words:
            if word in lower:
                return self.pattern.search(text)
        return None
