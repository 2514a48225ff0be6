"""A landing run may die at any instant: the next one repairs it, and nothing is missing, doubled or altered."""

from __future__ import annotations

import random
import shutil
import signal

import pytest

from pipelines.land import land
from pipelines.produce import create_topics
from pipelines.settings import Settings
from tests.faults import lander
from tests.faults.oracle import values

pytestmark = pytest.mark.usefixtures("each_client")

# Where the lake is written and the offsets are decided: these are tried in every run, the rest in part.
HEART = ("lake.Lake.commit", "lake.Lake._append", "lake._sync", "land._commit", "land._mirror", "land._land_topic")


def environment(settings: Settings, **more: object) -> dict[str, str]:
    shown = {"home": settings.home, "kafka_bootstrap_servers": settings.kafka_bootstrap_servers}
    shown |= {"kafka_client": settings.kafka_client, "land_batch_records": 100} | more
    return {f"JOURNEY_{name.upper()}": str(value) for name, value in shown.items()}


def fresh(settings: Settings, name: str) -> Settings:
    return settings.model_copy(update={"home": settings.home / name})


@pytest.fixture
def landed_topic(on_kafka, topic, oracle):
    """300 records, a third of them poisoned: three batches, each into both tables."""
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(300, seed=1, poison=0.3))
    return topic


def test_a_kill_at_every_point_is_repaired(on_kafka, landed_topic, oracle, tmp_path, full):
    settings = fresh(on_kafka, "survey")
    points = lander.survey(environment(settings), tmp_path / "out", landed_topic)
    oracle.compare("survey", settings=settings)
    assert len(points) >= 40, points
    chosen = [p for p in points if full or p.startswith(HEART)] + ([] if full else sorted(points)[::4])
    chance = random.Random(7)
    for number, point in enumerate(dict.fromkeys(chosen)):
        hit = chance.randint(1, points[point])
        settings = fresh(on_kafka, f"p{number}")
        code = lander.run(environment(settings), tmp_path / "out", landed_topic, at=(point, hit), then=signal.SIGKILL)
        where = f"{point}, time {hit} of {points[point]} (seed 7)"
        assert code == -signal.SIGKILL, f"{where}: not reached: {(tmp_path / 'out').read_text()}"
        land(settings, topics=[landed_topic])
        oracle.compare(where, settings=settings)
        shutil.rmtree(settings.home)
    print(f"{number + 1} points of {len(points)}, 0 missing, 0 doubled, 0 altered")
