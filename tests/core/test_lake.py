"""The lake by itself: compaction changes no row, keeps the offsets, and leaves nothing of what was erased."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import duckdb
import pyarrow as pa
import pytest

from journey_core.contract import REJECTED_EVENTS, Judged, judge, records_of
from journey_core.errors import SupersededError
from journey_core.lake import Gap, Lake, Partition, rows_of
from tests.conftest import event

TOPIC = "events.web.v1"
PARTITION = Partition(TOPIC, 0)


def batch(first: int, count: int, who: str = "ann"):
    chance = random.Random(first)
    made = [
        event(f"e{first + n}", f"2026-01-{chance.randint(1, 28):02} 03:04", who={"customer_id": who})
        for n in range(count)
    ]
    records = records_of([*(json.dumps(one).encode() for one in made), b"{"], topic=TOPIC)
    offsets = pa.array(range(first, first + count + 1), pa.int64())
    return judge(records.set_column(records.schema.get_field_index("offset"), "offset", offsets))


def land_small_batches(lake: Lake, batches: int, size: int = 9) -> int:
    step = size + 1
    for number in range(batches):
        at = number * step
        lake.commit(
            batch(at, size), lake.snapshot(), {PARTITION: at}, {PARTITION: at + step}, {f"{TOPIC}#partitions": 5}
        )
    return batches * step


def rows(lake: Lake, table: str) -> list[str]:
    with duckdb.connect() as connection:
        return sorted(map(str, connection.sql(f"from read_parquet({lake.snapshot().files(table)})").fetchall()))


def test_compaction_makes_few_sorted_files_and_changes_no_row(tmp_path):
    lake = Lake(tmp_path)
    end = land_small_batches(lake, 12)
    before = {table: rows(lake, table) for table in ("events", "rejected_events")}
    compacted = lake.compact(keep=timedelta(days=7))
    assert (compacted.files_before, compacted.files_after, compacted.files_removed) == (24, 2, 0)
    assert {table: rows(lake, table) for table in before} == before
    with duckdb.connect() as connection:
        times = connection.sql(
            f"select occurred_at::varchar from read_parquet({lake.snapshot().files('events')})"
        ).fetchall()
    assert times == sorted(times)
    assert lake.snapshot().next_offset(PARTITION) == end
    assert lake.snapshot().partitions(TOPIC) == 5
    again = lake.compact(keep=timedelta(0))
    assert (again.files_after, again.files_removed) == (2, 24), "nothing to rewrite; old files go"
    assert {table: rows(lake, table) for table in before} == before
    lake.commit(batch(end, 3), lake.snapshot(), {PARTITION: end}, {PARTITION: end + 4}, {})
    assert len(rows(lake, "events")) == 12 * 9 + 3


def test_the_log_remembers_no_texts(tmp_path):
    """It would hold the least and the greatest of each column, whole: megabytes, and what people wrote."""
    lake = Lake(tmp_path)
    land_small_batches(lake, 1)
    lake.compact(keep=timedelta(days=7))
    for name in ("events", "rejected_events"):
        for log in (tmp_path / name / "_delta_log").glob("*.json"):
            added = [json.loads(line)["add"] for line in log.read_text().splitlines() if line.startswith('{"add"')]
            for statistics in (json.loads(file["stats"]) for file in added):
                assert set(statistics["maxValues"]) <= {"topic", "generation", "partition", "offset", "occurred_at"}
                assert statistics["maxValues"]["offset"] in (8, 9)


def test_offsets_outlive_checkpoints(tmp_path):
    """After twenty commits the log is folded: what it said of offsets stays."""
    lake = Lake(tmp_path)
    end = land_small_batches(lake, 25, size=1)
    for name in ("events", "rejected_events"):
        lake.snapshot().tables[name].cleanup_metadata()
    assert lake.snapshot().held(PARTITION) == {"events": end, "rejected_events": end}


def test_a_landing_during_a_compaction_loses_nothing(tmp_path, monkeypatch):
    from journey_core import lake as module

    lake = Lake(tmp_path)
    end = land_small_batches(lake, 4)
    sort = module._sort_small_files
    landed = []

    def overtaken(table):
        if not landed:
            landed.append(True)
            lake.commit(batch(end, 5), lake.snapshot(), {PARTITION: end}, {PARTITION: end + 6}, {})
        sort(table)

    monkeypatch.setattr(module, "_sort_small_files", overtaken)
    lake.compact(keep=timedelta(days=7))
    assert len(rows(lake, "events")) == 41
    assert lake.snapshot().next_offset(PARTITION) == end + 6


def test_what_was_erased_is_in_no_file_after_compaction(tmp_path):
    lake = Lake(tmp_path)
    lake.commit(batch(0, 50, who="secret-person"), lake.snapshot(), {PARTITION: 0}, {PARTITION: 51}, {})
    lake.commit(batch(51, 50), lake.snapshot(), {PARTITION: 51}, {PARTITION: 102}, {})
    erased = [f"e{n}" for n in range(0, 50, 2)]
    lake.snapshot().tables["events"].delete(f"event_id in ({', '.join(map(repr, erased))})")
    lake.snapshot().tables["events"].delete("event_id < 'e5' and partition = 0 and \"offset\" < 50")
    kept = rows(lake, "events")
    lake.compact(keep=timedelta(0))
    assert rows(lake, "events") == kept
    assert not any(f"'{one}'" in row for one in erased for row in kept)
    assert lake.snapshot().next_offset(PARTITION) == 102, "what is erased is not landed again"


def test_a_batch_that_another_has_landed_is_superseded(tmp_path):
    lake = Lake(tmp_path)
    mine = lake.snapshot()
    lake.commit(batch(0, 5), lake.snapshot(), {PARTITION: 0}, {PARTITION: 6}, {})
    for snapshot in (mine, lake.snapshot()):
        with pytest.raises(SupersededError, match="superseded, nothing is lost"):
            lake.commit(batch(0, 5), snapshot, {PARTITION: 0}, {PARTITION: 6}, {})
    assert len(rows(lake, "events")) == 5


def test_a_gap_says_what_is_lost():
    assert str(Gap(TOPIC, 0, 1, 4_000, 7_000, "retention")) == f"{TOPIC}/1 from offset 4,000 to 6,999 (retention)"
    assert str(Gap(TOPIC, 1, 0, 30, None, "other_cluster")) == f"{TOPIC}/0 from offset 30 on (other cluster)"


def test_a_repair_after_the_contract_has_changed_keeps_each_record_once(tmp_path, monkeypatch):
    """The run died between the tables; what was good then is rejected now, and the other way round."""
    lake = Lake(tmp_path)
    was, now = batch(0, 3), batch(0, 3)
    write = Lake._append
    with monkeypatch.context() as patched:
        patched.setattr(
            Lake,
            "_append",
            lambda self, table, *rest: write(self, table, *rest) if "rejected" in table.table_uri else None,
        )
        lake.commit(was, lake.snapshot(), {PARTITION: 0}, {PARTITION: 4}, {})
    assert lake.snapshot().held(PARTITION) == {"rejected_events": 4, "events": 0}
    turned = Judged(now.accepted.slice(1), _as_rejected(now.accepted.slice(0, 1)))
    lake.commit(turned, lake.snapshot(), {PARTITION: 0}, {PARTITION: 4}, {})
    assert (len(rows(lake, "events")), len(rows(lake, "rejected_events"))) == (2, 2)
    assert sum(map(sum, lake.snapshot().counts().values())) == 4


def _as_rejected(accepted: pa.Table) -> pa.Table:
    columns = {
        name: accepted[name] if name in accepted.column_names else pa.nulls(len(accepted))
        for name in REJECTED_EVENTS.names
    }
    return pa.table(columns).cast(REJECTED_EVENTS)


def test_files_without_the_newer_columns_are_read(tmp_path):
    """A lake of the first version: its rows have no generation, and are of generation 0."""
    lake = Lake(tmp_path)
    land_small_batches(lake, 2)
    with duckdb.connect() as connection:
        (file, other) = lake.snapshot().files("events")
        connection.execute(f"copy (select * exclude (generation) from '{file}') to '{tmp_path / 'old.parquet'}'")
        read = f"from {rows_of([str(tmp_path / 'old.parquet')])}"
        assert connection.execute(f"select distinct generation {read}").fetchall() == [(0,)]
        both = f"from {rows_of([str(tmp_path / 'old.parquet'), other])}"
        assert connection.execute(f"select generation, count(*) {both} group by all").fetchall() == [(0, 18)]
