"""Sessions beside ClickHouse: `make bench-sessions`, or `python -m benchmarks.sessions --events 10000000`.

Both read the same Parquet file (customer, device, place in the customer's order, instant) and must find as many
sessions, touchpoints and seconds. Ours runs the models as shipped: timeouts per channel, the producer's session ids,
campaigns, midnight, the longest session, a cause for each. ClickHouse (`chdb`, embedded) cuts at the timeout alone,
which is all that this data asks for. Each in a process of its own; only ratios mean something: machines differ.
`chdb` is no part of the environment (several hundred megabytes): `.venv/bin/pip install chdb`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from benchmarks.apart import apart, create_taxonomy, run_one
from journey_core.models import shipped_models
from journey_core.taxonomy import load_taxonomy

EVENTS_PER_CUSTOMER = 40
TIMEOUT = 1800
_MODELS = ("intermediate.session_events", "marts.sessions")
_FOUND = "count(*), sum(touchpoints)::bigint, sum(epoch(ended_at - started_at))::bigint"


def generate(path: Path, events: int) -> None:
    """Visits of eight touches, on one of three devices each, in half a year; a file in the order of customers."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            f"""
            copy (
                with touches as (
                    select
                        i,
                        i // {EVENTS_PER_CUSTOMER} as customer,
                        'anonymous_id:d' || i // {EVENTS_PER_CUSTOMER} || '-' || hash(i // 8) % 3 as source_device,
                        timestamptz '2026-01-01 00:00:00Z'
                        + to_seconds((hash(i // 8) % 15552000)::bigint + i % 8 * 50) as occurred_at
                    from range({events}) as numbers(i)
                )
                select
                    md5(i::varchar) as event_id,
                    'c' || customer as customer_id,
                    source_device,
                    occurred_at,
                    row_number() over (partition by customer order by occurred_at, i) as event_order
                from touches
            ) to '{path}' (format parquet, compression zstd)
            """
        )


def ours(path: Path) -> list[int]:
    with tempfile.TemporaryDirectory() as spill, duckdb.connect(config={"temp_directory": spill}) as connection:
        connection.execute("set timezone = 'UTC'; set memory_limit = '16GB'")
        connection.execute("create schema staging; create schema intermediate; create schema marts")
        create_taxonomy(connection, load_taxonomy("retail"))
        connection.execute(
            "create view intermediate.touchpoint_history as select *, md5_number(event_id) as event_key,"
            " md5_number(customer_id) as customer_key, 'web' as channel, 'customer' as initiator, false as is_goal,"
            f" null::varchar as explicit_session_id from read_parquet('{path}')"
        )
        connection.execute(
            "create view staging.events as select event_key, null::varchar as campaign_source,"
            " null::varchar as campaign_medium, null::varchar as campaign_name from intermediate.touchpoint_history"
        )
        models = {model.name: model for model in shipped_models()}
        for name in _MODELS:
            connection.execute(f"create table {name} as {models[name].sql}")
        return list(connection.execute(f"select {_FOUND} from marts.sessions").fetchall()[0])


def clickhouse(path: Path) -> list[int]:
    import chdb  # noqa: PLC0415 - each way loads its own, in a process of its own

    answer = chdb.query(
        f"""
        select count(), sum(touchpoints), sum(seconds) from (
            select count() as touchpoints, dateDiff('second', min(occurred_at), max(occurred_at)) as seconds
            from (
                select customer_id, source_device, occurred_at, sum(is_start) over device_visits as session
                from (
                    select customer_id, source_device, occurred_at, event_order,
                        row_number() over device_visits = 1 or occurred_at
                        > addSeconds(lagInFrame(occurred_at) over device_visits, {TIMEOUT}) as is_start
                    from file('{path}', Parquet)
                    window device_visits as (
                        partition by customer_id, source_device order by event_order
                        rows between unbounded preceding and current row
                    )
                )
                window device_visits as (
                    partition by customer_id, source_device order by event_order
                    rows between unbounded preceding and current row
                )
            )
            group by customer_id, source_device, session
        )
        format JSONCompact
        """
    )
    return [int(number) for number in json.loads(str(answer))["data"][0]]


WAYS: dict[str, Callable[[Path], list[int]]] = {"ours": ours, "clickhouse": clickhouse}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events (default: %(default)s)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        run_one(lambda: WAYS[asked.one[0]](Path(asked.one[1])))
        return
    shown = Table("", "seconds", "of ours", "peak GB", "sessions, touchpoints, seconds in them")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.parquet"
        generate(path, asked.events)
        runs = {way: apart("benchmarks.sessions", way, str(path)) for way in WAYS}
    for way, run in runs.items():
        shown.add_row(
            way, f"{run.seconds:.1f}", f"{run.seconds / runs['ours'].seconds:.2f}", f"{run.peak:.2f}",
            str(run.found) if run.found == runs["ours"].found else f"NO: {run.found}",
        )  # fmt: skip
    Console().print(f"{asked.events:,} events", shown)


if __name__ == "__main__":
    main()
