"""`journey status`: how far the lake is behind Kafka, per topic and partition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from journey_core.lake import Lake, Partition
from pipelines.fetch import connect
from pipelines.land import event_topics, find_gaps
from pipelines.open_lake import open_lake
from pipelines.settings import Settings


@dataclass(frozen=True)
class PartitionStatus:
    """One partition. `lag` counts offsets, holes included; `landed_at` is UTC; `rejected_share` is of `records`."""

    topic: str
    partition: int
    lake_offset: int
    end_offset: int
    lag: int
    landed_at: datetime | None
    records: int
    rejected_share: float | None


@dataclass(frozen=True)
class Status:
    """Every partition of every event topic, what would stop a landing, and the largest lag that is fine (None: any)."""

    partitions: tuple[PartitionStatus, ...]
    gaps: tuple[str, ...]
    max_lag: int | None

    @property
    def is_behind(self) -> bool:
        """Whether some partition's lag is larger than `max_lag`, or a landing would stop."""
        return bool(self.gaps) or (self.max_lag is not None and any(one.lag > self.max_lag for one in self.partitions))

    def __str__(self) -> str:
        names = ("topic", "partition", "lake offset", "end offset", "lag", "last landing (UTC)", "rejected")
        rows = [names, *map(_row, self.partitions)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
        table = [
            "  ".join(
                cell.ljust(width) if column in (0, 5) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lag = sum(one.lag for one in self.partitions)
        verdict = f"{lag:,} offsets behind in {len(self.partitions)} partitions"
        if self.gaps:
            return "\n".join([*table, verdict, *(f"landing would stop: {gap}" for gap in self.gaps)])
        if self.is_behind:
            verdict += f"; more than {self.max_lag:,} in one is too many. Run: journey land"
        return "\n".join([*table, verdict])


def status(settings: Settings, *, max_lag: int | None = None) -> Status:
    """Compare the lake's offsets with Kafka's ends; nothing is changed.

    `max_lag` defaults to the setting of that name. Raises BrokerError where Kafka does not answer,
    LostLakeError where this home had a lake.
    """
    with TemporaryDirectory() as nothing:
        # A lake is made where it is missing: not by who only asks.
        lake = open_lake(settings)
        snapshot = (lake if lake.root.exists() else Lake(Path(nothing))).snapshot()
    counts = snapshot.counts()
    found = []
    gaps: list[str] = []
    with connect(settings) as client:
        for name in event_topics(client):
            topic = client.describe(name)
            generation = snapshot.generation(name, topic.mark)
            before = find_gaps(topic, snapshot)
            gaps += map(str, before.gaps if before and before.needs_consent else ())
            for number, end in sorted(topic.ends.items()):
                # Of a topic that took the place of the landed one, nothing is in the lake.
                partition = Partition(name, number, -1 if generation is None else generation)
                offset = snapshot.start(partition)
                accepted, rejected = counts.get((name, partition.generation, number), (0, 0))
                landed_at = snapshot.landed_at(partition)
                found.append(
                    PartitionStatus(
                        topic=name,
                        partition=number,
                        lake_offset=offset,
                        end_offset=end,
                        lag=max(end - max(offset, topic.begins[number]), 0),
                        landed_at=None if landed_at is None else datetime.fromtimestamp(landed_at / 1000, UTC),
                        records=accepted + rejected,
                        rejected_share=rejected / (accepted + rejected) if accepted + rejected else None,
                    )
                )
    return Status(tuple(found), tuple(gaps), settings.max_lag if max_lag is None else max_lag)


def _row(one: PartitionStatus) -> tuple[str, ...]:
    return (
        one.topic,
        str(one.partition),
        f"{one.lake_offset:,}",
        f"{one.end_offset:,}",
        f"{one.lag:,}",
        f"{one.landed_at:%Y-%m-%d %H:%M:%S}" if one.landed_at else "never",
        "-" if one.rejected_share is None else f"{one.rejected_share:.1%}",
    )
