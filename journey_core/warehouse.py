"""The warehouse: one DuckDB file, rebuilt from the lake whenever one likes.

A build is one DuckDB transaction: readers and crashes see the tables of the previous build, or all of the new one's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from journey_core.contract import EVENTS, REJECTED_EVENTS
from journey_core.errors import InputError, JourneyError, NotBuiltError, StorageError, TaxonomyError
from journey_core.lake import LANDING_GAPS, rows_of
from journey_core.models import Model, compiled_models, fingerprint, in_build_order, shipped_models
from journey_core.taxonomy import Taxonomy


@dataclass(frozen=True)
class Source:
    """Where a build reads events: Parquet files of the lake, or Arrow tables. `identity` changes iff the rows do."""

    identity: str
    events: list[str] | pa.Table
    rejected_events: list[str] | pa.Table
    landing_gaps: list[str] | pa.Table = field(default_factory=list)


@dataclass(frozen=True)
class Build:
    """One build. `rows` is the row count per mart; `as_of` is UTC and None where no event has come yet."""

    build_id: str
    as_of: datetime | None
    taxonomy: str
    taxonomy_fingerprint: str
    models_fingerprint: str
    source: str
    offsets: dict[str, int]
    rows: dict[str, int]
    is_new: bool = True

    def __str__(self) -> str:
        what = "built" if self.is_new else "unchanged:"
        as_of = f"{self.as_of:%Y-%m-%d %H:%M:%S} UTC" if self.as_of else "no event yet"
        counts = ", ".join(f"{self.rows[f'marts.{name}']:,} {name}" for name in ("touchpoints", "sessions", "journeys"))
        return f"{what} {self.build_id} as of {as_of}: {counts}"


class Warehouse:
    """The warehouse at `path`. `memory_limit` as DuckDB writes it (`8GB`); `threads` None means all cores."""

    def __init__(self, path: Path, *, memory_limit: str = "8GB", threads: int | None = None) -> None:
        self.path = path
        self._config: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": f"{path}.tmp"}
        if threads is not None:
            self._config["threads"] = threads

    @contextmanager
    def connect(self, *, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in UTC. Raises NotBuiltError where there is nothing to read, StorageError where nothing fits."""
        if read_only and not self.path.exists():
            raise NotBuiltError(f"{self.path} does not exist: nothing is built yet. Run: journey build")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with duckdb.connect(str(self.path), read_only=read_only, config=self._config) as connection:
                connection.execute("set timezone = 'UTC'")
                yield connection
        except duckdb.Error as error:
            raise self._told(error) from error

    def _told(self, error: duckdb.Error) -> Exception:
        """The error as a user can act on it; one of ours passes through, and a mistake in our own SQL stays itself."""
        text = str(error)
        if isinstance(error, duckdb.OutOfMemoryException):
            return StorageError(f"{text}. Set JOURNEY_DUCKDB_MEMORY_LIMIT; the previous build stays")
        if isinstance(error, duckdb.IOException) and "lock" in text.lower():
            return JourneyError(f"{self.path} is in use by another process. Wait for it, then run again")
        if isinstance(error, duckdb.IOException) or "could not write" in text.lower():
            return StorageError(f"{self.path} cannot be written or read: {text}. The previous build stays")
        return error

    def build(
        self,
        source: Source,
        taxonomy: Taxonomy,
        *,
        as_of: datetime | None = None,
        full: bool = False,
        progress: Callable[[str, int, int | None], None] = lambda *_: None,
    ) -> Build:
        """Build every model from `source` in one transaction. The same input again changes nothing, unless `full`."""
        models = in_build_order([*shipped_models(), *compiled_models(taxonomy.models())])
        code = fingerprint(models)
        asked = json.dumps([source.identity, taxonomy.fingerprint, code, as_of and as_of.isoformat()])
        build_id = hashlib.sha256(asked.encode()).hexdigest()[:16]
        with self.connect(read_only=False) as connection:
            last = _last_build(connection)
            if last is not None and last.build_id == build_id and not full:
                return last
            connection.execute("begin")
            _reset(connection, {model.name.split(".")[0] for model in models} | {"lake"})
            _create_sources(connection, source, taxonomy, as_of)
            for done, model in enumerate(models):
                progress(f"building {model.name}", done, len(models))
                _create_model(connection, model)
            progress("building", len(models), len(models))
            build = Build(
                build_id=build_id,
                as_of=_one(connection, "select as_of from staging.observation"),
                taxonomy=taxonomy.taxonomy,
                taxonomy_fingerprint=taxonomy.fingerprint,
                models_fingerprint=code,
                source=source.identity,
                offsets=_offsets(connection),
                rows={
                    m.name: _one(connection, f"select count(*) from {m.name}") for m in models if m.name[:6] == "marts."
                },
            )
            _remember(connection, build)
            connection.execute("commit")
            # Not inside the transaction: DuckDB refuses to commit rows of a table that the same transaction drops.
            connection.execute("drop schema lake cascade")
        return build

    def last_build(self) -> Build:
        """The build that the tables hold now. Raises NotBuiltError where there is none."""
        with self.connect() as connection:
            return last_build(connection)

    def query(self, sql: str) -> pa.Table:
        """The rows of one select over the tables of the last build. Raises InputError where the SQL is wrong."""
        with self.connect() as connection:
            return fetch(connection, sql)


def fetch(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """The rows of one select, as Arrow. Raises InputError where the SQL is wrong."""
    try:
        relation = connection.sql(sql)
        if relation is None:
            raise InputError("that is no query: it returns no rows. Write one `select`")
        return relation.to_arrow_table()
    except duckdb.Error as error:
        raise InputError(f"the query does not work: {error}") from error


def last_build(connection: duckdb.DuckDBPyConnection) -> Build:
    """The build that the tables of an open warehouse hold. Raises NotBuiltError where there is none."""
    last = _last_build(connection)
    if last is None:
        raise NotBuiltError("the warehouse holds no build yet. Run: journey build")
    return last


def _reset(connection: duckdb.DuckDBPyConnection, schemas: set[str]) -> None:
    for schema in sorted(schemas):
        connection.execute(f"drop schema if exists {schema} cascade")
        connection.execute(f"create schema {schema}")


def _create_sources(
    connection: duckdb.DuckDBPyConnection, source: Source, taxonomy: Taxonomy, as_of: datetime | None
) -> None:
    for name, rows, schema in (
        ("events", source.events, EVENTS),
        ("rejected_events", source.rejected_events, REJECTED_EVENTS),
        ("landing_gaps", source.landing_gaps, LANDING_GAPS),
    ):
        if isinstance(rows, list) and rows:
            connection.execute(f"create view lake.{name} as from {rows_of(rows)}")
        else:
            _create_table(connection, f"lake.{name}", schema.empty_table() if isinstance(rows, list) else rows)
    for name, table in taxonomy.tables(as_of).items():
        _create_table(connection, f"taxonomy.{name}", table)


def _create_model(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    try:
        connection.execute(f"create table {model.name} as {model.sql}")
    except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.BinderException) as error:
        raise TaxonomyError(
            f"{model.name} cannot be built: {str(error).splitlines()[0]}. The previous build stays; if the taxonomy is "
            "yours, look at the expressions that it compares"
        ) from error


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("incoming", rows)
    connection.execute(f"create table {name} as from incoming")
    connection.unregister("incoming")


def _offsets(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """`<topic>/<partition>` → the first offset that this build has not seen."""
    rows = connection.execute(
        """
        select
            topic || case when generation > 0 then '~' || generation else '' end || '/' || partition,
            max("offset") + 1
        from (
            select topic, generation, partition, "offset" from lake.events
            union all
            select topic, generation, partition, "offset" from lake.rejected_events
        ) as landed
        group by topic, generation, partition
        order by topic, generation, partition
        """
    ).fetchall()
    return dict(rows)


def _remember(connection: duckdb.DuckDBPyConnection, build: Build) -> None:
    connection.execute("create schema if not exists meta")
    connection.execute("create table if not exists meta.builds (build_order bigint, build json)")
    facts: Mapping[str, Any] = {name: value for name, value in vars(build).items() if name != "is_new"}
    connection.execute(
        "insert into meta.builds select coalesce(max(build_order), 0) + 1, ? from meta.builds",
        [json.dumps(facts, default=lambda instant: instant.isoformat())],
    )


def _last_build(connection: duckdb.DuckDBPyConnection) -> Build | None:
    if not _one(
        connection, "select count(*) from duckdb_tables() where schema_name = 'meta' and table_name = 'builds'"
    ):
        return None
    facts = json.loads(_one(connection, "select arg_max(build, build_order) from meta.builds"))
    as_of = facts.pop("as_of")
    return Build(**facts, as_of=datetime.fromisoformat(as_of) if as_of else None, is_new=False)


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The first value of a select, through Arrow: DuckDB's own way to a `datetime` wants pytz."""
    rows = connection.sql(sql).to_arrow_table()
    return rows[0][0].as_py() if rows.num_rows else None
