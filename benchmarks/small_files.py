"""What many tiny landings cost: `python -m benchmarks.small_files [--landings 20000]`.

A producer that trickles, landed every few seconds: each landing commits ten records, in a file of its own. So many
commits would take hours: the files enter the table a thousand at a time. Then, on what has come together, one more
landing and one build are timed, in a fresh process each; then compaction; then the two again.
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
import pyarrow.parquet as pq
from deltalake import CommitProperties, Transaction
from deltalake.transaction import AddAction

from journey_core.contract import EVENTS, Judged, judge, records_of
from journey_core.lake import Lake, Partition
from pipelines.build import build
from pipelines.compact import compact
from pipelines.settings import Settings
from tests.conftest import event

PARTITION = Partition("events.web.v1", 0)
RECORDS = 10


def land(settings: Settings, number: int) -> None:
    """The landing of that number, alone."""
    lake = Lake(settings.lake)
    at = number * RECORDS
    lake.commit(accept(at, RECORDS), lake.snapshot(), {PARTITION: at}, {PARTITION: at + RECORDS}, {})


def trickle(settings: Settings, landings: int) -> None:
    """The files of so many landings, a thousand to a commit."""
    table = Lake(settings.lake).snapshot().tables["events"]
    for first in range(0, landings, 1000):
        count = min(1000, landings - first)
        rows = accept(first * RECORDS, count * RECORDS).accepted
        added = []
        for number in range(count):
            name = f"part-{first + number:05}.parquet"
            file = settings.lake / "events" / name
            pq.write_table(rows.slice(number * RECORDS, RECORDS), file, compression="zstd")
            added.append(AddAction(name, file.stat().st_size, {}, 0, True, json.dumps({"numRecords": RECORDS})))
        offset = Transaction(str(PARTITION), (first + count) * RECORDS)
        table.create_write_transaction(
            added, "append", EVENTS, commit_properties=CommitProperties(app_transactions=[offset])
        )
        table = Lake(settings.lake).snapshot().tables["events"]
        print(f"{first + count:,} files", file=sys.stderr, flush=True)
    table.create_checkpoint()


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
    land(settings, landings) if step == "landing" else build(settings, full=True)
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
        trickle(settings, asked.landings)
        for number, state in enumerate(("before compaction", "after compaction")):
            landing = timed("landing", settings, asked.landings + number)
            building = timed("build", settings, 0)
            print(f"{state}: one landing {landing:.2f} s, one build {building:.2f} s", flush=True)
            if not number:
                began = time.perf_counter()
                print(f"{compact(settings)} in {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
