"""Releases: immutable, checked, readable by anybody, and closed to everything else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import duckdb
import pytest

from journey_core.errors import InputError, NotBuiltError
from journey_core.models import contracts
from journey_core.query import query_release
from journey_core.release import current_release, publish_release
from tests.conftest import event


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "releases"


def published(tables, root, **more):
    return publish_release(tables.warehouse, tables.build, contracts(), root, None, **more)


def test_a_release_is_plain_parquet_that_the_manifest_describes(build_world, root):
    tables = build_world([event("1", "2026-01-01 10:00"), event("2", "2026-01-01 11:00")])
    release = published(tables, root)
    manifest = json.loads((root / "current.json").read_text())
    assert manifest["release"] == release.name
    assert manifest["as_of"] == "2026-01-01T11:00:00+00:00"
    for table, said in manifest["tables"].items():
        (file,) = said["files"]
        path = root / file["path"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
        with duckdb.connect() as connection:
            (count,) = connection.execute(f"select count(*) from '{path}'").fetchone()
        assert count == said["rows"] == tables.build.rows[f"marts.{table}"]


def test_parquet_holds_every_row_as_the_warehouse_does(build_world, root):
    who = [{"customer_id": f"u{number}", "email": "one@example.org"} for number in range(3)]
    tables = build_world([event(f"{number}", "2026-01-01 10:00", who=who[number]) for number in range(3)])
    release = published(tables, root)
    refused = "select count(*) as n from marts.identity_map inner join marts.identity_refusals using (identifier_key)"
    assert query_release(release, refused).to_pylist() == [{"n": 2}]
    with tables.warehouse.connect() as connection:
        for contract in contracts():
            if not contract.table.startswith("marts."):
                continue
            (file,) = release.files(contract.table.removeprefix("marts."))
            # Parquet has no integers of 128 bits.
            keys = [name for name, column in contract.columns.items() if column.type == "uhugeint"]
            back = f"replace ({', '.join(f'{key}::uhugeint as {key}' for key in keys)})" if keys else ""
            there, here = f"(select * {back} from '{file}')", contract.table
            differ = f"(from {here} except all from {there}) union all (from {there} except all from {here})"
            assert connection.execute(differ).fetchall() == [], contract.table


def test_publishing_again_changes_nothing_and_the_same_events_give_the_same_bytes(build_world, root, tmp_path):
    events = [event(f"{n}", "2026-01-01 10:00") for n in range(20)]
    first = published(build_world(events), root)
    assert published(build_world(events[::-1]), root).is_new is False
    other = published(build_world(events[::-1]), tmp_path / "other")
    assert other.manifest["tables"] == first.manifest["tables"]


def test_a_published_path_is_never_written_again_and_old_readers_keep_reading(build_world, root):
    first = published(build_world([event("1", "2026-01-01 10:00")]), root)
    (file,) = first.files("touchpoints")
    before = file.read_bytes()
    second = published(build_world([event("1", "2026-01-01 10:00"), event("2", "2026-01-02 10:00")]), root)
    assert second.name != first.name
    assert file.read_bytes() == before
    assert query_release(first, "select count(*) as n from marts.touchpoints").to_pylist() == [{"n": 1}]
    assert query_release(current_release(root), "select count(*) as n from marts.touchpoints").to_pylist() == [{"n": 2}]


def test_only_so_many_releases_are_kept_and_never_less_than_the_current(build_world, root):
    for day in range(1, 6):
        release = published(build_world([event("1", f"2026-01-0{day} 10:00")]), root, keep=2)
    assert release.name in {path.name for path in root.iterdir()}
    assert sum(path.is_dir() for path in root.iterdir()) == 2


def test_a_query_sees_the_release_and_nothing_else(build_world, root, tmp_path):
    release = published(build_world([event("1", "2026-01-01 10:00")]), root)
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for sql in (
        f"from read_csv('{secret}')",
        f"copy (select 1) to '{tmp_path / 'out.csv'}'",
        "set enable_external_access = true",
        f"attach '{tmp_path / 'new.duckdb'}'",
        f"copy (select 1) to '{release.files('touchpoints')[0]}'",
        f"copy (select 1) to '{root / release.name / 'new.parquet'}'",
        "create table mine as select 1",
        "drop view marts.touchpoints",
        "select 1; select 2",
        "",
        "select nope from marts.journeys",
        "selec 1",
    ):
        with pytest.raises(InputError):
            query_release(release, sql)
    assert not (tmp_path / "out.csv").exists()
    assert query_release(release, "select event_id from marts.touchpoints").to_pylist() == [{"event_id": "1"}]


def test_a_build_that_was_built_over_is_not_published_under_its_old_name(build_world, root):
    tables = build_world([event("1", "2026-01-01 10:00")])
    other = build_world([event("2", "2026-01-02 10:00")])
    with pytest.raises(NotBuiltError, match="was built over meanwhile"):
        publish_release(other.warehouse, tables.build, contracts(), root, None)
    assert not (root / "current.json").exists()


def test_what_is_not_published_yet_is_said_with_the_remedy(root):
    with pytest.raises(NotBuiltError, match=r"holds no release yet\. Run: journey publish"):
        current_release(root)
