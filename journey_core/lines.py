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


_CSV_FAULTS = {
    "new-line character seen in unquoted field": "a carriage return stands within the row, outside of quotes",
}


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
    if _is_document(first.value.decode("utf-8", "surrogateescape").strip(), path, encoding):
        yield from _members(b"".join(_chunks(path, encoding)))
        return
    yield first
    yield from lines


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
            values, detail = None, _CSV_FAULTS.get(str(error).split(" - ")[0], str(error))
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
    """Every line with its line end, blank ones included. Lines end with CR where the file begins without any LF."""
    begun: list[bytes] = []
    mark = b""
    for chunk in _chunks(path, encoding):
        mark = mark or (b"\r" if b"\r" in chunk and b"\n" not in chunk else b"\n")
        *whole, rest = chunk.split(mark)
        for line in whole:
            yield b"".join([*begun, line, mark]) if begun else line + mark
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
# A string ends on its line, so a quote that nobody closed hides no bracket of the next line.
_TOKENS = re.compile(r'"(?:[^"\\\n]|\\.)*"|[\[\]{},:]')
_PAIRS = {"}": "{", "]": "["}
_OBJECT_ON_LINE = re.compile(r"\n([ \t]*)[\[\]}, \t]*(?=\{)")
_OBJECT_BESIDE = re.compile(r"[,}]\s*(?=\{)")
_FIRST_KEY = re.compile(r'\{\s*("[^"\n]*")')
_OUTSIDE = re.compile(r"[^{\[\n]+")


def _members(data: bytes) -> Iterator[Line]:
    """Each member of JSON arrays as it is written, and whatever else the text holds, so that nothing is lost.

    A member that cannot be read ends where the next one begins. Text behind an array is read like its members. An array
    that nobody closed gives its bracket.
    """
    text = data.decode("utf-8", "surrogateescape")
    place, line, counted = 0, 1, 0
    opened = 0  # the line of the open bracket
    ends_badly = False
    while (start := _after_space(text, place)) < len(text):
        line, counted = line + text.count("\n", counted, start), start
        if not opened and text[start] == "[":
            opened, place, ends_badly = line, start + 1, False
            continue
        if opened and text[start] == "]":
            opened, place = 0, start + 1
            continue
        end = _end_of_value(text, start)
        if ends_badly := end is None:
            end = _end_of_malformed(text, start, bool(opened))
            member = text[start:end].rstrip()
        else:
            member = text[start:end].replace("\r", " ").replace("\n", " ")
        yield Line(line, member.encode("utf-8", "surrogateescape"))
        place = _after_space(text, end)
        if opened and text[place : place + 1] == ",":
            place += 1
    if opened and not ends_badly:
        yield Line(opened, b"[")


def _is_document(first: str, path: Path, encoding: str | None) -> bool:
    """Whether a `.json` file holds an array, or objects over several lines; else it holds lines."""
    if first == "{" or first.startswith("["):
        return True
    if not first.startswith("{") or _end_of_value(first, 0) is not None:
        return False
    text = b"".join(_chunks(path, encoding)).decode("utf-8", "surrogateescape")
    return _end_of_value(text, _after_space(text, 0)) is not None


def _after_space(text: str, place: int) -> int:
    return _SPACE.match(text, place).end()  # type: ignore[union-attr]  # it matches everywhere


def _end_of_value(text: str, start: int) -> int | None:
    """Where a value ends. None where it is malformed, or something else than the next value stands behind it."""
    try:
        end = _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None
    return end if text[(behind := _after_space(text, end)) : behind + 1] in ("", ",", "]", "{", "[") else None


def _end_of_malformed(text: str, start: int, in_array: bool) -> int:
    """Where a malformed value ends: where its brackets do, else where the next object begins, else with the array."""
    if not in_array and text[start] not in "{[":
        # At least one character: a lone bracket, or text up to the next one.
        return start + len(_OUTSIDE.match(text, start)[0])  # type: ignore[index]
    if (end := _end_by_brackets(text, start)) is not None:
        return end
    indent = text[text.rfind("\n", 0, start) + 1 : start]
    on_lines = _OBJECT_ON_LINE.finditer(text, start)
    first = next(on_lines, None)
    # Objects within a member stand deeper than the member.
    if first is not None and not indent.strip():
        first = next((found for found in (first, *on_lines) if found[1] == indent), first)
    if first is None or indent.strip():
        # Members beside each other begin with the same key, unlike most objects within them.
        key = _FIRST_KEY.match(text, start)
        limit = len(text) if first is None else first.end()
        for found in _OBJECT_BESIDE.finditer(text, start + 1, limit + 1):
            other = _FIRST_KEY.match(text, found.end())
            if key and other and key[1] == other[1] and _end_of_value(text, found.end()) is not None:
                return found.end()
    if first is not None:
        return first.end()
    whole = len(text.rstrip())
    return whole - 1 if in_array and text[whole - 1] == "]" and whole - 1 > start else whole


def _end_by_brackets(text: str, start: int) -> int | None:
    """Where the comma, bracket or object behind a value stands; None where its brackets do not pair."""
    open_ones: list[str] = []
    before = ""
    for token in _TOKENS.finditer(text, start, start + LARGEST_EVENT):
        mark = token[0]
        if mark[0] == '"' and text[(behind := _after_space(text, token.end())) : behind + 1] not in ("", *":,]}"):
            return None  # a quote is missing or too many: what follows may hide in strings
        if not open_ones and (mark in ",]" or (mark in "{[" and token.start() > start)):
            return token.start()
        if mark in "{[":
            if open_ones and open_ones[-1] == "{" and before != ":":
                return None  # an object where a key should be: the one before has no end
            open_ones.append(mark)
        elif mark in _PAIRS and open_ones and open_ones.pop() != _PAIRS[mark]:
            return None
        before = mark
    return None
