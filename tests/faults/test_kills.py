"""A landing run may die at any instant: the next one repairs it, and nothing is missing, doubled or altered."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time

import psutil
import pytest

from journey_core.lake import Lake, Partition
from pipelines.land import land
from pipelines.produce import create_topics
from pipelines.settings import Settings
from tests.disk import on_small_disk
from tests.faults import lander
from tests.faults.oracle import values
from tests.kafka import is_first

pytestmark = [pytest.mark.usefixtures("each_client"), pytest.mark.timeout(3600)]

# Where the lake is written and the offsets are decided: these points are tried in every run, of the others a part.
HEART = ("lake.Lake.commit", "lake.Lake._append", "lake._sync", "land._commit", "land._land_topic")
BETWEEN = ("land._commit", "lake.Lake.commit", "lake.Lake._append")
BYTES = (0, 1, 200, 900, 1500, 3000, 6000, 9000, 12_000)


def environment(settings: Settings, **more: object) -> dict[str, str]:
    shown = {"home": settings.home, "kafka_bootstrap_servers": settings.kafka_bootstrap_servers}
    shown |= {"kafka_client": settings.kafka_client, "land_apart_from": settings.land_apart_from}
    shown |= {"land_batch_records": 100} | more
    return {f"JOURNEY_{name.upper()}": str(value) for name, value in shown.items()}


def fresh(settings: Settings, name: str) -> Settings:
    return settings.model_copy(update={"home": settings.home / name})


@pytest.fixture
def landed_topic(on_kafka, topic, oracle):
    """300 records, a third of them poisoned: three batches, each into both tables."""
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(300, seed=1, poison=0.3))
    return topic


@pytest.fixture
def points(on_kafka, landed_topic, tmp_path):
    """Every point that a run passes. The second run counts: the first one ever meets a broker that is not warm yet."""
    lander.run(environment(fresh(on_kafka, "warm")), tmp_path / "out", landed_topic)
    found = lander.survey(environment(fresh(on_kafka, "survey")), tmp_path / "out", landed_topic)
    assert len(found) >= 100
    return found


def chosen(points: dict[str, int], settings: Settings, full: bool) -> list[str]:
    """All points at full size; else those of the heart and some others, 40 at least with the default client."""
    if full:
        return list(points)
    heart = [point for point in points if point.startswith(HEART)]
    others = [point for point in points if not point.startswith(HEART)]
    return [*heart[::2], *others[::32]] if is_first(settings) else heart[::6]


def test_a_kill_at_every_point_is_repaired(on_kafka, landed_topic, points, oracle, tmp_path, full):
    chance = random.Random(7)
    tried = chosen(points, on_kafka, full)
    assert len(tried) >= 40 or not is_first(on_kafka)
    for number, point in enumerate(tried):
        hit = chance.randint(1, points[point])
        settings = fresh(on_kafka, f"p{number}")
        code = lander.run(environment(settings), tmp_path / "out", landed_topic, at=(point, hit), then=signal.SIGKILL)
        where = f"{point}, time {hit} of {points[point]} (seed 7)"
        if code == 0 and hit > 1:
            # How often a poll comes, and in how many pieces, is the broker's; that it comes is not.
            settings = fresh(on_kafka, f"p{number}-first")
            code = lander.run(environment(settings), tmp_path / "out", landed_topic, at=(point, 1), then=signal.SIGKILL)
        if code == 0:
            # Whether a wait ends early or late is the broker's, too: such a point may not come in every run.
            assert point.startswith(("fetch.", "reader.")), f"{where}: not reached: {(tmp_path / 'out').read_text()}"
        else:
            assert code == -signal.SIGKILL, where
        land(settings, topics=[landed_topic])
        oracle.compare(where, settings=settings)
        shutil.rmtree(settings.home)


def sizes(settings: Settings, full: bool) -> tuple[int, ...]:
    """Where a file ends: both clients write alike, so the second one tries a few."""
    return BYTES if full or is_first(settings) else BYTES[1::3]


def test_a_death_in_the_middle_of_a_write_is_repaired(on_kafka, landed_topic, oracle, tmp_path, full):
    """The process dies at that byte of the first file that grows so large: Parquet, or the log of Delta."""
    for largest_file in sizes(on_kafka, full):
        settings = fresh(on_kafka, str(largest_file))
        plan = {"largest_file": largest_file, "deadly": True}
        code = lander.run(environment(settings), tmp_path / "out", landed_topic, **plan)
        assert code == -signal.SIGXFSZ or (code == 0 and largest_file > 9000), (tmp_path / "out").read_text()
        land(settings, topics=[landed_topic])
        oracle.compare(largest_file, settings=settings)


def test_a_full_disk_is_said_and_loses_nothing(on_kafka, landed_topic, oracle, tmp_path, full):
    """Each write is refused once a file is that large, as on a disk without room."""
    for largest_file in sizes(on_kafka, full):
        settings = fresh(on_kafka, str(largest_file))
        code = lander.run(environment(settings), tmp_path / "out", landed_topic, largest_file=largest_file)
        said = (tmp_path / "out").read_text()
        assert "Traceback" not in said
        if largest_file >= 200:  # below, there is no room for the message either
            assert (code, "cannot be written" in said) == (2, True) or largest_file > 9000, said
        land(settings, topics=[landed_topic])
        oracle.compare(largest_file, settings=settings)


def test_a_real_disk_without_room_is_said_and_loses_nothing(on_kafka, landed_topic, oracle, tmp_path, full):
    """ENOSPC itself, wherever it strikes; with room again the next landing goes on."""
    ran_out = 0
    # A run needs some 120 KiB; room comes in pages.
    for pages in range(0, 40, 1 if full else 8 if is_first(on_kafka) else 16):
        kept = tmp_path / f"disk-{pages}"
        found = on_small_disk(
            (pages + 1) * 4096,
            kept,
            os.environ | environment(fresh(on_kafka, "disk")),
            "land",
            "--topic",
            landed_topic,
        )
        assert (found.full_code, "cannot be written" in found.full) in {(2, True), (0, False)}, found.full
        assert "Traceback" not in found.full
        ran_out += found.full_code == 2
        assert found.after_code == 0, found.after
        oracle.compare(f"{pages} pages", settings=on_kafka.model_copy(update={"home": found.home}))
    assert ran_out >= 2, "the disk was never full"


def test_random_kills_over_a_long_landing(on_kafka, topic, oracle, tmp_path, full):
    """Each run goes on where the killed one was; one kill in five strikes while the process is starting."""
    seed = random.SystemRandom().randrange(10**6)
    kills, records, batch = (200, 1_000_000, 5_000) if full else (12, 20_000, 400)
    chance = random.Random(seed)
    began = time.time()
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(records, seed, poison=0.01))
    home = 0
    for number in range(kills):
        settings = fresh(on_kafka, str(home))
        process = lander.start(environment(settings, land_batch_records=batch), tmp_path / "out", topic)
        time.sleep(chance.uniform(0, 2.0 if chance.random() < 0.8 else 0.3))
        process.kill() if process.is_running() else None
        if lander.finish(process) == 0:
            # All is landed: that home is complete, and the next kills meet a new one.
            oracle.compare(f"{seed}, kill {number}", settings=settings)
            shutil.rmtree(settings.home)
            home += 1
    settings = fresh(on_kafka, str(home))
    land(settings, topics=[topic])
    oracle.compare(seed, settings=settings)
    lander.wait_until(lambda: not readers(began), what="the end of what the killed landers had started")


def readers(since: float) -> list[psutil.Process]:
    """The processes that were started to read Kafka for a lander, orphaned ones too."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "create_time"])
        if process.info["create_time"] > since and "from pipelines.reader" in " ".join(process.info["cmdline"] or ())
    ]


def test_one_of_two_landers_wins_and_the_other_says_so(on_kafka, landed_topic, points, oracle, tmp_path, full):
    """One is stopped (SIGSTOP), the other lands all of it, the first one goes on: wherever it was stopped."""
    said = []
    tried = [
        point for point in chosen(points, on_kafka, full) if not point.startswith(("fetch.", "reader.", "contract."))
    ]
    # Before it has looked at the lake, and after its last commit, there is nothing to be superseded in; here there is.
    between = [next(point for point in points if point.startswith(f"{step}:")) for step in BETWEEN]
    for number, point in enumerate([*between, *(tried if full else tried[::4])]):
        settings = fresh(on_kafka, f"s{number}")
        process = lander.start(
            environment(settings), tmp_path / "out", landed_topic, at=(point, 1), then=signal.SIGSTOP
        )
        lander.wait_until(lambda process=process: lander.is_stopped(process) or not process.is_running(), what=point)
        land(settings, topics=[landed_topic])
        process.send_signal(signal.SIGCONT)
        assert lander.finish(process) == 0, f"{point}: {(tmp_path / 'out').read_text()}"
        said.append((point, (tmp_path / "out").read_text()))
        oracle.compare(point, settings=settings)
        shutil.rmtree(settings.home)
    superseded = {point for point, words in said if "superseded, nothing is lost" in words}
    assert superseded >= set(between)
    assert not [words for _, words in said if "Traceback" in words]


def test_a_killed_lander_leaves_the_offsets_where_the_rows_are(on_kafka, landed_topic, oracle, tmp_path, points):
    """Offsets never run ahead of rows, whichever table was written."""
    point = next(point for point in points if point.startswith("lake._sync"))
    for hit in range(1, 5):
        settings = fresh(on_kafka, f"o{hit}")
        lander.run(environment(settings), tmp_path / "out", landed_topic, at=(point, hit), then=signal.SIGKILL)
        snapshot = Lake(settings.lake).snapshot()
        rows = dict.fromkeys(("events", "rejected_events"), 0)
        for (_, _, number), (accepted, rejected) in snapshot.counts().items():
            held = snapshot.held(Partition(landed_topic, number))
            rows = {"events": accepted, "rejected_events": rejected}
            sent = sum(
                1
                for _, partition, offset, _ in oracle.acknowledged
                if partition == number and offset < max(held.values())
            )
            assert sum(rows.values()) <= sent
            if held["events"] == held["rejected_events"]:
                assert sum(rows.values()) == sent
