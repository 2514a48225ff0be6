"""kafka-python in a process of its own: whatever happens to that process, landing says so and loses nothing."""

from __future__ import annotations

import json
import sys
from contextlib import closing

import pytest
from kafka.errors import KafkaError, OffsetOutOfRangeError

from journey_core.errors import BrokerError
from journey_core.logs import Record
from pipelines import fetch
from pipelines.land import land
from pipelines.produce import send
from tests.conftest import event


@pytest.fixture
def waiting(on_kafka, topic):
    """500 records, and settings under which they are read apart."""
    made = [json.dumps(event(f"e{number}", "2026-01-02 03:04")).encode() for number in range(500)]
    send([Record(topic, b"k", value) for value in made], on_kafka)
    return on_kafka.model_copy(update={"land_apart_from": 0})


def test_it_finds_nothing_in_the_working_directory(waiting, topic, tmp_path, monkeypatch):
    for name in ("kafka.py", "pickle.py", "pipelines.py"):
        (tmp_path / name).write_text("raise RuntimeError('somebody elses')")
    monkeypatch.chdir(tmp_path)
    assert land(waiting, topics=[topic]).accepted == 500


def test_it_may_be_talkative(waiting, topic, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("print('hello from a site')")
    monkeypatch.syspath_prepend(tmp_path)
    assert land(waiting, topics=[topic]).accepted == 500


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/python"])
def test_one_that_cannot_start_is_said_with_the_remedy(waiting, topic, monkeypatch, program):
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", program)
        with pytest.raises(BrokerError, match=r"the process that reads Kafka has ended .* JOURNEY_LAND_APART_FROM"):
            land(waiting, topics=[topic])
    assert land(waiting, topics=[topic]).accepted == 500


@pytest.mark.parametrize(
    ("wrong", "offset", "error", "says"),
    [
        ({"max_partition_fetch_bytes": "many"}, 0, BrokerError, "TypeError"),
        ({"no_such_setting": 1}, 0, KafkaError, "no_such_setting"),
        ({"auto_offset_reset": "none", "group_id": None}, 10**9, OffsetOutOfRangeError, None),
    ],
)
def test_what_went_wrong_in_it_is_told(waiting, topic, wrong, offset, error, says):
    apart = fetch._Apart(waiting.kafka | wrong, topic, {0: offset})
    with closing(apart), pytest.raises(error, match=says):
        [apart.poll(1) for _ in range(20)]
