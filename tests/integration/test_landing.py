"""Kafka → lake, on a real broker: nothing lost, nothing doubled."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from journey_core.errors import BrokerError, LandingGapError
from journey_core.lake import Lake, Partition
from journey_core.logs import Record
from pipelines import admit as admission
from pipelines import build as building
from pipelines import fetch as fetching
from pipelines import land as landing
from pipelines.build import build
from pipelines.land import has_news, land
from pipelines.produce import create_topics, send
from pipelines.settings import Settings
from tests.conftest import event

pytestmark = pytest.mark.usefixtures("each_client")


def records(topic, count, prefix="e"):
    """Every seventh record is broken."""
    for number in range(count):
        value = b"{" if number % 7 == 3 else json.dumps(event(f"{prefix}{number}", "2026-01-02 03:04")).encode()
        yield Record(topic, f"{number}".encode(), value)


def landed(settings, topic):
    """(partition, offset, sha256 of the value) of everything in the lake: hashes of events, bytes of rejected ones."""
    import duckdb

    snapshot = Lake(settings.lake).snapshot()
    found = []
    with duckdb.connect() as connection:
        for table in ("events", "rejected_events"):
            if files := snapshot.files(table):
                found += connection.execute(
                    f'select partition, "offset", payload_hash from read_parquet({files}) where topic = ?', [topic]
                ).fetchall()
    return sorted(found)


def test_every_record_lands_once_with_its_coordinates_and_bytes(on_kafka, topic):
    sent = list(records(topic, 500))
    send(sent, on_kafka)
    result = land(on_kafka, topics=[topic])
    assert (result.records, result.accepted, result.rejected) == (500, 429, 71)
    rows = landed(on_kafka, topic)
    assert len({(partition, offset) for partition, offset, _ in rows}) == 500
    assert sorted(digest for *_, digest in rows) == sorted(hashlib.sha256(r.value).hexdigest() for r in sent)
    assert land(on_kafka, topics=[topic]).records == 0, "run twice, same answer"
    assert landed(on_kafka, topic) == rows


def test_a_bounded_run_leaves_the_rest_for_the_next(on_kafka, topic):
    send(records(topic, 100), on_kafka)
    small = on_kafka.model_copy(update={"land_batch_records": 17})
    assert land(small, topics=[topic], max_events=40).records == 40
    assert land(small, topics=[topic]).records == 60
    assert len(landed(small, topic)) == 100


def test_several_batches_go_into_one_commit(on_kafka, topic, monkeypatch):
    send(records(topic, 500), on_kafka)
    monkeypatch.setattr(landing, "AT_ONCE", 20)
    monkeypatch.setattr(fetching, "AT_ONCE", 20)
    sizes = []
    few = on_kafka.model_copy(update={"land_batch_records": 65})
    result = land(few, topics=[topic], max_events=480, progress=lambda _, done, __: sizes.append(done))
    assert result.records == 480
    assert sizes == list(range(60, 481, 60)), "three of them each, as a fourth would be too many"
    assert land(few, topics=[topic]).records == 20, "the last commit ended where the last of its batches did"
    rows = landed(few, topic)
    assert len(rows) == len({(partition, offset) for partition, offset, _ in rows}) == 500


def test_what_kafka_gave_before_it_failed_lands(on_kafka, topic, monkeypatch):
    send(records(topic, 100), on_kafka)
    monkeypatch.setattr(fetching, "AT_ONCE", 20)
    monkeypatch.setattr(landing, "AT_ONCE", 20)

    def failing(*arguments, **more):
        batches = fetching.fetch(*arguments, **more)
        yield next(batches)
        yield next(batches)
        batches.close()
        raise LandingGapError("deleted meanwhile")

    monkeypatch.setattr(landing, "fetch", failing)
    with pytest.raises(LandingGapError, match="deleted meanwhile"):
        land(on_kafka, topics=[topic])
    assert len(landed(on_kafka, topic)) == 40
    monkeypatch.setattr(landing, "fetch", fetching.fetch)
    assert land(on_kafka, topics=[topic]).records == 60


def test_a_crash_between_the_two_commits_is_repaired_by_the_next_run(on_kafka, topic, monkeypatch):
    send(records(topic, 100), on_kafka)
    write = Lake._append
    calls = []

    def crash_on_the_third(self, table, rows, versions):
        calls.append(table)
        if len(calls) == 3:  # the first takes the topic up, the second is of the rejected ones
            raise KeyboardInterrupt
        write(self, table, rows, versions)

    monkeypatch.setattr(Lake, "_append", crash_on_the_third)
    with pytest.raises(KeyboardInterrupt):
        land(on_kafka, topics=[topic])
    assert len(landed(on_kafka, topic)) == 14, "the rejected ones are in, the events are not"
    monkeypatch.setattr(Lake, "_append", write)
    land(on_kafka, topics=[topic])
    assert len(landed(on_kafka, topic)) == 100


def test_a_second_lander_of_the_same_range_is_superseded_and_nothing_is_doubled(on_kafka, topic, monkeypatch):
    send(records(topic, 50), on_kafka)
    commit = landing._commit

    def slow_commit(*arguments):
        monkeypatch.setattr(landing, "_commit", commit)
        land(on_kafka, topics=[topic])  # the other lander commits while we hold our batch
        commit(*arguments)

    monkeypatch.setattr(landing, "_commit", slow_commit)
    second = land(on_kafka, topics=[topic])
    assert second.records == 0
    assert "superseded, nothing is lost" in str(second)
    assert len(landed(on_kafka, topic)) == 50


def test_offsets_and_rows_commit_together(on_kafka, topic):
    send(records(topic, 30), on_kafka)
    land(on_kafka, topics=[topic])
    snapshot = Lake(on_kafka.lake).snapshot()
    held = sum(snapshot.next_offset(Partition(topic, number)) for number in range(on_kafka.topic_partitions))
    assert held == 30


def topic_of_any_time(settings, topic):
    """As a cluster may be set up, or one of before Kafka 3.6: it believes every timestamp."""
    limit = {"message.timestamp.after.max.ms": str(2**63 - 1)}
    with KafkaAdminClient(**settings.kafka) as admin:
        admin.create_topics({topic: {"num_partitions": 1, "configs": limit}})
        admin.wait_for_topics([topic])


def test_a_phone_that_says_2099_closes_nobodys_journey(on_kafka, topic):
    """It stamps its event and Kafka's record alike: only the lander's clock can tell."""
    topic_of_any_time(on_kafka, topic)
    at = datetime(2099, 1, 1, tzinfo=UTC)
    with closing(KafkaProducer(**on_kafka.kafka)) as producer:
        wrong = json.dumps(event("wrong", "2099-01-01 00:00", who={"customer_id": "bob"})).encode()
        producer.send(topic, value=wrong, timestamp_ms=int(at.timestamp() * 1000))
        now = json.dumps(event("right", f"{datetime.now(UTC):%Y-%m-%d %H:%M}", who={"customer_id": "ann"})).encode()
        producer.send(topic, value=now)
        producer.flush()
    before = datetime.now(UTC)
    assert land(on_kafka, topics=[topic]).rejected == 1
    (row,) = pq.read_table(Lake(on_kafka.lake).snapshot().files("rejected_events")).to_pylist()
    assert (row["event_id"], row["reason"], row["kafka_timestamp"]) == ("wrong", "occurred_in_future", at)
    assert before <= row["landed_at"] <= datetime.now(UTC)
    build(on_kafka)
    with on_kafka.open_warehouse().connect() as connection:
        journeys = connection.execute("select customer_id, status from marts.journeys").fetchall()
    assert journeys == [("ann", "open")]


def test_the_local_broker_keeps_kafkas_own_limit(on_kafka, topic):
    create_topics(on_kafka, [topic])
    with closing(KafkaProducer(**on_kafka.kafka)) as producer, pytest.raises(KafkaError, match="timestamp"):
        producer.send(topic, value=b"{}", timestamp_ms=4_070_908_800_000).get(timeout=20)  # 2099-01-01


def test_a_recreated_topic_is_a_gap_that_is_named_never_skipped(on_kafka, topic):
    send(records(topic, 30), on_kafka)
    land(on_kafka, topics=[topic])
    with KafkaAdminClient(**on_kafka.kafka) as admin:
        admin.delete_topics([topic])
    send(records(topic, 2), on_kafka)
    with pytest.raises(LandingGapError, match=rf"{topic}/0 from offset \d+ on \(recreated\)"):
        land(on_kafka, topics=[topic])


def test_a_recreated_topic_that_has_grown_past_the_old_offset_is_no_less_a_gap(on_kafka, topic):
    send(records(topic, 10), on_kafka)
    land(on_kafka, topics=[topic])
    with KafkaAdminClient(**on_kafka.kafka) as admin:
        admin.delete_topics([topic])
    send(records(topic, 40), on_kafka)
    with pytest.raises(LandingGapError, match="recreated"):
        land(on_kafka, topics=[topic])
    assert len(landed(on_kafka, topic)) == 10, "nothing was skipped, nothing was mixed"


def test_any_timestamp_that_a_producer_writes_lands(on_kafka, topic):
    topic_of_any_time(on_kafka, topic)
    with closing(KafkaProducer(**on_kafka.kafka)) as producer:
        for stamp in (0, 2**62, 253_402_300_799_999, 1):
            producer.send(topic, value=json.dumps(event("e", "1970-01-01 00:00")).encode(), timestamp_ms=stamp)
        producer.flush()
    assert land(on_kafka, topics=[topic]).records == 4


def test_a_home_with_a_space_and_an_umlaut_is_a_home(on_kafka, topic, tmp_path):
    home = on_kafka.model_copy(update={"home": tmp_path / "a b ü"})
    send(records(topic, 20), home)
    land(home, topics=[topic])
    assert build(home).rows["marts.touchpoints"] == 17


def test_no_broker_is_said_with_the_remedy():
    nobody = Settings(kafka_bootstrap_servers="127.0.0.1:1", kafka_timeout=timedelta(seconds=1))
    for call in (lambda: land(nobody), lambda: send([], nobody)):
        with pytest.raises(BrokerError, match=r"no Kafka broker answers at 127\.0\.0\.1:1 .*journey broker start"):
            call()


def test_news_is_what_the_release_does_not_hold(on_kafka, topic):
    assert has_news(on_kafka), "nothing is published yet"


def test_the_judge_that_lands_is_the_judge_that_files_meet():
    assert (landing.screen_each, landing.settle) == (admission.screen_each, admission.settle)
    assert building.admit is admission.admit
