"""Numbers that JSON writes with more digits than a double keeps: their text, to the letter."""

from __future__ import annotations

import json
import re

# Seventeen digits and marks or more, one of them a decimal point: a double may round it, and so does every JSON parser
# that reads numbers as doubles.
_LONG_DECIMAL = re.compile(rb"[:,\[]\s*-?(?=[0-9]*\.)[0-9.]{17}")
_MARK = "\ue000"  # private use: no agreed meaning, so no producer's text needs it


def exact_properties(value: bytes) -> str | None:
    """The `properties` of an event, as JSON text with each number as written; None where any parser keeps them.

    `value` is one valid JSON object.
    """
    if not _LONG_DECIMAL.search(value) or _MARK.encode() in value or rb"\ue000" in value.lower():
        return None
    parsed = json.loads(value, parse_float=lambda digits: f"{_MARK}{digits}{_MARK}").get("properties")
    if parsed is None:
        return None
    text = json.dumps(parsed, ensure_ascii=False, separators=(",", ":"))
    return re.sub(f'"{_MARK}([^"]*){_MARK}"', r"\1", text)
