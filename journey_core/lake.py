"""The landed events: two Delta tables, and which Kafka offsets they hold.

Rows and offsets commit together: each append carries a Delta `txn` action (`<topic>/<partition>` → next offset), so a
crash leaves either both or neither. The two tables commit one after the other; whoever lands next starts at the smaller
of their offsets and appends to each only what that one misses.

Source of the protocol: Delta Lake, "Transaction Identifiers".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.writer import WriterProperties

from journey_core.contract import EVENTS, REJECTED_EVENTS, Judged
from journey_core.errors import StorageError, SupersededError

#: Table name → its Arrow schema. `rejected_events` commits first, so that `events` never runs ahead of the account.
TABLES: dict[str, pa.Schema] = {"rejected_events": REJECTED_EVENTS, "events": EVENTS}

_ZSTD = WriterProperties(compression="ZSTD")


@dataclass(frozen=True)
class Partition:
    """One Kafka partition; `str()` is the name under which the lake keeps its offset."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True)
class Snapshot:
    """The lake at one instant. Commits are checked against it: what changed since then for the same partition wins."""

    tables: Mapping[str, DeltaTable]

    def next_offset(self, partition: Partition) -> int:
        """The first offset of `partition` that at least one of the tables does not account for; 0 if none is landed."""
        return min(self._version(name, partition) for name in self.tables)

    def topic_mark(self, topic: str) -> int | None:
        """The mark under which `topic` was landed last; None if it never was."""
        mark: int | None = self.tables["events"].transaction_version(f"{topic}#id")
        return mark

    def files(self, table: str) -> list[str]:
        """The Parquet files of `table`, as absolute paths, sorted."""
        # delta-rs answers with URLs: a space or an umlaut in the path comes percent-encoded.
        return sorted(unquote(uri) for uri in self.tables[table].file_uris())

    def identity(self) -> str:
        """Two equal answers mean equal contents: each table's id and version."""
        return " ".join(f"{table.metadata().id}@{table.version()}" for table in self.tables.values())

    def _version(self, name: str, partition: Partition) -> int:
        return self.tables[name].transaction_version(str(partition)) or 0


class Lake:
    """The lake under `root` (a local folder), created when first opened."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"Lake({str(self.root)!r})"

    def snapshot(self) -> Snapshot:
        """The newest committed state."""
        return Snapshot({name: self._table(name, schema) for name, schema in TABLES.items()})

    def commit(
        self, judged: Judged, snapshot: Snapshot, ends: Mapping[Partition, int], marks: Mapping[str, int]
    ) -> None:
        """Append a batch and move the offsets to `ends`, in one transaction per table.

        `marks` is topic → a number that tells the topic from another one of its name (see `Snapshot.topic_mark`).

        Rows below an offset that a table holds already are left out, so a repeated batch changes nothing.

        Raises SupersededError where another lander has committed the same partitions since `snapshot`, StorageError
        where the disk refuses.
        """
        for name, rows in (("rejected_events", judged.rejected), ("events", judged.accepted)):
            held = {partition: snapshot._version(name, partition) for partition in ends}
            moved = {partition: end for partition, end in ends.items() if end > held[partition]}
            if moved:
                versions = {str(partition): end for partition, end in moved.items()}
                versions |= {f"{topic}#id": mark for topic, mark in marks.items()}
                self._append(snapshot.tables[name], _above(rows, held), versions)

    def _append(self, table: DeltaTable, rows: pa.Table, versions: Mapping[str, int]) -> None:
        transactions = [Transaction(name, version) for name, version in sorted(versions.items())]
        with _storage_errors(self.root):
            try:
                write_deltalake(
                    table,
                    rows,
                    mode="append",
                    writer_properties=_ZSTD,
                    commit_properties=CommitProperties(app_transactions=transactions),
                )
            except CommitFailedError as error:
                raise SupersededError(
                    f"another lander has committed {', '.join(versions)} meanwhile: superseded, nothing is lost"
                ) from error

    def _table(self, name: str, schema: pa.Schema) -> DeltaTable:
        path = self.root / name
        with _storage_errors(self.root):
            if not DeltaTable.is_deltatable(str(path)):
                path.mkdir(parents=True, exist_ok=True)
                # Another lander may create it between our look and our step: then open theirs.
                with suppress(CommitFailedError):
                    DeltaTable.create(str(path), schema=schema, mode="ignore")
            return DeltaTable(str(path))


def _above(rows: pa.Table, held: Mapping[Partition, int]) -> pa.Table:
    """The rows whose offset lies at or above what their partition's table holds."""
    keep = pa.compute.scalar(False)
    for partition, offset in held.items():
        keep = keep | (
            (pa.compute.field("topic") == partition.topic)
            & (pa.compute.field("partition") == partition.number)
            & (pa.compute.field("offset") >= offset)
        )
    return rows.filter(keep)


@contextmanager
def _storage_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, DeltaError) as error:
        if isinstance(error, CommitFailedError):
            raise
        raise StorageError(
            f"the lake {root} cannot be written: {error}. Free some space or check its permissions, then land again; "
            "nothing is lost"
        ) from error
