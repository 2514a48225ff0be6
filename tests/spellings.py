"""How producers write an identifier, made by other means than `journey_core/shapes.py` finds it; and a scan for it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import quopri
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import duckdb
import pyarrow.parquet as pq

Shape = Callable[[str, str], str]


def _base64_within(before: str) -> Shape:
    return lambda namespace, text: base64.b64encode(f'{before}"{text}"}}'.encode()).decode()


def _each(text: str, pattern: str) -> str:
    return "".join(pattern.format(ord(letter)) if letter in "@." else letter for letter in text)


#: Name → (namespace, identifier) → a text that says it.
SHAPES: dict[str, Shape] = {
    "plain": lambda namespace, text: text,
    "upper": lambda namespace, text: text.upper(),
    "decomposed": lambda namespace, text: unicodedata.normalize("NFD", text),
    "json": lambda namespace, text: json.dumps(text),
    "json in json": lambda namespace, text: json.dumps(json.dumps({"is": _each(text, "\\u{:04x}")})),
    "percent": lambda namespace, text: f"https://x.example/?e={quote(text, safe='')}&page=2",
    "lower percent": lambda namespace, text: f"?e={quote_plus(text)}".replace("%40", "%40").lower(),
    "percent twice": lambda namespace, text: f"?next={quote(f'/?e={quote(text)}')}",
    "percent thrice": lambda namespace, text: quote(quote(quote(text))),
    "each character percent": lambda namespace, text: "".join(f"%{octet:02X}" for octet in text.encode()),
    "html": lambda namespace, text: f"<b>{_each(text, '&#{};')}</b>",
    "html in hex": lambda namespace, text: _each(text, "&#x{:x};"),
    "html by name": lambda namespace, text: html.escape(text).replace("@", "&commat;"),
    "quoted-printable": lambda namespace, text: quopri.encodestring(text.encode()).decode().replace("@", "=40"),
    "with its namespace": lambda namespace, text: f"{namespace}:{text}",
    "namespace=": lambda namespace, text: f"{namespace}={text};",
    "joined by -": lambda namespace, text: f"vip-{text}-2",
    "joined by _": lambda namespace, text: f"cart_{text}_open",
    "joined by .": lambda namespace, text: f"mail.{text}.7",
    "joined by /": lambda namespace, text: f"/u/{text}/orders",
    "base64": lambda namespace, text: base64.b64encode(text.encode()).decode(),
    "base64url": lambda namespace, text: base64.urlsafe_b64encode(text.upper().encode()).decode().rstrip("="),
    "base64 of both": lambda namespace, text: base64.b64encode(f"{namespace}:{text}".encode()).decode(),
    "within base64, 1": _base64_within('{"a":'),
    "within base64, 2": _base64_within('{"ab":'),
    "within base64, 3": _base64_within('{"abc":'),
    "md5": lambda namespace, text: hashlib.md5(text.lower().encode()).hexdigest(),
    "sha1": lambda namespace, text: hashlib.sha1(text.lower().encode()).hexdigest(),
    "sha256": lambda namespace, text: hashlib.sha256(text.lower().encode()).hexdigest().upper(),
}


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a value, whatever it is nested in."""
    if isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from texts_of(pair)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts_of(one)


def texts_in(path: Path) -> str:
    """All that a file says, in lower case: its bytes; what is compressed, as it reads."""
    texts = [path.read_bytes().decode("utf-8", "replace")]
    if path.suffix == ".parquet":
        texts += texts_of(pq.read_table(path).to_pylist())
    if path.suffix == ".duckdb" and path.name != "catalog.duckdb":
        with duckdb.connect(str(path), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            tables = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
            for (table,) in tables:
                texts += texts_of(connection.sql(f"from {table}").to_arrow_table().to_pylist())
    return "\n".join(texts).lower()


def left_in(home: Path, people: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """(file, shape) of every shape of every (namespace, identifier) that some file still holds."""
    wanted = set()
    for name, shape in SHAPES.items():
        for namespace, identifier in people:
            said = shape(namespace, identifier).lower()
            # Within JSON, a text stands with its quotes and backslashes escaped.
            wanted |= {(said, name), (json.dumps(said)[1:-1], name), (json.dumps(said, ensure_ascii=False)[1:-1], name)}
    found = []
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        said = texts_in(path)
        found += [(str(path.relative_to(home)), name) for text, name in wanted if text in said]
    return found
