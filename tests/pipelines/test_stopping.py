"""Ctrl-C, a `kill`, and a reader that goes away end every command at once, with one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from journey_core.models import contracts
from journey_core.release import publish_release
from pipelines.build import build
from pipelines.settings import Settings
from tests.conftest import event
from tests.pipelines.test_erase import landed

pytestmark = pytest.mark.integration  # each command is a process of its own

FOREVER = "select count(*) from range(1000000) as a, range(1000000) as b where a.range + b.range = 7"
# In the place of the command's own work DuckDB works for ever, or something that nobody can interrupt.
_SCRIPT = """
import hashlib, sys, duckdb
from journey_core.interrupts import interruptible
from pipelines import cli
def forever(*_, **__):
    print("working", file=sys.stderr, flush=True)
    if not {is_known}:
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**8)
    with duckdb.connect() as connection, interruptible(connection):
        connection.sql("{sql}").to_arrow_table()
setattr(cli, "{verb}", forever)
sys.argv = ["journey", *{arguments!r}]
cli.main()
"""
#: What of `cli` does the work, the arguments, and what is left behind.
VERBS = {
    "explain-funnel": ("explain_funnel", ["explain-funnel", "checkout"], "Nothing was changed"),
    "build": ("build_tables", ["build"], "The tables of the build before stay"),
    "land": ("land_events", ["land"], "What was committed stays"),
    "produce": ("read_log", ["produce", "log.csv", "--mapping", "loan_application"], "each event_id counts once"),
    "check": ("check_tables", ["check"], "Nothing was written"),
    "publish": ("publish_tables", ["publish"], "current.json names one whole release"),
    "export": ("export_person", ["export", "--customer", "ann"], "Nothing was changed"),
    "erase": ("erase_person", ["erase", "--customer", "ann"], "The erasure is not finished"),
}


@pytest.fixture
def released(home) -> Settings:
    settings = Settings(home=home)
    landed(settings, [b"{}"])
    home.chmod(0o755)
    publish_release(settings.open_warehouse(), build(settings), contracts(), settings.releases, None)
    return settings


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stopped(process: subprocess.Popen[str], number: int) -> tuple[int, str, float]:
    """Send the signal; how the process ended, what it said, and after how many seconds."""
    begun = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    return process.returncode, said, time.monotonic() - begun


def at_work(verb: str, *, is_known: bool = True) -> subprocess.Popen[str]:
    function, arguments, _ = VERBS[verb]
    script = _SCRIPT.format(verb=function, arguments=arguments, sql=FOREVER, is_known=is_known)
    process = started([sys.executable, "-c", script])
    while (line := process.stderr.readline()) != "working\n":
        assert line.startswith("warning: "), line
    time.sleep(0.5)  # until it is at work
    return process


@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_ends_a_command_while_duckdb_works(tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("loan_id\n1\n")
    code, said, seconds = stopped(at_work(verb), signal.SIGINT)
    assert code == 130
    assert said.startswith("journey: stopped by SIGINT. ")
    assert VERBS[verb][2] in said
    assert said.count("\n") == 1, said
    assert seconds < 5


def test_kill_ends_a_command_with_143():
    code, said, _ = stopped(at_work("build"), signal.SIGTERM)
    assert (code, said.count("\n")) == (143, 1)
    assert said.startswith("journey: stopped by SIGTERM. ")


def test_what_nobody_can_interrupt_is_left_after_two_seconds():
    code, said, seconds = stopped(at_work("build", is_known=False), signal.SIGINT)
    assert (code, said.count("\n")) == (130, 1)
    assert 1 < seconds < 10


def test_a_real_query_that_is_stopped_leaves_nothing_behind(released):
    process = started([sys.executable, "-c", "from pipelines.cli import main; main()", "query", FOREVER])
    while not list(released.home.glob(".querying-*")):
        time.sleep(0.05)
    time.sleep(0.3)
    code, said, seconds = stopped(process, signal.SIGINT)
    assert (code, said) == (130, f"{_warning(released)}journey: stopped by SIGINT. Nothing was changed\n")
    assert seconds < 5
    assert not list(released.home.glob(".querying-*"))


def _warning(settings: Settings) -> str:
    home = settings.home
    return (
        f"warning: others than their owner can read {home}, which holds people's data. "
        f"To close it: chmod -R go-rwx {home}\n"
    )


@pytest.mark.parametrize("command", ["export --customer ann", 'query "from range(100000)" --json'])
def test_a_reader_that_has_seen_enough_ends_a_command_quietly(home, command):
    settings = Settings(home=home)
    made = [event(f"{n}", "2026-01-01 10:00", properties={"text": "x" * 2_000}) for n in range(100)]
    landed(settings, [json.dumps(one).encode() for one in made])
    publish_release(settings.open_warehouse(), build(settings), contracts(), settings.releases, None)
    home.chmod(0o700)
    program = f"{sys.executable} -c 'from pipelines.cli import main; main()'"
    piped = f"set -o pipefail; {program} {command} | head -1 >/dev/null"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_second_ctrl_c_does_not_wait():
    process = at_work("build", is_known=False)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    code, said, seconds = stopped(process, signal.SIGINT)
    assert (code, said.count("\n")) == (130, 1)
    assert seconds < 1.2
