"""`journey produce`: events → Kafka, or a file.

`send` puts records into their topics and returns when every one of them is acknowledged by all replicas. `produce` does
so with a log: each row that becomes no event is kept in a file of its own, with its line and the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, TopicAlreadyExistsError

from journey_core.contract import TOPICS
from journey_core.errors import BrokerError, NothingAcceptedError
from journey_core.files import written_whole
from journey_core.logs import Log, Record, Rejected
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


@dataclass(frozen=True)
class ProducedLog(Produced):
    """... and of a log: the rows that became no event. `rejected` is reason → rows, which `rejected_file` holds."""

    left_out: int
    without_items: int
    rejected: dict[str, int]
    rejected_file: str | None

    def __str__(self) -> str:
        said = [super().__str__(), *_others(self.left_out, self.without_items)]
        if self.rejected:
            said.append(f"{_rejections(self.rejected)}, see {self.rejected_file}")
        return "; ".join(said)


def produce(log: Log, rejected_to: Path, deliver: Callable[[Iterable[Record]], Produced]) -> ProducedLog:
    """Deliver a log's events; keep its rejected rows in `rejected_to`, one JSON object a line, or remove that file.

    Raises NothingAcceptedError where no row becomes an event: then nothing is delivered, and a file stays as it was.
    """
    first: list[Rejected] = []
    failure: NothingAcceptedError | None = None
    with written_whole(rejected_to) as file:

        def reject(row: Rejected) -> None:
            if not first:
                first.append(row)
            file.write(json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n")

        try:
            produced = deliver(_some(log, reject))
        except NothingAcceptedError as error:
            failure = error
    if not log.rejected:
        rejected_to.unlink()
    if failure is not None:
        where = f"; see {rejected_to}. The first is line {first[0].line}: {first[0].detail}" if first else ""
        raise NothingAcceptedError(f"{failure}{where}") from failure
    return ProducedLog(
        **asdict(produced),
        left_out=log.left_out,
        without_items=log.without_items,
        rejected=dict(log.rejected),
        rejected_file=str(rejected_to) if log.rejected else None,
    )


def _some(log: Log, reject: Callable[[Rejected], None]) -> Iterator[Record]:
    """The log's records, of which there is at least one."""
    is_empty = True
    for record in log.records(reject):
        is_empty = False
        yield record
    if is_empty:
        said = [*_others(log.left_out, log.without_items), *([_rejections(log.rejected)] if log.rejected else [])]
        raise NothingAcceptedError(
            f"{log.path}: no row became an event: {'; '.join(said)}" if said else f"{log.path} holds no rows"
        )


def _others(left_out: int, without_items: int) -> list[str]:
    said = [(left_out, "left out by `where`"), (without_items, "with nothing in `each`")]
    return [f"{_rows(rows)} {why}" for rows, why in said if rows]


def _rejections(rejected: dict[str, int]) -> str:
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(rejected.items()))
    return f"{_rows(sum(rejected.values()))} rejected ({reasons})"


def _rows(count: int) -> str:
    return f"{count:,} row" + ("s" if count != 1 else "")


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
    """Write the records' values to a JSONL file instead of Kafka, one a line; the whole file or nothing."""
    topics = set()
    written = 0
    with written_whole(out) as lines:
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
