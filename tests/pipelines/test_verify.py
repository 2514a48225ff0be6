"""`journey verify`, the repairs that messages advise, and a lake that is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from journey_core.checks import CheckResult
from journey_core.errors import DamagedError, LostLakeError, StorageError
from journey_core.lake import Lake
from journey_core.release import current_release
from pipelines import publish as module
from pipelines.build import build
from pipelines.compact import compact
from pipelines.open_lake import open_lake
from pipelines.publish import publish
from pipelines.replay import replay_rejected
from pipelines.settings import Settings
from pipelines.verify import verify
from tests.pipelines.test_erase import RECORDS, landed


@pytest.fixture(scope="module", autouse=True)
def checks_hold() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "read_result", lambda root, build_id: CheckResult(build_id, 0, [], str(root)))
        patched.setattr(CheckResult, "data_docs", None)
        yield


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Settings:
    """A home with a lake of several files, a warehouse and two releases. Each test leaves it whole."""
    settings = Settings(home=tmp_path_factory.mktemp("shop"))
    for first in range(0, len(RECORDS), 4):
        landed(settings, RECORDS[first : first + 4], first)
        build(settings)
        if first:
            publish(settings)
    return settings


@pytest.fixture
def lost(shop, tmp_path) -> Iterator[Settings]:
    """The same home, whose lake comes back after the test."""
    shutil.copytree(shop.lake, tmp_path / "lake")
    yield shop
    shutil.rmtree(shop.lake, ignore_errors=True)
    (tmp_path / "lake").rename(shop.lake)


def flip(path):
    path.chmod(0o600)
    middle = path.stat().st_size // 2
    whole = bytearray(path.read_bytes())
    # More than one: of a compressed page some bytes mean nothing, and DuckDB would not notice.
    for place in range(middle, min(middle + 80, len(whole))):
        whole[place] ^= 0xFF
    path.write_bytes(whole)


def truncate(path):
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size // 2)


def test_a_home_that_nobody_touched_is_as_it_was_written(shop):
    found = verify(shop)
    assert str(found) == f"verified {found.files:,} files: all as they were written"
    assert found.files > 50, "the lake's, the warehouse, two releases"
    account = shop.lake / "checksums.jsonl"
    account.rename(shop.home / "aside")
    assert str(verify(shop)).endswith("without a checksum, read as a whole): all as they were written")
    (shop.home / "aside").rename(account)


def test_compaction_keeps_the_account(lost):
    compact(lost)
    assert (verify(lost).unrecorded, verify(lost).damaged) == (0, ())


@pytest.mark.parametrize("damage", [flip, truncate, os.unlink])
def test_each_damaged_file_is_found_and_named_with_what_mends_it(shop, damage):
    """Of each kind of file one: by its name, its remedy."""
    current = shop.releases / publish(shop).name
    (old,) = (path for path in shop.releases.iterdir() if path.is_dir() and path != current)
    for path, remedy in {
        shop.lake / Lake(shop.lake).snapshot().files("events")[0]: "a backup",
        shop.lake / Lake(shop.lake).snapshot().files("rejected_events")[0]: "a backup",
        max((shop.lake / "events" / "_delta_log").glob("*.json")): "a backup",
        current / "journeys" / "journeys.parquet": "journey publish",
        current / "manifest.json": "journey publish",
        shop.releases / "current.json": "journey publish",
        shop.releases / "catalog.duckdb": "journey publish",
        old / "journeys" / "journeys.parquet": f"rm -r {old}",
        shop.warehouse: "journey build --full",
    }.items():
        if (damage, path) == (os.unlink, shop.warehouse):
            continue  # a home without one is a home
        if (damage, path.suffix) == (flip, ".duckdb"):
            continue  # blocks that hold nothing have no checksum; see the test of any byte
        kept = path.read_bytes()
        damage(path)
        assert remedy in "\n".join(map(str, verify(shop).damaged)), path
        path.unlink(missing_ok=True)
        path.write_bytes(kept)
        assert verify(shop).damaged == (), path


@pytest.mark.parametrize("damage", [flip, truncate, os.unlink])
@pytest.mark.parametrize("name", ["current.json", "catalog.duckdb", "manifest.json", "journeys/journeys.parquet"])
def test_publishing_again_mends_the_current_release(shop, damage, name):
    before = publish(shop)
    folder = before.root / before.name
    damage(folder / name if (folder / name).exists() else before.root / name)
    after = publish(shop)
    assert (after.name, after.manifest["tables"]) == (before.name, before.manifest["tables"])
    assert verify(shop).damaged == ()


@pytest.mark.parametrize("size", [1, 10_000, 0.5])
def test_a_full_build_replaces_a_truncated_warehouse(shop, size):
    os.truncate(shop.warehouse, int(size if size >= 1 else shop.warehouse.stat().st_size * size))
    with pytest.raises(DamagedError, match="journey build --full"):
        shop.open_warehouse().read_all()
    build(shop, full=True)
    publish(shop)
    assert verify(shop).damaged == ()


def test_a_full_build_replaces_a_warehouse_of_which_any_byte_has_changed(shop):
    """Wherever it is: in the header, in a block of rows, in the memory of former builds."""
    kept = shop.warehouse.read_bytes()
    for place in [0, 4096, *range(50_000, len(kept), len(kept) // 4)]:
        damaged = bytearray(kept)
        damaged[place] ^= 0xFF
        shop.warehouse.write_bytes(damaged)
        is_found = bool(verify(shop).damaged)
        build(shop, full=True)
        assert verify(shop).damaged == (), (place, is_found)


def test_a_lost_lake_is_not_begun_anew_without_a_word(lost):
    """Kafka may no longer hold what was in it: a small new lake would be published over the whole one."""
    shutil.rmtree(lost.lake)
    for verb in (build, replay_rejected, compact):
        with pytest.raises(LostLakeError, match=r"release .* journey land --new-lake"):
            verb(lost)
    assert "is lost" in str(verify(lost))
    assert not lost.lake.exists()
    lost.releases.rename(lost.home / "aside")
    with pytest.raises(LostLakeError, match=r"build .* was made from it"):
        open_lake(lost)
    (lost.home / "aside").rename(lost.releases)
    open_lake(lost, new_lake=True).snapshot()
    assert not open_lake(lost).missing(), "it is begun, and needs no second word"


@pytest.mark.parametrize("damage", [flip, truncate, os.unlink])
def test_a_damaged_lake_costs_no_warehouse(lost, damage):
    """DuckDB says nearly the same of both: only one of them can be built again."""
    damage(lost.lake / Lake(lost.lake).snapshot().files("events")[0])
    before = lost.warehouse.read_bytes()
    with pytest.raises(DamagedError, match=r"of the lake is damaged: .* Run: journey verify"):
        build(lost, full=True)
    assert lost.warehouse.read_bytes() == before


@pytest.mark.parametrize("part", ["events", "rejected_events", "landing_gaps", "events/_delta_log"])
def test_a_lake_of_which_a_part_is_missing_is_lost(lost, part):
    shutil.rmtree(lost.lake / part)
    for new_lake in (False, True):
        with pytest.raises(LostLakeError, match=f"a part is missing: {part.split('/')[0]}"):
            open_lake(lost, new_lake=new_lake)


def test_a_lake_whose_first_landing_was_killed_is_not_lost(home):
    settings = Settings(home=home)
    Lake(settings.lake).snapshot()
    shutil.rmtree(settings.lake / "landing_gaps")
    open_lake(settings).snapshot()


def test_a_release_of_a_file_tells_of_no_lake(home, tmp_path):
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(RECORDS[:8]))
    settings = Settings(home=home)
    build(settings, events=tmp_path / "events.jsonl")
    publish(settings)
    open_lake(settings).snapshot()


def test_a_damaged_release_says_what_mends_it(shop):
    (shop.releases / "current.json").write_text("[]")
    with pytest.raises(StorageError, match="journey publish"):
        current_release(shop.releases)
    publish(shop)
    assert verify(shop).damaged == ()
