"""Files of canonical events, as `journey build --events` takes them: JSONL, a JSON array, or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from journey_core.contract import RECORDS, records_of
from journey_core.errors import InputError
from journey_core.expressions import quote
from journey_core.json_text import instant, json_object, json_text, literal
from journey_core.lines import kind_of, read_values

_TEXTS = (".jsonl", ".ndjson", ".json")
_TIMES = ("occurred_at", "sent_at", "received_at")
_OBJECTS = ("identifiers", "context", "properties")


def read_events(path: Path) -> pa.Table:
    """A record (columns of `RECORDS`) for each event of a file, in the file's order; the offset is its line, from 1.

    JSONL and a `.json` array may be compressed (`.gz`, `.zst`). Naive times of Parquet count as UTC. Raises InputError
    where the file is unreadable. The contract judges each record later: a bad line is one rejected record.
    """
    kind = kind_of(path)
    try:
        if kind in _TEXTS:
            lines = list(read_values(path))
            return _records([line.value for line in lines], [line.line for line in lines])
        if kind == ".parquet":
            values = _parquet(path)
            return _records(values, range(1, len(values) + 1))
    except (OSError, UnicodeError, duckdb.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    raise InputError(
        f"{path}: canonical events come as .jsonl or .parquet; any other log goes through `journey produce`"
    )


def _records(values: list[bytes | None], lines: Sequence[int]) -> pa.Table:
    place = RECORDS.get_field_index("offset")
    return records_of(values, topic="file").set_column(place, RECORDS.field(place), pa.array(lines, pa.int64()))


def _parquet(path: Path) -> list[bytes | None]:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"create view events as from read_parquet({literal(str(path))})")
        columns = connection.sql("from events")
        members = [(name, _json(name, kind)) for name, kind in zip(columns.columns, columns.types, strict=True)]
        rows = connection.execute(f"select {json_object(members)} from events").fetchall()
    return [text.encode() for (text,) in rows]


def _json(name: str, kind: Any) -> str:
    quoted = quote(name)
    if name in _TIMES and kind.id == "date":
        return f"to_json({instant(f'{quoted}::timestamp', 'timestamp')})::varchar"
    if name in _OBJECTS and kind.id == "varchar":
        # Text that is no JSON goes on as text: the contract rejects and counts that row, not the file.
        whole = f"case when json_valid({quoted}) then {quoted} else to_json({quoted})::varchar end"
        return f"nullif({whole}, 'null')"
    return json_text(quoted, kind)
