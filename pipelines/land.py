"""`journey land`: Kafka → lake.

One run owns pinned offset ranges: from where the lake ends to where Kafka ended when the run began. It joins no
consumer group, and Kafka's own offsets decide nothing. Rows and offsets commit together (see `journey_core/lake.py`),
so a run that dies at any instant is repaired by the next one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pyarrow as pa

from journey_core.contract import Judged, Screened
from journey_core.errors import LandingGapError, NotBuiltError, SupersededError
from journey_core.lake import Cause, Gap, Lake, Partition, Snapshot, known_by
from journey_core.release import current_release
from pipelines.admit import screen_each, settle, withhold
from pipelines.fetch import AT_ONCE, BYTES_AT_ONCE, Batch, Client, Topic, connect, fetch
from pipelines.open_lake import open_lake
from pipelines.progress import Progress, silent
from pipelines.settings import Settings

EVENT_TOPIC = re.compile(r"events\.[a-z0-9_]+\.v\d+")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Landed:
    """What one run landed. `records` = `accepted` + `rejected`; duplicates are found by the build, over all history.

    `notes` says what else happened: a gap that was accepted, another lander that was faster.
    """

    records: int = 0
    accepted: int = 0
    rejected: int = 0
    topics: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Landed) -> Landed:
        return Landed(
            self.records + other.records,
            self.accepted + other.accepted,
            self.rejected + other.rejected,
            self.topics + other.topics,
            self.notes + other.notes,
        )

    def __str__(self) -> str:
        source = self.topics[0] if len(self.topics) == 1 else f"{len(self.topics)} topics"
        line = f"landed {self.records:,} records from {source}: {self.accepted:,} accepted, {self.rejected:,} rejected"
        return "\n".join([line, *self.notes])


def list_topics(settings: Settings) -> list[str]:
    """The cluster's event topics (`events.<channel>.v<n>`), sorted."""
    with connect(settings) as client:
        return event_topics(client)


def has_news(settings: Settings) -> bool:
    """Whether the lake holds what the current release does not."""
    try:
        published = current_release(settings.releases).manifest["source"]
    except NotBuiltError:
        return True
    return bool(published != open_lake(settings).snapshot().identity())


def land(
    settings: Settings,
    *,
    topics: Sequence[str] | None = None,
    max_events: int | None = None,
    accept_gap: bool = False,
    new_lake: bool = False,
    progress: Progress = silent,
) -> Landed:
    """Land every event topic (or just `topics`) up to the end offsets seen at the start.

    `max_events` bounds the records of this run; the rest waits for the next one. Raises BrokerError where Kafka does
    not answer, LandingGapError where it no longer holds what the lake still needs, StorageError where the disk refuses,
    LostLakeError where the lake of this home is gone (unless `new_lake`).
    With `accept_gap` such a loss is written down in `lake.landing_gaps` instead, and landing goes on behind it.
    Where another lander was faster nothing is doubled, and this run counts only what it landed itself.
    """
    landed = Landed()
    lake = open_lake(settings, new_lake=new_lake)
    with connect(settings) as client:
        for topic in event_topics(client) if topics is None else topics:
            left = None if max_events is None else max_events - landed.records
            if left is not None and left <= 0:
                break
            for part in _land_topic(topic, client, lake, settings, left, accept_gap, progress):
                landed += part
            landed += Landed(topics=(topic,))
    return landed


def event_topics(client: Client) -> list[str]:
    """The names of the event topics that a connected client sees, sorted."""
    return sorted(topic for topic in client.topics() if EVENT_TOPIC.fullmatch(topic))


def _land_topic(
    name: str,
    client: Client,
    lake: Lake,
    settings: Settings,
    max_events: int | None,
    accept_gap: bool,
    progress: Progress,
) -> Iterator[Landed]:
    """One `Landed` per committed batch."""
    try:
        while True:
            # In this order: another lander may land meanwhile, and Kafka's ends must not be older than the lake's.
            snapshot = lake.snapshot()
            topic = client.describe(name)
            found = find_gaps(topic, snapshot)
            if found is None:
                break
            _require_consent(found, accept_gap)
            lake.accept(found.gaps, snapshot, found.starts, found.known_by, datetime.now(UTC))
            yield Landed(notes=tuple(f"accepted gap: {gap}" for gap in found.gaps))
        generation = snapshot.generation(name, topic.mark) or 0
        partitions = {number: Partition(name, number, generation) for number in topic.ends}
        starts = {number: snapshot.start(partition) for number, partition in partitions.items()}
        total = sum(topic.ends[number] - start for number, start in starts.items())
        done = 0
        fetched = fetch(client, topic, generation, starts, settings, most=max_events)
        # Three at work at once: one batch is fetched, the one before it screened, those before that committed.
        threads = 1 if client.is_apart(total) else 2
        # Fetching takes now longer, now less long than screening: with one batch between them each would wait at times.
        batches = _ahead(fetched, 2)
        with closing(_ahead(_gathered(_screened(batches, settings, threads), settings))) as gathered:
            for parts in gathered:
                # A partition that is done is in no later part, and none comes that was not in the first.
                read_from, read_to = parts[0].starts, {n: end for part in parts for n, end in part.ends.items()}
                records = sum(part.records for part in parts)
                judged = settle([part.screened for part in parts], settings)
                del parts
                judged = _commit(judged, lake, snapshot, partitions, topic, read_from, read_to, settings)
                snapshot = lake.snapshot(snapshot)
                landed = Landed(records, judged.accepted.num_rows, judged.rejected.num_rows)
                done += landed.records
                progress(f"landing {name}", done, total)
                yield landed
                del judged
        yield _mirror(client, snapshot, partitions)
    except SupersededError as superseded:
        # Another lander has these rows in the lake: that is an answer, not a failure, and the other topics go on.
        yield Landed(notes=(str(superseded),))


@dataclass(frozen=True)
class _Part:
    """A batch on its way into the lake. `starts`, `ends`: partition → offset it was read from, and the next one."""

    records: int
    size: int  # bytes of the records
    screened: Screened
    starts: Mapping[int, int]
    ends: Mapping[int, int]


def _screened(batches: Generator[Batch], settings: Settings, threads: int) -> Generator[_Part]:
    taken: deque[tuple[int, int, Mapping[int, int], Mapping[int, int]]] = deque()

    def records() -> Iterator[pa.Table]:
        for batch in batches:
            taken.append((batch.records.num_rows, batch.records.nbytes, batch.starts, batch.ends))
            yield batch.records

    with closing(batches), closing(screen_each(records(), settings, threads=threads)) as answers:
        for screened in answers:
            count, size, starts, ends = taken.popleft()
            yield _Part(count, size, screened, starts, ends)
            del screened  # the next one is a while in coming


def _gathered(parts: Generator[_Part], settings: Settings) -> Generator[Sequence[_Part]]:
    """Several each, as a commit takes as long for one as for three."""
    waiting: list[_Part] = []
    try:
        with closing(parts):
            for part in parts:
                waiting.append(part)
                records, size = sum(each.records for each in waiting), sum(each.size for each in waiting)
                if records + AT_ONCE > settings.land_batch_records or size + BYTES_AT_ONCE > settings.land_batch_bytes:
                    del part
                    yield waiting
                    waiting = []
    except Exception:
        # What Kafka gave before it failed, it may not give again.
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting


def _ahead(items: Generator[Item], most: int = 1) -> Generator[Item]:
    """The same items, made by a thread of its own while those before them are in use: at most so many wait."""
    with closing(items), ThreadPoolExecutor(1) as pool:
        make = partial(next, items, None)
        coming = deque(pool.submit(make) for _ in range(most))
        try:
            while (made := [coming.popleft().result()])[0] is not None:
                coming.append(pool.submit(make))
                yield made.pop()  # whoever takes it decides how long it is kept
        finally:
            pool.shutdown(cancel_futures=True)  # what is not begun: nobody asks for it any more


def _commit(
    judged: Judged,
    lake: Lake,
    snapshot: Snapshot,
    known: Mapping[int, Partition],
    topic: Topic,
    read_from: Mapping[int, int],
    read_to: Mapping[int, int],
    settings: Settings,
) -> Judged:
    starts = {known[number]: offset for number, offset in read_from.items()}
    ends = {known[number]: offset for number, offset in read_to.items()}
    now = round(datetime.now(UTC).timestamp() * 1000)
    marks = {f"{topic.name}#partitions": len(topic.ends)}
    marks |= {f"{partition}#landed_at": now for partition, end in ends.items() if end > starts[partition]}
    return lake.commit(judged, snapshot, starts, ends, marks, partial(withhold, settings=settings))


def _mirror(client: Client, snapshot: Snapshot, partitions: Mapping[int, Partition]) -> Landed:
    """Kafka's own offsets follow the lake's, so that lag shows in the usual tools; nothing depends on them."""
    if not partitions:
        return Landed()
    offsets = {number: snapshot.start(partition) for number, partition in partitions.items()}
    topic = next(iter(partitions.values())).topic
    try:
        client.mirror(topic, offsets)
    except Exception as error:
        return Landed(notes=(f"Kafka does not take the offsets of {topic}, its tools show an older lag: {error}",))
    return Landed()


@dataclass(frozen=True)
class Found:
    """What stands before a landing: gaps, if any; where to begin behind them; the numbers that know the topic again."""

    gaps: tuple[Gap, ...]
    starts: Mapping[Partition, int]
    known_by: Mapping[str, int]

    @property
    def needs_consent(self) -> bool:
        """Whether records are lost that a landing before this one could have had."""
        return any(gap.cause != "before_first_landing" for gap in self.gaps)


def find_gaps(topic: Topic, snapshot: Snapshot) -> Found | None:
    """What must be written down before `topic` can be landed: it is new, it is another one, or it has lost records.

    None where nothing must. `topic` has to be described after the snapshot was taken.
    """
    generation = snapshot.generation(topic.name, topic.mark)
    last = snapshot.last_generation(topic.name)
    if generation is None:
        gaps = [] if last is None else _replaced(topic, snapshot, last)
        generation = 0 if last is None else last + 1
        gaps += _deleted(topic, snapshot, generation, "before_first_landing")
        starts = {Partition(topic.name, number, generation): begin for number, begin in topic.begins.items()}
    else:
        landed = {number: snapshot.start(Partition(topic.name, number, generation)) for number in topic.ends}
        if any(landed[number] > end for number, end in topic.ends.items()):
            # Kafka will use these offsets again: what comes is of the next generation, from where Kafka went back to.
            generation = (last or 0) + 1
            gaps = [
                Gap(topic.name, generation, number, end, landed[number], "truncated")
                for number, end in sorted(topic.ends.items())
                if landed[number] > end
            ]
            starts = {Partition(topic.name, n, generation): min(landed[n], end) for n, end in topic.ends.items()}
        else:
            gaps = _deleted(topic, snapshot, generation, "retention")
            if not gaps:
                return None
            starts = {Partition(gap.topic, gap.partition, generation): topic.begins[gap.partition] for gap in gaps}
    return Found(tuple(gaps), starts, known_by(topic.name, topic.mark, topic.cluster, generation, last or 0))


def _replaced(topic: Topic, snapshot: Snapshot, last: int) -> list[Gap]:
    """One gap per partition of the topic that was landed before, from where it was left."""
    cause: Cause = "recreated" if snapshot.cluster(topic.name) == topic.cluster else "other_cluster"
    before = range(max(snapshot.partitions(topic.name), len(topic.ends)))
    return [
        Gap(topic.name, last + 1, number, snapshot.start(Partition(topic.name, number, last)), None, cause)
        for number in before
    ]


def _deleted(topic: Topic, snapshot: Snapshot, generation: int, cause: Cause) -> list[Gap]:
    """The offsets that Kafka has deleted before they were landed."""
    return [
        Gap(topic.name, generation, number, start, begin, cause)
        for number, begin in sorted(topic.begins.items())
        if (start := snapshot.start(Partition(topic.name, number, generation))) < begin
    ]


def _require_consent(found: Found, accept_gap: bool) -> None:
    if found.needs_consent and not accept_gap:
        raise LandingGapError(
            f"{'; '.join(map(str, found.gaps))}: {_REMEDY[found.gaps[0].cause]}. Nothing was skipped. To go on without "
            "them, and have it written down in lake.landing_gaps: journey land --accept-gap"
        )


_REMEDY: dict[Cause, str] = {
    "retention": "Kafka has deleted them before they were landed. Restore them, or lengthen the retention",
    "recreated": "the topic was recreated since it was landed last. Restore it, or use a new JOURNEY_HOME",
    "other_cluster": "this is another cluster than the one landed last. Check JOURNEY_KAFKA_BOOTSTRAP_SERVERS",
    "truncated": "Kafka ends before what the lake holds: it has lost records. Restore them, or use a new JOURNEY_HOME",
}
