"""The landed events: Delta tables, and which Kafka offsets they hold.

Rows and offsets commit together: each append carries a Delta `txn` action (`<topic>/<partition>` → next offset), so a
crash leaves either both or neither. The two tables commit one after the other; whoever lands next starts at the smaller
of their offsets and appends to each only what that one misses. A third table, `landing_gaps`, says which offsets will
never come, and who takes the place of whom where a topic was recreated.

Source of the protocol: Delta Lake, "Transaction Identifiers".
"""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.writer import WriterProperties

from journey_core.checksums import forget_gone, record, recorded
from journey_core.contract import EVENTS, LARGEST_EVENT, RECORDS, REJECTED_EVENTS, UTC_MICROSECONDS, Judged
from journey_core.damage import damaged_log, first_line, raise_if_unreadable, reading
from journey_core.errors import StorageError, SupersededError
from journey_core.files import fsync
from journey_core.finding import Found, Unseal, theirs
from journey_core.identity import Identity
from journey_core.privacy import BLANK, Person, tombstone
from journey_core.row_groups import writer, writer_of

#: `lake.landing_gaps`: offsets that Kafka had lost before they were landed, and that somebody has accepted as lost.
LANDING_GAPS = pa.schema(
    [
        ("topic", pa.string()),
        ("generation", pa.int32()),
        ("partition", pa.int32()),
        ("from_offset", pa.int64()),
        ("to_offset", pa.int64()),  # exclusive; null where nobody can know
        ("cause", pa.string()),
        ("accepted_at", UTC_MICROSECONDS),
    ]
)
#: Table name → its Arrow schema.
TABLES: dict[str, pa.Schema] = {
    "rejected_events": REJECTED_EVENTS,
    "events": EVENTS,
    "landing_gaps": LANDING_GAPS,
}
# `rejected_events` commits first, so that `events` never runs ahead of the account.
LANDED = ("rejected_events", "events")

Cause = Literal["before_first_landing", "retention", "recreated", "other_cluster", "truncated"]

# Nobody travels in time here: a short log is opened sooner. Offsets lie in its checkpoints.
_CONFIGURATION = {
    "delta.checkpointInterval": "20",
    "delta.logRetentionDuration": "interval 1 days",
    # Of a text the log would hold the least and the greatest, whole: a megabyte a commit, which every reader remembers,
    # and what people wrote, besides.
    "delta.dataSkippingStatsColumns": "topic,generation,partition,offset,occurred_at",
}
COMPACT_FILE = 128 * 1024 * 1024  # bytes
_TRIES = 5  # of a rewrite that a landing has overtaken


@dataclass(frozen=True)
class Partition:
    """One Kafka partition; `str()` is the name under which the lake keeps its offset.

    `generation` counts how often the topic was replaced by another of its name (see `Gap`): offsets begin anew then.
    """

    topic: str
    number: int
    generation: int = 0

    def __str__(self) -> str:
        return f"{self.topic}{f'~{self.generation}' if self.generation else ''}/{self.number}"


@dataclass(frozen=True)
class Gap:
    """Offsets from `from_offset` up to `to_offset` (exclusive; None: nobody can know) that Kafka can no longer give.

    Of a topic that was replaced (`recreated`, `other_cluster`), `from_offset` is where the one before was left.
    """

    topic: str
    generation: int
    partition: int
    from_offset: int
    to_offset: int | None
    cause: Cause

    def __str__(self) -> str:
        until = "on" if self.to_offset is None else f"to {self.to_offset - 1:,}"
        return (
            f"{self.topic}/{self.partition} from offset {self.from_offset:,} {until} ({self.cause.replace('_', ' ')})"
        )


@dataclass(frozen=True)
class Snapshot:
    """The lake at one instant. Commits are checked against it: what changed since then for the same partition wins."""

    tables: Mapping[str, DeltaTable]

    def next_offset(self, partition: Partition) -> int:
        """The first offset of `partition` that at least one of the tables does not account for; 0 if none is landed."""
        return min(self.held(partition).values())

    def held(self, partition: Partition) -> dict[str, int]:
        """Table → the first offset of `partition` that it does not account for."""
        return {name: self._version(name, str(partition)) or 0 for name in LANDED}

    def landed_at(self, partition: Partition) -> int | None:
        """When `partition` was landed last, in milliseconds since 1970; None if it never was."""
        return self._version("events", f"{partition}#landed_at")

    def last_landed_at(self) -> datetime | None:
        """When the lake was landed last, UTC, by the lander's clock; None where nothing says so."""
        files = [file for name in LANDED for file in self.files(name)]
        if not files:
            return None
        with reading(files), duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            landed = connection.sql(f"select max(landed_at) as last from {rows_of(files)}").to_arrow_table()
        last: datetime | None = landed["last"][0].as_py()
        return last

    def generation(self, topic: str, mark: int) -> int | None:
        """The generation under which the topic with this mark is landed; None if it never was."""
        return self._version("landing_gaps", f"{topic}#id:{mark}")

    def last_generation(self, topic: str) -> int | None:
        """The largest generation of `topic` so far; None if it was never landed."""
        return self._version("landing_gaps", f"{topic}#generations")

    def cluster(self, topic: str) -> int | None:
        """The mark of the cluster from which the last generation of `topic` came."""
        return self._version("landing_gaps", f"{topic}#cluster")

    def partitions(self, topic: str) -> int:
        """How many partitions `topic` had when it was landed last."""
        return self._version("events", f"{topic}#partitions") or 0

    def start(self, partition: Partition) -> int:
        """Where landing goes on: behind what is landed, and behind what was accepted as lost."""
        return max(self.next_offset(partition), self.accepted_until(partition))

    def accepted_until(self, partition: Partition) -> int:
        """The offset up to which somebody has accepted that records of `partition` are lost."""
        return self._version("landing_gaps", str(partition)) or 0

    def files(self, table: str) -> list[str]:
        """The Parquet files of `table`, as absolute paths, sorted."""
        # delta-rs answers with URLs: a space or an umlaut in the path comes percent-encoded.
        return sorted(unquote(uri) for uri in self.tables[table].file_uris())

    def identity(self) -> str:
        """Two equal answers mean equal contents: each table's id and version."""
        return " ".join(f"{table.metadata().id}@{table.version()}" for table in self.tables.values())

    def counts(self) -> dict[tuple[str, int, int], tuple[int, int]]:
        """(topic, generation, partition) → how many records are accepted, and how many rejected."""
        parts = [
            f"select topic, generation, partition, {int(name == 'events')} as accepted from {rows_of(files)}"
            for name in LANDED
            if (files := self.files(name))
        ]
        if not parts:
            return {}
        with reading([file for name in LANDED for file in self.files(name)]), duckdb.connect() as connection:
            rows = connection.execute(
                "select topic, generation, partition, sum(accepted)::bigint, sum(1 - accepted)::bigint "
                f"from ({' union all '.join(parts)}) as landed group by all"
            ).fetchall()
        return {(topic, generation, number): (good, bad) for topic, generation, number, good, bad in rows}

    def _version(self, table: str, name: str) -> int | None:
        try:
            version: int | None = self.tables[table].transaction_version(name)
        except DeltaError as error:
            raise (_overtaken(error) or error) from None
        return version


@dataclass(frozen=True)
class Replayed:
    """What `replay` found: of so many rejected records, so many keep today's contract and are events now."""

    records: int
    accepted: int

    def __str__(self) -> str:
        return f"replayed {self.records:,} rejected records: {self.accepted:,} accepted now"


@dataclass(frozen=True)
class Compacted:
    """Files before and after, and files removed because nobody has needed them for the time that they are kept."""

    files_before: int
    files_after: int
    files_removed: int

    def __str__(self) -> str:
        return f"compacted {self.files_before:,} files to {self.files_after:,}; removed {self.files_removed:,} old ones"


class Lake:
    """The lake under `root` (a local folder), created when first opened."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"Lake({str(self.root)!r})"

    def snapshot(self, since: Snapshot | None = None) -> Snapshot:
        """The newest committed state. Of a snapshot that is no longer needed (`since`) only what is new is read."""
        if since is None:
            return Snapshot({name: self._table(name, schema) for name, schema in TABLES.items()})
        try:
            for table in since.tables.values():
                table.update_incremental()
        except DeltaError:
            return self.snapshot()  # an erasure deletes the log that leads from there to here
        return since

    def commit(
        self,
        judged: Judged,
        snapshot: Snapshot,
        starts: Mapping[Partition, int],
        ends: Mapping[Partition, int],
        marks: Mapping[str, int],
        withhold: Callable[[Judged], Judged] = lambda judged: judged,
    ) -> Judged:
        """Append a batch that was read from `starts` and move the offsets to `ends`, in one transaction per table.

        `marks` are further numbers that the same transaction keeps (see `landed_at`). `withhold` takes out what erased
        people left: it is asked under the lock, as somebody may have been erased since the batch was judged. Returns
        what was committed.
        What a table holds already is left out: a crash between the two tables is repaired so, even where the contract
        has changed meanwhile, and a record that one table holds would now belong to the other.

        Raises SupersededError where another lander has committed the same partitions, StorageError where the disk
        refuses.
        """
        # Before the first append: it moves the table that the snapshot holds. And once: each look takes a while.
        held = {partition: snapshot.held(partition) for partition in {**starts, **ends}}
        for partition, start in starts.items():
            if min(held[partition].values()) > start:
                raise _superseded([str(partition)])
        is_repair = any(max(held[partition].values()) > start for partition, start in starts.items())
        with _storage_errors(self.root), self._locked(fcntl.LOCK_SH):
            judged = withhold(judged)
            for name, rows in (("rejected_events", judged.rejected), ("events", judged.accepted)):
                missing = rows
                if is_repair:
                    missing = _not_in(rows, [file for table in LANDED for file in snapshot.files(table)])
                moved = {partition: end for partition, end in ends.items() if end > held[partition][name]}
                if moved or missing.num_rows:
                    # Those that stay where they are, too: two landers that repair the same batch must meet.
                    versions = {str(partition): max(end, held[partition][name]) for partition, end in ends.items()}
                    self._append(snapshot.tables[name], missing, versions | dict(marks))
        return judged

    def accept(
        self,
        gaps: Sequence[Gap],
        snapshot: Snapshot,
        partitions: Mapping[Partition, int],
        marks: Mapping[str, int],
        at: datetime,
    ) -> None:
        """Take up a topic, or go on behind `gaps`, in one transaction.

        `partitions` is where landing begins; `marks` are the numbers by which the topic is known again (`known_by`).
        Raises SupersededError where somebody else does so meanwhile, StorageError where the disk refuses.
        """
        versions = {str(partition): start for partition, start in partitions.items()} | dict(marks)
        rows = [asdict(gap) | {"accepted_at": at} for gap in gaps]
        self._append(snapshot.tables["landing_gaps"], pa.Table.from_pylist(rows, schema=LANDING_GAPS), versions)

    def replay(
        self,
        judge: Callable[[pa.Table], Judged],
        withhold: Callable[[Judged], Judged] = lambda judged: judged,
        *,
        at_once: int = 2_000,
    ) -> Replayed:
        """Judge every rejected record again; what keeps the contract now moves to `events`, coordinates and all.

        First into `events`, then out of `rejected_events`: after a crash between the two a record lies in both, counts
        as accepted (`staging.rejected_events`), and the next replay finishes the move. `withhold`: see `commit`.
        """
        records = accepted = 0
        snapshot = self.snapshot()
        for found in _batches(snapshot, at_once):
            judged = judge(found)
            records += found.num_rows
            with _storage_errors(self.root), self._locked(fcntl.LOCK_SH):
                judged = withhold(judged)
                accepted += judged.accepted.num_rows
                if judged.accepted.num_rows:
                    fresh = self.snapshot()
                    # One replay at a time: a second one that read the same records is superseded.
                    turn = {"#replay": fresh.tables["events"].version()}
                    self._append(fresh.tables["events"], _not_in(judged.accepted, fresh.files("events")), turn)
                    self._rewrite(partial(_delete, rows=judged.accepted), "rejected_events")
        return Replayed(records, accepted)

    def compact(self, *, keep: timedelta) -> Compacted:
        """Rewrite a table that has several small files into files of about 128 MB sorted by `occurred_at`: all of it.

        No row changes. Files that nothing has needed for `keep` are removed: a reader may hold an older snapshot.
        """
        before = after = removed = 0
        for name in LANDED:
            before += len(self.snapshot().files(name))
            self._rewrite(_sort_small_files, name)
            table = self.snapshot().tables[name]
            with _storage_errors(self.root):
                hours = math.ceil(keep / timedelta(hours=1))
                removed += len(table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True))
                table.create_checkpoint()
            with _storage_errors(self.root), self._locked(fcntl.LOCK_EX):
                self._record_log(name)
            after += len(table.file_uris())
        return Compacted(before, after, removed)

    def find(self, person: Person, identity: Identity | None = None, unseal: Unseal | None = None) -> Found:
        """The records that are a person's (`is_gone`) or name them.

        `identity` is how the person's identifiers were normalised. `unseal` tells of sealed records (`place`, `key`,
        `value`) the places of those that name the person.
        """
        snapshot = self.snapshot()
        found: dict[str, pa.Table] = {}
        with duckdb.connect() as connection:
            for name in LANDED:
                if files := snapshot.files(name):
                    with reading(files):
                        found[name] = theirs(connection, rows_of(files), name, person, identity or Identity(), unseal)
        return Found(snapshot.identity(), found)

    def erase(self, found: Found) -> tuple[int, int]:
        """Remove what `find` has found, and their names from the events of others; returns how many of each.

        The offsets stay accounted for: of each record that goes a row `erased` is left among the rejected ones. The
        files that held them, and the log that remembers their statistics, are deleted at once: no reader keeps an older
        snapshot.
        """
        tables = found.tables
        if "events" in tables:
            with duckdb.connect() as connection:
                connection.execute("set timezone = 'UTC'")
                connection.register("found", tables["events"])
                gone = connection.sql(f"select {tombstone()} from found where is_gone").to_arrow_table()
            rows = _not_in(gone.cast(REJECTED_EVENTS), self.snapshot().files("rejected_events"))
            self._append(self.snapshot().tables["rejected_events"], rows, {})
        for name in LANDED:
            if name in tables and tables[name].num_rows:
                self._rewrite(partial(_erase, name=name, found=tables[name]), name)
            with _storage_errors(self.root), self._locked(fcntl.LOCK_EX):
                table = self.snapshot().tables[name]
                # `full`: also what a landing wrote that was killed before its commit.
                table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
                # A commit of its own, so that no commit stays that names the old files.
                table.alter.set_table_properties(_CONFIGURATION)
                table.create_checkpoint()
                for path in (self.root / name / "_delta_log").iterdir():
                    if path.name.split(".")[0].isdigit() and int(path.name.split(".")[0]) < table.version():
                        path.unlink()
                self._record_log(name)
        return found.removed, found.redacted

    def _rewrite(self, change: Callable[[DeltaTable], None], name: str) -> None:
        """Change a table's files, again from the start where somebody else was faster."""
        for left in reversed(range(_TRIES)):
            table = self.snapshot().tables[name]
            with _storage_errors(self.root, list(map(unquote, table.file_uris()))), self._locked(fcntl.LOCK_SH):
                try:
                    change(table)
                    _sync(table)
                    return
                except CommitFailedError as error:
                    if not left:
                        raise _superseded([name]) from error

    def _append(self, table: DeltaTable, rows: pa.Table, versions: Mapping[str, int]) -> None:
        transactions = [Transaction(name, version) for name, version in sorted(versions.items())]
        with _storage_errors(self.root), self._locked(fcntl.LOCK_SH):
            try:
                write_deltalake(
                    table,
                    rows,
                    mode="append",
                    # A lake of an older version gets the columns that have come since; its old files stay as they are.
                    schema_mode=None if len(table.schema().fields) == rows.num_columns else "merge",
                    writer_properties=writer(rows.nbytes, rows.num_rows),
                    commit_properties=CommitProperties(app_transactions=transactions),
                )
            except CommitFailedError as error:
                raise _superseded([name for name in versions if "#" not in name] or [self.root.name]) from error
            except DeltaError as error:
                raise (_overtaken(error) or error) from None
            _sync(table)

    def missing(self) -> list[str]:
        """The tables that are not there; all of them where no lake has been begun."""
        return [name for name in TABLES if not any((self.root / name / "_delta_log").glob("*.*"))]

    def holds_data(self) -> bool:
        """Whether a file of rows lies there, be its table there or not."""
        return any(True for name in TABLES for _ in (self.root / name).glob("*.parquet"))

    def _record_log(self, name: str) -> None:
        """The checksums of what delta-rs has written by itself; those of files that are gone go too."""
        log = self.root / name / "_delta_log"
        known = recorded(self.root)
        record(self.root, [path for path in log.iterdir() if f"{name}/_delta_log/{path.name}" not in known])
        forget_gone(self.root)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody commits to the lake meanwhile: whoever wants to, waits."""
        with _storage_errors(self.root), self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        """Who writes files and then commits them shares the lock; who deletes what no commit names is alone.

        The system releases it where a process dies.
        """
        with (self.root / ".lock").open("ab") as lock:
            fcntl.flock(lock, operation)
            yield

    def _table(self, name: str, schema: pa.Schema) -> DeltaTable:
        path = self.root / name
        with _log_errors(path):
            try:
                return _opened(path)
            except TableNotFoundError:
                # A new log would begin an empty lake over the files of the old one.
                if any(path.glob("*.parquet")):
                    raise damaged_log(path, "it is gone, and the files that it names are not") from None
        with _storage_errors(self.root):
            path.mkdir(parents=True, exist_ok=True)
            # Another lander may create it between our look and our step: then open theirs.
            with suppress(CommitFailedError):
                DeltaTable.create(str(path), schema=schema, mode="ignore", configuration=_CONFIGURATION)
                record(self.root, (path / "_delta_log").glob("*.json"))
        with _log_errors(path):
            return _opened(path)


def _opened(path: Path) -> DeltaTable:
    table = DeltaTable(str(path))
    # delta-rs passes over a commit that is empty, and its rows would be gone without a word.
    for commit in (path / "_delta_log").glob("*.json"):
        with suppress(FileNotFoundError):  # an old one that delta-rs clears away just now
            if commit.stat().st_size == 0:
                raise damaged_log(path, f"{commit.name} is empty")
    return table


def _superseded(names: Sequence[str]) -> SupersededError:
    return SupersededError(
        f"another lander has committed {', '.join(sorted(names))} meanwhile: superseded, nothing is lost"
    )


def _overtaken(error: DeltaError) -> SupersededError | None:
    """What to say where a snapshot's log is gone: an erasure deletes it."""
    if "_delta_log" not in str(error) or "not found" not in str(error).lower():
        return None
    return SupersededError(
        "somebody was erased from the lake meanwhile: what was not committed before that, the next landing brings"
    )


def known_by(topic: str, mark: int, cluster: int, generation: int, last_generation: int) -> dict[str, int]:
    """The numbers by which a topic is known again: its id's generation, the largest one, its cluster."""
    return {
        f"{topic}#id:{mark}": generation,
        f"{topic}#generations": max(generation, last_generation),
        f"{topic}#cluster": cluster,
    }


def rows_of(files: Sequence[str]) -> str:
    """SQL: the rows of landed files. Files of an older lake lack the newer columns: null, and generation 0."""
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return (
        "(select * replace (coalesce(generation, 0)::integer as generation) from ("
        "select null::integer as generation, null::timestamptz as landed_at where false union all by name "
        f"select * from read_parquet([{listed}], union_by_name = true)))"
    )


def _batches(snapshot: Snapshot, size: int) -> Iterator[pa.Table]:
    """The rejected records as they came off Kafka, in batches of at most `size`; not those that are too large still."""
    columns = ", ".join(f'"{name}"' for name in RECORDS.names)
    for file in snapshot.files("rejected_events"):
        with reading([file]), duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            found = connection.sql(
                f"select {columns} from {rows_of([file])} where coalesce(octet_length(value), 0) <= {LARGEST_EVENT}"
            )
            for batch in found.to_arrow_reader(size):
                yield pa.Table.from_batches([batch]).cast(RECORDS)


def _not_in(rows: pa.Table, files: Sequence[str]) -> pa.Table:
    """The rows whose coordinates are not in these files."""
    if not files or not rows.num_rows:
        return rows
    with reading(files), duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("incoming", rows)
        missing = connection.sql(
            f'from incoming anti join {rows_of(files)} as held using (topic, generation, "partition", "offset")'
        )
        return missing.to_arrow_table().select(rows.column_names).cast(rows.schema)


def _same_record(alias: str) -> str:
    """SQL of a merge: the coordinates are equal. Rows of an older lake have no generation."""
    numbers = (f'coalesce(held."{name}", 0) = {alias}."{name}"' for name in ("generation", "partition", "offset"))
    return " and ".join([*numbers, f"held.topic = {alias}.topic"])


def _writer(table: DeltaTable) -> WriterProperties:
    return writer_of(unquote(uri) for uri in table.file_uris())


def _delete(table: DeltaTable, rows: pa.Table) -> None:
    coordinates = rows.select(["topic", "generation", "partition", "offset"])
    merge = table.merge(
        coordinates, _same_record("moved"), source_alias="moved", target_alias="held", writer_properties=_writer(table)
    )
    # What was erased meanwhile is the account of its offset.
    merge.when_matched_delete("held.reason <> 'erased'").execute()


def _erase(table: DeltaTable, name: str, found: pa.Table) -> None:
    """Put `found`, the records of `_theirs`, in the place of what they were."""
    merge = table.merge(
        found.drop_columns(["hash_before"]),
        _same_record("theirs"),
        source_alias="theirs",
        target_alias="held",
        writer_properties=_writer(table),
    )
    if name == "rejected_events":
        merge.when_matched_update(BLANK).execute()
    else:
        columns = ("payload_hash", "event_id", "event_type", "identifiers", "context", "properties", "extra")
        merge = merge.when_matched_delete("theirs.is_gone")
        merge.when_matched_update({column: f"theirs.{column}" for column in columns}).execute()


def _sort_small_files(table: DeltaTable) -> None:
    sizes = pa.table(table.get_add_actions(flatten=True))["size_bytes"].to_pylist()
    # One small file is what is left over; two can be joined.
    if sum(size < COMPACT_FILE // 2 for size in sizes) > 1:
        table.optimize.z_order(["occurred_at"], target_size=COMPACT_FILE, writer_properties=_writer(table))


def _sync(table: DeltaTable) -> None:
    """Bring the newest commit to the disk itself: delta-rs leaves it in a cache, which a power cut empties."""
    root = Path(unquote(table.table_uri.removeprefix("file://")))
    log = root / "_delta_log" / f"{table.version():020}.json"
    added = [json.loads(line)["add"]["path"] for line in log.read_text().splitlines() if line.startswith('{"add"')]
    files = [root / unquote(name) for name in added]
    for path in [*files, log, log.parent, root]:
        fsync(path)
    checkpoint = log.with_name(f"{table.version():020}.checkpoint.parquet")
    record(root.parent, [*files, log, *([checkpoint] if checkpoint.exists() else [])])


@contextmanager
def _log_errors(table: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, DeltaError) as error:
        if isinstance(error, TableNotFoundError):
            raise
        raise damaged_log(table, error) from error


@contextmanager
def _storage_errors(root: Path, files: Sequence[str] = ()) -> Iterator[None]:
    """Raises StorageError where the disk refuses; DamagedError where one of `files`, which are read, is damaged."""
    try:
        yield
    except (OSError, DeltaError) as error:
        if isinstance(error, CommitFailedError):
            raise
        raise_if_unreadable(files, error)
        raise StorageError(
            f"the lake {root} cannot be written: {first_line(error)}. Free some space or check its permissions, then "
            "run the same command again. What was committed before stays"
        ) from error
