"""`journey status`: how far the lake is behind, and what its exit code says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.land import land
from pipelines.produce import create_topics
from pipelines.status import status
from tests.faults.oracle import Oracle, values

pytestmark = pytest.mark.usefixtures("each_client")


def journey(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("journey")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_status_tells_the_lag_and_exits_by_it(on_kafka, topic):
    create_topics(on_kafka, [topic])
    oracle = Oracle(on_kafka)
    oracle.send(topic, values(60, seed=1, poison=0.5))
    landed = land(on_kafka, topics=[topic])
    oracle.send(topic, values(40, seed=2))
    ours = [one for one in status(on_kafka).partitions if one.topic == topic]
    assert [one.partition for one in ours] == [0, 1]
    assert sum(one.lag for one in ours) == 40
    assert sum(one.records for one in ours) == 60
    assert all(one.end_offset - one.lake_offset == one.lag for one in ours)
    assert sum(one.rejected_share * one.records for one in ours) == pytest.approx(landed.rejected)
    assert all(one.landed_at is not None for one in ours)
    said = journey("status", "--max-lag", "1")
    assert said.returncode == 1
    assert "Run: journey land" in said.stdout
    assert journey("status").returncode == 0, "no lag is configured"
    found = json.loads(journey("status", "--json", "--max-lag", "1000000").stdout)
    assert {one["topic"] for one in found["partitions"]} >= {topic}
    assert status(on_kafka.model_copy(update={"max_lag": 1})).is_behind


def test_the_upkeep_commands_say_what_they_did(on_kafka, topic):
    create_topics(on_kafka, [topic])
    Oracle(on_kafka).send(topic, values(60, seed=1, poison=0.5))
    small = on_kafka.model_copy(update={"land_batch_records": 10})
    land(small, topics=[topic])
    assert "compacted" in journey("compact").stdout
    assert json.loads(journey("compact", "--json").stdout)["files_after"] == 2
    replayed = json.loads(journey("replay-rejected", "--json").stdout)
    assert replayed["accepted"] == 0 < replayed["records"]
