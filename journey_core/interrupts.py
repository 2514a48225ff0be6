"""DuckDB statements that somebody else can end: a signal, or a clock.

While DuckDB works it does not ask Python for signals, so Ctrl-C would wait for the end of the statement.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import duckdb

_open: set[duckdb.DuckDBPyConnection] = set()
_guard = threading.Lock()


@contextmanager
def interruptible(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """While this is open, `interrupt_all` ends the connection's statement with duckdb.InterruptException."""
    with _guard:
        _open.add(connection)
    try:
        yield
    finally:
        with _guard:
            _open.discard(connection)


def interrupt_all() -> None:
    """End what every interruptible connection does now. What begins afterwards is not stopped: call it again."""
    with _guard:
        for connection in _open:
            connection.interrupt()


@contextmanager
def at_most(connection: duckdb.DuckDBPyConnection, time: timedelta) -> Iterator[threading.Event]:
    """Interrupt the connection after `time`. The event is set where that happened."""
    is_late = threading.Event()
    is_done = threading.Event()

    def watch() -> None:
        if not is_done.wait(time.total_seconds()):
            is_late.set()
            # Again and again: the first one may come between two statements.
            while not is_done.wait(0.1):
                connection.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield is_late
    finally:
        is_done.set()
        watcher.join()
