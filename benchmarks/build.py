"""Lake → journeys, full and incremental: `make bench-build`, or `python -m benchmarks.build --events 10000000`.

Events are generated straight into Parquet files with the columns of the lake: customers on up to three devices, a
third of their visits anonymous until the end, one visit in two hundred on a shared tablet. Then, in processes of their
own: a full build; a day that touches one customer in a hundred; the same again by a full build. Both must give the same
tables. `--journeys` stops where funnels begin: identity, sessions, touchpoints, journeys and transitions. `--full` does
the first of the three alone. Peak memory is the process's largest resident set. Only ratios mean something: machines
differ. A hundred million events need 60 GB of disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from benchmarks.apart import Run, apart, run_one
from journey_core.taxonomy import load_taxonomy
from journey_core.warehouse import Source, Warehouse

EVENTS_PER_CUSTOMER = 40
FILE_EVENTS = 2_000_000

# Customer, visit and touch are digits of the event's number; hash() gives every choice, the same each time.
_GENERATE = """
copy (
    with numbered as (
        select i, {customer} as customer, (i % {per_customer}) // 8 as visit, i % 8 as touch,
            (hash({seed} + i) >> 8)::bigint as chance,
            (hash({seed} + i // 8) >> 8)::bigint as visit_chance
        from range({first}, {last}) as numbers(i)
    ),
    timed as (
        select *,
            timestamptz '2026-01-01 00:00:00Z' + to_seconds(visit_chance % {seconds} + touch * 50)
                as occurred_at,
            'c' || customer as customer_name,
            'd' || customer || '-' || visit_chance % 3 as cookie
        from numbered
    )
    select
        'events.web.v1' as topic, 0::integer as generation, (i % 2)::integer as partition, i as "offset",
        occurred_at as kafka_timestamp, occurred_at as landed_at,
        md5({seed} || ':' || i) as event_id,
        ['page_viewed', 'product_viewed', 'product_viewed', 'product_added', 'checkout_started', 'order_completed',
            'product_searched', 'email_opened'][1 + chance % 8] as event_type,
        case when chance % 8 = 7 then 'email' else 'web' end as channel,
        occurred_at, occurred_at as occurred_at_raw, null::timestamptz as sent_at, occurred_at as received_at,
        null::bigint as sequence, 'customer' as initiator,
        case
            when visit_chance % 200 = 0
                then map {{'anonymous_id': 'tablet' || customer // 50, 'customer_id': customer_name}}
            when visit_chance % 3 = 0 and touch < 7 then map {{'anonymous_id': cookie}}
            when chance % 8 = 7 then map {{'email': customer_name || '@x.de', 'customer_id': customer_name}}
            else map {{'anonymous_id': cookie, 'customer_id': customer_name}}
        end as identifiers,
        '{{"page":{{"url":"https://shop.example/p/' || chance % 5000 || '"}},"device":{{"type":"mobile"}},'
            || '"geo":{{"country":"' || ['ES', 'FR', 'DE'][1 + customer % 3] || '"}}}}' as context,
        '{{"product_id":"p' || chance % 5000 || '","revenue":"59.90","currency":"EUR"}}' as properties,
        null::varchar as extra, sha256(i::varchar) as payload_hash
    from timed
) to '{file}' (format parquet, compression zstd)
"""
TABLES = ("touchpoints", "sessions", "journeys", "stage_transitions", "identity_map", "funnel_attempts", "funnel_drops")


def generate(folder: Path, events: int) -> tuple[list[str], list[str]]:
    """The files of all events but the last day's; and of all, the last day being one customer in a hundred's."""
    folder.mkdir(parents=True)
    whole = []
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for first in range(0, events, FILE_EVENTS):
            file = str(folder / f"{first:012}.parquet")
            connection.execute(
                _GENERATE.format(
                    first=first, last=min(first + FILE_EVENTS, events), file=file, seed=1, seconds=180 * 86400,
                    customer=f"i // {EVENTS_PER_CUSTOMER}", per_customer=EVENTS_PER_CUSTOMER,
                )
            )  # fmt: skip
            whole.append(file)
        day = str(folder / "day.parquet")
        touched = max(1, events // EVENTS_PER_CUSTOMER // 100)
        connection.execute(
            _GENERATE.format(
                first=events, last=events + touched * 8, file=day, seed=2, seconds=86400,
                customer=f"((i - {events}) // 8) * 100", per_customer=8,
            ).replace("2026-01-01", "2026-06-30")
        )  # fmt: skip
    return whole, [*whole, day]


def source(files: list[str]) -> Source:
    return Source(" ".join(files), files, [])


def build(files: list[str], warehouse: Path, memory: str, full: bool, journeys: bool) -> dict[str, float]:
    """One build; the models that took longest, and for how many seconds."""
    laps: list[tuple[str, float]] = []
    taxonomy = load_taxonomy("retail")
    Warehouse(warehouse, memory_limit=memory).build(
        source(files),
        taxonomy.model_copy(update={"signals": [], "funnels": []}) if journeys else taxonomy,
        full=full,
        progress=lambda name, *_: laps.append((name, time.perf_counter())),
    )
    ends = [at for _, at in laps[1:]] + [time.perf_counter()]
    spent = {name: round(after - at, 2) for (name, at), after in zip(laps, ends, strict=True)}
    return dict(sorted(spent.items(), key=lambda lap: -lap[1])[:16])


def are_equal(one: Path, other: Path) -> bool:
    with duckdb.connect() as connection:
        connection.execute(f"attach '{one}' as one (read_only)")
        connection.execute(f"attach '{other}' as other (read_only)")
        digests = [
            connection.execute(
                f"select count(*), sum(hash(t)::hugeint)::varchar from {name}.marts.{table} as t"
            ).fetchall()
            for table in TABLES
            for name in ("one", "other")
        ]
    return digests[::2] == digests[1::2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--memory", default="8GB", help="DuckDB's memory limit")
    parser.add_argument("--journeys", action="store_true", help="without signals and funnels")
    parser.add_argument("--full", action="store_true", help="the full build alone")
    parser.add_argument("--folder", type=Path, help="where the data lies; a temporary folder unless given")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        warehouse, kind, *files = asked.one
        run_one(lambda: build(files, Path(warehouse), asked.memory, kind == "full", asked.journeys))
        return

    def run(warehouse: Path, kind: str, files: list[str]) -> Run:
        scope = ["--journeys"] if asked.journeys else []
        found = apart("benchmarks.build", str(warehouse), kind, *files, "--memory", asked.memory, *scope)
        console.print(f"{events:,} events, {kind}: {found.seconds:.1f} s; {found.found}")
        return found

    console = Console()
    table = Table(title=f"memory limit {asked.memory}")
    for column in ("", "seconds", "µs/event", "of full", "peak GB"):
        table.add_column(column, justify="right" if column else "left")
    for events in asked.events:
        with tempfile.TemporaryDirectory(prefix="journey-bench-", dir=asked.folder) as name:
            root = Path(name)
            whole, later = generate(root / "lake", events)
            full = run(root / "updated.duckdb", "full", whole)
            size = (root / "updated.duckdb").stat().st_size / 1e9
            console.print(f"{events:,} events: the warehouse takes {size:.1f} GB")
            rows = {"full": full}
            if not asked.full:
                rows["one customer in a hundred"] = run(root / "updated.duckdb", "day", later)
                run(root / "fresh.duckdb", "full", later)
                if not are_equal(root / "updated.duckdb", root / "fresh.duckdb"):
                    raise SystemExit(f"{events:,} events: the incremental build differs from the full one")
                console.print(f"{events:,} events: incremental equals full")
            for label, found in rows.items():
                table.add_row(
                    f"{events:,} events, {label}", f"{found.seconds:.1f}", f"{found.seconds / events * 1e6:.1f}",
                    f"{found.seconds / full.seconds:.3f}", f"{found.peak:.1f}",
                )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()
