"""What a topic may hold: poison, transactions, holes, lost ranges, repeated and misdated events, unknown fields."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import duckdb
import pyarrow as pa
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from kafka import KafkaAdminClient, TopicPartition

from journey_core import contract
from journey_core.errors import BrokerError, LandingGapError
from journey_core.lake import Lake, Partition
from pipelines import broker, fetch
from pipelines import land as landing
from pipelines.build import build
from pipelines.land import land
from pipelines.produce import create_topics
from pipelines.replay import replay_rejected
from pipelines.settings import Settings
from tests.conftest import event
from tests.disk import JOURNEY
from tests.faults.oracle import LARGE, POISON, Oracle, values
from tests.kafka import two_free_ports

pytestmark = pytest.mark.usefixtures("each_client")


def rows(settings: Settings, table: str, sql: str) -> list[tuple]:
    files = Lake(settings.lake).snapshot().files(table)
    with duckdb.connect() as connection:
        return connection.execute(sql.replace("LANDED", f"read_parquet({files})")).fetchall() if files else []


def make_topic(settings: Settings, topic: str, **configuration: str) -> None:
    admin = AdminClient(settings.librdkafka)
    for future in admin.create_topics([NewTopic(topic, settings.topic_partitions, 1, config=configuration)]).values():
        future.result()
    KafkaAdminClient(**settings.kafka).wait_for_topics([topic])


@pytest.mark.parametrize("share", [0.01, 1.0])
def test_poison_is_kept_byte_for_byte_and_stops_nothing(on_kafka, topic, oracle, share):
    make_topic(on_kafka, topic, **{"max.message.bytes": "20000000"})
    good = b'{"properties":{"a":1}}'
    oracle.send(topic, [*values(3000, seed=5, poison=share), *(make(good) for make in LARGE.values())])
    landed = land(on_kafka, topics=[topic])
    oracle.compare(5)
    assert landed.records == 3002
    reasons = Counter(dict(rows(on_kafka, "rejected_events", "select reason, count(*) from LANDED group by reason")))
    assert reasons.total() == landed.rejected == 3002 - landed.accepted
    if share == 1.0:
        assert landed.accepted == 0
        assert set(reasons) == {
            "invalid_json", "empty_value", "tombstone", "invalid_value", "duplicate_key", "unknown_channel", "too_large"
        }  # fmt: skip


def test_what_keeps_the_contract_later_is_replayed_once(on_kafka, topic, oracle, monkeypatch):
    """A contract that was too strict: its rejects become events, coordinates and all, however often one replays."""
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(500, seed=6, poison=0.1))
    with monkeypatch.context() as patched:
        patched.setattr(contract, "_bench", _Refusing)
        assert land(on_kafka, topics=[topic]).accepted == 0
    oracle.compare(6)
    replayed = replay_rejected(on_kafka)
    assert replayed.records == 500
    assert 400 < replayed.accepted < 500
    oracle.compare(6)
    assert replay_rejected(on_kafka).accepted == 0
    oracle.compare(6)
    assert land(on_kafka, topics=[topic]).records == 0, "offsets are where they were"
    assert build(on_kafka).rows["marts.touchpoints"] == replayed.accepted


class _Refusing:
    """Yesterday's contract: it accepts nothing."""

    def __init__(self, future_tolerance: timedelta, clock_tolerance: timedelta, threads: int = 1) -> None:
        self._today = contract._Bench(future_tolerance, clock_tolerance)

    def screen_each(self, batches):
        return batches

    def settle(self, batches):
        records = pa.concat_tables(batches)
        hashed = records.append_column("payload_hash", contract._hashes(records["value"]))
        told = contract._judged(hashed.append_column("text", contract._texts(records["value"])))
        for name, word in (("judged_reason", "invalid_value"), ("judged_field", "event_id")):
            told = told.set_column(told.column_names.index(name), name, pa.array([word] * len(told)))
        everything = contract._beside(told, self._today._run("judged", told))
        rejected = everything.select(contract.REJECTED_EVENTS.names).cast(contract.REJECTED_EVENTS)
        return contract.Judged(contract.EVENTS.empty_table(), rejected)


def test_a_crash_in_a_replay_is_finished_by_the_next(on_kafka, topic, oracle, monkeypatch):
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(100, seed=7))
    with monkeypatch.context() as patched:
        patched.setattr(contract, "_bench", _Refusing)
        land(on_kafka, topics=[topic])
    with monkeypatch.context() as patched:
        patched.setattr(Lake, "_rewrite", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            replay_rejected(on_kafka)
    with pytest.raises(AssertionError, match="100 doubled"):
        oracle.compare(7)
    tables = build(on_kafka)
    assert tables.rows["marts.touchpoints"] == 100
    counted = on_kafka.open_warehouse().query("select sum(records)::bigint as records from marts.event_outcomes")
    assert counted.to_pylist() == [{"records": 100}], "between the two commits each record counts once"
    replay_rejected(on_kafka)
    oracle.compare(7)


def test_only_committed_transactions_land_and_markers_end_a_topic(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    producer = oracle.producer(**{"transactional.id": topic})
    producer.init_transactions()
    kept = []
    for number in range(6):
        producer.begin_transaction()
        before = len(oracle.acknowledged)
        for value in values(50, seed=number, prefix=f"t{number}-"):
            oracle.put(producer, topic, value, partition=0)
        producer.flush()
        if number % 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
            kept += oracle.acknowledged[before:]
    oracle.acknowledged = kept
    assert land(on_kafka, topics=[topic]).records == 150
    oracle.compare()
    # The last record is a marker: the lake's offset lies behind it, and a run that finds only markers ends.
    assert Lake(on_kafka.lake).snapshot().next_offset(Partition(topic, 0)) == 6 * 51
    producer.begin_transaction()
    oracle.put(producer, topic, b"{}", partition=0)
    producer.flush()
    producer.abort_transaction()
    oracle.acknowledged = oracle.acknowledged[:150]
    assert land(on_kafka, topics=[topic]).records == 0
    assert Lake(on_kafka.lake).snapshot().next_offset(Partition(topic, 0)) == 6 * 51 + 2
    oracle.compare()


def test_an_open_transaction_is_waited_for(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    producer = oracle.producer(**{"transactional.id": topic})
    producer.init_transactions()
    producer.begin_transaction()
    oracle.put(producer, topic, b"{}", partition=0)
    producer.flush()
    assert land(on_kafka, topics=[topic]).records == 0
    producer.commit_transaction()
    assert land(on_kafka, topics=[topic]).records == 1
    oracle.compare()


def test_a_compacted_topic_has_holes(on_kafka, topic, oracle):
    quick = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "max.compaction.lag.ms": "100"}
    make_topic(on_kafka, topic, **{"cleanup.policy": "compact", **quick})
    producer = oracle.producer()
    for number, value in enumerate(values(400, seed=8)):
        oracle.put(producer, topic, value, key=b"%d" % (number % 3), partition=0)
        if number % 100 == 99:
            producer.flush()
            time.sleep(0.2)
    producer.flush()

    def left() -> int:
        with fetch.connect(on_kafka) as client:
            whole = client.describe(topic)
            batches = fetch.fetch(client, whole, 0, {0: whole.begins[0]}, on_kafka)
            offsets = [offset for batch in batches for offset in batch.records["offset"].to_pylist()]
        oracle.acknowledged = [sent for sent in oracle.acknowledged if sent[2] in set(offsets)]
        return len(offsets)

    deadline = time.monotonic() + 90
    while left() == 400:
        assert time.monotonic() < deadline, "the broker has not compacted the topic"
        time.sleep(2)
    landed = land(on_kafka, topics=[topic])
    assert landed.records <= len(oracle.acknowledged) < 400
    left()
    with fetch.connect(on_kafka) as client:
        assert Lake(on_kafka.lake).snapshot().next_offset(Partition(topic, 0)) == client.describe(topic).ends[0] == 400
    assert land(on_kafka, topics=[topic]).records == 0


def delete_until(settings: Settings, topic: str, offset: int) -> None:
    with KafkaAdminClient(**settings.kafka) as admin:
        admin.delete_records({TopicPartition(topic, 0): offset})


def gaps(settings: Settings) -> list[tuple]:
    columns = "generation, partition, from_offset, to_offset, cause"
    return rows(settings, "landing_gaps", f"select {columns} from LANDED order by all")


def test_a_retention_overrun_is_named_and_can_be_accepted(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    producer = oracle.producer()
    for value in values(100, seed=9):
        oracle.put(producer, topic, value, partition=0)
    producer.flush()
    assert land(on_kafka, topics=[topic], max_events=40).records == 40
    delete_until(on_kafka, topic, 70)
    for _ in range(2):
        with pytest.raises(LandingGapError, match=rf"{topic}/0 from offset 40 to 69 \(retention\).*--accept-gap"):
            land(on_kafka, topics=[topic])
    assert gaps(on_kafka) == []
    landed = land(on_kafka, topics=[topic], accept_gap=True)
    assert landed.records == 30
    assert f"accepted gap: {topic}/0 from offset 40 to 69 (retention)" in str(landed)
    assert gaps(on_kafka) == [(0, 0, 40, 70, "retention")]
    oracle.acknowledged = [sent for sent in oracle.acknowledged if not 40 <= sent[2] < 70]
    oracle.compare(9)
    assert land(on_kafka, topics=[topic]).records == 0
    build(on_kafka)
    counted = on_kafka.open_warehouse().query("select cause, offsets_lost from marts.landing_gaps")
    assert counted.to_pylist() == [{"cause": "retention", "offsets_lost": 30}]


def test_what_was_deleted_before_the_first_landing_is_written_down(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    producer = oracle.producer()
    for value in values(10, seed=9):
        oracle.put(producer, topic, value, partition=0)
    producer.flush()
    delete_until(on_kafka, topic, 4)
    assert land(on_kafka, topics=[topic]).records == 6
    assert gaps(on_kafka) == [(0, 0, 0, 4, "before_first_landing")]
    assert land(on_kafka, topics=[topic]).records == 0


def test_a_recreated_topic_can_take_the_place_of_the_old_one(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(30, seed=10))
    land(on_kafka, topics=[topic])
    with KafkaAdminClient(**on_kafka.kafka) as admin:
        admin.delete_topics([topic])
    time.sleep(1)
    create_topics(on_kafka, [topic])
    second = Oracle(on_kafka, generation=1)
    second.send(topic, values(50, seed=11, prefix="new"))
    with pytest.raises(LandingGapError, match="recreated"):
        land(on_kafka, topics=[topic])
    assert land(on_kafka, topics=[topic], accept_gap=True).records == 50
    oracle.compare(10)
    second.compare(11)
    assert land(on_kafka, topics=[topic]).records == 0
    assert {cause for *_, cause in gaps(on_kafka)} == {"recreated"}
    assert build(on_kafka).rows["marts.touchpoints"] == 80


def test_a_log_that_was_cut_goes_on_where_it_was_cut(on_kafka, topic, oracle, monkeypatch):
    """Kafka has lost the last ten offsets of one partition, and uses them again: the other partition lost nothing."""
    create_topics(on_kafka, [topic])
    producer = oracle.producer()
    for number, value in enumerate(values(60, seed=20)):
        oracle.put(producer, topic, value, partition=number % 2)
    producer.flush()
    land(on_kafka, topics=[topic])
    with fetch.connect(on_kafka) as client:
        whole = client.describe(topic)
    cut = replace(whole, ends={0: 20, 1: 30})
    found = landing.find_gaps(cut, Lake(on_kafka.lake).snapshot())
    assert [str(gap) for gap in found.gaps] == [f"{topic}/0 from offset 20 to 29 (truncated)"]
    assert found.starts == {Partition(topic, 0, 1): 20, Partition(topic, 1, 1): 30}
    assert found.needs_consent


def test_going_back_to_the_first_topic_goes_on_where_it_was_left(on_kafka, topic, oracle):
    """A wrong address, accepted by mistake: back at the right one, nothing is landed again."""
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(30, seed=21))
    land(on_kafka, topics=[topic])
    snapshot = Lake(on_kafka.lake).snapshot()
    with fetch.connect(on_kafka) as client:
        whole = client.describe(topic)
    wrong = landing.find_gaps(replace(whole, mark=whole.mark + 1, cluster=1), snapshot)
    assert {gap.cause for gap in wrong.gaps} == {"other_cluster"}
    Lake(on_kafka.lake).accept(wrong.gaps, snapshot, wrong.starts, wrong.known_by, datetime.now(UTC))
    oracle.send(topic, values(10, seed=22, prefix="later"))
    assert land(on_kafka, topics=[topic]).records == 10
    oracle.compare(21)


def test_a_topic_that_was_empty_when_first_seen_is_known_again(on_kafka, topic, oracle):
    """Everything had expired before the first landing; then the topic was recreated: none of its records is skipped."""
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(20, seed=23))
    with fetch.connect(on_kafka) as client:
        ends = client.describe(topic).ends
    with KafkaAdminClient(**on_kafka.kafka) as admin:
        admin.delete_records({TopicPartition(topic, number): end for number, end in ends.items()})
    assert land(on_kafka, topics=[topic]).records == 0
    with KafkaAdminClient(**on_kafka.kafka) as admin:
        admin.delete_topics([topic])
    time.sleep(1)
    create_topics(on_kafka, [topic])
    second = Oracle(on_kafka, generation=1)
    second.send(topic, values(6, seed=24))
    with pytest.raises(LandingGapError, match="recreated"):
        land(on_kafka, topics=[topic])
    assert land(on_kafka, topics=[topic], accept_gap=True).records == 6
    second.compare(24)


def test_a_producer_that_never_stops_is_landed_once(on_kafka, topic, oracle):
    """Records arrive while a run reads up to its pinned ends: they are the next run's, and land once."""
    create_topics(on_kafka, [topic])
    is_enough = threading.Event()

    def send() -> None:
        producer = oracle.producer()
        for bunch in itertools.count():
            oracle.send(topic, values(500, seed=25, prefix=f"{bunch}-"), producer)
            if is_enough.is_set():
                return

    sending = threading.Thread(target=send)
    sending.start()
    try:
        deadline, found = time.monotonic() + 60, 0
        while found < 3:
            assert time.monotonic() < deadline, "three runs have found no records within a minute"
            found += land(on_kafka, topics=[topic]).records > 0
    finally:
        is_enough.set()
        sending.join()
    land(on_kafka, topics=[topic])
    oracle.compare(25)


def test_an_unknown_topic_is_refused(on_kafka):
    with pytest.raises(BrokerError, match="refuses"):
        land(on_kafka, topics=["events.nobody.v1"])


def test_another_cluster_is_not_mistaken_for_this_one(on_kafka, oracle, tmp_path):
    topic = "events.elsewhere.v1"
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(20, seed=12))
    land(on_kafka, topics=[topic])
    other = Settings(home=tmp_path / "other", broker_port=two_free_ports(), kafka_bootstrap_servers=None)
    broker.start(other)
    try:
        there = on_kafka.model_copy(update={"kafka_bootstrap_servers": ",".join(other.bootstrap_servers)})
        there.__dict__.pop("bootstrap_servers", None)
        create_topics(there, [topic])
        Oracle(there).send(topic, values(25, seed=13, prefix="there"))
        with pytest.raises(LandingGapError, match="this is another cluster"):
            land(there, topics=[topic])
        oracle.compare(12)
    finally:
        broker.stop(other)
        with KafkaAdminClient(**on_kafka.kafka) as admin:
            admin.delete_topics([topic])


def test_added_partitions_start_at_their_beginning(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(50, seed=14))
    land(on_kafka, topics=[topic])
    admin = AdminClient(on_kafka.librdkafka)
    for future in admin.create_partitions([NewPartitions(topic, 5)]).values():
        future.result()
    time.sleep(1)
    producer = oracle.producer()
    for number, value in enumerate(values(100, seed=15, prefix="added")):
        oracle.put(producer, topic, value, partition=number % 5)
    producer.flush()
    assert land(on_kafka, topics=[topic]).records == 100
    oracle.compare(15)
    assert gaps(on_kafka) == []


def test_kafkas_own_tools_see_how_far_the_lake_is(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    oracle.send(topic, values(80, seed=16))
    settings = on_kafka.model_copy(update={"kafka_group": f"lag-of-{topic}"})
    notes = [land(settings, topics=[topic]).notes for _ in range(2)]
    assert notes[1] == ()
    with KafkaAdminClient(**on_kafka.kafka) as admin:
        told = admin.list_group_offsets([settings.kafka_group])[settings.kafka_group]
    snapshot = Lake(settings.lake).snapshot()
    lake = {number: snapshot.next_offset(Partition(topic, number)) for number in range(2)}
    assert {kafka.partition: found.offset for kafka, found in told.items()} == lake
    # A copy, and nothing more: whoever resets it changes no landing.
    with KafkaAdminClient(**on_kafka.kafka) as admin:
        admin.delete_groups([settings.kafka_group])
    assert land(settings, topics=[topic]).records == 0


def land_under_wrong_clock(settings: Settings, topic: str, days: int) -> None:
    """In a process that the system itself tells another time; timers run as they do."""
    libfaketime = pytest.importorskip("libfaketime", reason="only Linux has a clock that a test can turn")
    clock = libfaketime.get_reload_information()[1] | {"FAKETIME": f"{days:+}d"}
    environment = os.environ | {"JOURNEY_HOME": str(settings.home)} | clock
    apart = partial(subprocess.run, env=environment, capture_output=True, text=True, timeout=120, check=True)
    told = float(apart([sys.executable, "-c", "import time; print(time.time())"]).stdout)
    if abs(told - time.time()) < 86_400:
        pytest.skip("libfaketime has no library for this processor")
    apart([JOURNEY, "land", "--topic", topic])


def clock_off_by(days: int) -> type[datetime]:
    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + timedelta(days=days)

    return Clock


def test_clocks_may_be_wrong(on_kafka, topic, oracle, monkeypatch):
    """The lander's by two days either way, a client's by ten years; what its collector has measured is corrected.

    The lander's clock decides what lies in the future, right or wrong: nothing else is known about when it landed.
    """
    create_topics(on_kafka, [topic])
    now = datetime.now(UTC)
    told = {
        "ten years ahead": now + timedelta(days=3652),
        "two days ahead": now + timedelta(days=2),
        "an hour ahead": now + timedelta(hours=1),
        "two days behind": now - timedelta(days=2),
        "ten years behind": now - timedelta(days=3652),
    }
    made = [event(name, f"{at:%Y-%m-%d %H:%M:%S}") for name, at in told.items()]
    wrong = told["ten years ahead"]
    clock = {"sent_at": f"{wrong:%Y-%m-%dT%H:%M:%SZ}", "received_at": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    made.append(event("ten years ahead, corrected", f"{wrong:%Y-%m-%d %H:%M:%S}") | clock)
    # With spaces and without: they are looked at in different places.
    oracle.send(topic, [json.dumps(one, separators=how).encode() for one in made for how in ((", ", ": "), (",", ":"))])
    for days in (-2, 2):
        settings = on_kafka.model_copy(update={"home": on_kafka.home / str(days)})
        if on_kafka.kafka_client == "kafka-python":
            land_under_wrong_clock(settings, topic, days)
        else:
            # librdkafka waits by a call (`cnd_timedwait`) that libfaketime does not know, and would wait for two days:
            # with it only our own clock is turned.
            with monkeypatch.context() as patched:
                for module in (landing, fetch):
                    patched.setattr(module, "datetime", clock_off_by(days))
                land(settings, topics=[topic])
        at = Lake(settings.lake).snapshot().landed_at(Partition(topic, 0))
        assert abs(at / 1000 - (time.time() + days * 86_400)) < 600, "its clock was right"
        oracle.compare(settings=settings)
        late = rows(settings, "rejected_events", "select event_id, reason from LANDED order by all")
        behind = ["an hour ahead", "ten years ahead", "ten years ahead, corrected", "two days ahead"]
        rejected = behind if days < 0 else ["ten years ahead"]
        assert late == [(name, "occurred_in_future") for name in rejected for _ in range(2)]
        assert len(rows(settings, "events", "select event_id from LANDED")) == 12 - 2 * len(rejected)


def test_duplicates_across_partitions_and_days_are_landed_and_told_apart(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    producer = oracle.producer()
    first = list(values(40, seed=17))
    day = 24 * 3600 * 1000
    for copy, value in enumerate([*first, *first, *first]):
        stamp = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp() * 1000) + copy // 40 * day
        oracle.put(producer, topic, value, partition=copy % 2 if copy < 80 else (copy + 1) % 2, timestamp=stamp)
        if copy == 60:
            producer.flush()
            land(on_kafka, topics=[topic])
    producer.flush()
    land(on_kafka, topics=[topic])
    oracle.compare(17)
    assert build(on_kafka).rows["marts.touchpoints"] == 40
    counted = on_kafka.open_warehouse().query(
        "select outcome, sum(records)::bigint as records from marts.event_outcomes group by all order by all"
    )
    assert counted.to_pylist() == [{"outcome": "accepted", "records": 40}, {"outcome": "duplicate", "records": 80}]


def test_unknown_fields_are_kept_and_counted_with_their_first_offset(on_kafka, topic, oracle):
    create_topics(on_kafka, [topic])
    producer = oracle.producer()
    for number in range(30):
        drift = {"schema_revision": 2} if number >= 10 else {}
        drift |= {"tenant": "a"} if number == 20 else {}
        oracle.put(producer, topic, json.dumps(event(f"e{number}", "2026-01-02 03:04") | drift).encode(), partition=1)
    producer.flush()
    land(on_kafka, topics=[topic])
    build(on_kafka)
    found = on_kafka.open_warehouse().query(
        "select field, records, first_partition, first_offset from marts.schema_drift order by field"
    )
    assert [tuple(row.values()) for row in found.to_pylist()] == [("schema_revision", 20, 1, 10), ("tenant", 1, 1, 20)]


def test_files_of_an_older_schema_stay_readable(on_kafka, topic, oracle, monkeypatch):
    """A lake that was written before a column existed is landed into, and read, without a rewrite."""
    from journey_core import lake

    create_topics(on_kafka, [topic])
    oracle.send(topic, values(20, seed=18))
    older = contract.EVENTS.remove(contract.EVENTS.get_field_index("extra"))
    with monkeypatch.context() as patched:
        patched.setitem(lake.TABLES, "events", older)
        append = Lake._append
        patched.setattr(
            Lake,
            "_append",
            lambda self, table, rows, versions: append(
                self, table, rows.select([n for n in rows.column_names if n != "extra"]), versions
            ),
        )
        land(on_kafka, topics=[topic], max_events=10)
    land(on_kafka, topics=[topic])
    oracle.compare(18)
    assert build(on_kafka).rows["marts.touchpoints"] == 20


def test_kafka_python_without_its_checksum_is_refused_with_the_remedy(on_kafka, monkeypatch):
    monkeypatch.setattr(fetch.kafka_record, "crc32c_c", None)
    settings = on_kafka.model_copy(update={"kafka_client": "kafka-python"})
    with pytest.raises(BrokerError, match=r"pip install 'kafka-python\[crc32c\]'"):
        land(settings)


def test_every_kind_of_poison_is_refused_for_its_own_reason():
    good = next(iter(values(1, seed=0)))
    for name, make in (POISON | LARGE).items():
        judged = contract.judge(contract.records_of([good, make(good)]))
        assert (judged.accepted.num_rows, judged.rejected.num_rows) == (1, 1), name
