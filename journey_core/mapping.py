"""Any CSV, Parquet or JSONL log into canonical events, by a mapping: one SQL expression per field of the contract.

```yaml
mapping: loan_application
fields:
  event_id: "'loan-' || seq"
  event_type: activity
  channel: "case when starts_with(activity, 'W_') then 'offline' else 'web' end"
  occurred_at: timestamp
  identifiers: {customer_id: case_id}
  properties: {amount: '"case:AMOUNT_REQ"'}
```

Expressions name the file's columns and are checked as a taxonomy's predicates are; a null leaves its field out. What
the contract would reject is produced all the same: it lands in `rejected_events`, where it is counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from pydantic import Field

from journey_core.documents import Document, Mistake, read_document
from journey_core.errors import InputError, TaxonomyError
from journey_core.events import CHANNELS, event_key, topic_of
from journey_core.expressions import as_json, parse_expression, type_of
from journey_core.paths import SCHEMAS

MAPPINGS = SCHEMAS / "mappings"
_READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".jsonl": "read_json_auto",
    ".ndjson": "read_json_auto",
}


@dataclass(frozen=True)
class Record:
    """What a producer sends: `value` is one event as JSON, `key` its strongest identifier."""

    topic: str
    key: bytes | None
    value: bytes | None


class Fields(Document):
    """Field of the contract → SQL expression over the file's columns."""

    event_id: str
    event_type: str
    channel: str
    occurred_at: str
    identifiers: dict[str, str] = Field(min_length=1)
    sent_at: str | None = None
    received_at: str | None = None
    sequence: str | None = None
    initiator: str | None = None
    context: dict[str, Any] = {}
    properties: dict[str, Any] = {}


class Mapping(Document):
    """How one kind of log becomes events."""

    mapping: str
    about: str = ""
    fields: Fields


def read_log(path: Path, mapping_file: Path) -> tuple[int, Iterator[Record]]:
    """The number of rows of a log, and its records in the file's order, streamed.

    Raises InputError where the file is unreadable, TaxonomyError where the mapping names what the file does not have.
    """
    with _open(path) as connection:
        columns = {row[0]: row[1] for row in connection.execute("describe log").fetchall()}
        rows = connection.execute("select count(*) from log").fetchall()[0][0]
    mapping = read_document(_mapping_path(mapping_file), Mapping, lambda document: _mistakes(document, columns))
    fields = mapping.fields.model_dump(exclude_none=True)
    # The contract wants these as text, and the commonest log has numbers for ids.
    for name in ("event_id", "event_type", "channel", "initiator"):
        if name in fields:
            fields[name] = f"cast({fields[name]} as varchar)"
    fields["identifiers"] = {name: f"cast({written} as varchar)" for name, written in fields["identifiers"].items()}
    select = f"select {_object(fields, columns)}::varchar from log"
    return rows, _records(path, select)


def _records(path: Path, select: str) -> Iterator[Record]:
    with _open(path) as connection:
        result = connection.execute(select)
        while batch := result.fetchmany(10_000):
            for (text,) in batch:
                event = json.loads(text)
                # What names no channel of the contract lands all the same, and is rejected and counted there.
                channel = event.get("channel")
                topic = topic_of(channel if channel in CHANNELS else "unknown")
                identifiers = event.get("identifiers")
                yield Record(topic, event_key(identifiers).encode() if identifiers else None, text.encode())


@contextmanager
def _open(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: a log is one of {', '.join(_READERS)}, told by its ending")
    quoted = str(path).replace("'", "''")
    with duckdb.connect() as connection:
        try:
            connection.execute("set timezone = 'UTC'")
            connection.execute(f"create view log as from {reader}('{quoted}')")
            yield connection
        except duckdb.Error as error:
            raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _mapping_path(name_or_file: Path) -> Path:
    if name_or_file.suffix in (".yaml", ".yml"):
        return name_or_file
    shipped = ", ".join(sorted(file.stem for file in MAPPINGS.glob("*.yaml")))
    path = MAPPINGS / f"{name_or_file}.yaml"
    if not path.is_file():
        raise TaxonomyError(f"no mapping `{name_or_file}`: name one of {shipped}, or give the path of a YAML file")
    return path


def _mistakes(mapping: Mapping, columns: dict[str, str]) -> Iterator[Mistake]:
    def walk(value: Any, where: tuple[int | str, ...]) -> Iterator[Mistake]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, (*where, name))
            return
        try:
            parse_expression(str(value), columns)
        except TaxonomyError as error:
            yield where, str(error)

    return walk(mapping.fields.model_dump(exclude_none=True), ("fields",))


def _object(value: Any, columns: dict[str, str]) -> str:
    """SQL of one JSON object; null members are left out, as a producer leaves out what it does not know."""
    if not isinstance(value, dict):
        sql = parse_expression(str(value), columns)
        return as_json(sql, type_of(sql, columns))
    pairs = ", ".join(
        f"'{name.replace(chr(39), chr(39) * 2)}', {_object(inner, columns)}" for name, inner in value.items()
    )
    return f"json_merge_patch('{{}}', json_object({pairs}))"
