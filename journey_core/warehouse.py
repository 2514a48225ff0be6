"""The warehouse: one DuckDB file, rebuilt from the lake whenever one likes.

A build is one DuckDB transaction: readers and crashes see the tables of the previous build, or all of the new one's.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from journey_core import long_texts
from journey_core.contract import EVENTS, REJECTED_EVENTS
from journey_core.damage import first_line, reading
from journey_core.erasures import Erasures
from journey_core.errors import DamagedError, InputError, JourneyError, NotBuiltError, StorageError
from journey_core.expressions import KEEP_TRIES
from journey_core.identity import identity_warnings, register
from journey_core.increment import Slice
from journey_core.interrupts import interruptible
from journey_core.lake import LANDING_GAPS, rows_of
from journey_core.ledger import LEDGERED, Ledger, create_tables
from journey_core.models import (
    SCHEMAS_IN_ORDER,
    Model,
    compiled_models,
    fingerprints,
    in_build_order,
    naming,
    quoted,
    shipped_models,
)
from journey_core.parts import Parts
from journey_core.privacy import Person
from journey_core.taxonomy import Taxonomy

# What DuckDB raises of a file that was cut off, or whose blocks were overwritten; or it is an Error that says so.
_DAMAGE = (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)
#: What DuckDB says where a block does not fit its checksum.
CORRUPT = "Corrupt database file"
# What part of a table's rows may be replaced ones before they are cleared away.
_DEAD_SHARE = 0.2
#: The `origin` of what was built from the lake.
LAKE = "lake"
#: Where somebody is looked for in a copy of the warehouse.
ASKING = ".asking-"
_LAKE = {"events": EVENTS, "rejected_events": REJECTED_EVENTS, "landing_gaps": LANDING_GAPS}


@dataclass(frozen=True)
class Source:
    """Where a build reads events: Parquet files of the lake, or Arrow tables. `identity` changes iff the rows do.

    `origin` is `lake`, or the absolute path of a file of events.
    """

    identity: str
    events: list[str] | pa.Table
    rejected_events: list[str] | pa.Table
    landing_gaps: list[str] | pa.Table = field(default_factory=list)
    origin: str = LAKE

    def rows(self) -> dict[str, str | pa.Table]:
        """Table → what to select from: the rows of its files, or an Arrow table."""
        found = {}
        for name, schema in _LAKE.items():
            rows = getattr(self, name)
            if isinstance(rows, list):
                rows = rows_of(rows) if rows else schema.empty_table()
            found[name] = rows
        return found

    def files(self) -> list[str]:
        """The files that hold its events; none where they are an Arrow table."""
        return self.events if isinstance(self.events, list) else []

    def all_files(self) -> list[str]:
        """Every file of the lake that a build reads."""
        return [file for name in _LAKE if isinstance(files := getattr(self, name), list) for file in files]

    def news(self, held: Sequence[str]) -> str | None:
        """What to select from for the events in files that are not among `held`; None where one of those is gone."""
        fresh = sorted(set(self.files()) - set(held))
        if not held or len(fresh) != len(self.files()) - len(held):
            return None
        return rows_of(fresh) if fresh else f"(from {rows_of(self.files())} where false)"


@dataclass(frozen=True)
class Build:
    """One build.

    `build_id` names the build and all those before it whose memory it holds: equal ids mean equal tables, those of the
    history included. `inputs` names what it was made from alone, `build_order` is its place, from 1.
    `rows` is the row count per mart; `as_of` is UTC and None where no event has come yet; `warnings` say what events
    carry that no table can use.
    """

    build_id: str
    as_of: datetime | None
    taxonomy: str
    taxonomy_fingerprint: str
    models_fingerprint: str
    source: str
    offsets: dict[str, int]
    rows: dict[str, int]
    asked: dict[str, str | None] = field(default_factory=dict)  # origin, taxonomy, as_of: what it was built from
    warnings: list[str] = field(default_factory=list)  # what the tables leave out, and somebody should look at
    inputs: str = ""
    build_order: int = 0
    is_new: bool = True

    @property
    def origin(self) -> str:
        """`lake`, or the file that it was built from."""
        # Builds of before had no such note; only a lake's identity names tables and their versions.
        return self.asked.get("origin") or (LAKE if "@" in self.source else "a file of events")

    def __str__(self) -> str:
        what = "built" if self.is_new else "unchanged:"
        as_of = f"{self.as_of:%Y-%m-%d %H:%M:%S} UTC" if self.as_of else "no event yet"
        counts = ", ".join(f"{self.rows[f'marts.{name}']:,} {name}" for name in ("touchpoints", "sessions", "journeys"))
        return f"{what} {self.build_id} as of {as_of}: {counts}"

    @property
    def with_warnings(self) -> str:
        """Its line and a line for each warning, for a log that has no second stream."""
        return "\n".join([str(self), *(f"warning: {warning}" for warning in self.warnings)])


class DamagedWarehouseError(DamagedError):
    """The warehouse cannot be read. All of it can be built again, but what it remembers of former builds."""


def damaged_warehouse(path: Path, why: str) -> DamagedWarehouseError:
    """What to say of a warehouse that cannot be read. It is made from the lake, or from the file it was built from."""
    return DamagedWarehouseError(
        f"{path} is damaged: {why}. Run: journey build --full (with --events FILE if it was built from a file)"
    )


class Warehouse:
    """The warehouse at `path`. `memory_limit` as DuckDB writes it (`8GB`); `threads` None means all cores."""

    def __init__(self, path: Path, *, memory_limit: str = "8GB", threads: int | None = None) -> None:
        self.path = path
        self._copied_from: Path | None = None
        self._config: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": f"{path}.tmp"}
        if threads is not None:
            self._config["threads"] = threads

    @contextmanager
    def connect(self, *, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in UTC. Raises NotBuiltError where there is nothing to read, StorageError where nothing fits."""
        if read_only and not self.path.exists():
            raise NotBuiltError(f"{self.path} does not exist: nothing is built yet. Run: journey build")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._errors(),
            duckdb.connect(str(self.path), read_only=read_only, config=self._config) as connection,
            interruptible(connection),
        ):
            _prepare(connection)
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise self._told(error) from error

    def _told(self, error: duckdb.Error) -> Exception:
        """The error as a user can act on it; one of ours passes through, and a mistake in our own SQL stays itself."""
        text = first_line(error)
        if isinstance(error, duckdb.OutOfMemoryException):
            return StorageError(f"{text}. Set JOURNEY_DUCKDB_MEMORY_LIMIT; the previous build stays")
        if isinstance(error, duckdb.IOException) and "could not set lock" in text.lower():
            return JourneyError(f"{self.path} is in use by another process. Wait for it, then run again")
        if "could not write" in text.lower() or "no space left" in text.lower() or "cannot open file" in text.lower():
            return StorageError(f"{self.path} cannot be written or read: {text}. The previous build stays")
        if isinstance(error, _DAMAGE) or CORRUPT in text:
            return damaged_warehouse(self._copied_from or self.path, text)
        return error

    def build(
        self,
        source: Source,
        taxonomy: Taxonomy,
        *,
        as_of: datetime | None = None,
        full: bool = False,
        named: str | None = None,
        progress: Callable[[str, int, int | None], None] = lambda *_: None,
    ) -> Build:
        """Build what changed since the last build, in one transaction; with `full` everything.

        `named` is how the taxonomy was asked for: the build remembers it, for whoever has to build the same again.

        Both give the same rows. The same input again changes nothing, unless `full`. What depends on a changed taxonomy
        or on changed SQL is built in full, the rest for the customers that new, changed or removed events touch.
        With `full` a damaged warehouse is replaced: what it remembered of the builds before is lost.
        """
        asked = (source, taxonomy, as_of, full, named, progress)
        try:
            return self._build(*asked)
        except DamagedWarehouseError:
            if not full:
                raise
            progress("replacing a damaged warehouse", 0, None)
            with self._set_aside():
                return self._build(*asked)

    def _build(
        self,
        source: Source,
        taxonomy: Taxonomy,
        as_of: datetime | None,
        full: bool,
        named: str | None,
        progress: Callable[[str, int, int | None], None],
    ) -> Build:
        models = in_build_order([*shipped_models(), *compiled_models(taxonomy.models())])
        tables = {f"taxonomy.{name}": table for name, table in taxonomy.tables(as_of).items()}
        code = fingerprints(models, {name: repr(table.to_pylist()) for name, table in tables.items()})
        everything = hashlib.sha256(json.dumps(code).encode()).hexdigest()
        inputs = _digest(f"{source.identity} {everything}")
        with self.connect(read_only=False) as connection, reading(source.all_files()):
            create_tables(connection)
            last = _last_build(connection)
            is_same = last is not None and last.inputs == inputs
            if last is not None and is_same and not full:
                return last
            # To go back to an earlier configuration is another build: what the tables remember has grown meanwhile.
            build_id = inputs if last is None else last.build_id if is_same else _digest(f"{last.build_id} {inputs}")
            built = {} if full else dict(connection.execute("from meta.models").fetchall())
            work = _Work.of(models, [name for name, digest in code.items() if built.get(name) == digest])
            ledger = Ledger(connection, build_id)
            with _updated(connection, work, source, progress) as made:
                ledger.look_at(work.stale)
                connection.execute("begin")
                _create_sources(connection, source, tables, models)
                if made is not None:
                    if ledgered := work.ledgered():
                        ledger.write(made.restated(ledgered))
                    for model in work.current:
                        made.apply(model)
                parts = Parts(connection, {model.name: model for model in models})
                for done, model in enumerate(work.stale, start=len(work.current)):
                    progress(f"building {model.name}", done, len(models))
                    _create_model(connection, model, parts.selects(model))
                ledger.compare()
                ledger.remember_identity(None if made is None else made.identifiers())
                for model in work.remembering:
                    _create_model(connection, model, [model.sql])
                progress("building", len(models), len(models))
                build = Build(
                    build_id=build_id,
                    as_of=_one(connection, "select as_of from staging.observation"),
                    taxonomy=taxonomy.taxonomy,
                    taxonomy_fingerprint=taxonomy.fingerprint,
                    models_fingerprint=everything,
                    source=source.identity,
                    offsets=_offsets(connection),
                    rows={
                        m.name: _one(connection, f"select count(*) from {m.name}")
                        for m in models
                        if m.name.startswith("marts.")
                    },
                    asked={
                        "origin": source.origin,
                        "taxonomy": named,
                        "as_of": None if as_of is None else as_of.isoformat(),
                    },
                    warnings=[*_warnings(connection), *identity_warnings(connection)],
                    inputs=inputs,
                    build_order=_one(connection, "select coalesce(max(build_order), 0) + 1 from meta.builds"),
                )
                facts: Mapping[str, Any] = {name: value for name, value in vars(build).items() if name != "is_new"}
                ledger.remember(json.dumps(facts, default=lambda instant: instant.isoformat()), code, source.files())
                if made is not None:
                    _put_off_vacuum(connection)
                connection.execute("commit")
            # Not inside the transaction: DuckDB refuses to commit rows of a table that the same transaction drops.
            connection.execute("drop schema lake cascade")
        return build

    @contextmanager
    def copied(self, folder: Path) -> Iterator[Warehouse]:
        """A copy of this warehouse in a new folder under `folder`, which goes when the caller is done with it."""
        with TemporaryDirectory(dir=folder, prefix=ASKING) as aside:
            copy = Warehouse(Path(aside) / self.path.name)
            copy._copied_from = self.path
            copy._config = self._config | {"temp_directory": f"{copy.path}.tmp"}
            if self.path.exists():
                with self.connect():  # nobody writes meanwhile
                    shutil.copyfile(self.path, copy.path)
                    if (log := self.path.with_name(f"{self.path.name}.wal")).exists():
                        shutil.copyfile(log, copy.path.with_name(log.name))
            yield copy

    @contextmanager
    def _set_aside(self) -> Iterator[None]:
        """The file is out of the way; after an error it is back, after success it is deleted: it holds people."""
        with TemporaryDirectory(dir=self.path.parent, prefix=ASKING) as aside:
            moved = [path for path in self._files() if path.exists()]
            for path in moved:
                path.rename(Path(aside) / path.name)
            try:
                yield
            except BaseException:
                self.remove()
                for path in moved:
                    (Path(aside) / path.name).rename(path)
                raise

    def _files(self) -> list[Path]:
        return [self.path, self.path.with_name(f"{self.path.name}.wal")]

    def remove(self) -> None:
        """Delete the file and what a build left beside it."""
        for path in self._files():
            path.unlink(missing_ok=True)
        shutil.rmtree(str(self._config["temp_directory"]), ignore_errors=True)

    def read_all(self) -> None:
        """Read every value of every table once. Raises DamagedError where a block is not as it was written."""
        with self.connect() as connection:
            tables = connection.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
            ).fetchall()
            for schema, table in tables:
                connection.execute(f"select max(hash(held)) from {quoted(schema)}.{quoted(table)} as held").fetchall()
            last_build(connection)

    def last_build(self) -> Build:
        """The build that the tables hold now. Raises NotBuiltError where there is none."""
        with self.connect() as connection:
            return last_build(connection)

    @contextmanager
    def trial(self, taxonomy: Taxonomy, tables: Sequence[str]) -> Iterator[Callable[[str], pa.Table]]:
        """The last build's `tables` as `taxonomy` would give them: a function from a select to its rows.

        Built in memory, and only what depends on the difference; the warehouse stays as it is.
        """
        with self.connect() as connection:
            last_build(connection)
            as_of = _one(connection, "select requested_as_of from taxonomy.request")
            built = dict(connection.execute("from meta.models").fetchall())
        models = in_build_order([*shipped_models(), *compiled_models(taxonomy.models())])
        rows = {f"taxonomy.{name}": table for name, table in taxonomy.tables(as_of).items()}
        code = fingerprints(models, {name: repr(table.to_pylist()) for name, table in rows.items()})
        wanted = set(tables)
        for model in reversed(models):
            if model.name in wanted:
                wanted |= model.upstreams
        with self._errors(), duckdb.connect(config=self._config) as connection, interruptible(connection):
            _prepare(connection)
            connection.execute(f"attach '{str(self.path).replace(chr(39), chr(39) * 2)}' as warehouse (read_only)")
            for schema in (*SCHEMAS_IN_ORDER, "taxonomy"):
                connection.execute(f"create schema if not exists {schema}")
            for name in wanted & set(rows):
                _create_table(connection, name, rows[name])
            for model in models:
                if model.name in wanted and built.get(model.name) == code[model.name]:
                    connection.execute(f"create view {model.name} as from warehouse.{model.name}")
                elif model.name in wanted and any(name.startswith("lake.") for name in model.upstreams):
                    raise NotBuiltError("the tables are of an older version of this program. Run: journey build")
                elif model.name in wanted:
                    _create_model(connection, model, [model.sql])
            yield partial(fetch, connection)

    def person(self, namespace: str | None, identifier: str) -> Person:
        """Everything that the last build knows of a customer, or of whoever bears an identifier (normalised).

        Raises InputError where nobody is known by it, or where it is several people's.
        """
        with self.connect() as connection:
            last_build(connection)
            named = identifier if namespace is None else f"{namespace}={identifier}"
            asked = [namespace, identifier]
            customer: str | None = identifier
            if namespace is not None:
                sql = "select customer_id, refusal from intermediate.customers where namespace = ? and identifier = ?"
                customer, refusal = next(iter(connection.execute(sql, asked).fetchall()), (None, None))
                if not self._declares(connection, namespace):
                    raise InputError(
                        f"`{namespace}` names nobody: no namespace of this name is declared. Declare it in the "
                        "taxonomy (`identity: {namespaces: ...}`) and run: journey build; or name them by another one"
                    )
                if refusal in ("shared_device", "limit_exceeded", "suspected_placeholder"):
                    raise InputError(f"{named} is several customers': name one of them, as in marts.identity_refusals")
            sql = """
                create or replace temp table theirs as
                select namespace, identifier, identifier_key from intermediate.customers where customer_id = $1
                union
                -- An identifier that was removed belongs to nobody, and may still be written somewhere.
                select namespace, identifier, identifier_key from staging.event_identifiers
                where namespace = $2 and identifier = $3
                union
                select namespace, identifier, identifier_key from intermediate.identity_evidence
                where is_void and event_key in (select event_key from intermediate.event_owners where customer_id = $1)
                and identifier_key not in (select identifier_key from intermediate.identifiers)
            """
            connection.execute(sql, [customer, *asked])
            identifiers = connection.execute("select namespace, identifier from theirs").fetchall()
            if not identifiers:
                raise InputError(f"nobody is known as {named}. Look for them in marts.identity_map")
            # As whom a build before this one may have known them: by any of their identifiers alone.
            names = """
                select 'anonymous:' || left(sha256(json_array(namespace, identifier)::varchar), 16) from theirs
                union
                select identifier from theirs where namespace = 'customer_id'
                union
                select $1 where $1 is not null
            """
            events = """
                with keys as (
                    select event_key from intermediate.event_owners where customer_id = $1
                    union
                    select event_key from staging.event_identifiers inner join theirs using (identifier_key)
                    where role = 'removed'
                    union
                    select event_key from intermediate.identity_evidence inner join theirs using (identifier_key)
                    where is_void and is_named and class <> 'device'
                )
                select event_id from staging.events where event_key in (from keys)
            """
            # Who is called `mary-ann@x.de` is not `ann@x.de`.
            others = """
                select distinct others.identifier from staging.event_identifiers as others
                inner join theirs on contains(lower(others.identifier), lower(theirs.identifier))
                where length(theirs.identifier) >= 6
                    and others.identifier_key not in (select identifier_key from theirs)
            """
            return Person(
                frozenset(name for (name,) in connection.execute(names, [customer]).fetchall()),
                frozenset(identifiers),
                frozenset(name for (name,) in connection.execute(events, [customer]).fetchall()),
                frozenset(name for (name,) in connection.execute(others).fetchall()),
            )

    @staticmethod
    def _declares(connection: duckdb.DuckDBPyConnection, namespace: str) -> bool:
        sql = "select count(*) from taxonomy.namespaces where namespace = ?"
        ((count,),) = connection.execute(sql, [namespace]).fetchall()
        return bool(count)

    def held(self, person: Person) -> Iterator[str]:
        """A person's rows of every table that has such, as JSON: `{"table": ..., "row": ...}` a line."""
        with self.connect() as connection:
            connection.execute("set variable events = $1::varchar[]", [sorted(person.event_ids)])
            connection.execute("set variable names = $1::varchar[]", [sorted(person.names)])
            columns = connection.execute(
                "select schema_name || '.' || table_name, list(column_name) from duckdb_columns()"
                " where database_name = current_database() and (schema_name = 'marts' or table_name = 'events')"
                " group by all order by 1 desc"
            ).fetchall()
            for table, names in columns:
                if "customer_id" in names:
                    where = "customer_id in (select unnest(getvariable('names')))"
                elif table == "staging.events":
                    where = "event_id in (select unnest(getvariable('events')))"
                else:
                    continue
                # By its columns: one of them may bear the name that stands for the row.
                for (row,) in connection.sql(
                    f"select to_json(struct_pack(*columns(*)))::varchar from {table} where {where}"
                ).fetchall():
                    yield f'{{"table": "{table}", "row": {row}}}'

    def forget(self, person: Person, erasures: Erasures | None = None) -> None:
        """Take a person out of what remembers former builds, and write the file anew: no freed block keeps them.

        With `erasures` also everybody who was ever erased: where only the fingerprints are left to know them by.
        """
        names = [f"{namespace}\x1f{identifier}" for namespace, identifier in person.identifiers]
        customers = sorted(person.names)
        with self.connect(read_only=False) as connection:
            connection.execute("create or replace temp table erased_texts (text varchar)")
            if erasures is not None:
                erasures.match(
                    connection,
                    "select unnest([namespace || ':' || identifier, 'name:' || customer_id]) as text"
                    " from meta.identity_history union select 'name:' || customer_id from meta.restatements",
                )
            for schema in ("meta", "marts"):
                connection.execute(
                    f"delete from {schema}.identity_history"
                    " where namespace || chr(31) || identifier in (select unnest($1::varchar[]))"
                    " or customer_id in (select unnest($2::varchar[]))"
                    " or namespace || ':' || identifier in (select text from erased_texts)"
                    " or 'name:' || customer_id in (select text from erased_texts)",
                    [names, customers],
                )
                connection.execute(
                    f"delete from {schema}.restatements where customer_id in (select unnest($1::varchar[]))"
                    " or 'name:' || customer_id in (select text from erased_texts)",
                    [customers],
                )
        shutil.rmtree(str(self._config["temp_directory"]), ignore_errors=True)  # of a build that was killed
        aside = self.path.with_name(f".{self.path.name}.new")
        aside.unlink(missing_ok=True)
        with self.connect(read_only=False) as connection:
            connection.execute("checkpoint")
            here = _one(connection, "select current_database()")
            connection.execute(f"attach '{str(aside).replace(chr(39), chr(39) * 2)}' as anew")
            connection.execute(f'copy from database "{here}" to anew')
            connection.execute("detach anew")
        aside.replace(self.path)
        self.path.with_name(f"{self.path.name}.wal").unlink(missing_ok=True)

    def query(self, sql: str) -> pa.Table:
        """The rows of one select over the tables of the last build. Raises InputError where the SQL is wrong."""
        with self.connect() as connection:
            return fetch(connection, sql)


def _prepare(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("set timezone = 'UTC'")
    connection.execute(KEEP_TRIES)
    register(connection)
    long_texts.register(connection)


def fetch(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """The rows of one select, as Arrow. Raises InputError where the SQL is wrong."""
    try:
        relation = connection.sql(sql)
        if relation is None:
            raise InputError("that is no query: it returns no rows. Write one `select`")
        return relation.to_arrow_table()
    except duckdb.Error as error:
        if CORRUPT in str(error):
            raise  # that is no fault of the query's
        raise InputError(f"the query does not work: {error}") from error


def last_build(connection: duckdb.DuckDBPyConnection) -> Build:
    """The build that the tables of an open warehouse hold. Raises NotBuiltError where there is none."""
    last = _last_build(connection)
    if last is None:
        raise NotBuiltError("the warehouse holds no build yet. Run: journey build")
    return last


@dataclass(frozen=True)
class _Work:
    """The models in build order: what is brought up to date, what is built in full, and what tells of builds."""

    current: list[Model]
    stale: list[Model]
    remembering: list[Model]

    def ledgered(self) -> list[str]:
        """The ledgered marts that are brought up to date; those that are built in full are compared as a whole."""
        return [table for table in LEDGERED if f"marts.{table}" in map(str, self.current)]

    @classmethod
    def of(cls, models: Sequence[Model], unchanged: Sequence[str]) -> _Work:
        remembering = [model for model in models if any(name.startswith("meta.") for name in model.upstreams)]
        current = [model for model in models if model.name in unchanged and model not in remembering]
        return cls(current, [model for model in models if model not in [*current, *remembering]], remembering)


@contextmanager
def _updated(
    connection: duckdb.DuckDBPyConnection,
    work: _Work,
    source: Source,
    progress: Callable[[str, int, int | None], None],
) -> Iterator[Slice | None]:
    """The models that are current, built for what has changed; None where all are built in full."""
    if not work.current:
        yield None
        return
    models = [*work.current, *work.stale, *work.remembering]
    made = Slice(connection, {model.name: model for model in models})
    held = [file for (file,) in connection.execute("from meta.files").fetchall()]
    try:
        made.open(source.rows(), source.news(held))
        for done, model in enumerate(work.current):
            progress(f"updating {model.name}", done, len(models))
            made.build(model)
        yield made
    finally:
        made.close()


def _create_sources(
    connection: duckdb.DuckDBPyConnection, source: Source, tables: Mapping[str, pa.Table], models: Sequence[Model]
) -> None:
    """What models read and no model builds; and nothing is left of models that are no more."""
    for schema in sorted({model.name.split(".")[0] for model in models} | {"lake"}):
        connection.execute(f"create schema if not exists {schema}")
    kinds = {model.name: _kind(model) for model in models} | dict.fromkeys(tables, "table")
    for name, kind in connection.execute(
        "select schema_name || '.' || table_name, 'table' from duckdb_tables() where database_name = current_database()"
        " union all"
        " select schema_name || '.' || view_name, 'view' from duckdb_views() where database_name = current_database()"
    ).fetchall():
        if kinds.get(name) != kind and name.split(".")[0] in (*SCHEMAS_IN_ORDER, "taxonomy"):
            connection.execute(f"drop {kind} {name}")
    for name, rows in source.rows().items():
        if isinstance(rows, str):
            connection.execute(f"create or replace view lake.{name} as from {rows}")
        else:
            _create_table(connection, f"lake.{name}", rows)
    for name, table in tables.items():
        _create_table(connection, name, table)


def _kind(model: Model) -> str:
    return "view" if model.is_view else "table"


def _create_model(connection: duckdb.DuckDBPyConnection, model: Model, selects: Iterable[str]) -> None:
    """Its table anew, of the rows that `selects` give together."""
    with naming(model):
        for part, select in enumerate(selects):
            made = f"insert into {model.name}" if part else f"create or replace {_kind(model)} {model.name} as"
            connection.execute(f"{made} {select}")


def _put_off_vacuum(connection: duckdb.DuckDBPyConnection) -> None:
    """Let replaced rows lie while they are few: to write whole row groups anew costs more than a day's build."""
    name = "intermediate.touchpoint_history"
    held = _one(
        connection,
        "select any_value(estimated_size) from duckdb_tables()"
        f" where database_name = current_database() and schema_name || '.' || table_name = '{name}'",
    )
    if (held or 0) * (1 - _DEAD_SHARE) <= _one(connection, f"select count(*) from {name}"):
        connection.execute("set max_vacuum_tasks = 0")


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("incoming", rows)
    connection.execute(f"create or replace table {name} as from incoming")
    connection.unregister("incoming")


def _offsets(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """`<topic>/<partition>` → the first offset that this build has not seen."""
    rows = connection.execute(
        """
        select
            topic || case when generation > 0 then '~' || generation else '' end || '/' || partition,
            max("offset") + 1
        from (
            select topic, generation, partition, "offset" from staging.landed_records
            union all
            select topic, generation, partition, "offset" from lake.rejected_events
        ) as landed
        group by topic, generation, partition
        order by topic, generation, partition
        """
    ).fetchall()
    return dict(rows)


_DOUBTS = {
    "unreadable_amount": "an unreadable amount: its revenue is null",
    "unknown_currency": "an unknown currency: it joins no other",
    "shortened_properties": "properties over 64 KB, whose longest members no table holds: the lake keeps them",
    "shortened_context": "a context over 64 KB, whose longest members no table holds: the lake keeps them",
}


def _warnings(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """A sentence for each kind of row in marts.data_quality; no event by name, as builds outlive who is erased."""
    rows = connection.execute(
        "select kind, sum(events)::bigint from marts.data_quality group by kind order by kind"
    ).fetchall()
    return [
        f"{events:,} event{'s' if events > 1 else ''} with {_DOUBTS[kind]}. See marts.data_quality"
        for kind, events in rows
    ]


def _last_build(connection: duckdb.DuckDBPyConnection) -> Build | None:
    if not _one(
        connection, "select count(*) from duckdb_tables() where schema_name = 'meta' and table_name = 'builds'"
    ):
        return None
    text = _one(connection, "select arg_max(build, build_order) from meta.builds")
    if text is None:
        return None
    try:
        facts = json.loads(text)
        as_of = facts.pop("as_of")
        facts.setdefault("inputs", facts["build_id"])  # of before a build had a name beside its inputs
        return Build(**facts, as_of=datetime.fromisoformat(as_of) if as_of else None, is_new=False)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged_warehouse(Path("warehouse.duckdb"), f"meta.builds is no account of builds: {error}") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The first value of a select, through Arrow: DuckDB's own way to a `datetime` wants pytz."""
    rows = connection.sql(sql).to_arrow_table()
    return rows[0][0].as_py() if rows.num_rows else None
