"""A file of ours that is cut off or holds something else: one line says which, and what mends it. No traceback."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from journey_core.checks import CheckResult
from journey_core.erasures import Erasures
from journey_core.privacy import Person
from pipelines.settings import Settings
from tests.commands import journey
from tests.pipelines.test_erase import RECORDS, landed


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A home with everything in it: lake, fingerprints, warehouse, result of checks, release, manifest of a simulation."""
    home = tmp_path_factory.mktemp("whole") / "home"
    settings = Settings(home=home)
    landed(settings, RECORDS)
    zoe = Person(frozenset(["zoe"]), frozenset([("customer_id", "zoe")]), frozenset())
    Erasures.read(settings.erasures).add(zoe, [], datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOURNEY_HOME", str(home))
        assert journey("build").code == 0
        build_id = settings.open_warehouse().last_build().build_id
        folder = settings.checks / build_id
        folder.mkdir(parents=True)
        (folder / "data_docs").mkdir()
        (folder / "result.json").write_text(json.dumps(asdict(CheckResult(build_id, 1, [], str(folder)))))
        assert journey("publish").code == 0
    (home / "simulation").mkdir()
    (home / "simulation" / "manifest.json").write_text('{"records": 1}')
    return home


#: What happens to a file.
DAMAGES = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "a list": lambda path: path.write_bytes(b"[]"),
    "strings": lambda path: path.write_bytes(b'{"tables": ["a"], "release": "b", "salt": 1}'),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "gone": lambda path: path.unlink(),
}
QUERY = ("query", "from marts.journeys")
EXPORT = ("export", "--customer", "ann-41")
ERASE = ("erase", "--yes", "--customer", "ann-41")
LAST_COMMIT = "lake/events/_delta_log/00000000000000000001.json"
CURRENT, MANIFEST, JOURNEYS = (
    "releases/current.json",
    "releases/*/manifest.json",
    "releases/*/journeys/journeys.parquet",
)
#: File → the commands that read it → what mends it.
STORIES = {
    (CURRENT, QUERY): "journey publish",
    (CURRENT, ERASE): "journey publish",
    (MANIFEST, ERASE): "Delete its folder",
    (JOURNEYS, QUERY): "journey publish",
    (JOURNEYS, ERASE): "Delete its folder",
    ("lake/events/*.parquet", ("build", "--full")): "journey verify",
    ("lake/events/*.parquet", ERASE): "journey verify",
    ("lake/rejected_events/*.parquet", ("replay-rejected",)): "journey verify",
    (LAST_COMMIT, ("build",)): "journey verify",
    (LAST_COMMIT, ("compact",)): "journey verify",
    (LAST_COMMIT, EXPORT): "journey verify",
    ("lake/erased.json", ("build", "--events", "events.jsonl")): "Restore it from a backup",
    ("lake/erased.json", ERASE): "Restore it from a backup",
    ("warehouse.duckdb", ("build",)): "journey build --full",
    ("warehouse.duckdb", EXPORT): "journey build --full",
    ("warehouse.duckdb", ("explain-funnel", "checkout")): "journey build --full",
    ("warehouse.duckdb", ("publish",)): "journey build --full",
    ("checks/*/result.json", ("publish",)): "journey check",
    ("simulation/manifest.json", ("demo",)): "journey demo",
}
#: What is no damage: a file that is not there yet. And what only `journey verify` can know: nobody else reads that far.
FINE = {
    (CURRENT, "gone"),
    (LAST_COMMIT, "strings"),
    (LAST_COMMIT, "gone"),
    (LAST_COMMIT, "a folder"),
    ("lake/erased.json", "gone"),
    ("warehouse.duckdb", "gone"),
    ("warehouse.duckdb", "empty"),
    ("warehouse.duckdb", ("build",), "cut off"),
    ("warehouse.duckdb", ("publish",), "cut off"),
    ("checks/*/result.json", "gone"),
    ("simulation/manifest.json", "gone"),
}


def test_a_block_that_is_overwritten_is_the_warehouses_fault_and_nobody_elses(whole, home):
    """Whoever reads the block says so; who does not read it works. None of them blames the query or our program."""
    shutil.copytree(whole, home)
    path = home / "warehouse.duckdb"
    good = path.read_bytes()
    found = 0
    for place in range(4096, len(good) - 4096, len(good) // 12):
        path.write_bytes(
            good[:place] + bytes(byte ^ 0x5A for byte in good[place : place + 4096]) + good[place + 4096 :]
        )
        for command in (("explain-funnel", "checkout"), EXPORT):
            done = journey(*command)
            assert "unexpected" not in done.err
            assert "the query does not work" not in done.err
            if "damaged" in done.err:
                found += 1
                assert f"{path} is damaged: Corrupt database file" in done.err
                assert "journey build --full" in done.err
    assert found


def damaged(whole: Path, home: Path, name: str, damage: str) -> Path:
    shutil.copytree(whole, home)
    (path,) = home.glob(name)
    path.chmod(0o600)
    DAMAGES[damage](path)
    return path


@pytest.mark.parametrize(
    ("name", "command", "damage"),
    [
        (*story, damage)
        for story in STORIES
        for damage in DAMAGES
        if {(story[0], damage), (*story, damage)}.isdisjoint(FINE)
    ],
)
def test_a_damaged_file_is_named_with_what_mends_it(whole, home, tmp_path, monkeypatch, name, command, damage):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipelines.broker.start", lambda *_: "broker answers")
    (tmp_path / "events.jsonl").write_bytes(RECORDS[0] + b"\n")
    path = damaged(whole, home, name, damage)
    done = journey(*command)
    assert done.code in (1, 2), done
    assert "unexpected" not in done.err
    assert "Traceback" not in done.err
    assert "nothing is lost" not in done.err
    assert str(path) in done.err or str(path.parent) in done.err
    assert STORIES[name, command] in done.err
    assert done.err.count("\n") < 2, done.err
