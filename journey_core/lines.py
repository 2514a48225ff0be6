"""Text files row by row: JSONL, JSON arrays and CSV, compressed or not, in any encoding. Nothing is typed or guessed.

A row that cannot be read is one `Bad` row with its line number. The rows around it go on.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from journey_core.contract import LARGEST_EVENT
from journey_core.errors import InputError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_CHUNK = 4 * 1024 * 1024
# No event is larger, so a longer field is a quote that nobody closed.
csv.field_size_limit(LARGEST_EVENT)


@dataclass(frozen=True)
class Line:
    """One row as its bytes in UTF-8. `line` is where it begins in the file, from 1."""

    line: int
    value: bytes


@dataclass(frozen=True)
class Cells:
    """One row of a CSV file: its texts, and the lines that they were read from."""

    line: int
    raw: str
    values: list[str]


@dataclass(frozen=True)
class Bad:
    """A row that cannot be read: where it begins, its text (bytes that are no text as `\\xe9`), and why."""

    line: int
    raw: str
    reason: str
    detail: str


def kind_of(path: Path) -> str:
    """The ending that tells how to read a file, in lower case: `shop.CSV.gz` → `.csv`."""
    endings = [ending.lower() for ending in path.suffixes]
    if endings and endings[-1] in COMPRESSIONS:
        endings.pop()
    return endings[-1] if endings else ""


def read_values(path: Path, encoding: str | None = None, *, kind: str | None = None) -> Iterator[Line]:
    """The rows of a JSONL file, or the members of the array that a `.json` file holds. Blank lines are no rows.

    A row may hold anything, bytes that are not UTF-8 included: its reader judges it. Raises OSError and InputError.
    """
    lines = read_lines(path, encoding)
    if (kind or kind_of(path)) != ".json":
        yield from lines
        return
    first = next(lines, None)
    if first is None:
        return
    if not first.value.lstrip().startswith(b"["):
        yield first
        yield from lines
        return
    yield from _members(b"".join(_chunks(path, encoding)))


def read_lines(path: Path, encoding: str | None = None) -> Iterator[Line]:
    """Each line that is not blank, without its line end."""
    for number, value in enumerate(_all_lines(path, encoding), start=1):
        if value.strip():
            yield Line(number, value.rstrip(b"\r\n"))


def read_cells(
    path: Path, encoding: str | None, delimiter: str, quote: str, columns: list[str] | None
) -> Iterator[list[str] | Cells | Bad]:
    """The rows of a CSV file after its header, which comes first, as a list. Quoted values may hold line ends.

    A quote that is not closed costs one line: reading goes on at the next. Raises OSError, or InputError where the
    header is unreadable.
    """
    feed = _Feed(line.decode("utf-8", "surrogateescape") for line in _all_lines(path, encoding))
    options: Any = {"quotechar": quote} if quote else {"quotechar": None, "quoting": csv.QUOTE_NONE}
    reader = csv.reader(feed, delimiter=delimiter, strict=True, **options)
    header = columns
    if header is not None:
        yield header
    while True:
        start = feed.line
        feed.taken.clear()
        values: list[str] | None
        detail = ""
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            values, detail = None, str(error)
        if values == []:
            continue  # a blank line
        if header is None:
            if values is None or not _is_utf8("".join(feed.taken)):
                raise InputError(f"{path}:{start}: the header cannot be read: {detail or 'it is not UTF-8'}")
            header = values
            yield header
            continue
        if values is not None and len(values) != len(header):
            detail = f"{len(values)} fields, where the header has {len(header)}"
            values = None
        if values is None:
            raw = feed.give_back_all_but_one()
            yield Bad(start, _shown(raw), "malformed_row", detail)
        elif not _is_utf8(raw := "".join(feed.taken)):
            yield Bad(start, _shown(raw), "not_utf8", "a byte is no text in this encoding")
        else:
            yield Cells(start, raw.rstrip("\r\n"), values)


def shown(value: bytes) -> str:
    """Bytes as text that can be read: what is not UTF-8 as `\\xe9`."""
    return value.decode("utf-8", "backslashreplace")


class _Feed:
    """Lines for a CSV reader, which remember where they are and can be given back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._again: deque[str] = deque()
        self.taken: list[str] = []
        self.line = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        self.line += 1
        return line

    def give_back_all_but_one(self) -> str:
        first, *others = self.taken
        self._again.extendleft(reversed(others))
        self.line -= len(others)
        return first


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(text: str) -> str:
    return shown(text.encode("utf-8", "surrogateescape")).rstrip("\r\n")


def _all_lines(path: Path, encoding: str | None) -> Iterator[bytes]:
    """Every line with its line end, blank ones included."""
    begun: list[bytes] = []
    for chunk in _chunks(path, encoding):
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*begun, line, b"\n"]) if begun else line + b"\n"
            begun = []
        if rest:
            begun.append(rest)
    if begun:
        yield b"".join(begun)


def _chunks(path: Path, encoding: str | None) -> Iterator[bytes]:
    """The file's bytes, unpacked and in UTF-8, without a byte order mark.

    What the encoding does not know comes as a byte that is not UTF-8, so that only its own row is lost.
    """
    compression = COMPRESSIONS.get(path.suffix.lower())
    with pa.input_stream(str(path), compression=compression) as stream:
        first = stream.read(_CHUNK)
        if encoding is None and first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        if encoding is None or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
            yield first.removeprefix(codecs.BOM_UTF8)
            while chunk := stream.read(_CHUNK):
                yield chunk
            return
        decoder = codecs.getincrementaldecoder(encoding)("journey_bad_byte")
        yield _in_utf8(decoder.decode(first)).removeprefix(codecs.BOM_UTF8)
        while chunk := stream.read(_CHUNK):
            yield _in_utf8(decoder.decode(chunk))
        yield _in_utf8(decoder.decode(b"", final=True))


def _in_utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _bad_byte(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error("journey_bad_byte", _bad_byte)

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def _members(data: bytes) -> Iterator[Line]:
    """Each member of a JSON array as it is written, on one line."""
    text = data.decode("utf-8", "surrogateescape")
    place = _SPACE.match(text).end() + 1  # type: ignore[union-attr]  # it matches everywhere
    line, counted = 1, 0
    while True:
        start = _SPACE.match(text, place).end()  # type: ignore[union-attr]
        if text[start : start + 1] in ("]", ""):
            return
        end = _end_of_member(text, start)
        line, counted = line + text.count("\n", counted, start), start
        member = text[start:end].strip()
        yield Line(line, member.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape"))
        if text[end : end + 1] != ",":
            return
        place = end + 1


def _end_of_member(text: str, start: int) -> int:
    """Where the comma or bracket after a member stands. A malformed member ends where its brackets do."""
    try:
        end = _DECODER.raw_decode(text, start)[1]
        end = _SPACE.match(text, end).end()  # type: ignore[union-attr]
        if text[end : end + 1] in (",", "]"):
            return end
    except (ValueError, RecursionError):
        pass
    depth = 0
    for token in _TOKENS.finditer(text, start):
        if token[0] in "[{":
            depth += 1
        elif depth == 0 and token[0] in ",]":
            return token.start()
        elif token[0] in "]}":
            depth -= 1
    return len(text)
