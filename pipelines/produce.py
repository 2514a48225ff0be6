"""`journey produce`: events → Kafka.

`send` puts records into their topics and returns when every one of them is acknowledged by all replicas.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, TopicAlreadyExistsError

from journey_core.contract import TOPICS
from journey_core.errors import BrokerError
from journey_core.mapping import Record
from pipelines.progress import Progress, silent
from pipelines.settings import Settings


@dataclass(frozen=True)
class Produced:
    """How many records are acknowledged, in how many topics, and where they went."""

    records: int
    topics: int
    target: str

    def __str__(self) -> str:
        return f"produced {self.records:,} records to {self.topics} topics at {self.target}"


def send(
    records: Iterable[Record], settings: Settings, *, total: int | None = None, progress: Progress = silent
) -> Produced:
    """Send records, create missing topics, wait for every acknowledgement.

    Raises BrokerError where the cluster does not answer or refuses a record; a repeated call sends the same event ids
    again, which the build counts as duplicates and keeps once.
    """
    failures: list[BaseException] = []
    sent = 0
    topics = set(TOPICS)
    try:
        create_topics(settings, topics)
        producer = KafkaProducer(
            **settings.kafka,
            bootstrap_timeout_ms=settings.kafka_timeout_ms,
            acks="all",
            compression_type="zstd",
            linger_ms=20,
            batch_size=256 * 1024,
            max_request_size=16 * 1024 * 1024,
        )
        used = set()
        try:
            for record in records:
                if record.topic not in topics:
                    create_topics(settings, {record.topic})
                    topics.add(record.topic)
                producer.send(record.topic, key=record.key, value=record.value).add_errback(failures.append)
                used.add(record.topic)
                sent += 1
                if sent % 1000 == 0:
                    progress("producing", sent, total)
                    if failures:
                        break
            producer.flush()
        finally:
            producer.close()
    except KafkaError as error:
        raise settings.refused(error) from error
    if failures:
        raise BrokerError(
            f"the broker refused {len(failures):,} of {sent:,} records, first: {failures[0]}. Mend the cause and "
            "produce again: records that arrived already are recognised by their event_id"
        )
    progress("producing", sent, sent)
    return Produced(sent, len(used), ",".join(settings.bootstrap_servers))


def write_jsonl(records: Iterable[Record], out: Path) -> Produced:
    """Write the records' values to a JSONL file instead of Kafka, one a line."""
    topics = set()
    written = 0
    with out.open("wb") as lines:
        for record in records:
            lines.write((record.value or b"") + b"\n")
            topics.add(record.topic)
            written += 1
    return Produced(written, len(topics), str(out))


def create_topics(settings: Settings, topics: Iterable[str]) -> None:
    """Create the topics that do not exist yet, with `topic_partitions` partitions and the cluster's replication."""
    with KafkaAdminClient(**settings.kafka, bootstrap_timeout_ms=settings.kafka_timeout_ms) as admin:
        missing = set(topics) - set(admin.list_topics())
        if missing:
            try:
                admin.create_topics({topic: {"num_partitions": settings.topic_partitions} for topic in sorted(missing)})
            except TopicAlreadyExistsError:
                return  # another producer was faster
            admin.wait_for_topics(sorted(missing))
