"""`journey land`: Kafka → lake.

One run owns pinned offset ranges: from where the lake ends to where Kafka ended when the run began. It assigns and
seeks; it joins no consumer group, and Kafka's own offsets decide nothing. Rows and offsets commit together (see
`journey_core/lake.py`), so a run that dies at any instant is repaired by the next one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pyarrow as pa
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from journey_core.contract import RECORDS, judge
from journey_core.errors import LandingGapError, NotBuiltError, SupersededError
from journey_core.lake import Lake, Partition
from journey_core.release import current_release
from pipelines.progress import Progress, silent
from pipelines.settings import Settings

# A producer may stamp its records with any number; beyond the year 9999 no reader follows, so it counts as no time.
LAST_MILLISECOND = 253_402_300_799_999
EVENT_TOPIC = re.compile(r"events\.[a-z0-9_]+\.v\d+")


@dataclass(frozen=True)
class Landed:
    """What one run landed. `records` = `accepted` + `rejected`; duplicates are found by the build, over all history."""

    records: int
    accepted: int
    rejected: int
    topics: tuple[str, ...]

    def __add__(self, other: Landed) -> Landed:
        return Landed(
            self.records + other.records,
            self.accepted + other.accepted,
            self.rejected + other.rejected,
            self.topics + other.topics,
        )

    def __str__(self) -> str:
        source = self.topics[0] if len(self.topics) == 1 else f"{len(self.topics)} topics"
        return f"landed {self.records:,} records from {source}: {self.accepted:,} accepted, {self.rejected:,} rejected"


def list_topics(settings: Settings) -> list[str]:
    """The cluster's event topics (`events.<channel>.v<n>`), sorted."""
    with _consumer(settings) as consumer:
        return sorted(topic for topic in consumer.topics() if EVENT_TOPIC.fullmatch(topic))


def has_news(settings: Settings) -> bool:
    """Whether the lake holds what the current release does not."""
    try:
        published = current_release(settings.releases).manifest["source"]
    except NotBuiltError:
        return True
    return bool(published != Lake(settings.lake).snapshot().identity())


def land(
    settings: Settings,
    *,
    topics: Sequence[str] | None = None,
    max_events: int | None = None,
    progress: Progress = silent,
) -> Landed:
    """Land every event topic (or just `topics`) up to the end offsets seen at the start.

    `max_events` bounds the records of this run; the rest waits for the next one. Raises BrokerError where Kafka does
    not answer, LandingGapError where it no longer holds what the lake still needs, StorageError where the disk refuses.
    Where another lander was faster nothing is doubled, and this run counts only what it landed itself.
    """
    landed = Landed(0, 0, 0, ())
    for topic in list_topics(settings) if topics is None else topics:
        left = None if max_events is None else max_events - landed.records
        if left == 0:
            break
        try:
            landed += _land_topic(topic, settings, left, progress)
        except SupersededError as superseded:
            # Another lander has these rows in the lake: that is an answer, not a failure, and the other topics go on.
            progress(str(superseded), 0, None)
            landed += Landed(0, 0, 0, (topic,))
    return landed


def _land_topic(topic: str, settings: Settings, max_events: int | None, progress: Progress) -> Landed:
    lake = Lake(settings.lake)
    snapshot = lake.snapshot()
    landed = Landed(0, 0, 0, (topic,))
    mark = _topic_mark(topic, settings)
    if snapshot.topic_mark(topic) not in (None, mark):
        raise LandingGapError(
            f"{topic}: this is not the topic that the lake has landed before: it was recreated, or this is another "
            "cluster. Land it into a new JOURNEY_HOME, or restore the cluster; nothing was skipped"
        )
    with _consumer(settings) as consumer:
        partitions = {
            TopicPartition(topic, number): Partition(topic, number)
            for number in sorted(consumer.partitions_for_topic(topic) or ())
        }
        ends = consumer.end_offsets(list(partitions))
        begins = consumer.beginning_offsets(list(partitions))
        nexts = {
            kafka: _first_offset(kafka, snapshot.next_offset(partition), begins[kafka], ends[kafka])
            for kafka, partition in partitions.items()
        }
        open_ranges = [kafka for kafka in partitions if nexts[kafka] < ends[kafka]]
        consumer.assign(open_ranges)
        for kafka in open_ranges:
            consumer.seek(kafka, nexts[kafka])
        total = sum(ends[kafka] - nexts[kafka] for kafka in open_ranges)
        while open_ranges and (max_events is None or landed.records < max_events):
            room = settings.land_batch_records
            if max_events is not None:
                room = min(room, max_events - landed.records)
            records, reached = _fetch(consumer, {kafka: ends[kafka] for kafka in open_ranges}, room, settings)
            judged = judge(records, future_tolerance=settings.future_tolerance)
            lake.commit(
                judged, snapshot, {partitions[kafka]: offset for kafka, offset in reached.items()}, {topic: mark}
            )
            landed += Landed(records.num_rows, judged.accepted.num_rows, judged.rejected.num_rows, ())
            progress(f"landing {topic}", landed.records, total)
            open_ranges = [kafka for kafka in open_ranges if reached[kafka] < ends[kafka]]
            snapshot = lake.snapshot()
    return landed


def _topic_mark(topic: str, settings: Settings) -> int:
    """63 bits of the id that Kafka gave the topic when it was created: a recreated topic has another."""
    try:
        with KafkaAdminClient(**settings.kafka, bootstrap_timeout_ms=settings.kafka_timeout_ms) as admin:
            (described,) = admin.describe_topics([topic])
    except KafkaError as error:
        raise settings.refused(error) from error
    return UUID(str(described["topic_id"])).int >> 65


def _fetch(
    consumer: KafkaConsumer, ends: dict[TopicPartition, int], room: int, settings: Settings
) -> tuple[pa.Table, dict[TopicPartition, int]]:
    """Up to `room` records below `ends`, and the next offset of each partition.

    Offsets have holes (transaction markers, compaction): a partition is done when its position has passed the end,
    never when a count is reached.
    """
    batches = []
    fetched = 0
    patience = settings.kafka_timeout.total_seconds()
    moved_at = time.monotonic()
    reached = {kafka: consumer.position(kafka) for kafka in ends}
    while fetched < room and any(reached[kafka] < end for kafka, end in ends.items()):
        polled = consumer.poll(timeout_ms=1000, max_records=room - fetched)
        for kafka, messages in polled.items():
            below_end = [message for message in messages if message.offset < ends[kafka]]
            batches.append(_table(below_end))
            fetched += len(below_end)
        before, reached = reached, {kafka: min(consumer.position(kafka), end) for kafka, end in ends.items()}
        if reached != before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > patience:
            raise settings.refused(TimeoutError(f"nothing fetched for {patience:.0f} seconds"))
    return pa.concat_tables(batches) if batches else RECORDS.empty_table(), reached


def _table(messages: Sequence[Any]) -> pa.Table:
    stamps = [m.timestamp if 0 <= m.timestamp <= LAST_MILLISECOND else None for m in messages]
    return pa.table(
        {
            "topic": pa.array([m.topic for m in messages], pa.string()),
            "partition": pa.array([m.partition for m in messages], pa.int32()),
            "offset": pa.array([m.offset for m in messages], pa.int64()),
            "kafka_timestamp": pa.array(stamps, pa.timestamp("ms", tz="UTC")).cast(pa.timestamp("us", tz="UTC")),
            "key": pa.array([m.key for m in messages], pa.binary()),
            "value": pa.array([m.value for m in messages], pa.binary()),
        },
        schema=RECORDS,
    )


def _first_offset(kafka: TopicPartition, landed: int, begin: int, end: int) -> int:
    """Where to go on: the lake's offset, or where Kafka begins for a partition that was never landed."""
    where = f"{kafka.topic}/{kafka.partition}"
    if landed > end:
        raise LandingGapError(
            f"{where}: the lake holds offsets up to {landed:,}, Kafka ends at {end:,}: the topic was recreated, or "
            "this is another cluster. Land it into a new JOURNEY_HOME, or restore the cluster"
        )
    if 0 < landed < begin:
        raise LandingGapError(
            f"{where}: Kafka has deleted offsets {landed:,} to {begin - 1:,} before they were landed (retention). "
            "Restore them, or lengthen the retention; nothing was skipped"
        )
    return landed or begin


@contextmanager
def _consumer(settings: Settings) -> Iterator[KafkaConsumer]:
    try:
        consumer = KafkaConsumer(
            **settings.kafka,
            bootstrap_timeout_ms=settings.kafka_timeout_ms,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            group_id=None,
            max_partition_fetch_bytes=16 * 1024 * 1024,
        )
    except KafkaError as error:
        raise settings.refused(error) from error
    try:
        yield consumer
    except OffsetOutOfRangeError as error:
        raise LandingGapError(
            f"Kafka deleted records while they were being landed: {error}. Land again to see which"
        ) from error
    except KafkaError as error:
        raise settings.refused(error) from error
    finally:
        consumer.close()
