"""The command's door: signals come in; text, errors and exit codes go out.

Data goes to stdout (`say`), talk to stderr (`talk.print`). What is printed came from somebody's data at some time, so
both show control characters as escapes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from types import FrameType
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from journey_core.damage import first_line
from journey_core.errors import InputError, JourneyError
from journey_core.interrupts import interrupt_all
from pipelines.private import PRIVATE_UMASK, who_else_reads
from pipelines.progress import Progress
from pipelines.settings import Settings, concealed, what_is_wrong
from pipelines.tables import plain
from pipelines.terminal import visible, visible_json

#: Seconds that a stopped command has to tidy up; then it ends where it stands.
GRACE = 2.0
_READER_GONE = 141  # what a shell says of SIGPIPE


class _Talk(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        """Text without escape sequences; what rich draws itself stays."""
        super().print(*(visible(concealed(one)) if isinstance(one, str) else one for one in objects), **options)


talk = _Talk(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(text: str) -> None:
    """Print text that people read."""
    _print(visible(text))


def say_json(parts: str | Iterable[str]) -> None:
    """Print a text that is JSON, or one that comes in parts."""
    for part in [parts] if isinstance(parts, str) else parts:
        _print(visible_json(part), end="")
    _print("")


def say_result(result: Any, as_json: bool, text: str | None = None) -> None:
    """Print a verb's result: its line, or one JSON document."""
    if as_json and is_dataclass(result) and not isinstance(result, type):
        say_json(json.dumps(asdict(result), default=plain))
    else:
        say(text or str(result))


def _print(text: str, end: str = "\n") -> None:
    try:
        print(text, end=end)
    except BrokenPipeError:
        raise SystemExit(_READER_GONE) from None


@contextmanager
def shown() -> Iterator[Progress]:
    """A progress bar on a terminal; silence elsewhere."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=talk, transient=True, disable=not talk.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def progress(label: str, done: int, total: int | None) -> None:
            bar.update(task, description=visible(label), completed=done, total=total)

        yield progress


def require_consent(what: str, *, yes: bool) -> None:
    """Say what will happen, and ask, unless somebody has said `yes`. Raises InputError where nobody consents."""
    talk.print(what)
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nothing is changed: there is no terminal to ask on. To go on without a question, add --yes")
    if not typer.confirm("Go on?", err=True):
        raise InputError("nothing is changed")


def run(app: Callable[[Sequence[str]], Any], arguments: Sequence[str], stopped: Callable[[], str]) -> int:
    """Run a command and return its exit code. Every error is one line on stderr; none leaves this function.

    `stopped` says what an interrupted command leaves behind. SIGINT gives 130, SIGTERM 143. What the command writes is
    readable by its owner alone.
    """
    umask = os.umask(PRIVATE_UMASK)
    try:
        with _stoppable(lambda number: _tell_stopped(number, stopped())) as signals:
            code, said = _run(app, arguments)
            if signals:
                # Whatever the interrupted statement has raised on its way.
                return _tell_stopped(signals[0], stopped())
        if said is not None:
            talk.print(f"journey: {said}")
        return _flushed(code)
    finally:
        os.umask(umask)


def _run(app: Callable[[Sequence[str]], Any], arguments: Sequence[str]) -> tuple[int, str | None]:
    """The exit code, and what is to be said of it."""
    said = None
    code = 0
    try:
        _warn_of_readers(arguments)
        app(arguments)
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    except JourneyError as error:
        code, said = error.exit_code, str(error)
    except ValidationError as error:
        # The only pydantic model that is filled from the user's own words and not wrapped already: the settings.
        code, said = 2, what_is_wrong(error)
    except OSError as error:
        code, said = 2, f"{error}. Check the path, its permissions and the space on its disk"
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException as error:  # also a panic of delta-rs, which is no Exception
        code, said = 70, _unexpected(error)  # EX_SOFTWARE of sysexits.h
    return code, said


def _warn_of_readers(arguments: Sequence[str]) -> None:
    if not arguments or "--help" in arguments:
        return
    try:
        settings = Settings()
    except ValidationError:
        return  # the command says it
    if (warning := who_else_reads(settings.home, settings.releases_mode)) is not None:
        talk.print(f"warning: {warning}")


def _unexpected(error: BaseException) -> str:
    if os.environ.get("JOURNEY_DEBUG"):
        return "".join(traceback.format_exception(error))
    return (
        f"unexpected {type(error).__name__}: {first_line(error)}. This is a defect of journey. Please report it with "
        "what the same command prints under JOURNEY_DEBUG=1"
    )


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        return _READER_GONE
    except OSError as error:
        os.write(2, f"journey: the answer cannot be written: {error}\n".encode())
        return 2
    return code


def _tell_stopped(number: int, said: str) -> int:
    name = signal.Signals(number).name
    # Not through rich or a buffer: the thread that draws may hold their locks.
    os.write(2, visible(f"journey: stopped by {name}. {said}\n").encode())
    return 128 + number


@contextmanager
def _stoppable(leave: Callable[[int], int]) -> Iterator[list[int]]:
    """SIGINT and SIGTERM raise KeyboardInterrupt, also where the main thread is in foreign code. Yields what came.

    Python runs a signal's handler only between its own instructions. So the system's handler wakes a thread through a
    socket (`signal.set_wakeup_fd`): it interrupts DuckDB, and ends the process where the main thread does not come back
    within `GRACE`, or at the second signal. That loses nothing: a kill at any time is one of our fault tests.
    """
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    wakes, woken = socket.socketpair()
    wakes.setblocking(False)

    def watch() -> None:
        first = woken.recv(1)
        while first and first[0] not in numbers:  # a library's own
            first = woken.recv(1)
        if not first:
            return
        woken.settimeout(0.1)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            interrupt_all()
            try:
                if not woken.recv(1):
                    return
                break  # a second signal
            except TimeoutError:
                continue
        os._exit(leave(first[0]))

    before = {number: signal.signal(number, handle) for number in numbers}
    descriptor = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield came
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        wakes.close()
        watcher.join()
        woken.close()
