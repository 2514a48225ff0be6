"""The broker dies (SIGKILL), and comes back: landing and producing go on by themselves."""

from __future__ import annotations

import threading
import time

import psutil
import pytest

from journey_core.lake import Lake, Partition
from pipelines import broker
from pipelines.land import land
from pipelines.produce import create_topics
from pipelines.settings import Settings
from tests.faults import lander
from tests.faults.oracle import Oracle, values
from tests.faults.test_kills import environment
from tests.kafka import two_free_ports

TOPIC = "events.web.v1"
RESUMES_WITHIN = 30.0
pytestmark = pytest.mark.integration  # a broker for each test


@pytest.fixture
def mortal(each_client, tmp_path):
    """A broker of this test's own."""
    port = two_free_ports()
    settings = Settings(home=tmp_path / "mortal", broker_port=port, kafka_bootstrap_servers=f"127.0.0.1:{port}")
    own = settings.model_copy(update={"kafka_bootstrap_servers": None})
    broker.start(own)
    create_topics(settings, [TOPIC])
    yield settings, own
    broker.stop(own)


def kill(own: Settings) -> None:
    process = psutil.Process(int((own.home / "broker" / "pid").read_text().split()[0]))
    process.kill()
    process.wait(10)


def test_landing_survives_the_broker(mortal, tmp_path, full):
    settings, own = mortal
    oracle = Oracle(settings)
    oracle.send(TOPIC, values(1_000_000 if full else 250_000, seed=3))
    process = lander.start(environment(settings, land_batch_records=10_000), tmp_path / "out", TOPIC)

    def landed() -> int:
        snapshot = Lake(settings.lake).snapshot()
        return sum(snapshot.next_offset(Partition(TOPIC, number)) for number in range(settings.topic_partitions))

    lander.wait_until(lambda: landed() > 0, what="the first commit")
    kill(own)
    time.sleep(2)
    assert process.is_running(), (tmp_path / "out").read_text()
    before = landed()
    assert before < len(oracle.acknowledged), "the broker died too late to matter"
    broker.start(own)
    back = time.monotonic()
    lander.wait_until(lambda: landed() > before, within=RESUMES_WITHIN, what="the next commit")
    print(f"resumed {time.monotonic() - back:.1f} s after the broker was back")
    assert lander.finish(process, 120) == 0, (tmp_path / "out").read_text()
    oracle.compare()


def test_what_was_acknowledged_before_the_broker_died_lands(mortal, tmp_path):
    settings, own = mortal
    oracle = Oracle(settings)
    producer = oracle.producer()
    sending = threading.Thread(target=oracle.send, args=(TOPIC, values(100_000, seed=4), producer))
    sending.start()
    lander.wait_until(lambda: len(oracle.acknowledged) > 1000, what="the first acknowledgements")
    kill(own)
    assert sending.is_alive(), "the broker died too late to matter"
    broker.start(own)
    sending.join(120)
    assert not sending.is_alive()
    assert len(oracle.acknowledged) == 100_000
    land(settings, topics=[TOPIC])
    # A record may have been written and its acknowledgement lost: idempotence gives it one offset, not two.
    oracle.compare(unknown=True)
