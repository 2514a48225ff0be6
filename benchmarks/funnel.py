"""A five-step funnel of 30 days beside ClickHouse and pandas: `make bench-funnel`, or `python -m benchmarks.funnel`.

All three read the same Parquet file (customer, instant, event type; 40 events a customer, a customer's together as in
a release, or with `--by-time` as they landed) and must find the same number of customers at each depth. Ours runs the
models as shipped: to how far each customer came and when (`funnel_paths`), and further to each entry with the events of
its steps (`funnel_entries`). ClickHouse (`chdb`, embedded) runs `windowFunnel`, which gives the depth alone; pandas
searches in sorted arrays.
Each in a process of its own; peak memory is its largest resident set. Only ratios mean something: machines differ.
`chdb` is no part of the environment (several hundred megabytes): `.venv/bin/pip install chdb`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from benchmarks.apart import apart, create_taxonomy, run_one
from journey_core.models import compiled_models, in_build_order, shipped_models
from journey_core.taxonomy import TOUCHPOINT_COLUMNS, Funnel, load_taxonomy

STEPS = ("page_viewed", "product_viewed", "product_added", "checkout_started", "order_completed")
EVENTS_PER_CUSTOMER = 40
DAYS = 30
_PATHS = ("taxonomy.step_matches", "intermediate.funnel_paths")
_ENTRIES = (*_PATHS, "taxonomy.exclusion_matches", "taxonomy.held_values", "intermediate.funnel_matches",
            "intermediate.funnel_chains", "intermediate.funnel_entries")  # fmt: skip


def generate(path: Path, events: int, *, is_by_time: bool = False) -> None:
    """Events of half a year; three in eight are of no step. No two of a customer at one instant."""
    with tempfile.TemporaryDirectory() as spill, duckdb.connect(config={"temp_directory": spill}) as connection:
        connection.execute("set timezone = 'UTC'; set memory_limit = '12GB'")
        connection.execute(
            f"""
            copy (
                select
                    i // {EVENTS_PER_CUSTOMER} as customer,
                    timestamptz '2026-01-01 00:00:00Z'
                    + to_microseconds((hash(i) % 15552000)::bigint * 1000000 + i % {EVENTS_PER_CUSTOMER})
                        as occurred_at,
                    [{", ".join(f"'{step}'" for step in STEPS)}, 'email_opened', 'post_engaged', 'ad_clicked'][
                        1 + (hash(i + 7) % 8)::bigint
                    ] as event_type
                from range({events}) as numbers(i)
                {"order by occurred_at" if is_by_time else ""}
            ) to '{path}' (format parquet, compression zstd)
            """
        )


def paths(path: Path, funnels: int) -> dict[int, int]:
    return _ours(
        path, funnels, _PATHS, "select len(step_times) as depth from intermediate.funnel_paths where funnel = 'f0'"
    )


def entries(path: Path, funnels: int) -> dict[int, int]:
    return _ours(
        path,
        funnels,
        _ENTRIES,
        "select max(furthest_step) as depth from intermediate.funnel_entries where funnel = 'f0' group by customer_id",
    )


def _ours(path: Path, funnels: int, engine: Sequence[str], depths: str) -> dict[int, int]:
    made = [
        Funnel.model_validate(
            {
                "funnel": f"f{number}",
                "window": f"{DAYS + number} days",
                "steps": [{"step": f"s{n}", "when": f"event_type = '{kind}'"} for n, kind in enumerate(STEPS)],
            }
        )
        for number in range(funnels)
    ]
    taxonomy = load_taxonomy("retail").model_copy(update={"funnels": made})
    with tempfile.TemporaryDirectory() as spill, duckdb.connect(config={"temp_directory": spill}) as connection:
        connection.execute("set timezone = 'UTC'; set memory_limit = '16GB'")
        connection.execute("create schema intermediate; create schema marts")
        used = {"occurred_at", "event_type", "initiator"}
        unused = {name: kind for name, kind in TOUCHPOINT_COLUMNS.items() if name not in used}
        create_taxonomy(connection, taxonomy)
        connection.execute(
            "create view intermediate.touchpoint_history as select customer as customer_id, customer as customer_key,"
            " occurred_at, event_type,"
            f" {', '.join(f'null::{kind} as {name}' for name, kind in unused.items())},"
            " 'customer' as initiator, null::bigint as sequence, file_row_number as event_key,"
            " file_row_number::varchar as event_id, file_row_number as event_order"
            f" from read_parquet('{path}', file_row_number = true)"
        )
        connection.execute("create schema staging")
        connection.execute("create view staging.events as from intermediate.touchpoint_history")
        models = {m.name: m for m in in_build_order([*shipped_models(), *compiled_models(taxonomy.models())])}
        for name in engine:
            kind = "view" if models[name].is_view else "table"
            connection.execute(f"create {kind} {name} as {models[name].sql}")
        return dict(connection.execute(f"select depth, count(*) from ({depths}) group by depth").fetchall())


def clickhouse(path: Path, _: int) -> dict[int, int]:
    import chdb  # noqa: PLC0415 - each way loads its own, in a process of its own

    conditions = ", ".join(f"event_type = '{step}'" for step in STEPS)
    answer = chdb.query(
        f"select depth, count() from (select windowFunnel({DAYS * 86_400_000_000}, 'strict_once')"
        f"(toUInt64(toUnixTimestamp64Micro(occurred_at)), {conditions}) as depth"
        f" from file('{path}', Parquet) group by customer) where depth > 0 group by depth format JSONCompact"
    )
    return {int(depth): int(count) for depth, count in json.loads(str(answer))["data"]}


def pandas(path: Path, _: int) -> dict[int, int]:
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    events = pd.read_parquet(path)
    far = np.int64(1) << 44  # microseconds: a little more than the half year
    instant = ((events.occurred_at - pd.Timestamp("2026-01-01", tz="UTC")) // pd.Timedelta("1us")).to_numpy()
    found: Counter[int] = Counter()
    # So many customers at once that one number tells customer and instant: the later the event, the larger.
    for first in range(0, int(events.customer.max()) + 1, 500_000):
        customer = events.customer.to_numpy() - first
        is_here = (customer >= 0) & (customer < 500_000)
        key = customer[is_here] * far + instant[is_here]
        kinds = events.event_type[is_here]
        found.update(_depths([np.sort(key[(kinds == step).to_numpy()]) for step in STEPS], far))
    return dict(found)


def _depths(of_step: list[Any], far: Any) -> dict[int, int]:
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    entry = reached = of_step[0]
    depth = np.ones(len(entry), dtype=np.int64)
    for following in of_step[1:]:
        at = np.append(following, np.iinfo(np.int64).max)[np.searchsorted(following, reached, side="right")]
        is_reached = (reached >= 0) & (at // far == entry // far) & (at - entry <= DAYS * 86_400_000_000)
        depth += is_reached
        reached = np.where(is_reached, at, np.int64(-1))
        reached = np.where(is_reached, reached, np.iinfo(np.int64).max - 1)
    best = pd.Series(depth).groupby(entry // far).max()
    return {int(k): int(v) for k, v in best.value_counts().items()}


WAYS: dict[str, Callable[[Path, int], dict[int, int]]] = {
    "paths": paths,
    "entries": entries,
    "clickhouse": clickhouse,
    "pandas": pandas,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events (default: %(default)s)")
    parser.add_argument("--by-time", action="store_true", help="the file's rows as they landed, not by customer")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        way, path, funnels = asked.one
        run_one(lambda: sorted(WAYS[way](Path(path), int(funnels)).items()))
        return
    shown = Table("", "seconds", "of the first", "peak GB", "same customers at each depth")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        generate(path, asked.events, is_by_time=asked.by_time)
        ways = {
            "ours, depth and times": ("paths", 1),
            "ours, ten funnels": ("paths", 10),
            "ours, entries with their events": ("entries", 1),
            "ours, entries of ten funnels": ("entries", 10),
            "ClickHouse, depth": ("clickhouse", 1),
            "pandas, depth": ("pandas", 1),
        }
        runs = {name: apart("benchmarks.funnel", way, str(path), str(funnels)) for name, (way, funnels) in ways.items()}
    one = runs["ours, depth and times"]
    for name, run in runs.items():
        shown.add_row(
            name, f"{run.seconds:.1f}", f"{run.seconds / one.seconds:.2f}", f"{run.peak:.2f}",
            "yes" if run.found == one.found else f"NO: {run.found} for {one.found}",
        )  # fmt: skip
    Console().print(f"{asked.events:,} events", shown)


if __name__ == "__main__":
    main()
