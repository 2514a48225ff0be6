"""Text that came from somebody's data, made harmless for a terminal.

A control character moves the cursor, an escape sequence rewrites what was printed, a bidirectional override shows text
in another order. Each is written as its escape (`\\x1b`, `\\u202e`); newlines and tabs stay.
Source of the lists: Unicode Standard Annex 9 (bidirectional controls), Unicode categories Cc, Cf, Cs, Zl and Zp.
"""

from __future__ import annotations

import re

# Of the invisible ones the two joiners stay: Persian, Hindi and many emoji are written with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """The text with every control and every invisible character as its escape."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def visible_json(text: str) -> str:
    """A JSON text with the same characters as JSON escapes: whoever parses it gets the same values."""
    return _HIDDEN.sub(lambda found: "".join(f"\\u{unit:04x}" for unit in _utf16(found[0])), text)


def _utf16(character: str) -> tuple[int, ...]:
    data = character.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(data[place : place + 2]) for place in range(0, len(data), 2))
