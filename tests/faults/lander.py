"""A lander in a process of its own, that is killed or stopped at a named point.

A point is a line of the landing code: `lake._append:271` is the instant before that line runs. Kills *inside* a step
(a write of delta-rs) come from a limit on the size of files whose signal is left deadly: the process dies at that byte.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from journey_core import contract, lake
from pipelines import cli, fetch, land, reader

WATCHED = {module.__file__: module.__name__.rsplit(".", 1)[1] for module in (contract, lake, fetch, land, reader)}
PROCESSES = multiprocessing.get_context("forkserver")
# Imported once: a fork of it lands at once. No thread runs in it yet. (Python 3.11 does not hand it our path.)
os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
PROCESSES.set_forkserver_preload(["tests.faults.lander"])


def start(environment: dict[str, str], out: Path, topic: str, **plan: Any) -> psutil.Process:
    """Run `journey land` apart. `plan`: `at` = (point, n-th time), `then` = a signal; or `largest_file` = bytes."""
    process = PROCESSES.Process(target=_run, args=(environment, str(out), {"topic": topic} | plan))
    process.start()
    found = psutil.Process(process.pid)
    found.handle = process  # so that it is waited for
    return found


def finish(process: psutil.Process, within: float = 60.0) -> int:
    """The exit code; negative: the signal that killed it."""
    process.handle.join(within)
    code = process.handle.exitcode
    assert code is not None, f"the lander still runs after {within:.0f} s"
    process.handle.close()
    return code


def run(environment: dict[str, str], out: Path, topic: str, **plan: Any) -> int:
    return finish(start(environment, out, topic, **plan))


def wait_until(condition: Callable[[], bool], within: float = 30.0, what: str = "it") -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {within:.0f} s"
        time.sleep(0.005)


def is_stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def survey(environment: dict[str, str], out: Path, topic: str) -> dict[str, int]:
    """Every point that a landing run passes, in order of its first time, and how often."""
    log = out.with_suffix(".points")
    assert run(environment, out, topic, survey=str(log)) == 0, out.read_text()
    points: dict[str, int] = {}
    for line in log.read_text().split():
        points[line] = points.get(line, 0) + 1
    return points


def _run(environment: dict[str, str], out: str, plan: dict[str, Any]) -> None:
    os.environ.update(environment)
    with open(out, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if "largest_file" in plan:
        size = plan["largest_file"]
        # Python ignores the signal, and a write fails; left deadly, it ends the process in the middle of the write.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if plan.get("deadly") else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if "at" in plan or "survey" in plan:
        tracer = _tracer(plan)
        threading.settrace(tracer)
        sys.settrace(tracer)
    sys.argv = ["journey", "land", "--topic", plan["topic"]]
    cli.main()


def _tracer(plan: dict[str, Any]) -> Callable[[FrameType, str, Any], Any]:
    log = open(plan["survey"], "w", buffering=1) if "survey" in plan else None  # noqa: SIM115 - until the process ends
    point, left = plan.get("at", (None, 0))

    def on_line(frame: FrameType, what: str, _: Any) -> Any:
        nonlocal left
        if what == "line":
            code = frame.f_code
            here = f"{WATCHED[code.co_filename]}.{code.co_qualname}:{frame.f_lineno}"
            if log is not None:
                log.write(here.replace(" ", "") + "\n")
            elif here.replace(" ", "") == point:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), plan["then"])
        return on_line

    return lambda frame, *_: on_line if frame.f_code.co_filename in WATCHED else None
