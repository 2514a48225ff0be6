"""What the broker has acknowledged, against what lies in the lake: an oracle that knows nothing of landing."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
from confluent_kafka import KafkaException, Message, Producer

from journey_core.lake import Lake
from journey_core.verify import verify_lake
from pipelines.settings import Settings
from tests.conftest import event

NO_VALUE = "tombstone"


def digest(value: bytes | None) -> str:
    return NO_VALUE if value is None else hashlib.sha256(value).hexdigest()


@dataclass
class Oracle:
    """The producer's own log: (topic, partition, offset, sha256 of the value) of every acknowledged record."""

    settings: Settings
    acknowledged: list[tuple[str, int, int, str]] = field(default_factory=list)
    generation: int = 0

    def producer(self, **more: object) -> Producer:
        sizes = {"message.max.bytes": 20_000_000, "queue.buffering.max.messages": 500_000}
        return Producer({**self.settings.librdkafka, "enable.idempotence": True, "linger.ms": 20, **sizes, **more})

    def send(self, topic: str, values: Iterable[bytes | None], producer: Producer | None = None) -> None:
        """Send and wait; the log holds what was acknowledged, whatever happened to the rest."""
        producer = producer or self.producer()
        for number, value in enumerate(values):
            self.put(producer, topic, value, key=b"%d" % number)
        assert producer.flush(120) == 0

    def put(self, producer: Producer, topic: str, value: bytes | None, **more: object) -> None:
        def acknowledge(error: object, message: Message) -> None:
            if error is None:
                self.acknowledged.append((topic, message.partition(), message.offset(), digest(message.value())))

        while True:
            try:
                producer.produce(topic, value, on_delivery=acknowledge, **more)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    def compare(self, seed: object = None, *, settings: Settings | None = None, unknown: bool = False) -> None:
        """0 missing, 0 doubled, 0 altered; and nothing that nobody sent, unless acknowledgements may be `unknown`.

        And each file of the lake is as it was written.
        """
        names = ("topic", "partition", "offset", "digest")
        columns = list(zip(*self.acknowledged, strict=True)) or [[], [], [], []]
        types = (pa.string(), pa.int32(), pa.int64(), pa.string())
        sent = pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=True)})
        lake = Lake((settings or self.settings).lake)
        assert [str(finding) for finding in verify_lake(lake.root) if finding.fault] == []
        snapshot = lake.snapshot()
        queries = [
            "select null::varchar as topic, 0 as generation, 0 as partition, 0 as \"offset\", '' as digest where false"
        ]
        for table, value in (("events", "payload_hash"), ("rejected_events", f"coalesce(sha256(value), '{NO_VALUE}')")):
            if files := snapshot.files(table):
                queries.append(
                    f'select topic, generation, partition, "offset", {value} as digest from read_parquet({files})'
                )
        with duckdb.connect() as connection:
            connection.register("sent", sent)
            connection.execute(
                f"create temp table landed as select * from ({' union all '.join(queries)}) "
                "where topic in (select topic from sent) and generation = ?",
                [self.generation],
            )
            key = 'using (topic, partition, "offset")'
            found = {
                "missing": f"select * from sent anti join landed {key}",
                "doubled": 'select topic, partition, "offset", count(*) from landed group by all having count(*) > 1',
                "altered": f"select sent.* from sent join landed {key} where sent.digest <> landed.digest",
                "from nowhere": "select 1 where false" if unknown else f"select * from landed anti join sent {key}",
            }
            wrong = {what: rows for what, sql in found.items() if (rows := connection.execute(sql).fetchall())}
        assert not wrong, f"seed {seed}: " + ", ".join(f"{len(r)} {what}, as {r[0]}" for what, r in wrong.items())


def values(count: int, seed: int, *, poison: float = 0.0, prefix: str = "e") -> Iterable[bytes | None]:
    """Events of about 300 bytes, a share of them poisoned. The same seed, the same bytes."""
    chance = random.Random(seed)
    kinds = list(POISON.values())
    for number in range(count):
        made = event(f"{prefix}{number}", f"2026-01-{1 + number % 28:02} 03:04", properties={"n": chance.random()})
        value = json.dumps(made, separators=(",", ":")).encode()
        yield chance.choice(kinds)(value) if chance.random() < poison else value


def _with(old: bytes, new: bytes):
    return lambda value: value.replace(old, new, 1)


#: Whatever a producer may send by mistake or malice. Ten megabytes are apart (`LARGE`): they would fill a small test.
POISON = {
    "invalid JSON": lambda value: value[:-1],
    "invalid UTF-8": _with(b'"e', b'"\xff\xfe'),
    "empty value": lambda _: b"",
    "tombstone": lambda _: None,
    "wrong types": _with(b'"identifiers":{', b'"identifiers":7,"x":{'),
    "deep nesting": _with(b'"properties":{', b'"properties":{"d":' + b"[" * 10_000 + b"]" * 10_000 + b","),
    "NaN": _with(b'"properties":{', b'"properties":{"x":NaN,'),
    "duplicate keys": _with(b'"properties":{', b'"properties":{"x":1,"x":2,'),
    "unknown channel": _with(b'"web"', b'"fax"'),
    "no object": lambda _: b"[1,2]",
}
LARGE = {
    "10 MB of JSON": _with(b'"properties":{', b'"properties":{"x":"' + b"y" * 10_000_000 + b'",'),
    "10 MB of nothing": lambda _: b"\x00" * 10_000_000,
}

__all__ = ["LARGE", "POISON", "KafkaException", "Oracle", "digest", "values"]
