"""What benchmarks share: doing a thing in a process of its own, and a taxonomy for models that run alone."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from journey_core.taxonomy import Taxonomy


@dataclass(frozen=True)
class Run:
    """`seconds` of the work alone, imports of the way itself included; `peak` in GB; `found` is what it gave."""

    seconds: float
    peak: float
    found: Any


def run_one(way: Callable[[], Any]) -> None:
    """In the process of its own: run it, and print what `apart` reads."""
    began = time.perf_counter()
    found = way()
    seconds = time.perf_counter() - began
    print(json.dumps(asdict(Run(seconds, _peak() / 2**20, found))))


def apart(module: str, *call: str) -> Run:
    """Run `python -m module --one ...call`, which ends in `run_one`. Raises SystemExit with its words if it fails."""
    done = subprocess.run([sys.executable, "-m", module, "--one", *call], capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        raise SystemExit(f"{call[0]}: {done.stderr[-3000:]}")
    return Run(**json.loads(done.stdout.splitlines()[0]))


def _peak() -> int:
    """The process's largest resident set, in KiB. (Linux counts its parent's, too, in what `getrusage` says.)"""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def create_taxonomy(connection: duckdb.DuckDBPyConnection, taxonomy: Taxonomy) -> None:
    """The rows of schema `taxonomy`, for models that run without a warehouse."""
    connection.execute("create schema taxonomy")
    for name, rows in taxonomy.tables(None).items():
        connection.register("incoming", rows)
        connection.execute(f"create table taxonomy.{name} as from incoming")
