"""What many tiny landings cost: `python -m benchmarks.small_files [--landings 20000]`.

A producer that trickles, landed every few seconds: each landing commits ten records. Then, on what has come together,
one more landing and one build are timed, in a fresh process each; then compaction; then the two again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from journey_core.contract import Judged, judge, records_of
from journey_core.lake import Lake, Partition
from pipelines.build import build
from pipelines.compact import compact
from pipelines.settings import Settings
from tests.conftest import event

PARTITION = Partition("events.web.v1", 0)
RECORDS = 10


def trickle(settings: Settings, landings: int, first: int = 0) -> None:
    """Commit so many landings. Their records are judged a thousand landings at a time: what counts here is the lake."""
    lake = Lake(settings.lake)
    snapshot = lake.snapshot()
    began = time.perf_counter()
    for number in range(landings):
        if number % 1000 == 0:
            judged = accept((first + number) * RECORDS, min(1000, landings - number) * RECORDS)
        at = (first + number) * RECORDS
        part = Judged(judged.accepted.slice(number % 1000 * RECORDS, RECORDS), judged.rejected)
        lake.commit(part, snapshot, {PARTITION: at}, {PARTITION: at + RECORDS}, {})
        snapshot = lake.snapshot(snapshot)
        if number % 1000 == 999:
            print(f"{number + 1:,} landings, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def accept(first: int, count: int) -> Judged:
    """Good records with the offsets from `first` on, in order."""
    numbers = range(first, first + count)
    made = [event(f"e{n}", "2026-01-02 03:04", who={"customer_id": f"c{n % RECORDS}"}) for n in numbers]
    records = records_of([json.dumps(one).encode() for one in made], topic=PARTITION.topic)
    offsets = pa.array(numbers, pa.int64())
    judged = judge(records.set_column(records.schema.get_field_index("offset"), "offset", offsets))
    return Judged(judged.accepted.sort_by("offset"), judged.rejected)


def timed(step: str, settings: Settings, landings: int) -> float:
    command = [sys.executable, "-m", "benchmarks.small_files", "--step", step, str(settings.home), str(landings)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[0])


def run_step(step: str, home: Path, landings: int) -> None:
    settings = Settings(home=home)
    began = time.perf_counter()
    trickle(settings, 1, landings) if step == "landing" else build(settings, full=True)
    print(time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--landings", type=int, default=20_000)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        step, home, landings = asked.step
        run_step(step, Path(home), int(landings))
        return
    with tempfile.TemporaryDirectory(prefix="journey-bench-") as folder:
        settings = Settings(home=Path(folder))
        began = time.perf_counter()
        trickle(settings, asked.landings)
        print(f"{asked.landings:,} landings of {RECORDS} records: {time.perf_counter() - began:.0f} s in one process")
        for number, state in enumerate(("before compaction", "after compaction")):
            landing = timed("landing", settings, asked.landings + number)
            building = timed("build", settings, 0)
            print(f"{state}: one landing {landing:.2f} s, one build {building:.2f} s", flush=True)
            if not number:
                began = time.perf_counter()
                print(f"{compact(settings)} in {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
