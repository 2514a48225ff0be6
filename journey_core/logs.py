"""Any CSV, Parquet or JSON log into canonical events, by a mapping.

Each row becomes events, or one rejected row with its line and the reason. A row that cannot be read, a value that the
contract does not take: none of them stops its neighbours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from journey_core.contract import judge, records_of
from journey_core.errors import InputError
from journey_core.events import event_key, topic_of
from journey_core.lines import COMPRESSIONS, kind_of
from journey_core.log_rows import FORMATS, Rejected, Row, Source, open_source
from journey_core.mapping import Plan, plan, read_mapping

__all__ = ["Log", "Record", "Rejected", "read_log"]


@dataclass(frozen=True)
class Record:
    """What a producer sends: `value` is one event as JSON, `key` its strongest identifier."""

    topic: str
    key: bytes | None
    value: bytes | None


@dataclass
class Log:
    """A log and its mapping. `records` streams; what it counts is final when it ends."""

    path: Path
    #: Rows of the file, where they can be told before reading it whole.
    rows: int | None
    _source: Source
    _plan: Plan | None
    left_out: int = 0
    without_items: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def records(self, reject: Callable[[Rejected], None]) -> Iterator[Record]:
        """The events that the contract accepts, in the file's order; every other row goes to `reject`."""
        for rows in self._source.read(self._plan):
            bad = [row for row in rows if isinstance(row, Rejected)]
            made = [row for row in rows if isinstance(row, Row)]
            states = Counter(row.state for row in made)
            self.left_out += states["left_out"]
            self.without_items += states["without_items"]
            bad += [
                Rejected(row.line, "not_a_list", "each", "no list to make events of", row.raw, None)
                for row in made
                if row.state == "not_a_list"
            ]
            events = [row for row in made if row.state == "event"]
            refused = _refused(events)
            for row in sorted([*bad, *refused.values()], key=lambda row: row.line):
                self.rejected[row.reason] += 1
                reject(row)
            for place, made_event in enumerate(events):
                if place not in refused:
                    value = str(made_event.event)
                    event = json.loads(value)
                    yield Record(topic_of(event["channel"]), event_key(event["identifiers"]).encode(), value.encode())


def _refused(rows: list[Row]) -> dict[int, Rejected]:
    """Those of the rows that the contract does not accept, by their place."""
    if not rows:
        return {}
    rejected = judge(records_of(str(row.event).encode() for row in rows)).rejected.to_pylist()
    return {
        why["offset"]: Rejected(row.line, why["reason"], why["field"], why["detail"], row.raw, row.event)
        for why in rejected
        for row in (rows[why["offset"]],)
    }


def read_log(path: Path, mapping_file: Path) -> Log:
    """Open a log by a mapping: a shipped one's name, or the path of a YAML file.

    Raises InputError where the file is unreadable, TaxonomyError where the mapping is wrong or names what the file does
    not have.
    """
    mapping = read_mapping(mapping_file)
    kind = f".{mapping.reader.format}" if mapping.reader.format else kind_of(path)
    if kind not in FORMATS or (kind == ".parquet" and path.suffix.lower() in COMPRESSIONS):
        raise InputError(
            f"{path}: a log is one of {', '.join(FORMATS)}, told by its ending or the mapping's "
            f"`reader: {{format: ...}}`; text may be compressed ({', '.join(COMPRESSIONS)})"
        )
    source = open_source(path, mapping, kind)
    columns = source.open()
    # Of a file without one readable row no mapping is right or wrong.
    return Log(path, source.rows, source, plan(mapping_file, columns, source.twice) if columns else None)
