"""`journey query`: every way to ask works, within limits, and nothing else does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from journey_core.errors import InputError
from journey_core.models import contracts
from journey_core.query import Limits, query_release
from journey_core.release import Release, publish_release
from tests.conftest import build_tables, event


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Release:
    home = tmp_path_factory.mktemp("query")
    tables = build_tables([event("1", "2026-01-01 10:00"), event("2", "2026-01-01 10:05")], home / "w.duckdb")
    return publish_release(tables.warehouse, tables.build, contracts(), home / "releases", None)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("-- how many?\nselect 1", 1),
        ("/* a /* nested */ comment */ select 1", 1),
        ("\n\t ((select 1))", 1),
        ("select 1; -- that is all", 1),
        ("select 1;;", 1),
        ("from marts.touchpoints", 2),
        ("table marts.touchpoints", 2),
        ("with t as (select 1) from t", 1),
        ("values (1), (2)", 2),
        ("explain select 1", 1),
        ("EXPLAIN ANALYZE select 1;", 1),
        ("explain (format json) from marts.touchpoints", 1),
        ("-- plan\nexplain pivot marts.touchpoints on channel in ('web') using count(*) group by customer_id", 1),
        ("pivot marts.touchpoints on event_id using count(*) group by customer_id", 1),
        ("pivot marts.touchpoints on event_id using count(*) group by customer_id; -- done", 1),
        ("from (pivot marts.touchpoints on event_id using count(*) group by customer_id)", 1),
        ("unpivot (select 1 as a, 2 as b) on a, b", 2),
        ("describe marts.touchpoints", len(next(c for c in contracts() if c.table == "marts.touchpoints").columns)),
        ("summarize (select 1 as a)", 1),
        ("show tables", len(contracts())),
    ],
)
def test_every_way_to_ask(release, sql, rows):
    assert query_release(release, sql).num_rows == rows


def test_nothing_is_written_however_it_is_wrapped(release):
    files = sorted(release.root.rglob("*"))
    target = release.root / release.name / "new.parquet"
    copy = f"copy (select 1) to '{target}'"
    pivot = "pivot marts.touchpoints on event_id using count(*)"
    copy_pivot = f"copy ({pivot}) to '{target}'"
    for sql in (
        copy,
        f"explain analyze {copy}",
        f"explain (analyze) {copy}",
        f"explain (analyze, format json) {copy}",
        f"EXPLAIN /* */ ANALYZE {copy}",
        f"explain -- x\nanalyze {copy}",
        f"/* /* */ explain select 1; -- */ explain analyze {copy}",
        f"explain explain analyze {copy}",
        copy_pivot,
        f"explain {copy_pivot}",
        f"explain analyze {copy_pivot}",
        f"{pivot}) ; {copy} ; from (select 1",
        f"{pivot}; {copy}",
        f"{copy}; {pivot}",
        f"create table mine as {pivot}",
        f"insert into marts.touchpoints {pivot}",
        f"explain analyze insert into marts.touchpoints {pivot}",
        f"export database '{target}'",
        f"explain analyze export database '{target}'",
        "explain analyze",
        "explain analyze checkpoint",
        "call checkpoint()",
        "pragma database_list",
        "prepare mine as select 1",
        "attach ':memory:' as mine",
        "explain analyze create table mine as select 1",
        "with gone as (delete from marts.touchpoints returning *) from gone",
        "",
        "-- nothing",
        ";",
    ):
        with pytest.raises(InputError):
            query_release(release, sql)
    assert sorted(release.root.rglob("*")) == files


def test_a_query_that_takes_too_long_is_ended_and_says_so(release):
    forever = "select count(*) from range(1000000) as a, range(1000000) as b where a.range + b.range = 7"
    with pytest.raises(InputError, match=r"took longer than 0:00:00\.2.*JOURNEY_QUERY_TIMEOUT"):
        query_release(release, forever, Limits(time=timedelta(seconds=0.2)))


def test_a_row_that_does_not_work_among_millions_is_the_querys_fault(release):
    with pytest.raises(InputError, match="the query does not work: Conversion Error"):
        query_release(release, "select if(n = 2500000, 'x', '1')::integer as n from range(3000000) as t(n)")


def test_memory_and_threads_hold_and_what_is_spilled_goes(release, tmp_path):
    limits = Limits(memory="60MB", threads=1, spill=tmp_path)
    (row,) = query_release(
        release, "select current_setting('memory_limit') as m, current_setting('threads') as t", limits
    ).to_pylist()
    assert row == {"m": "57.2 MiB", "t": 1}
    sort = "select sum(place) as s from (select row_number() over (order by hash(n)) as place from range(3000000) t(n))"
    assert query_release(release, sort, limits).to_pylist() == [{"s": 3000000 * 3000001 // 2}]
    assert list(tmp_path.iterdir()) == []
    for larger in ("from range(100000000000)", "select repeat('x', 1000) as x from range(1000000)"):
        with pytest.raises(InputError, match=r"larger than 57\.2 MiB.*JOURNEY_DUCKDB_MEMORY_LIMIT"):
            query_release(release, larger, limits)
    with pytest.raises(InputError, match="JOURNEY_DUCKDB_MEMORY_LIMIT"):
        query_release(release, "select list(n::varchar || repeat('x', 99)) from range(3000000) t(n)", limits)
    assert list(tmp_path.iterdir()) == []
