"""`journey query`: one statement over the current release, within limits, and with nothing else in sight."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import ByteSize, TypeAdapter

from journey_core.errors import InputError
from journey_core.interrupts import at_most, interruptible
from journey_core.release import QUERYING, Release, create_views, damaged_release, require_whole
from journey_core.statements import readable

_SIZE = TypeAdapter(ByteSize)
_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Limits:
    """What one query may use. `memory` as DuckDB writes it (`8GB`), above which it spills to disk; `threads` None: all.

    It spills to a folder of its own under `spill`, which goes with the query.
    """

    memory: str = "8GB"
    threads: int | None = None
    time: timedelta = timedelta(minutes=5)
    spill: Path | None = None


def query_release(release: Release, sql: str, limits: Limits | None = None) -> pa.Table:
    """The rows of one statement over `marts.*` of a release, read-only: it sees these files and nothing else.

    Raises InputError where the SQL is wrong or reaches a limit, DamagedError where a file of the release is damaged.
    """
    limits = limits or Limits()
    with _reader(release, limits) as connection:
        statement = readable(connection, sql)
        with interruptible(connection), at_most(connection, limits.time) as is_late:
            try:
                return _fetched(connection, statement)
            except InputError as error:
                if is_late.is_set():
                    raise InputError(
                        f"the query took longer than {limits.time}: ask for less, or set JOURNEY_QUERY_TIMEOUT"
                    ) from error
                if "Out of Memory" in str(error):
                    raise InputError(f"{error}. Ask for less, or set JOURNEY_DUCKDB_MEMORY_LIMIT") from error
                require_whole(release)
                raise


def _fetched(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.Table:
    """The rows, as long as they are no larger than the memory limit, which does not count what has left DuckDB."""
    ((written,),) = connection.execute("select current_setting('memory_limit')").fetchall()
    limit = _SIZE.validate_python(written.replace("bytes", "B"))
    batches: list[pa.RecordBatch] = []
    try:
        rows = connection.sql(statement).to_arrow_reader(_ROWS_AT_ONCE)
        size = 0
        for batch in rows:
            size += batch.nbytes
            if size > limit:
                raise InputError(
                    f"the result is larger than {written}. Ask for less, or set JOURNEY_DUCKDB_MEMORY_LIMIT"
                )
            batches.append(batch)
    except (duckdb.Error, OSError, pa.ArrowException) as error:  # the last two: in the midst of the stream
        raise InputError(f"the query does not work: {error}") from error
    return pa.Table.from_batches(batches, rows.schema)


@contextmanager
def _reader(release: Release, limits: Limits) -> Iterator[duckdb.DuckDBPyConnection]:
    is_ours = limits.spill is not None and os.access(
        limits.spill, os.W_OK
    )  # who may only read a release queries it too
    with TemporaryDirectory(dir=limits.spill if is_ours else None, prefix=QUERYING) as spill:
        config: dict[str, Any] = {"memory_limit": limits.memory, "temp_directory": spill}
        if limits.threads is not None:
            config["threads"] = limits.threads
        with duckdb.connect(config=config) as connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute("set allowed_directories = [?]", [str((release.root / release.name).resolve())])
            connection.execute("set enable_external_access = false")
            try:
                create_views(connection, "marts", release)
            except duckdb.Error as error:
                require_whole(release)
                raise damaged_release(release, str(error)) from error
            connection.execute("set schema = 'marts'")  # `show tables` shows them
            connection.execute("set lock_configuration = true")
            yield connection
