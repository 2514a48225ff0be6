"""Kafka records in, accepted and rejected rows out.

pydantic is the judge (`events.EVENT`); SQL gives every row its columns, so that a rejected record has the shape of a
good one as far as it parses. Nothing is dropped: `accepted` and `rejected` together hold each record once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import duckdb
import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import from_json

from journey_core.events import CHANNELS, EVENT, topic_of

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

#: What comes off Kafka, before anybody has looked into `value`.
RECORDS = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("kafka_timestamp", UTC_MICROSECONDS),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)

_COORDINATES = [(name, RECORDS.field(name).type) for name in ("topic", "partition", "offset", "kafka_timestamp")]
_EVENT_COLUMNS = [
    ("event_id", pa.string()),
    ("event_type", pa.string()),
    ("channel", pa.string()),
    ("occurred_at", UTC_MICROSECONDS),  # corrected by received_at - sent_at
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

_VERDICTS = pa.schema(
    [
        ("text", pa.string()),  # the JSON text, or null where it is none
        ("extra", pa.string()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("detail", pa.string()),
    ]
)

# pydantic's error types → the reasons that `rejected_events` promises.
_REASONS = {
    "json_invalid": "invalid_json",
    "missing": "missing_field",
    "required_by_channel": "missing_field",
    "union_tag_not_found": "missing_field",
    "union_tag_invalid": "unknown_channel",
}

# `try` and `known_instant`: a value that pydantic has refused already must not end the batch of its neighbours.
_TYPED = """
with

parsed as (
    select
        records.* exclude (reason, field, extra),
        text ->> '$.event_id' as event_id,
        text ->> '$.event_type' as event_type,
        text ->> '$.channel' as channel,
        known_instant(text ->> '$.occurred_at') as occurred_at_raw,
        known_instant(text ->> '$.sent_at') as sent_at,
        known_instant(text ->> '$.received_at') as received_at,
        -- A client's clock is as wrong when it sends as when the event happens: the collector's clock corrects both.
        coalesce(try(occurred_at_raw + (received_at - sent_at)), occurred_at_raw) as occurred_at,
        try_cast(text ->> '$.sequence' as bigint) as sequence,
        coalesce(text ->> '$.initiator', 'customer') as initiator,
        try_cast(json_extract(text, '$.identifiers') as map(varchar, varchar)) as identifiers,
        nullif(json_extract(text, '$.context')::varchar, 'null') as context,
        nullif(json_extract(text, '$.properties')::varchar, 'null') as properties,
        records.extra,
        sha256(value) as payload_hash,
        case
            when records.reason is not null then records.reason
            -- Two values under one name: which one was meant is a guess, and parsers differ.
            when len(list_distinct(json_keys(text))) < len(json_keys(text)) then 'duplicate_key'
            when len(list_distinct(json_keys(text, '$.identifiers'))) < len(json_keys(text, '$.identifiers'))
                then 'duplicate_key'
            -- An offset can carry a time out of the calendar that every reader knows, years 1 to 9999.
            when occurred_at is null
                or not occurred_at between timestamptz '0001-01-01 00:00:00+00'
                and timestamptz '9999-12-31 23:59:59.999999+00' then 'out_of_calendar'
            when occurred_at > coalesce(kafka_timestamp, received_at) + $future_tolerance then 'occurred_in_future'
        end as verdict,
        records.field as judged_field
    from records
)

select
    * exclude (text, verdict, judged_field)
        replace (case when verdict is distinct from 'out_of_calendar' then occurred_at end as occurred_at),
    verdict as reason,
    case
        when verdict in ('occurred_in_future', 'out_of_calendar') then 'occurred_at'
        else judged_field
    end as field
from parsed
"""


_KNOWN_INSTANT = """
create temp macro known_instant(written) as
case
    when try_cast(written as timestamptz) between timestamptz '0001-01-01 00:00:00+00'
    and timestamptz '9999-12-31 23:59:59.999999+00' then try_cast(written as timestamptz)
end
"""


@dataclass(frozen=True)
class Judged:
    """A batch of records, told apart. Rows keep the order of the records.

    `accepted` has the columns of `EVENTS`, `rejected` those of `REJECTED_EVENTS`.
    """

    accepted: pa.Table
    rejected: pa.Table

    def __str__(self) -> str:
        return f"{self.accepted.num_rows:,} accepted, {self.rejected.num_rows:,} rejected"


def judge(records: pa.Table, *, future_tolerance: timedelta = timedelta(hours=24)) -> Judged:
    """Tell a batch of Kafka records (columns of `RECORDS`) apart into accepted and rejected rows.

    A record dated more than `future_tolerance` after its Kafka timestamp is rejected as `occurred_in_future`. A record
    that came from a file has no Kafka timestamp: its `received_at` serves, and without that nothing is too far ahead.
    Never raises for a bad record: the reason, the field's path and a detail stand in its row.
    """
    verdicts = pa.Table.from_pylist([_verdict(value) for value in records["value"].to_pylist()], schema=_VERDICTS)
    for name in _VERDICTS.names:
        records = records.append_column(name, verdicts[name])
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(_KNOWN_INSTANT)
        connection.register("records", records)
        typed = connection.sql(_TYPED, params={"future_tolerance": future_tolerance}).to_arrow_table()
    is_accepted = typed["reason"].is_null()
    return Judged(
        accepted=typed.filter(is_accepted).select(EVENTS.names).cast(EVENTS),
        rejected=typed.filter(pa.compute.invert(is_accepted)).select(REJECTED_EVENTS.names).cast(REJECTED_EVENTS),
    )


def records_of(values: Iterable[bytes | None], *, topic: str | None = None) -> pa.Table:
    """Records that came from a file, not from Kafka: the line number is the offset, and there is no timestamp."""
    listed = list(values)
    return pa.table(
        {
            "topic": pa.array([topic] * len(listed), pa.string()),
            "partition": pa.array([0] * len(listed), pa.int32()),
            "offset": pa.array(range(len(listed)), pa.int64()),
            "kafka_timestamp": pa.nulls(len(listed), UTC_MICROSECONDS),
            "key": pa.nulls(len(listed), pa.binary()),
            "value": pa.array(listed, pa.binary()),
        },
        schema=RECORDS,
    )


def _verdict(value: bytes | None) -> dict[str, str | None]:
    if not value:
        return {"reason": "tombstone" if value is None else "empty_value"}
    try:
        event = EVENT.validate_json(value)
        if b"NaN" in value or b"Infinity" in value:
            # pydantic reads them as numbers, JSON does not have them: other readers of the lake could not parse them.
            from_json(value, allow_inf_nan=False)
    except ValueError as error:
        return _rejection(value, error)
    extra = json.dumps(event.model_extra, ensure_ascii=False, sort_keys=True) if event.model_extra else None
    return {"text": value.decode(), "extra": extra}


def _rejection(value: bytes, error: ValueError) -> dict[str, str | None]:
    if not isinstance(error, ValidationError):
        return {"reason": "invalid_json", "detail": str(error)}
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
    return {"text": text, "reason": reason, "field": field or None, "detail": first["msg"]}


TOPICS: tuple[str, ...] = tuple(topic_of(channel) for channel in CHANNELS)
