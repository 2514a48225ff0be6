"""Files of canonical events, as `journey build --events` takes them: JSONL, or Parquet with the contract's fields."""

from __future__ import annotations

from pathlib import Path

import duckdb

from journey_core.errors import InputError
from journey_core.expressions import as_json, quote


def read_events(path: Path) -> list[bytes | None]:
    """Each event of a JSONL or Parquet file as JSON bytes, in the file's order. Blank lines are no events.

    Raises InputError where the file is unreadable. What a line holds is judged later: a bad one is rejected, counted.
    """
    try:
        if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
            return [line for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
        if path.suffix.lower() == ".parquet":
            return _parquet(path)
    except (OSError, duckdb.Error) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    raise InputError(
        f"{path}: canonical events come as .jsonl or .parquet; any other log goes through `journey produce`"
    )


def _parquet(path: Path) -> list[bytes | None]:
    quoted = str(path).replace("'", "''")
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"create view events as from read_parquet('{quoted}')")
        columns = {row[0]: row[1] for row in connection.execute("describe events").fetchall()}
        members = ", ".join(
            f"'{name.replace(chr(39), chr(39) * 2)}', {_json(name, kind)}" for name, kind in columns.items()
        )
        # Absent is not null: a missing value leaves its field out, as a producer does.
        rows = connection.execute(
            f"select json_merge_patch('{{}}', json_object({members}))::varchar from events"
        ).fetchall()
    return [text.encode() for (text,) in rows]


def _json(name: str, kind: str) -> str:
    quoted = quote(name)
    if kind == "VARCHAR" and name in ("identifiers", "context", "properties"):
        # Text that is no JSON goes on as text: the contract rejects and counts that row, not the file.
        return f"coalesce(try_cast({quoted} as json), to_json({quoted}))"
    return as_json(quoted, kind)
