"""Kafka's records as Arrow, by either client: `kafka-python`, or `confluent-kafka` (`JOURNEY_KAFKA_CLIENT=confluent`).

Both assign and seek, join no consumer group, read committed records only, and never choose an offset by themselves.
Neither knows the lake: what to fetch, and what follows from it, is `land.py`'s.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from array import array
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, Protocol, cast
from uuid import UUID
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError, for_code
from kafka.record import util as kafka_record
from kafka.structs import OffsetAndMetadata

from journey_core.contract import RECORDS
from journey_core.errors import BrokerError, LandingGapError
from pipelines import reader
from pipelines.reader import AT_FIRST, AT_ONE_POLL, Bytes, Packed
from pipelines.settings import Settings

# A producer may stamp its records with any number; beyond the year 9999 no reader follows, so it counts as no time.
LAST_MILLISECOND = 253_402_300_799_999
RECONNECT_MS = 1000  # at most, between two tries: the clients' own half minute is what a landing would lose
AT_ONCE = 10_000  # records of a batch, and their bytes, about: more of both would be no faster, and take memory
BYTES_AT_ONCE = 6 * 1024 * 1024
FETCH_BYTES = 1024 * 1024  # of one partition; a larger record still comes, alone


@dataclass(frozen=True)
class Topic:
    """A topic as Kafka describes it now. `mark` and `cluster` tell it from another one of its name (63 bits of ids).

    `begins` and `ends` are partition → first offset held, and the offset after the last committed record.
    """

    name: str
    mark: int
    cluster: int
    begins: Mapping[int, int]
    ends: Mapping[int, int]


@dataclass(frozen=True)
class Batch:
    """Records (columns of RECORDS), and per partition the offset they were read from and the next one."""

    records: pa.Table
    starts: Mapping[int, int]
    ends: Mapping[int, int]


@dataclass
class Polled:
    """What one poll gave: records (of RECORDS what Kafka says), and the next offset of partitions that moved.

    The latter with holes included: nothing of a partition lies before its next offset any more.
    """

    records: pa.Table
    positions: Mapping[int, int]


class Client(Protocol):
    """What landing asks of a Kafka client. Every call may raise BrokerError; `poll` LandingGapError too."""

    def topics(self) -> list[str]:
        """Every topic of the cluster."""

    def describe(self, topic: str) -> Topic:
        """The topic as it is now."""

    def is_apart(self, waiting: int) -> bool:
        """Whether another process reads, where about so many records wait: it keeps a processor busy."""

    def start(self, topic: str, offsets: Mapping[int, int], waiting: int) -> None:
        """Read these partitions from these offsets on, and nothing else; about so many records wait there."""

    def poll(self, most: int) -> Polled:
        """At most so many records; waits for them a second at most. A partition's records come in order."""

    def drain(self, most: int) -> int:
        """Like `poll`, but the records are only counted: the most that the client can give, for the benchmark."""

    def mirror(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Tell Kafka how far the lake is, as the group `kafka_group`: a copy for its tools, that nobody reads here."""


@contextmanager
def connect(settings: Settings) -> Iterator[Client]:
    """The configured client. Raises BrokerError where it is not installed as it should be, or nobody answers."""
    clients = {"kafka-python": _kafka_python, "confluent": _confluent}
    with clients[settings.kafka_client](settings) as client:
        yield client


def fetch(
    client: Client,
    topic: Topic,
    generation: int,
    starts: Mapping[int, int],
    settings: Settings,
    *,
    most: int | None = None,
) -> Generator[Batch]:
    """Everything from `starts` up to the topic's ends (at most `most` records), in batches that memory can hold.

    Offsets have holes (transaction markers, compaction): a partition is done when its position has passed the end,
    never when a count is reached. A broker that goes away is waited for, `land_patience` long; then BrokerError.
    """
    left = {number: start for number, start in starts.items() if start < topic.ends[number]}
    if left:
        client.start(topic.name, left, sum(topic.ends[number] - start for number, start in left.items()))
    average = None
    while left and most != 0:
        batch = _batch(client, topic, generation, left, settings, most, average)
        count, size = batch.records.num_rows, _size(batch.records)
        yield batch
        left = {number: end for number, end in batch.ends.items() if end < topic.ends[number]}
        most = most and most - count
        average = size // count + 1 if count else average


def _batch(
    client: Client,
    topic: Topic,
    generation: int,
    starts: Mapping[int, int],
    settings: Settings,
    most: int | None,
    average: int | None,
) -> Batch:
    """`average`: bytes of a record, about; None while nobody knows."""
    room = min(AT_ONCE, settings.land_batch_records, most or AT_ONCE)
    space = min(BYTES_AT_ONCE, settings.land_batch_bytes)
    patience = settings.land_patience.total_seconds()
    reached = dict(starts)
    parts: list[pa.Table] = []
    moved_at = time.monotonic()
    while room > 0 and space > 0 and any(reached[n] < topic.ends[n] for n in reached):
        # Records of a megabyte come a few at a time, those of a kilobyte by the thousand.
        fits = AT_FIRST if average is None else max(1, space // average)
        polled = client.poll(min(AT_ONE_POLL, room, fits))
        part = _below(polled.records, topic.ends)
        if part.num_rows:
            parts.append(part)
            size = _size(part)
            room -= part.num_rows
            space -= size
            average = size // part.num_rows + 1
        ahead = {n: min(at, topic.ends[n]) for n, at in polled.positions.items() if n in reached and at > reached[n]}
        reached |= ahead
        if ahead:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > patience:
            raise settings.refused(TimeoutError(f"nothing fetched for {patience:.0f} seconds"))
    records = _named(pa.concat_tables(parts), topic.name, generation) if parts else RECORDS.empty_table()
    return Batch(records, dict(starts), reached)


def _size(records: pa.Table) -> int:
    return int(records["value"].nbytes + records["key"].nbytes)


def _named(records: pa.Table, topic: str, generation: int) -> pa.Table:
    count = records.num_rows
    alike = {"topic": topic, "generation": generation, "landed_at": datetime.now(UTC)}
    columns = {name: pa.repeat(pa.scalar(value, RECORDS.field(name).type), count) for name, value in alike.items()}
    return pa.table({name: columns[name] if name in columns else records[name] for name in RECORDS.names})


def _below(records: pa.Table, ends: Mapping[int, int]) -> pa.Table:
    """Without what arrived after the run began: that is the next run's."""
    numbers = pc.unique(records["partition"]).to_pylist()
    if not numbers or pc.max(records["offset"]).as_py() < min(ends[number] for number in numbers):
        return records
    keep = pc.scalar(False)
    for number in numbers:
        keep = keep | ((pc.field("partition") == number) & (pc.field("offset") < ends[number]))
    return records.filter(keep)


def _polled(packed: Packed) -> Polled:
    """Without a copy: the columns are the bytes that have come."""
    count = len(packed.offset)
    stamps = _numbers(pa.int64(), packed.timestamp)
    is_time = pc.and_(pc.greater_equal(stamps, 0), pc.less_equal(stamps, pa.scalar(LAST_MILLISECOND)))
    stamps = pc.if_else(is_time, stamps, pa.scalar(None, pa.int64()))
    columns = {
        "partition": _numbers(pa.int32(), packed.partition),
        "offset": _numbers(pa.int64(), packed.offset),
        "kafka_timestamp": stamps.cast(pa.timestamp("ms", tz="UTC")).cast(pa.timestamp("us", tz="UTC")),
        "key": _strings(packed.key, count),
        "value": _strings(packed.value, count),
    }
    return Polled(pa.table(columns), packed.positions)


def _numbers(kind: pa.DataType, numbers: array[int]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def _strings(strings: Bytes, count: int) -> pa.Array:
    bits = None
    if strings.missing is not None:
        missing = pa.Array.from_buffers(pa.uint8(), count, [None, pa.py_buffer(strings.missing)])
        bits = pc.equal(missing, 0).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), count, [bits, pa.py_buffer(strings.ends), pa.py_buffer(strings.joined)])


@contextmanager
def _kafka_python(settings: Settings) -> Iterator[Client]:
    if kafka_record.crc32c_c is None:
        raise BrokerError(
            "kafka-python without its C checksum reads a seventh as fast. Run: pip install 'kafka-python[crc32c]', or "
            "set JOURNEY_KAFKA_CLIENT=confluent (pip install 'journey-pipeline[confluent]')"
        )
    with _kafka_errors(settings), ExitStack() as stack:
        timeout = {"bootstrap_timeout_ms": settings.kafka_timeout_ms}
        configuration = {
            **settings.kafka,
            **timeout,
            "isolation_level": "read_committed",
            "auto_offset_reset": "none",
            "enable_auto_commit": False,
            "group_id": None,
            "max_partition_fetch_bytes": FETCH_BYTES,
            "reconnect_backoff_max_ms": RECONNECT_MS,
        }
        admin = stack.enter_context(closing(KafkaAdminClient(**settings.kafka, **timeout)))
        client = _KafkaPython(configuration, admin, settings)
        stack.enter_context(closing(client))
        yield client


@contextmanager
def _kafka_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (OffsetOutOfRangeError, LogTruncationError) as error:
        raise _deleted_meanwhile(error) from error
    except KafkaError as error:
        raise settings.refused(error) from error


def _deleted_meanwhile(error: object) -> LandingGapError:
    return LandingGapError(f"Kafka deleted records while they were being landed: {error}. Land again to see which")


class _KafkaPython:
    def __init__(self, configuration: dict[str, Any], admin: KafkaAdminClient, settings: Settings) -> None:
        self._configuration = configuration
        self._consumer = KafkaConsumer(**configuration)
        self._admin = admin
        self._group = settings.kafka_group
        self._apart_from = settings.land_apart_from
        self._apart: _Apart | None = None

    def close(self) -> None:
        if self._apart is not None:
            self._apart.close()
        self._consumer.close()

    def topics(self) -> list[str]:
        return list(self._consumer.topics())

    def describe(self, topic: str) -> Topic:
        (described,) = self._admin.describe_topics([topic])
        if described["error_code"]:
            raise for_code(described["error_code"])(topic)
        numbers = sorted(partition["partition_index"] for partition in described["partitions"])
        partitions = [TopicPartition(topic, number) for number in numbers]
        return Topic(
            topic,
            UUID(str(described["topic_id"])).int >> 65,
            _mark(self._admin.describe_cluster()["cluster_id"]),
            {kafka.partition: offset for kafka, offset in self._consumer.beginning_offsets(partitions).items()},
            {kafka.partition: offset for kafka, offset in self._consumer.end_offsets(partitions).items()},
        )

    def is_apart(self, waiting: int) -> bool:
        return waiting >= self._apart_from

    def start(self, topic: str, offsets: Mapping[int, int], waiting: int) -> None:
        if self._apart is not None:
            self._apart.close()
            self._apart = None
        if self.is_apart(waiting):
            self._apart = _Apart(self._configuration, topic, offsets)
        else:
            reader.assign(self._consumer, topic, offsets)

    def poll(self, most: int) -> Polled:
        return _polled(reader.poll(self._consumer, most)) if self._apart is None else self._apart.poll(most)

    def drain(self, most: int) -> int:
        return sum(map(len, self._consumer.poll(timeout_ms=1000, max_records=most).values()))

    def mirror(self, topic: str, offsets: Mapping[int, int]) -> None:
        self._admin.alter_group_offsets(
            self._group,
            {TopicPartition(topic, number): OffsetAndMetadata(offset, "", -1) for number, offset in offsets.items()},
        )


class _Apart:
    """A `reader` that runs: it decodes the next records while these are judged and committed."""

    def __init__(self, configuration: dict[str, Any], topic: str, offsets: Mapping[int, int]) -> None:
        self._left: Polled | None = None
        answers, theirs = os.pipe()
        self._answers = os.fdopen(answers, "rb")
        try:
            self._process = subprocess.Popen(
                # It finds what this process finds, and nothing in the working directory.
                [sys.executable, "-P", "-c", f"from {reader.__name__} import main; main()", str(theirs)],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs],
                process_group=0,  # Ctrl-C is this process's
            )
        except OSError as error:
            self._answers.close()
            raise _ended(error) from error
        finally:
            os.close(theirs)
        with suppress(BrokenPipeError), cast(IO[bytes], self._process.stdin) as asked:  # its end is seen by `poll`
            pickle.dump((os.getpid(), configuration, topic, dict(offsets)), asked)

    def poll(self, most: int) -> Polled:
        polled = self._left or self._next()
        self._left = None
        if polled.records.num_rows <= most:
            return polled
        first = polled.records[:most]
        self._left = Polled(polled.records[most:], polled.positions)
        reached = first.group_by("partition").aggregate([("offset", "max")])
        numbers, offsets = reached["partition"].to_pylist(), reached["offset_max"].to_pylist()
        return Polled(first, {number: offset + 1 for number, offset in zip(numbers, offsets, strict=True)})

    def _next(self) -> Polled:
        try:
            answer = pickle.load(self._answers)  # noqa: S301 - from the process that this one has started
        except Exception as error:
            self.close()
            raise _ended(f"exit code {self._process.returncode}") from error
        if isinstance(answer, KafkaError):
            raise answer
        if isinstance(answer, str):
            raise _ended(answer)
        return _polled(answer)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._answers.close()


def _ended(why: object) -> BrokerError:
    return BrokerError(
        f"the process that reads Kafka has ended ({why}). What was committed stays. Land again; if it stays so, do "
        "without that process: JOURNEY_LAND_APART_FROM=1000000000"
    )


def _mark(text: str) -> int:
    return crc32(text.encode())


@contextmanager
def _confluent(settings: Settings) -> Iterator[Client]:
    try:
        import confluent_kafka  # noqa: PLC0415 - an extra: who does not ask for it need not have it
        from confluent_kafka import admin as confluent_admin  # noqa: PLC0415
    except ImportError as error:
        raise BrokerError(
            "JOURNEY_KAFKA_CLIENT=confluent needs confluent-kafka. Run: pip install 'journey-pipeline[confluent]', or "
            "unset it to use kafka-python"
        ) from error
    try:
        admin = confluent_admin.AdminClient(settings.librdkafka)
        consumer = confluent_kafka.Consumer(
            {
                **settings.librdkafka,
                "group.id": settings.kafka_group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "check.crcs": True,
                # It tells how far a partition is read where nothing but holes is left.
                "enable.partition.eof": True,
                "fetch.message.max.bytes": 512 * 1024,
                "queued.max.messages.kbytes": 8 * 1024,
                "reconnect.backoff.max.ms": RECONNECT_MS,
                "fetch.queue.backoff.ms": 10,  # its default of a second makes it stand still half of the time
            }
        )
        with closing(consumer):
            yield _Confluent(confluent_kafka, confluent_admin, consumer, admin, settings)
    except confluent_kafka.KafkaException as error:
        code = error.args[0]
        if code.name() in {"OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET"}:
            raise _deleted_meanwhile(code.str()) from error
        raise settings.refused(TimeoutError(code.str()) if code.retriable() or _is_away(code) else error) from error


def _is_away(code: Any) -> bool:
    return code.name() in {"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE"}


class _Confluent:
    def __init__(self, kafka: Any, kafka_admin: Any, consumer: Any, admin: Any, settings: Settings) -> None:
        self._kafka = kafka
        self._kafka_admin = kafka_admin
        self._consumer = consumer
        self._admin = admin
        self._group = settings.kafka_group
        self._timeout = settings.kafka_timeout.total_seconds()

    def topics(self) -> list[str]:
        return list(self._admin.list_topics(timeout=self._timeout).topics)

    def describe(self, topic: str) -> Topic:
        within = {"request_timeout": self._timeout}
        described = self._admin.describe_topics(self._kafka.TopicCollection([topic]), **within)[topic].result()
        high, low = described.topic_id.get_most_significant_bits(), described.topic_id.get_least_significant_bits()
        cluster = self._admin.describe_cluster(**within).result().cluster_id
        ranges = []
        for spec in (self._kafka_admin.OffsetSpec.earliest(), self._kafka_admin.OffsetSpec.latest()):
            asked = {self._kafka.TopicPartition(topic, partition.id): spec for partition in described.partitions}
            listed = self._admin.list_offsets(
                asked, isolation_level=self._kafka.IsolationLevel.READ_COMMITTED, **within
            )
            ranges.append({kafka.partition: future.result().offset for kafka, future in listed.items()})
        mark = ((high & (2**64 - 1)) << 64 | (low & (2**64 - 1))) >> 65
        return Topic(topic, mark, _mark(cluster), *ranges)

    def is_apart(self, waiting: int) -> bool:  # noqa: ARG002
        return False

    def start(self, topic: str, offsets: Mapping[int, int], waiting: int) -> None:  # noqa: ARG002
        # Who does not ask which broker leads is told by librdkafka's timer: up to a second later, for each topic.
        self._consumer.list_topics(topic, timeout=self._timeout)
        self._consumer.assign([self._kafka.TopicPartition(topic, *pair) for pair in offsets.items()])

    def poll(self, most: int) -> Polled:
        # What lies in the client's queue is bounded by bytes; what comes within a second may be anything.
        messages = self._consumer.consume(most, timeout=0) or self._consumer.consume(1, timeout=1.0)
        good = [message for message in messages if message.error() is None]
        partitions = array("i", [message.partition() for message in good])
        offsets = array("q", [message.offset() for message in good])
        positions = {number: offset + 1 for number, offset in zip(partitions, offsets, strict=True)}
        if len(good) < len(messages):
            self._look_at(messages, positions)
        timestamps = array("q", [message.timestamp()[1] for message in good])
        keys, values = ([message.key() for message in good], [message.value() for message in good])
        return _polled(Packed(partitions, offsets, timestamps, reader.pack(keys), reader.pack(values), positions))

    def _look_at(self, messages: Sequence[Any], positions: dict[int, int]) -> None:
        for message in messages:
            error = message.error()
            if error is None:
                continue
            if error.code() == self._kafka.KafkaError._PARTITION_EOF:
                number = message.partition()
                # A record may follow the end that was reached a moment ago, in the same answer.
                positions[number] = max(positions.get(number, 0), message.offset())
            elif not error.retriable() and not _is_away(error):
                raise self._kafka.KafkaException(error)

    def drain(self, most: int) -> int:
        return sum(message.error() is None for message in self._consumer.consume(most, timeout=1.0))

    def mirror(self, topic: str, offsets: Mapping[int, int]) -> None:
        pairs = [self._kafka.TopicPartition(topic, *pair) for pair in offsets.items()]
        self._consumer.commit(offsets=pairs, asynchronous=False)
