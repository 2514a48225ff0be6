"""The contract: what is accepted, what is rejected, and that nothing is lost between."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import jsonschema
import pyarrow as pa
import pytest

from journey_core import contract
from journey_core.contract import REJECTED_EVENTS, judge, records_of, screen_each, settle
from journey_core.events import CHANNELS, event_key, json_schema
from tests.conftest import event
from tests.faults.oracle import values

GOOD = event("e1", "2026-01-02 03:04")


def judged(*values):
    return judge(records_of([v if v is None or isinstance(v, bytes) else json.dumps(v).encode() for v in values]))


def without(field):
    return {name: value for name, value in GOOD.items() if name != field}


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        (None, "tombstone", None),
        (b"", "empty_value", None),
        (b"{", "invalid_json", None),
        (b"\xff\xfe{}", "invalid_json", None),
        (b'{"a":NaN}', "missing_field", "channel"),
        (json.dumps(GOOD | {"properties": {"a": float("nan")}}).encode(), "invalid_json", None),
        (b"[" * 10_000 + b"]" * 10_000, "invalid_json", None),
        (b"3", "invalid_value", None),
        (b"null", "invalid_value", None),
        (json.dumps(GOOD).replace('"e1"', '"e1", "event_id": "e2"').encode(), "duplicate_key", "event_id"),
        (json.dumps(GOOD).replace('"url":', '"url": "u", "url":').encode(), "duplicate_key", "url"),
        (
            json.dumps(GOOD | {"properties": {"items": [{"a": 1}]}}).replace('"a":', '"a": 2, "a":').encode(),
            "duplicate_key",
            "a",
        ),
        (json.dumps(GOOD)[:-1].encode() + b",}", "invalid_json", None),
        (json.dumps(GOOD | {"properties": {"text": "x" * 2**20}}).encode(), "too_large", None),
        (without("event_id"), "missing_field", "event_id"),
        (without("occurred_at"), "missing_field", "occurred_at"),
        (without("identifiers"), "missing_field", "identifiers"),
        (without("channel"), "missing_field", "channel"),
        (GOOD | {"channel": "fax"}, "unknown_channel", "channel"),
        (GOOD | {"event_id": ""}, "invalid_value", "event_id"),
        (GOOD | {"event_id": "x" * 201}, "invalid_value", "event_id"),
        (GOOD | {"event_id": 7}, "invalid_value", "event_id"),
        (GOOD | {"event_type": "x" * 201}, "invalid_value", "event_type"),
        (GOOD | {"identifiers": {}}, "invalid_value", "identifiers"),
        (GOOD | {"identifiers": {"customer_id": 7}}, "invalid_value", "identifiers.customer_id"),
        (GOOD | {"occurred_at": "2026-01-02 03:04:05Z"}, "invalid_value", "occurred_at"),
        (GOOD | {"occurred_at": "2026-01-02T03:04:05"}, "invalid_value", "occurred_at"),
        (GOOD | {"occurred_at": 1767323045}, "invalid_value", "occurred_at"),
        (GOOD | {"occurred_at": "2026-02-30T03:04:05Z"}, "invalid_value", "occurred_at"),
        (GOOD | {"sequence": 2**63}, "invalid_value", "sequence"),
        (GOOD | {"sequence": True}, "invalid_value", "sequence"),
        (GOOD | {"initiator": "robot"}, "invalid_value", "initiator"),
        (GOOD | {"context": {}}, "missing_field", "context.page.url"),
        (GOOD | {"channel": "email"}, "missing_field", "properties.message_id"),
        (GOOD | {"channel": "social"}, "missing_field", "properties.network"),
        (GOOD | {"channel": "offline"}, "missing_field", "properties.location"),
        (GOOD | {"channel": "app", "event_type": "screen_viewed"}, "missing_field", "context.screen"),
    ],
)
def test_a_bad_record_is_kept_whole_with_its_reason_and_field(value, reason, field):
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    told_apart = judged(GOOD, raw)
    assert told_apart.accepted.num_rows == 1, "one bad record never stops the others"
    (row,) = told_apart.rejected.to_pylist()
    assert (row["reason"], row["field"]) == (reason, field)
    assert row["value"] == raw
    assert row["offset"] == 1


def test_a_rejected_record_has_the_columns_of_a_good_one_as_far_as_it_parses():
    (row,) = judged(GOOD | {"channel": "fax"}).rejected.to_pylist()
    assert row["event_id"] == "e1"
    assert row["occurred_at"] == datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert row["identifiers"] == [("customer_id", "ann")]


def test_the_raw_time_is_kept_and_the_corrected_one_counts():
    # A client whose clock is an hour slow: what it calls 03:04 happened at 04:04.
    (row,) = judged(
        GOOD | {"sent_at": "2026-01-02T03:04:10Z", "received_at": "2026-01-02T04:04:10Z"}
    ).accepted.to_pylist()
    assert row["occurred_at"] == datetime(2026, 1, 2, 4, 4, tzinfo=UTC)
    assert row["occurred_at_raw"] == datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


BATCH = {"sent_at": "2026-01-02T10:00:06Z", "received_at": "2026-01-02T10:00:38Z"}


def test_a_batch_that_stalled_on_its_way_is_no_wrong_clock():
    """The phone saw the product added, then the order; its first batch waited for half a minute."""
    stalled = GOOD | {"event_id": "added", "occurred_at": "2026-01-02T10:00:05Z"} | BATCH
    order = GOOD | {"event_id": "order", "occurred_at": "2026-01-02T10:00:20Z"}
    rows = judged(stalled, order).accepted.sort_by("occurred_at").to_pylist()
    assert [row["event_id"] for row in rows] == ["added", "order"]
    assert rows[0]["occurred_at"] == rows[0]["occurred_at_raw"] == datetime(2026, 1, 2, 10, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("value", [json.dumps, lambda made: json.dumps(made, separators=(",", ":"))])
def test_up_to_the_tolerance_the_device_is_right_and_beyond_it_the_collector(sign, value):
    sent = datetime(2026, 1, 2, 3, 4, 10, tzinfo=UTC)
    differences = [sign * timedelta(minutes=5), sign * timedelta(minutes=5, microseconds=1)]
    made = [GOOD | {"sent_at": sent.isoformat(), "received_at": (sent + d).isoformat()} for d in differences]
    records = records_of([value(one).encode() for one in made])
    happened = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    rows = sorted(judge(records).accepted.to_pylist(), key=lambda row: row["offset"])
    assert [row["occurred_at"] - happened for row in rows] == [timedelta(0), differences[1]]
    rows = sorted(judge(records, clock_tolerance=timedelta(0)).accepted.to_pylist(), key=lambda row: row["offset"])
    assert [row["occurred_at"] - happened for row in rows] == differences, "`0 seconds` corrects always"


@pytest.mark.parametrize("at", ["2016-12-31T23:59:60Z", "2016-12-31t15:59:60.5-08:00", "2026-01-02T23:59:60z"])
def test_a_leap_second_is_refused_as_what_it_is(at):
    (row,) = judged(GOOD | {"occurred_at": at}).rejected.to_pylist()
    assert (row["reason"], row["field"]) == ("leap_second", "occurred_at")


@pytest.mark.parametrize("at", ["2026-01-02T12:30:60Z", "2016-12-31T23:59:60+05:00", "2016-13-31T23:59:60Z"])
def test_a_second_60_where_no_day_ends_is_no_time_at_all(at):
    (row,) = judged(GOOD | {"occurred_at": at}).rejected.to_pylist()
    assert (row["reason"], row["field"]) == ("invalid_value", "occurred_at")


@pytest.mark.parametrize("value", [json.dumps, lambda made: json.dumps(made, separators=(",", ":"))])
def test_t_and_z_may_be_lower_case(value):
    """RFC 3339, section 5.6."""
    made = GOOD | {"occurred_at": "2026-01-02t03:04:05z", "sent_at": "2026-01-02T03:04:05z"}
    (row,) = judged(value(made).encode()).accepted.to_pylist()
    assert row["occurred_at"] == row["sent_at"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("event_id", ["x" * 200, "é" * 200, f"sha256:{'0' * 93}"])
def test_an_event_id_may_be_as_long_as_a_vendor_makes_it(event_id):
    assert judged(GOOD | {"event_id": event_id}).accepted["event_id"].to_pylist() == [event_id]
    jsonschema.validate(GOOD | {"event_id": event_id}, json_schema("web"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(GOOD | {"event_id": "x" * 201}, json_schema("web"))


@pytest.mark.parametrize("at", ["2016-12-31T23:59:60Z", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05", "yesterday"])
def test_the_json_schema_knows_what_a_time_looks_like(at):
    jsonschema.validate(GOOD | {"occurred_at": "2026-01-02t03:04:05.5z", "sent_at": None}, json_schema("web"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(GOOD | {"occurred_at": at}, json_schema("web"))


def test_nanoseconds_are_cut_to_microseconds_and_offsets_become_utc():
    (row,) = judged(GOOD | {"occurred_at": "2026-01-02T03:04:05.123456789+02:00"}).accepted.to_pylist()
    assert row["occurred_at"] == datetime(2026, 1, 2, 1, 4, 5, 123456, tzinfo=UTC)


def test_unknown_fields_are_kept():
    (row,) = judged(GOOD | {"schema_revision": 2, "context": {"page": {"url": "u", "scroll": 3}}}).accepted.to_pylist()
    assert json.loads(row["extra"]) == {"schema_revision": 2}
    assert json.loads(row["context"])["page"]["scroll"] == 3


def stamped(column, *stamps):
    records = records_of([json.dumps(GOOD).encode()] * len(stamps))
    index = records.schema.get_field_index(column)
    return records.set_column(index, column, pa.array(stamps, records[column].type))


@pytest.mark.parametrize("clock", ["landed_at", "kafka_timestamp"])
def test_one_wrong_clock_does_not_close_everybodys_journey(clock):
    """The lander's clock decides; Kafka's timestamp serves where an older lake has nothing else."""
    records = stamped(clock, datetime(2026, 1, 1, 3, 4, tzinfo=UTC), datetime(2026, 1, 1, 3, 3, 59, tzinfo=UTC))
    told_apart = judge(records, future_tolerance=timedelta(hours=24))
    assert told_apart.accepted["offset"].to_pylist() == [0], "exactly the tolerance is accepted"
    (row,) = told_apart.rejected.to_pylist()
    assert (row["offset"], row["reason"], row["field"]) == (1, "occurred_in_future", "occurred_at")


def test_a_phone_that_says_2099_is_not_believed_by_its_own_timestamp():
    records = stamped("kafka_timestamp", datetime(2026, 1, 2, tzinfo=UTC))
    place = records.schema.get_field_index("landed_at")
    landed = pa.array([datetime(2025, 12, 1, tzinfo=UTC)], records["landed_at"].type)
    (row,) = judge(records.set_column(place, "landed_at", landed)).rejected.to_pylist()
    assert row["reason"] == "occurred_in_future"


def test_no_record_at_all_is_fine():
    told_apart = judge(records_of([]))
    assert told_apart.accepted.num_rows == told_apart.rejected.num_rows == 0
    assert told_apart.rejected.schema == REJECTED_EVENTS


@pytest.mark.parametrize("sizes", [(), (0,), (3000,), (0, 0), (1, 0, 4096, 5, 9000), (2500, 4096, 0), (10, 10, 10)])
@pytest.mark.parametrize("poison", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("threads", [1, 2])
def test_batch_after_batch_is_judged_as_each_alone(sizes, poison, threads):
    batches = []
    for number, size in enumerate(sizes):
        records = records_of(values(size, seed=number, poison=poison, prefix=f"b{number}-"), topic="t")
        offsets = pa.array(range(sum(sizes[:number]), sum(sizes[: number + 1])), pa.int64())
        batches.append(records.set_column(records.schema.get_field_index("offset"), "offset", offsets))
    screened = list(screen_each(iter(batches), threads=threads))
    assert len(screened) == len(batches)
    for answer, batch in zip(map(settle, ([each] for each in screened)), batches, strict=True):
        assert _told_apart(answer) == _told_apart(judge(batch))
        assert set(answer.accepted["offset"].to_pylist()) | set(answer.rejected["offset"].to_pylist()) == set(
            batch["offset"].to_pylist()
        )
    if batches:
        assert _told_apart(settle(screened)) == _told_apart(judge(pa.concat_tables(batches)))


def _told_apart(judged):
    return judged.accepted.sort_by("offset"), judged.rejected.sort_by("offset")


@pytest.mark.parametrize("size", [300, 5000])
@pytest.mark.parametrize("before", [0, 1, 2, 4])
def test_what_came_before_an_error_is_judged_before_it_is_raised(before, size):
    def batches():
        for number in range(before):
            yield records_of(values(size, seed=number))
        raise ConnectionError("Kafka went away")

    answers = screen_each(batches())
    assert [settle([next(answers)]).accepted.num_rows for _ in range(before)] == [size] * before
    with pytest.raises(ConnectionError, match="went away"):
        next(answers)


@pytest.mark.parametrize(
    ("size", "threads", "most"),
    # Two threads hold a batch each, and one more: of those that are just large enough to be screened together.
    [(16, 1, 1), (16, 2, 1), (1000, 1, 1), (1000, 2, 1), (4096, 1, 3), (4096, 2, 5), (10_000, 1, 3), (10_000, 2, 4)],
)
@pytest.mark.parametrize("value", [json.dumps(GOOD).encode(), b"nonsense"])
def test_no_more_batches_are_drawn_than_have_to_wait(size, threads, most, value):
    """Memory is bounded by batches: of large records there are few in each."""
    drawn, ahead = [], []

    def batches():
        for number in range(12):
            drawn.append(number)
            yield records_of([value] * size)

    for answered, _ in enumerate(screen_each(batches(), threads=threads)):
        ahead.append(len(drawn) - answered)
    assert len(ahead) == 12
    assert max(ahead) <= most


def test_who_asks_no_more_leaves_nothing_open():
    """Another landing stopped amid its batches: the next one is judged as if nothing had been."""
    for threads in (1, 2, 2, 2, 1):
        answers = screen_each((records_of(values(5000, seed=number)) for number in range(10)), threads=threads)
        next(answers)
        answers.close()
    assert settle(list(screen_each([records_of(values(10, seed=1))] * 3))).accepted.num_rows == 30


def test_two_threads_may_judge_at_once():
    """A landing and a replay in one process, say: each has its own statement."""
    batches = [records_of(values(5000, seed=number, poison=0.01)) for number in range(4)]
    with ThreadPoolExecutor(3) as pool:
        streams = [pool.submit(lambda n=n: settle(list(screen_each(iter(batches), threads=n)))) for n in (1, 2)]
        alone = [pool.submit(judge, batch) for batch in batches * 3]
        assert {stream.result().accepted.num_rows for stream in streams} == {
            sum(each.result().accepted.num_rows for each in alone[:4])
        }


def test_texts_are_found_wherever_bytes_lie():
    """Chunks and slices of chunks: what is no text is null, and nothing beside it moves."""
    chance = random.Random(5)
    kinds = (b"abc", b"", None, b"\xff", "Málaga".encode(), b"\xc3", b"x" * (contract.LARGEST_EVENT + 1))
    for _ in range(100):
        some = [chance.choice(kinds[: chance.choice((1, 5, 6, 7))]) for _ in range(chance.randrange(300))]
        whole, cut, first = (
            pa.array(some, pa.binary()),
            chance.randrange(len(some) + 1),
            chance.randrange(len(some) + 1),
        )
        texts = contract._texts(pa.chunked_array([whole[:cut], whole[cut:]])[first:])
        texts.validate(full=True)
        assert texts.to_pylist() == [_as_text(value) for value in some[first:]]


def _as_text(value):
    if not value or len(value) > contract.LARGEST_EVENT:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def test_the_key_is_the_strongest_identifier():
    assert event_key({"anonymous_id": "c", "email": "a@b"}) == "email:a@b"
    assert event_key({"loyalty_card": "7", "anonymous_id": "c"}) == "anonymous_id:c"


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_json_schema_accepts_what_the_contract_accepts(channel):
    good = event("e1", "2026-01-02 03:04", "order_completed", channel=channel)
    assert judged(good).accepted.num_rows == 1
    jsonschema.validate(good, json_schema(channel))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(good | {"identifiers": {}}, json_schema(channel))
