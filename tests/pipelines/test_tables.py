"""Rows on a screen and as JSON: whatever a query gives is printed."""

from __future__ import annotations

import json
import subprocess
import sys

import duckdb
import pytest

from pipelines.tables import json_parts, rows_as_json, rows_as_text
from tests.conftest import event

#: SQL → as JSON, on a screen.
TIMES = {
    "timestamptz '2026-01-01 10:00:00.5+00'": ("2026-01-01T10:00:00.500000Z", "2026-01-01 10:00:00"),
    "timestamptz '9999-12-31 23:59:59+00' + interval 30 days": ("10000-01-30T23:59:59Z", "10000-01-30 23:59:59"),
    "timestamp '9999-12-31 23:59:59.25' + interval 1 day": ("10000-01-01T23:59:59.250000", "10000-01-01 23:59:59"),
    "timestamptz '290000-02-29 00:00:01+00'": ("290000-02-29T00:00:01Z", "290000-02-29 00:00:01"),
    "'infinity'::timestamptz": ("infinity", "infinity"),
    "'-infinity'::timestamptz": ("-infinity", "-infinity"),
    "'infinity'::timestamp": ("infinity", "infinity"),
    "'infinity'::timestamp_s": ("infinity", "infinity"),
    "'-infinity'::timestamp_ns": ("-infinity", "-infinity"),
    "'infinity'::date": ("infinity", "infinity"),
    "'-infinity'::date": ("-infinity", "-infinity"),
    "date '10000-01-01'": ("10000-01-01", "10000-01-01"),
    "date '0044-03-15 (BC)'": ("-0043-03-15", "-0043-03-15"),
    "timestamp '0001-01-01 00:00:00' - interval 1 second": ("0000-12-31T23:59:59", "0000-12-31 23:59:59"),
    "timestamp_ns '2026-01-01 09:00:00.000000001'": ("2026-01-01T09:00:00.000000001", "2026-01-01 09:00:00"),
}


@pytest.mark.parametrize("sql", TIMES)
def test_every_time_is_printed_whatever_its_year(sql):
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.sql(
            f"select day, [day, null] as list, {{'day': day}} as struct, map {{1: day}} as map from (select {sql} as day)"
        ).to_arrow_table()
    as_json, as_text = TIMES[sql]
    (row,) = json.loads(rows_as_json(rows))
    assert row == {"day": as_json, "list": [as_json, None], "struct": {"day": as_json}, "map": [[1, as_json]]}
    assert as_text in rows_as_text(rows).splitlines()[-1]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_json_in_parts_is_the_json_of_the_whole(count):
    with duckdb.connect() as connection:
        rows = connection.sql(f"select n, [{{'m': n}}] as list from range({count}) as t(n)").to_arrow_table()
    whole = json.dumps(rows.to_pylist(), indent=1)
    assert ["".join(json_parts(rows, at_once)) for at_once in (1, 2, 3)] == [whole] * 3
    assert rows_as_json(rows) == whole


def test_a_calendar_that_repeats_itself_every_400_years_is_duckdbs():
    """A law over the years that DuckDB has, by its own text."""
    with duckdb.connect() as connection:
        rows = connection.sql(
            "select day, day::varchar as said from ("
            "select date '1970-01-01' + (n * 50021)::integer as day from range(2000) as numbers(n)"
            ") where day > date '9999-12-31'"
        ).to_arrow_table()
    assert rows.num_rows > 1000
    assert [row["day"] for row in json.loads(rows_as_json(rows))] == rows["said"].to_pylist()


@pytest.mark.integration
def test_a_customer_of_the_last_month_of_the_calendar_is_shown_by_every_command(tmp_path, home):
    """Its journey is open until the year 10000."""
    file = tmp_path / "events.jsonl"
    made = [event("1", "9999-12-31 23:59"), event("2", "9999-12-31 23:59", "checkout_started")]
    file.write_text("".join(json.dumps(one) + "\n" for one in made))
    journey = [sys.executable, "-c", "from pipelines.cli import main; main()"]
    for command in (
        ["build", "--events", str(file)],
        ["check"],
        ["publish"],
        ["query", "from marts.journeys"],
        ["query", "from marts.funnel_attempts", "--json"],
        ["export", "--customer", "ann"],
        ["explain-funnel", "checkout"],
        ["explain-funnel", "checkout", "--json"],
    ):
        done = subprocess.run([*journey, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        assert "10000-" in done.stdout or "open_until" not in done.stdout
    again = subprocess.run([*journey, "publish"], capture_output=True, text=True, check=False)
    assert again.stdout.startswith("unchanged: "), "who asks changes nothing"
