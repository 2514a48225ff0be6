"""Any folder is a home: it works, or it is refused by name before anything is written."""

from __future__ import annotations

import string
from pathlib import Path

import duckdb
import pytest
from pydantic import ValidationError

from journey_core.lake import Lake, rows_of
from pipelines.settings import Settings
from tests.commands import journey
from tests.pipelines.test_erase import RECORDS, landed

REFUSED = set("[]?#%\\^|\n\t\r\x0b\x0c\x01\x1b\x7f\x9b\udcff")
CHARACTERS = sorted(
    set(string.printable) - set(string.ascii_letters + string.digits + "./") | REFUSED | set("äß日😀\u0308\u200b\xa0")
)
NAMES = [f"a{character}b" for character in CHARACTERS] + [
    "-x",
    " a",
    "a ",
    "$HOME",
    "${HOME}x",
    "a.parquet",
    "..a",
    "*",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_home_works_or_is_refused_by_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if REFUSED & set(name):
        with pytest.raises(ValidationError, match="the path may not contain"):
            Settings(home=Path(name))
        return
    settings = Settings(home=Path(name))
    lake = Lake(settings.lake)
    lake.snapshot()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    with settings.open_warehouse().connect(read_only=False) as connection:
        connection.execute("create table held as select 1 as one")
    with duckdb.connect() as connection:
        quoted = str(settings.warehouse).replace("'", "''")
        connection.execute(f"attach '{quoted}' as warehouse (read_only)")
        assert connection.execute("from warehouse.held").fetchall() == [(1,)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_the_whole_path_works_in_a_home_of_hard_characters(tmp_path, monkeypatch):
    home = tmp_path / "-x $HOME 'a' \"b\" ~ `ls` ; & * ä日"
    monkeypatch.setenv("JOURNEY_HOME", str(home))
    settings = Settings()
    landed(settings, RECORDS)
    for command in (
        ["build"],
        ["check"],
        ["publish"],
        ["query", "from marts.journeys"],
        ["export", "--customer", "ann-41"],
        ["compact"],
        ["erase", "--yes", "--customer", "ann-41"],
    ):
        done = journey(*command)
        assert done.code == 0, (command, done)
    with duckdb.connect() as connection:
        count = f"select count(*) from {rows_of(Lake(settings.lake).snapshot().files('events'))}"
        assert connection.execute(count).fetchall() == [(4,)]
    assert [path.name for path in tmp_path.iterdir()] == [home.name]


@pytest.mark.parametrize("name", ["~/journeys", "~root/x", "s3:/bucket", "file:"])
def test_a_relative_home_that_a_library_would_read_as_another_place_is_refused(name, monkeypatch):
    monkeypatch.setenv("JOURNEY_HOME", name)
    done = journey("build")
    assert done.code == 2
    assert done.err.startswith(f"journey: JOURNEY_HOME={name.removesuffix('/')}: ")
    assert done.err.count("\n") == 0
