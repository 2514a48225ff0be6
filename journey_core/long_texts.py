"""How much of one event the tables hold: DuckDB keeps 2,048 rows in memory together, so a row has to have a size.

The lake keeps every event whole (decision 0027). This is Python, as DuckDB's JSON functions take up to 15 times the
size of a text, for all long texts of 2,048 rows together. Texts of usual size never get here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType
from duckdb.sqltypes import VARCHAR

LARGEST_TEXT = 65_536  # bytes of `properties`, and of `context`, of one event; a longer text is shortened
LARGEST_MEMBER = 4_096  # bytes of a member (name and value) of a text that is shortened

# Numbers stay as they are written.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)
_BEFORE_NAME = re.compile(r"[\s,{]*")
_BEFORE_VALUE = re.compile(r"[\s:]*")


def shortened(text: str, named: Collection[str], always: Collection[str] = ()) -> str:
    """A JSON object without its long members; if that does not suffice, only with those that are `named`.

    What stays stays as it is written. Members in `always` stay, however long they are.

    >>> shortened('{"a":1.50,"b":"' + 70_000 * "x" + '"}', [])
    '{"a":1.50}'
    """
    try:
        short = [
            (name, member)
            for name, member in _members(text)
            if name in always or (len(member) <= LARGEST_MEMBER and _size(member) <= LARGEST_MEMBER)
        ]
    except RecursionError:
        return "{}"  # nested deeper than Python reads
    if sum(_size(member) + 1 for _, member in short) + 1 > LARGEST_TEXT:
        short = [(name, member) for name, member in short if name in named or name in always]
    return "{" + ",".join(member for _, member in short) + "}"


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make known to a connection: `is_long(text)`, and `shortened(text, named, always)`, whose names part spaces."""
    with suppress(duckdb.NotImplementedException, duckdb.CatalogException):  # it is already
        connection.create_function(
            "shortened", _all_shortened, [VARCHAR, VARCHAR, VARCHAR], VARCHAR, type=PythonUDFType.ARROW
        )
    connection.execute(f"create or replace temp macro is_long(text) as coalesce(strlen(text) > {LARGEST_TEXT}, false)")


def _all_shortened(texts: pa.ChunkedArray, named: pa.ChunkedArray, always: pa.ChunkedArray) -> pa.Array:
    # One text at a time: all of them would be copied.
    return pa.array(
        (
            shortened(text.as_py(), names.as_py().split(), kept.as_py().split())
            for text, names, kept in zip(texts, named, always, strict=True)
        ),
        pa.string(),
    )


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Each member's name, and name and value as they are written."""
    start = _after(_BEFORE_NAME, text, 0)
    while start < len(text) and text[start] == '"':
        name, end = _DECODER.raw_decode(text, start)
        _, end = _DECODER.raw_decode(text, _after(_BEFORE_VALUE, text, end))
        yield name, text[start:end]
        start = _after(_BEFORE_NAME, text, end)


def _after(marks: re.Pattern[str], text: str, place: int) -> int:
    found = marks.match(text, place)
    return found.end() if found else place


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
