"""Kafka records in, accepted and rejected rows out.

pydantic is the judge (`events.EVENT`). It need not see the records that `columnar.py` knows to be valid, by far the
most: only the others are looked at one by one. SQL gives every row its columns, so that a rejected record has the shape
of a good one as far as it parses. Nothing is dropped: `accepted` and `rejected` together hold each record once.
"""

from __future__ import annotations

import atexit
import hashlib
import json
from array import array
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from itertools import accumulate, chain, groupby, pairwise
from threading import Lock
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError
from pydantic_core import from_json

from journey_core import columnar
from journey_core.errors import JourneyError
from journey_core.events import CHANNELS, EVENT, topic_of
from journey_core.numerals import exact_properties

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

#: What comes off Kafka, before anybody has looked into `value`.
RECORDS = pa.schema(
    [
        ("topic", pa.string()),
        ("generation", pa.int32()),  # how often the topic was replaced by another of its name: offsets begin anew then
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("kafka_timestamp", UTC_MICROSECONDS),  # by the producer's clock, or by the broker's
        ("landed_at", UTC_MICROSECONDS),  # by the lander's clock; null where a file is read, and before 2026-12
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)

_COORDINATES = [(name, RECORDS.field(name).type) for name in RECORDS.names[:6]]
_EVENT_COLUMNS = [
    ("event_id", pa.string()),
    ("event_type", pa.string()),
    ("channel", pa.string()),
    ("occurred_at", UTC_MICROSECONDS),  # corrected by received_at - sent_at, if these differ by more than transit
    ("occurred_at_raw", UTC_MICROSECONDS),  # as the client said it
    ("sent_at", UTC_MICROSECONDS),
    ("received_at", UTC_MICROSECONDS),
    ("sequence", pa.int64()),
    ("initiator", pa.string()),
    ("identifiers", pa.map_(pa.string(), pa.string())),
    ("context", pa.string()),  # JSON text, as sent
    ("properties", pa.string()),  # JSON text, as sent
    ("extra", pa.string()),  # JSON text: unknown top-level fields
    ("payload_hash", pa.string()),  # sha256 of the record's value, in hex
]
#: `lake.events`: one row per record that keeps the contract, duplicates included.
EVENTS = pa.schema([*_COORDINATES, *_EVENT_COLUMNS])
#: `lake.rejected_events`: the same columns as far as they parse, the bytes, and why.
REJECTED_EVENTS = pa.schema(
    [
        *_COORDINATES,
        *_EVENT_COLUMNS,
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("detail", pa.string()),
    ]
)

#: Kafka's own default limit. What is larger is no event, and would be paid for by every reader.
LARGEST_EVENT = 1024 * 1024  # bytes

#: An event dated further after its landing is no event of today.
FUTURE_TOLERANCE = timedelta(hours=24)
#: A batch may wait so long between a device and the collector; a larger difference is a wrong clock.
CLOCK_TOLERANCE = timedelta(minutes=5)

# What pydantic's look at a record gives: its JSON text (null where it is none), unknown top-level fields, the reason.
_VERDICT = ("text", "exact_properties", "extra", "judged_reason", "judged_field", "detail")

# pydantic's error types → the reasons that `rejected_events` promises.
_REASONS = {
    "json_invalid": "invalid_json",
    "out_of_calendar": "out_of_calendar",
    "leap_second": "leap_second",
    "missing": "missing_field",
    "required_by_channel": "missing_field",
    "union_tag_not_found": "missing_field",
    "union_tag_invalid": "unknown_channel",
}

_KNOWN_INSTANT = """
create or replace temp macro known_instant(written) as
case
    -- DuckDB reads `T` and `Z` in upper case only; RFC 3339 allows both.
    when try_cast(upper(written) as timestamptz) between timestamptz '0001-01-01 00:00:00+00'
    and timestamptz '9999-12-31 23:59:59.999999+00' then try_cast(upper(written) as timestamptz)
end
"""

# What pydantic has seen. `try_cast`, `known_instant`: a value that it refused must not end the batch of its neighbours.
_JUDGED = """
    select
        * exclude (text, leaves, exact_properties),
        leaves[1] ->> '$' as event_id,
        leaves[2] ->> '$' as event_type,
        leaves[3] ->> '$' as channel,
        known_instant(leaves[4] ->> '$') as occurred_at_raw,
        known_instant(leaves[5] ->> '$') as sent_at,
        known_instant(leaves[6] ->> '$') as received_at,
        try_cast(leaves[7] ->> '$' as bigint) as sequence,
        coalesce(leaves[8] ->> '$', 'customer') as initiator,
        try_cast(leaves[9] as map(varchar, varchar)) as identifiers,
        nullif(leaves[10]::varchar, 'null') as context,
        coalesce(exact_properties, nullif(leaves[11]::varchar, 'null')) as properties,
        true as is_judged
    from (
        select
            *,
            -- At once: each path alone would parse the text again.
            json_extract(
                text,
                [
                    '$.event_id', '$.event_type', '$.channel', '$.occurred_at', '$.sent_at', '$.received_at',
                    '$.sequence', '$.initiator', '$.identifiers', '$.context', '$.properties'
                ]
            ) as leaves
        from given
    )
"""

# What needs no judge (TEXTS and the tolerances: see below). Where `is_judged` is false, no other column means anything.
_CERTAIN = f"""
    select
        place,
        kafka_timestamp,
        landed_at,
        null::varchar as extra,
        null::varchar as judged_reason,
        null::varchar as judged_field,
        null::varchar as detail,
        leaves.event_id ->> '$' as event_id,
        leaves.event_type ->> '$' as event_type,
        leaves.channel ->> '$' as channel,
        value_occurred_at as occurred_at_raw,
        value_sent_at as sent_at,
        value_received_at as received_at,
        try_cast(leaves.sequence as bigint) as sequence,
        coalesce(leaves.initiator ->> '$', 'customer') as initiator,
        value_identifiers as identifiers,
        leaves.context::varchar as context,
        leaves.properties::varchar as properties,
        coalesce({columnar.certain()}, false) as is_judged
    from ({columnar.opened("(TEXTS)")})
"""

# ROWS is _JUDGED or _CERTAIN: from here on both are treated alike.
_TIMED = """
with

typed as (ROWS),

moved as (
    select
        *,
        -- Within the tolerance the difference is transit (a batch that waited), and the device's own time stands.
        -- Beyond it the client's clock is wrong, when it sends as when the event happens: the collector's is right.
        case
            when abs(epoch_us(received_at) - epoch_us(sent_at)) > CLOCK_TOLERANCE
                then coalesce(try(occurred_at_raw + (received_at - sent_at)), occurred_at_raw)
            else occurred_at_raw
        end as moved_at
    from typed
),

corrected as (
    select
        * exclude (moved_at),
        -- The calendar that every reader knows: a correction can lead out of it.
        case
            when moved_at between timestamptz '0001-01-01 00:00:00+00'
                and timestamptz '9999-12-31 23:59:59.999999+00' then moved_at
        end as occurred_at
    from moved
),

timed as (
    select
        *,
        case
            when judged_reason is not null then judged_reason
            when occurred_at is null then 'out_of_calendar'
            -- A device that is wrong about the time stamps its event and Kafka's record alike.
            when occurred_at > coalesce(landed_at, kafka_timestamp, received_at) + to_microseconds(FUTURE_TOLERANCE)
                then 'occurred_in_future'
        end as reason
    from corrected
)

select
    * exclude (kafka_timestamp, landed_at, judged_reason, judged_field),
    case when judged_reason is not null then judged_field when reason is not null then 'occurred_at' end as field
from timed
"""


# DuckDB's parser lets a comma stand before a closing bracket, and would drop it here: JSON does not have it.
_MINIFIED = r"""
    select * replace (case when not regexp_matches(text, ',\s*[\]}]') then try(json(text)) end as text) from given
"""
_STATEMENTS = {
    "as_written": _TIMED.replace("ROWS", _CERTAIN.replace("(TEXTS)", "given")),
    "minified": _TIMED.replace("ROWS", _CERTAIN.replace("TEXTS", _MINIFIED)),
    "judged": _TIMED.replace("ROWS", _JUDGED),
}
#: A statement takes as long to begin as pydantic to judge so many records.
_FEW = 1000
#: Bytes of texts: a statement takes a dozen times as much memory.
_LITTLE = 1024 * 1024
#: So many values are told to be UTF-8 at once, or else one by one.
_PIECE = 128
_FEW_VALUES = 16
#: So many rows a statement gives at once.
_ANSWERS = 4096
#: What of a good record no statement gives.
_KEPT = [*(name for name, _ in _COORDINATES), "payload_hash"]
#: What the statement reads of a record, and its place.
_CLOCKS = ("kafka_timestamp", "landed_at")
_GIVEN = pa.schema([*(RECORDS.field(name) for name in _CLOCKS), ("text", pa.string()), ("place", pa.int64())])
_LOOKED_AT = {*_CLOCKS, *_VERDICT}


@dataclass(frozen=True)
class Judged:
    """A batch of records, told apart; in no order.

    `accepted` has the columns of `EVENTS`, `rejected` those of `REJECTED_EVENTS`.
    """

    accepted: pa.Table
    rejected: pa.Table

    def __str__(self) -> str:
        return f"{self.accepted.num_rows:,} accepted, {self.rejected.num_rows:,} rejected"


@dataclass(frozen=True)
class Screened:
    """A batch of records of which the columnar check has found most to be good: what it has found, of each.

    `seen` has a row per record, `rest` those records that have to be looked at once more.
    """

    seen: pa.Table
    rest: pa.Table


def judge(
    records: pa.Table,
    *,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
    clock_tolerance: timedelta = CLOCK_TOLERANCE,
) -> Judged:
    """Tell a batch of Kafka records (columns of `RECORDS`) apart into accepted and rejected rows.

    A record dated more than `future_tolerance` after it was landed is rejected as `occurred_in_future`. A record of an
    older lake has no `landed_at`: its Kafka timestamp serves. A record of a file has neither: its `received_at` serves,
    and without that nothing is too far ahead.
    Where `received_at` and `sent_at` differ by more than `clock_tolerance`, the device's clock is wrong, and
    `occurred_at` is corrected by the difference; up to it (inclusive) the difference is transit, and nothing moves.
    Never raises for a bad record: the reason, the field's path and a detail stand in its row.
    """
    return _bench(future_tolerance, clock_tolerance).judge(records)


def screen_each(
    batches: Iterable[pa.Table],
    *,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
    clock_tolerance: timedelta = CLOCK_TOLERANCE,
    threads: int = 1,
) -> Generator[Screened]:
    """Begin to judge many batches, in their order: by one statement that lasts, which takes four fifths of the time.

    A batch's answer may come only when the next batch is there, or the end. What `batches` raises is raised when all
    that it gave before has its answer.
    """
    return _bench(future_tolerance, clock_tolerance, threads).screen_each(batches)


def settle(
    screened: Sequence[Screened],
    *,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
    clock_tolerance: timedelta = CLOCK_TOLERANCE,
) -> Judged:
    """What `judge` says of all these batches together, of which there is at least one.

    To look at a few bad records takes as long as to look at some more: so those of several batches wait for each other.
    """
    return _bench(future_tolerance, clock_tolerance).settle(screened)


class _Given:
    """What a statement reads: other records each time, always of the same columns.

    A statement prepared over a registered table goes on reading that table when another is registered in its place.
    """

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch] = ()) -> None:
        self._schema = schema
        self.batches = batches

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        # Binding opens it as well, more than once, and reads nothing.
        return pa.RecordBatchReader.from_batches(self._schema, self.batches).__arrow_c_stream__(requested_schema)


class _Bench:
    """An open DuckDB with the statements prepared: to bind them anew takes as long as to judge ten thousand records."""

    def __init__(self, future_tolerance: timedelta, clock_tolerance: timedelta, threads: int = 1) -> None:
        self._lock = Lock()
        self._connection = duckdb.connect(config={"threads": threads})
        atexit.register(self._connection.close)
        self._tolerances = {
            name: str(tolerance // timedelta(microseconds=1))
            for name, tolerance in (("FUTURE_TOLERANCE", future_tolerance), ("CLOCK_TOLERANCE", clock_tolerance))
        }
        self._given: dict[str, _Given] = {}
        self._open(self._connection)

    def _sql(self, statement: str) -> str:
        sql = _STATEMENTS[statement]
        for name, microseconds in self._tolerances.items():
            sql = sql.replace(name, microseconds)
        return sql

    @staticmethod
    def _open(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("set timezone = 'UTC'")
        connection.execute(_KNOWN_INSTANT)

    def judge(self, records: pa.Table) -> Judged:
        return self.settle([self._alone(_with_texts(records))])

    def screen_each(self, batches: Iterable[pa.Table]) -> Generator[Screened]:
        errors: list[BaseException] = []
        coming = _until_error(map(_with_texts, batches), errors)
        # Of batches with fewer rows than one answer has, many would wait for it: they are few records, and large.
        for are_many, rows in groupby(coming, lambda rows: rows.num_rows >= _ANSWERS):
            answers = self._streamed if are_many else partial(map, self._alone)
            yield from answers(rows)
        if errors:
            raise errors[0]

    def settle(self, screened: Sequence[Screened]) -> Judged:
        rests = [each.rest for each in screened]
        if sum(rest.num_rows for rest in rests) <= _FEW and sum(rest.nbytes for rest in rests) <= _LITTLE:
            rests = [pa.concat_tables(rests)]
        found = [part for rest in rests for part in self._looked_at(rest)]
        accepted = [_where(part.select(EVENTS.names), _is_good(part)) for part in (*(s.seen for s in screened), *found)]
        rejected = [
            _where(part.select(REJECTED_EVENTS.names), pc.and_not(part["is_judged"], _is_good(part))) for part in found
        ]
        told = Judged(
            accepted=pa.concat_tables(accepted).cast(EVENTS),
            rejected=pa.concat_tables(
                [REJECTED_EVENTS.empty_table(), *(part.cast(REJECTED_EVENTS) for part in rejected)]
            ),
        )
        came, out = sum(each.seen.num_rows for each in screened), told.accepted.num_rows + told.rejected.num_rows
        if came != out:
            raise JourneyError(f"{came:,} records came in, {out:,} went out: please report this")
        return told

    def _alone(self, rows: pa.Table) -> Screened:
        # Hashing holds Python's lock, a statement does not: both at once.
        with ThreadPoolExecutor(1) as beside:
            hashes = beside.submit(_hashes, rows["value"])
            return _screened(rows, self._run("as_written", rows), hashes)

    def _streamed(self, batches: Iterable[pa.Table]) -> Generator[Screened]:
        """By one statement that reads batch after batch, and is begun and bound once."""
        waiting: deque[tuple[pa.Table, Future[pa.Array]]] = deque()
        read = told = 0

        def texts() -> Iterator[pa.RecordBatch]:
            nonlocal read
            for rows in batches:
                waiting.append((rows, beside.submit(_hashes, rows["value"])))
                yield from _numbered(rows.select(_GIVEN.names[:-1]), read).to_batches()
                read += rows.num_rows

        with ThreadPoolExecutor(1) as beside, self._connection.cursor() as connection:
            self._open(connection)
            # DuckDB would read ahead until its answers fill a megabyte, however many batches that takes.
            connection.execute("set streaming_buffer_size = '1KB'")
            connection.register("given", _Given(_GIVEN, texts()))
            # Not prepared: the answers of a prepared statement come when it has read everything.
            sql = self._sql("as_written")
            with connection.sql(sql).to_arrow_reader(_ANSWERS) as answers:
                typed = answers.schema.empty_table()
                for answer in answers:
                    typed = pa.concat_tables([typed, pa.Table.from_batches([answer])])
                    while waiting and (count := waiting[0][0].num_rows) <= typed.num_rows:
                        rows, hashes = waiting.popleft()
                        screened, typed = _screened(rows, _in_order(typed[:count], told), hashes), typed[count:]
                        told += count
                        yield screened
                        del rows, hashes, screened  # the next one is a while in coming

    def _looked_at(self, rest: pa.Table) -> Iterator[pa.Table]:
        """Rows of which each record is judged in one."""
        if rest.num_rows > _FEW:
            # Written without spaces.
            typed = self._run("minified", rest)
            yield _beside(rest, typed)
            rest = _where(rest, pc.invert(typed["is_judged"]))
        if rest.num_rows:
            rest = _judged(rest)
            yield _beside(rest, self._run("judged", rest))

    def _run(self, statement: str, rows: pa.Table) -> pa.Table:
        """The columns that a prepared statement gives to `rows`, in their order."""
        read = _numbered(rows.select([name for name in rows.column_names if name in _LOOKED_AT]))
        with self._lock:
            given = self._given.get(statement)
            if given is None:
                given = self._given[statement] = _Given(read.schema)
                self._connection.register(f"given_{statement}", given)
                sql = self._sql(statement).replace("from given", f"from given_{statement}")
                self._connection.execute(f"prepare {statement} as {sql}")
            # So much is looked at at once: large records few by few.
            given.batches = read.to_batches(max_chunksize=max(1, read.num_rows * _LITTLE // (read.nbytes + 1)))
            typed = self._connection.sql(f"execute {statement}").to_arrow_reader(_ANSWERS).read_all()
            given.batches = ()
        return _in_order(typed)


_bench = cache(_Bench)


def _until_error(batches: Iterable[pa.Table], errors: list[BaseException]) -> Iterator[pa.Table]:
    """All of `batches`, the last one being the one before an error, which is put aside."""
    try:
        yield from batches
    except (Exception, KeyboardInterrupt) as error:
        errors.append(error)


def _with_texts(records: pa.Table) -> pa.Table:
    return records.append_column("text", _texts(records["value"]))


def _numbered(rows: pa.Table, first: int = 0) -> pa.Table:
    return rows.append_column("place", pa.arange(first, first + rows.num_rows))


def _in_order(typed: pa.Table, first: int = 0) -> pa.Table:
    """What a statement gives to rows is laid beside them by their order: so the order is looked at."""
    if not typed["place"].equals(pa.chunked_array([pa.arange(first, first + typed.num_rows)])):
        raise JourneyError("records came back in another order than they went in: please report this")
    return typed.drop_columns("place")


def _beside(rows: pa.Table, typed: pa.Table) -> pa.Table:
    """`rows` with what a statement has given to each: what it only handed through, it would have copied."""
    kept = [name for name in rows.column_names if name not in _VERDICT]
    return pa.table([*rows.select(kept).columns, *typed.columns], names=[*kept, *typed.column_names])


def _screened(rows: pa.Table, typed: pa.Table, hashes: Future[pa.Array]) -> Screened:
    """Of `rows` with their texts, `typed` as they are written, which is enough for most producers."""
    rows = rows.append_column("payload_hash", hashes.result())
    return Screened(_beside(rows.select(_KEPT), typed), _where(rows, pc.invert(_is_good(typed))))


def _is_good(typed: pa.Table) -> pa.ChunkedArray:
    return pc.and_(typed["is_judged"], pc.is_null(typed["reason"]))


def _where(rows: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    """The rows where the mask is true. Most often all or none are: then nothing is copied."""
    count = pc.sum(mask).as_py() or 0
    if count == 0:
        return rows.schema.empty_table()  # a slice would keep what it was cut from
    return rows if count == rows.num_rows else rows.filter(mask)


def _hashes(values: pa.ChunkedArray) -> pa.Array:
    """sha256 of each value, in hex; null where there is none."""
    # Not in SQL: OpenSSL uses the processor's own instructions, and takes half of DuckDB's time.
    found = [hashlib.sha256(value).digest() for chunk in values.chunks if len(chunk) for value in _views(chunk)]
    digests = b"".join(found).hex().encode()
    ends = array("i", range(0, len(digests) + 1, 64))
    hashes = pa.Array.from_buffers(pa.string(), len(found), [None, pa.py_buffer(ends), pa.py_buffer(digests)])
    return pc.if_else(values.is_null().combine_chunks(), None, hashes) if values.null_count else hashes


def _views(values: pa.BinaryArray) -> Iterator[memoryview]:
    """The bytes of each value where they lie: copies of all of them, batch after batch, would cost 50 MB."""
    _, ends, joined = values.buffers()
    bounds = array("i", memoryview(ends)[4 * values.offset : 4 * (values.offset + len(values) + 1)].tobytes())
    bytes_of_all = memoryview(joined or b"")
    return (bytes_of_all[start:end] for start, end in pairwise(bounds))


def _texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as text; null where they are none, or too large, or not UTF-8."""
    lengths = pc.binary_length(values)
    bounds = pc.min_max(lengths).as_py()
    fits = None
    if values.null_count or not bounds["min"] or bounds["max"] > LARGEST_EVENT:
        fits = pc.fill_null(pc.and_(pc.greater(lengths, 0), pc.less_equal(lengths, LARGEST_EVENT)), False)
    try:
        texts = values.cast(pa.string())
    except pa.ArrowInvalid:
        pieces = (values.slice(start, _PIECE) for start in range(0, len(values), _PIECE))
        are_text = pa.chunked_array([pa.array(chain.from_iterable(map(_are_text, pieces)), pa.bool_())])
        fits = are_text if fits is None else pc.and_(fits, are_text)
    else:
        if fits is None:
            return texts
    starts = accumulate(map(len, values.chunks), initial=0)
    chunks = [_only(chunk, fits.slice(start, len(chunk))) for start, chunk in zip(starts, values.chunks, strict=False)]
    return pa.chunked_array(chunks, pa.string())


def _only(values: pa.BinaryArray, kept: pa.ChunkedArray) -> pa.StringArray:
    """The bytes where they lie, as texts; null where they are not `kept`."""
    before = pa.repeat(pa.scalar(False), values.offset)
    (_, bits), (_, ends, joined) = pa.concat_arrays([before, *kept.chunks]).buffers(), values.buffers()
    return pa.Array.from_buffers(pa.string(), len(values), [bits, ends, joined], offset=values.offset)


def _are_text(values: pa.ChunkedArray) -> list[bool]:
    """Whether each is UTF-8; by smaller pieces, and at last one by one, only where not all are."""
    try:
        values.cast(pa.string())
    except pa.ArrowInvalid:
        if len(values) <= _FEW_VALUES:
            return list(map(_is_text, values.to_pylist()))
        pieces = (values.slice(start, _FEW_VALUES) for start in range(0, len(values), _FEW_VALUES))
        return list(chain.from_iterable(map(_are_text, pieces)))
    return [True] * len(values)


def _is_text(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


def records_of(values: Iterable[bytes | None], *, topic: str | None = None) -> pa.Table:
    """Records that came from a file, not from Kafka: the line number is the offset, and there is no timestamp."""
    listed = list(values)
    return pa.table(
        {
            "topic": pa.array([topic] * len(listed), pa.string()),
            "generation": pa.array([0] * len(listed), pa.int32()),
            "partition": pa.array([0] * len(listed), pa.int32()),
            "offset": pa.array(range(len(listed)), pa.int64()),
            "kafka_timestamp": pa.nulls(len(listed), UTC_MICROSECONDS),
            "landed_at": pa.nulls(len(listed), UTC_MICROSECONDS),
            "key": pa.nulls(len(listed), pa.binary()),
            "value": pa.array(listed, pa.binary()),
        },
        schema=RECORDS,
    )


def _judged(records: pa.Table) -> pa.Table:
    """`records` with pydantic's verdict on each."""
    verdicts = [_verdict(value) for value in records["value"].to_pylist()]
    records = records.drop_columns("text")
    for name in _VERDICT:
        records = records.append_column(name, pa.array([verdict.get(name) for verdict in verdicts], pa.string()))
    return records


def _verdict(value: bytes | None) -> dict[str, str | None]:
    if not value:
        return {"judged_reason": "tombstone" if value is None else "empty_value"}
    if len(value) > LARGEST_EVENT:
        return {"judged_reason": "too_large", "detail": f"{len(value):,} bytes, at most {LARGEST_EVENT:,}"}
    try:
        event = EVENT.validate_json(value)
        if b"NaN" in value or b"Infinity" in value:
            # pydantic reads them as numbers, JSON does not have them: other readers of the lake could not parse them.
            from_json(value, allow_inf_nan=False)
    except ValueError as error:
        return _rejection(value, error)
    if (key := _repeated_key(value)) is not None:
        # Two values under one name: which one was meant is a guess, and parsers differ.
        return {"judged_reason": "duplicate_key", "judged_field": key, "text": value.decode()}
    extra = json.dumps(event.model_extra, ensure_ascii=False, sort_keys=True) if event.model_extra else None
    return {"text": value.decode(), "exact_properties": exact_properties(value), "extra": extra}


def _repeated_key(value: bytes) -> str | None:
    """The first key that stands twice in one object, at any depth."""
    repeated: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        counts = Counter(key for key, _ in pairs)
        repeated.extend(key for key, count in counts.items() if count > 1)

    json.loads(value, object_pairs_hook=look)
    return repeated[0] if repeated else None


def _rejection(value: bytes, error: ValueError) -> dict[str, str | None]:
    if not isinstance(error, ValidationError):
        return {"judged_reason": "invalid_json", "detail": str(error)}
    first = error.errors(include_url=False, include_context=True, include_input=False)[0]
    reason = _REASONS.get(first["type"], "invalid_value")
    # The discriminator puts the channel in front of the path: `web.occurred_at` → `occurred_at`.
    path = [str(part) for part in first["loc"]]
    field = ".".join(path[1:] if path and path[0] in CHANNELS else path)
    if first["type"] == "required_by_channel":
        field = first["ctx"]["field"]
    if reason in ("missing_field", "unknown_channel") and not field:
        field = "channel"
    # Only text that is JSON may reach SQL: what is none has no columns, but keeps its bytes.
    is_json = reason != "invalid_json" and b"NaN" not in value and b"Infinity" not in value
    text = value.decode() if is_json else None
    return {"text": text, "judged_reason": reason, "judged_field": field or None, "detail": first["msg"]}


TOPICS: tuple[str, ...] = tuple(topic_of(channel) for channel in CHANNELS)
