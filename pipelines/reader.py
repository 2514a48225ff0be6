"""kafka-python's records, packed; and that client in a process of its own (`main`).

kafka-python decodes in Python. Beside the rest of a landing it would wait for the interpreter's lock half of the time.
Nothing but that client is imported here: the second process stays small.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
import time
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

POLL_BYTES = 2 * 1024 * 1024  # of a process of its own, about: what lies in the pipe is memory, too
AT_ONE_POLL = 3_000  # records of one poll
AT_FIRST = 10  # while nobody knows how large they are


class Bytes(NamedTuple):
    """Byte strings, joined. `ends`: 0, then where each one ends. `missing`: 1 for each that is None; None: none is."""

    ends: array[int]
    joined: bytes
    missing: bytes | None


class Packed(NamedTuple):
    """What one poll gave: columns of records, and the next offset of partitions that moved, holes included.

    `timestamp` is in milliseconds since 1970, and any number that a producer has thought of; -1: there is none.
    """

    partition: array[int]
    offset: array[int]
    timestamp: array[int]
    key: Bytes
    value: Bytes
    positions: dict[int, int]


def pack(strings: Sequence[bytes | None]) -> Bytes:
    """Strings, end to end."""
    try:
        joined = b"".join(strings)  # type: ignore[arg-type]  # None is what the next lines are for
    except TypeError:
        present = pack([string or b"" for string in strings])
        return present._replace(missing=bytes(string is None for string in strings))
    return Bytes(array("i", accumulate(map(len, strings), initial=0)), joined, None)  # type: ignore[arg-type]


def assign(consumer: KafkaConsumer, topic: str, offsets: Mapping[int, int]) -> None:
    """Read these partitions from these offsets on, and nothing else."""
    consumer.assign([TopicPartition(topic, number) for number in offsets])
    for number, offset in offsets.items():
        consumer.seek(TopicPartition(topic, number), offset)


def poll(consumer: KafkaConsumer, most: int) -> Packed:
    """At most so many records; waits for them a second at most. A partition's records come in order."""
    partitions, offsets, timestamps = array("i"), array("q"), array("q")
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    for kafka, messages in consumer.poll(timeout_ms=1000, max_records=most).items():
        partitions.extend([kafka.partition] * len(messages))
        offsets.extend([message.offset for message in messages])
        timestamps.extend([-1 if message.timestamp is None else message.timestamp for message in messages])
        keys += [message.key for message in messages]
        values += [message.value for message in messages]
    positions = {
        kafka.partition: position
        for kafka in consumer.assignment()
        if (position := consumer.position(kafka, timeout_ms=1000)) is not None
    }
    return Packed(partitions, offsets, timestamps, pack(keys), pack(values), positions)


def main() -> None:
    """Poll for ever, a `Packed` after the other, as long as the process lives that has started this one.

    Standard input holds one pickle: that process's id, the consumer's configuration, a topic, its offsets. The answers
    are pickles, too, and go to the file descriptor that is named by the first argument: anybody may write to standard
    output. The last answer may be an error of Kafka's, or a text that tells of another one.
    """
    parent, configuration, topic, offsets = pickle.load(sys.stdin.buffer)  # noqa: S301 - from that process
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    gc.set_threshold(100_000)  # records hold no cycles: to look for them costs a twentieth
    with os.fdopen(int(sys.argv[1]), "wb") as answers:
        try:
            consumer = KafkaConsumer(**configuration)
            assign(consumer, topic, offsets)
            fits = AT_FIRST
            while True:
                packed = poll(consumer, fits)
                if packed.offset:
                    average = len(packed.value.joined) // len(packed.offset) + 1
                    fits = min(max(1, POLL_BYTES // average), AT_ONE_POLL)
                _answer(answers, packed)
        except KafkaError as error:
            _answer(answers, error)
        except Exception as error:
            _answer(answers, f"{type(error).__name__}: {error}")


def _answer(answers: BinaryIO, answer: Any) -> None:
    pickle.dump(answer, answers, protocol=5)
    answers.flush()


def _end_with(parent: int) -> None:
    """Whoever has started this process may be killed: then it has to end, too."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)
