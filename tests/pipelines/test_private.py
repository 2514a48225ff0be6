"""What holds people is readable by its owner alone; releases by whoever the setting lets read them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from stat import S_IMODE

import pytest

from journey_core.checks import CheckResult
from pipelines.private import PRIVATE_UMASK, who_else_reads
from pipelines.settings import Settings
from tests.commands import journey
from tests.conftest import event
from tests.pipelines.test_erase import RECORDS, landed


@pytest.fixture
def private() -> Iterator[None]:
    """As in a command, or a DAG's task."""
    before = os.umask(PRIVATE_UMASK)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def published(settings: Settings) -> None:
    """Build and publish; the checks are said to hold."""
    assert journey("build").code == 0
    build_id = settings.open_warehouse().last_build().build_id
    folder = settings.checks / build_id
    (folder / "data_docs").mkdir(parents=True, exist_ok=True)
    (folder / "data_docs" / "index.html").write_text("")
    (folder / "result.json").write_text(json.dumps(asdict(CheckResult(build_id, 1, [], str(folder)))))
    assert journey("publish").code == 0


def test_nobody_else_reads_anything_in_a_home(private, home, tmp_path):
    settings = Settings(home=home)
    landed(settings, RECORDS)
    published(settings)
    (tmp_path / "events.jsonl").write_text(json.dumps(event("1", "2026-01-01 10:00")) + "\nnot json\n")
    for command in (
        ["compact"],
        ["export", "--customer", "ann-41"],
        ["erase", "--yes", "--customer", "ann-41"],
        ["simulate", "--customers", "5", "--days", "14", "--out", str(tmp_path / "shop.jsonl")],
    ):
        assert journey(*command).code == 0, command
    found = modes(home)
    assert {name.split("/")[0] for name in found} == {".", "lake", "releases", "warehouse.duckdb"}
    assert [name for name, mode in found.items() if mode & 0o077] == []
    assert S_IMODE((tmp_path / "shop.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("mode", "file", "folder", "through"), [("0640", 0o640, 0o750, 0o710), ("0644", 0o644, 0o755, 0o711)]
)
def test_releases_are_read_by_whom_the_setting_names_and_nothing_else_is(
    private, home, monkeypatch, mode, file, folder, through
):
    monkeypatch.setenv("JOURNEY_RELEASES_MODE", mode)
    settings = Settings(home=home)
    landed(settings, RECORDS)
    published(settings)
    # Also after an erasure, which writes the releases anew.
    for step in ("published", "erased"):
        found = modes(home)
        assert found.pop(".") == through
        for name, has in found.items():
            is_folder = (home / name).is_dir()
            if not name.startswith("releases"):
                assert has == (0o700 if is_folder else 0o600), (step, name)
            elif name.endswith(".parquet"):
                assert has == file & 0o444, (step, name)
            else:
                assert has == (folder if is_folder else file), (step, name)
        assert who_else_reads(home, settings.releases_mode) is None
        assert journey("erase", "--yes", "--customer", "ann-41").code == 0 or step == "erased"


def test_a_published_release_is_opened_later_by_publishing_again(private, home, monkeypatch):
    settings = Settings(home=home)
    landed(settings, RECORDS)
    published(settings)
    monkeypatch.setenv("JOURNEY_RELEASES_MODE", "0644")
    assert journey("publish").out.startswith("unchanged")
    assert S_IMODE((home / "releases" / "current.json").stat().st_mode) == 0o644
    assert S_IMODE(home.stat().st_mode) == 0o711
    assert S_IMODE((home / "warehouse.duckdb").stat().st_mode) == 0o600


def test_a_home_that_others_can_read_is_said_once_and_not_changed(home, capsys):
    from pipelines.cli import app
    from pipelines.door import run

    home.mkdir(mode=0o755)
    home.chmod(0o755)
    assert run(app, ["query", "select 1"], str) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == (
        f"warning: others than their owner can read {home}, which holds people's data. "
        f"To close it: chmod -R go-rwx {home}"
    )
    assert said.err.count("warning") == 1
    assert S_IMODE(home.stat().st_mode) == 0o755
    home.chmod(0o700)
    assert run(app, ["query", "select 1"], str) == 2
    assert "warning" not in capsys.readouterr().err


def test_the_command_that_the_warning_names_closes_the_home_and_leaves_the_releases_open(home):
    for folder in ("lake", "releases"):
        (home / folder).mkdir(parents=True)
        (home / folder / "file").touch()
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    warning = who_else_reads(home, 0o644)
    assert warning is not None
    assert os.system(warning.split("To close it: ")[1]) == 0
    assert modes(home) == {
        ".": 0o711, "lake": 0o700, "lake/file": 0o600, "releases": 0o755, "releases/file": 0o644
    }  # fmt: skip
    assert who_else_reads(home, 0o644) is None
    assert who_else_reads(home, 0o600) is not None
