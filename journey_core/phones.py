"""Phone numbers as E.164, by the library that knows the world's numbering plans (Google's libphonenumber).

In SQL it is the function `phone_number(written, region)`. It is asked once for each spelling, not for each event.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress

import duckdb
import phonenumbers
import pyarrow as pa
from duckdb.func import PythonUDFType
from duckdb.sqltypes import VARCHAR

# Dashes, spaces, brackets, dots and slashes between digits, in any script; and what prints nothing (soft hyphens, ...).
_BETWEEN = re.compile(r"[\s().\[\]/~\-\u00ad\u2010-\u2015\u2212\u30fc\uff0d\uff08\uff09\uff3b\uff3d\uff0e\uff0f]")
_LETTER = re.compile(r"[^\W\d_]")
_APP = re.compile(r"(?i)^(?:whatsapp|sms|callto):")  # the library knows `tel:` by itself
_NO_WORD = re.compile(r"(?i)^tel:|;.*|(?:ext|x)\W*\d+$")  # what RFC 3966 writes around a number, and an extension
# A zero in brackets right after the country code: dialled within the country only.
_TRUNK = re.compile(r"^(\D*(?:[+\uff0b]|00)\s*\d\s?\d?\s?\d?[^\w(\uff08]*)[(\uff08]\s*0\s*[)\uff09]")
_INTERNATIONAL = re.compile(r"^00(?=[1-9])")


def phone_number(written: str, region: str | None = None) -> str:
    """A phone number in E.164 (`+34600000001`), with `;ext=` where it has an extension (RFC 3966).

    `region` (ISO 3166) is whose national numbers are meant where a number does not say its country. What is no possible
    number is never guessed to be one: it stays as it is written, without what stands between its digits.

    >>> phone_number("tel:+34-600\u2011000\u2011001"), phone_number("600 000 001", "ES"), phone_number("600 000 001")
    ('+34600000001', '+34600000001', '600000001')
    """
    text = written.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", "".join(map(_ascii_digit, text))).strip()
    text = _without_trunk(text, region)
    number = _parsed(text, region)
    if number is None:
        bare = _INTERNATIONAL.sub("+", _without_marks(text))
        number = None if bare == text else _parsed(bare, region)
        if number is None:
            return bare
    said = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{said};ext={number.extension}" if number.extension else said


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `phone_number(written, region)` known to a connection; an empty region is none."""
    with suppress(duckdb.NotImplementedException, duckdb.CatalogException):  # it is already
        connection.create_function(
            "phone_number",
            _numbers,
            [VARCHAR, VARCHAR],
            VARCHAR,
            type=PythonUDFType.ARROW,
        )


def _numbers(written: pa.ChunkedArray, regions: pa.ChunkedArray) -> pa.Array:
    pairs = zip(written.to_pylist(), regions.to_pylist(), strict=True)
    return pa.array([phone_number(text, region or None) for text, region in pairs], pa.string())


def _without_trunk(text: str, region: str | None) -> str:
    """Without the `(0)` after a country code; with it where only that is a number (Italy dials it from abroad)."""
    shorter = _TRUNK.sub(r"\1", text)
    if shorter == text or _is_valid(shorter, region) or not _is_valid(text, region):
        return shorter
    return text


def _is_valid(text: str, region: str | None) -> bool:
    number = _parsed(text, region)
    return number is not None and phonenumbers.is_valid_number(number)


def _parsed(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    # A word with digits is no number: the library would look for one in it (and find one in a pseudonym).
    text = _APP.sub("", text)
    if _LETTER.search(text) and _LETTER.search(_NO_WORD.sub("", text)):
        return None
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_possible_number(number) else None


def _without_marks(text: str) -> str:
    visible = (character for character in text if unicodedata.category(character) not in ("Cf", "Cc", "Zs"))
    return _BETWEEN.sub("", "".join(visible)).replace("\uff0b", "+")


def _ascii_digit(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)
