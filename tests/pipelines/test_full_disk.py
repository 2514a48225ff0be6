"""A disk that refuses: a clear message, exit 2, and what was there before stays."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path

import pytest

from journey_core.models import contracts
from journey_core.release import publish_release
from pipelines.build import build
from pipelines.settings import Settings
from tests.conftest import event
from tests.disk import JOURNEY, on_small_disk
from tests.pipelines.test_erase import RECORDS, landed, names_left

pytestmark = pytest.mark.integration  # each command is a process of its own


def journey(
    *arguments: str, largest_file: int | None = None, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command whose files may not grow beyond `largest_file` bytes: writing more fails as on a full disk."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = os.environ | ({} if home is None else {"JOURNEY_HOME": str(home)})
    return subprocess.run(
        [JOURNEY, *arguments], capture_output=True, text=True, check=False, preexec_fn=limit, env=environment
    )


@pytest.fixture
def events(tmp_path) -> tuple[Path, Path]:
    """A small world, and a larger one."""
    paths = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
    for path, count in zip(paths, (3, 20_000), strict=True):
        made = (event(f"{n}", "2026-01-01 10:00", who={"customer_id": f"c{n}"}) for n in range(count))
        path.write_text("".join(json.dumps(one) + "\n" for one in made))
    return paths


def test_a_build_that_does_not_fit_leaves_the_tables_as_they_were(events, home):
    small, large = events
    before = journey("build", "--events", str(small))
    assert before.returncode == 0, before.stderr
    size = (home / "warehouse.duckdb").stat().st_size
    full = journey("build", "--events", str(large), largest_file=size)
    assert full.returncode == 2, full.stdout + full.stderr
    assert "cannot be written" in full.stderr
    assert "Traceback" not in full.stderr
    after = journey("build", "--events", str(small))
    assert after.stdout == before.stdout.replace("built", "unchanged:"), after.stderr


@pytest.mark.parametrize("kilobytes", [64, 20_000])
def test_a_build_on_a_real_disk_without_room_says_so_and_the_next_one_is_whole(events, home, tmp_path, kilobytes):
    _, large = events
    kept = tmp_path / "disk"
    found = on_small_disk(kilobytes * 1024, kept, os.environ, "build", "--events", str(large))
    assert (found.full_code, found.after_code) == (2, 0), found.full + found.after
    assert "Traceback" not in found.full
    assert "cannot be written" in found.full
    apart = journey("build", "--events", str(large), home=tmp_path / "apart")
    assert found.after.splitlines()[-1] == apart.stdout.splitlines()[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_file_that_cannot_be_written_is_named():
    full = journey("simulate", "--customers", "20", "--days", "20", "--out", "/dev/full")
    assert full.returncode == 2
    assert "/dev/full cannot be written: [Errno 28] No space left on device" in full.stderr


@pytest.mark.parametrize("room", [8, 500, 4_000, 20_000])
def test_an_erasure_that_does_not_fit_says_so_and_the_same_command_finishes_it(home, tmp_path, room):
    """`room` is in kilobytes."""
    settings = Settings(home=home)
    landed(settings, RECORDS)
    publish_release(settings.open_warehouse(), build(settings), contracts(), settings.releases, None)
    filled = tmp_path / "filled"
    home.rename(filled)
    used = sum(-(-path.stat().st_size // 4096) * 4096 + 4096 for path in filled.rglob("*"))
    found = on_small_disk(
        used + room * 1024, tmp_path / "disk", os.environ, "erase", "--yes", "--customer", "ann-41", filled=filled
    )
    assert found.full_code in (0, 2), found.full
    assert "Traceback" not in found.full
    assert "unexpected" not in found.full
    if found.full_code == 2:
        assert "No space left" in found.full or "Free some space" in found.full
        assert "nothing is lost" not in found.full
    if "begun" in found.full:
        assert "The same command finishes it" in found.full
    elif found.full_code == 2:
        assert "This run has erased nothing" in found.full
    # Where there was room enough, nobody is known by that name any more.
    assert found.after_code == 0 or found.full_code == 0, found.after
    assert names_left(found.home) == {}
