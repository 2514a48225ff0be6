"""Many events of one customer at one instant: `python -m benchmarks.one_instant [--sizes 2500 5000 10000 20000]`.

A house account whose orders have a date and no time: every event ties with every other one. Each way to count a funnel
is built alone, with a `sequence` per event and without. Time should grow no faster than the number of events.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from journey_core.contract import judge, records_of
from journey_core.taxonomy import Funnel, Taxonomy, load_taxonomy
from journey_core.warehouse import Source, Warehouse

KINDS = ("product_viewed", "product_added", "checkout_started", "order_completed")
STEPS = [{"step": kind, "when": f"event_type = '{kind}'"} for kind in KINDS]
# Also steps that share events: each of them could take either.
WIDE = [{"step": f"s{n}", "when": f"event_type in ('{KINDS[n]}', '{KINDS[(n + 1) % 4]}')"} for n in range(4)]
WITHIN: list[dict[str, Any]] = [STEPS[0], *({**step, "within": "1 hour"} for step in STEPS[1:])]
OPTIONAL: list[dict[str, Any]] = [STEPS[0], {**STEPS[1], "optional": True}, *STEPS[2:]]
WAYS: dict[str, dict[str, Any]] = {
    "one pass": {"steps": STEPS},
    "within": {"steps": WITHIN, "window": "1 day"},
    "optional": {"steps": OPTIONAL},
    "versatile": {"steps": WIDE},
    "every": {"steps": STEPS, "entry": "every"},
    "first": {"steps": STEPS, "entry": "first"},
    "strict": {"steps": STEPS, "order": "strict"},
    "any": {"steps": STEPS, "order": "any"},
    "any within": {"steps": WITHIN, "order": "any"},
    "held": {"steps": STEPS, "hold_constant": ["product_id"], "entry": "every"},
    "tolerant": {"steps": STEPS, "tie_tolerance": "1 minute"},
    "excluding": {"steps": STEPS, "exclusions": [{"when": "event_type = 'product_removed'"}]},
}


def taxonomy(way: str) -> Taxonomy:
    """The retail taxonomy; its funnels alone where `way` is `retail`, else one that counts that way."""
    retail = load_taxonomy("retail")
    if way == "retail":
        return retail
    return retail.model_copy(update={"funnels": [Funnel.model_validate({"funnel": "f", **WAYS[way]})]})


def source(events: int, numbered: bool) -> Source:
    """So many events, numbered in a random order if at all; each product in ten of them."""
    numbers = random.Random(1).sample(range(events), events)  # noqa: S311, the same each time
    made = [
        {
            "event_id": f"{numbers[number]:06}",
            "event_type": KINDS[number % 4],
            "channel": "web",
            "occurred_at": "2026-01-01T00:00:00Z",
            "identifiers": {"customer_id": "house"},
            "properties": {"order_id": str(number), "product_id": f"p{number // 10}", "revenue": "1"},
        }
        | ({"sequence": numbers[number]} if numbered else {})
        for number in range(events)
    ]
    judged = judge(records_of([json.dumps(one).encode() for one in made], topic="t"))
    return Source(f"{events} {numbered}", judged.accepted, judged.rejected)


def measure(events: int, way: str, numbered: bool) -> tuple[float, list[tuple[float, str]]]:
    """Seconds of a full build, and its slowest models."""
    rows = source(events, numbered)
    laps: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        Warehouse(Path(folder) / "w.duckdb", threads=2).build(
            rows, taxonomy(way), progress=lambda name, *_: laps.append((name, time.perf_counter()))
        )
        seconds = time.perf_counter() - began
    spent = [(after - before, name.removeprefix("building ")) for (name, before), (_, after) in pairwise(laps)]
    return seconds, sorted(spent, reverse=True)[:3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2500, 5000, 10_000, 20_000])
    parser.add_argument("--ways", nargs="+", default=["retail", *WAYS], choices=["retail", *WAYS])
    arguments = parser.parse_args()
    table = Table("funnel", "sequence", *(f"{size:,}" for size in arguments.sizes), "ratio", "slowest model")
    for way in arguments.ways:
        for numbered in (False, True):
            runs = [measure(size, way, numbered) for size in arguments.sizes]
            slowest = ", ".join(f"{name} {seconds:.1f}" for seconds, name in runs[-1][1])
            ratio = f"{runs[-1][0] / runs[0][0]:.1f}"
            table.add_row(way, "each" if numbered else "none", *(f"{run[0]:.1f}" for run in runs), ratio, slowest)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
