"""The columnar check accepts nothing that pydantic refuses, and reads every value as pydantic does.

The reference below knows pydantic and Python's own json module, and no SQL.
"""

from __future__ import annotations

import json
import math
import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from journey_core import contract
from journey_core.contract import judge, records_of
from journey_core.events import CHANNELS, EVENT, REQUIREMENTS
from tests.conftest import event

PAYLOADS_PER_SEED = 1000
TOLERANCE = timedelta(hours=24)

WORDS = [
    "",
    "a",
    "é",
    "😀",
    'say "hi"',
    "back\\slash",
    "tab\t",
    "nul\x00",
    "x" * 200,
    "x" * 201,
    "NaN",
    "{",
    "},",
    '":',
    "\u2028",
]
INSTANTS = [
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.123456789+02:00",
    "2026-01-02T03:04:05.1-23:59",
    "2026-01-02T03:04:06.000001Z",
    "2026-01-02t03:09:05.123456z",
    "2016-01-02T03:04:05Z",
    "2026-01-02T24:00:00Z",
    "2026-01-02T23:59:60Z",
    "2026-02-29T00:00:00Z",
    "2024-02-29T00:00:00+00:00",
    "0001-01-01T00:00:00+01:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-01:00",
    "9999-12-31T23:59:59.999999Z",
    "0000-01-01T00:00:00Z",
    "2026-01-02T03:04:05",
    "2026-01-02 03:04:05Z",
    "2026-01-02T03:04:05+24:00",
    "2026-01-02T03:04:05z",
    "2016-12-31T15:59:60-08:00",
    "\u0662026-01-02T03:04:05Z",
]
NUMBERS = [0, 1, -1, 40.4168, -3.7038, 40.0001, 1.5, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30, 1e16]
NUMBERS += [1e-7, 0.1 + 0.2, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
WRITTEN_NUMBERS = [
    "1e5",
    "1E400",
    "-0",
    "1.0",
    "0.1e-7",
    "123e20",
    "NaN",
    "-Infinity",
    "inf",
    "01",
    "1e15",
    "+1",
    ".5",
    "9" * 4400,
]
SWAPS = [
    ("}", ",}"),
    ('":', '" :'),
    ("{", "[" * 250),
    ("\\u", "\\ud800"),
    ("/", "\\/"),
    ("e", "\\u0065"),
    ('"', "'"),
    ("{", "\ufeff{"),
]
PARTS = {
    "page": ("url", "path", "title", "referrer"),
    "campaign": ("source", "medium", "name", "term", "content"),
    "device": ("type", "os", "browser", "app_version"),
    "geo": ("country", "region", "city", "latitude", "longitude"),
    "consent": ("analytics", "personalisation"),
}


class Producer:
    """Writes events as several producers do: mostly valid, then now and then damaged. The same seed, the same bytes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one(self, *choices):
        return self.random.choice(choices)

    def anything(self, depth: int = 3):
        kind = self.random.randrange(10 if depth else 7)
        if kind < 4:
            return self.random.choice(WORDS)
        if kind < 7:
            return self.one(None, True, False, self.random.choice(NUMBERS), self.random.choice(NUMBERS))
        if kind < 9:
            return {self.random.choice(WORDS): self.anything(depth - 1) for _ in range(self.random.randrange(4))}
        return [self.anything(depth - 1) for _ in range(self.random.randrange(4))]

    def context(self) -> dict:
        made = {name: self.random.choice(WORDS) for name in ("session_id", "screen", "locale") if self.one(0, 1)}
        for name, fields in PARTS.items():
            if self.one(0, 1):
                made[name] = {field: self.value(field) for field in fields if self.one(0, 1)}
        return made

    def value(self, field: str):
        if self.random.randrange(40) == 0:
            return self.anything()
        if field in ("latitude", "longitude"):
            return self.random.choice(NUMBERS) if self.one(0, 1) else round(self.random.uniform(-90, 90), 4)
        return self.one(True, False) if field in PARTS["consent"] else self.random.choice(WORDS)

    def event(self) -> dict:
        channel = self.random.choice(CHANNELS)
        kind = self.one("page_viewed", "screen_viewed", "x")
        made = event("e1", "2026-01-02 03:04", kind, channel=channel)
        unusual = {
            "event_id": lambda: self.one("e", "é" * 200, "é" * 201, "a b", '"', ""),
            "occurred_at": lambda: self.random.choice(INSTANTS),
            "sent_at": lambda: self.random.choice(INSTANTS),
            "received_at": lambda: self.random.choice(INSTANTS),
            "sequence": lambda: self.random.choice(NUMBERS),
            "initiator": lambda: self.one("customer", "company", "company", "robot", None),
            "identifiers": lambda: {
                self.random.choice(WORDS): self.random.choice(WORDS) for _ in range(self.one(0, 1, 3))
            },
        }
        made |= {name: make() for name, make in unusual.items() if self.random.randrange(6) == 0}
        if self.one(0, 1):
            made["context"] = made.get("context", {}) | self.context()
        if self.one(0, 1):
            names = self.random.sample(
                [*WORDS, "message_id", "network", "location", "revenue"], self.random.randrange(5)
            )
            free = {name: self.anything(1 if self.one(0, 1) else 0) for name in names}
            made["properties"] = made.get("properties", {}) | free
        return made

    def payload(self) -> bytes:
        made = self.event()
        harm = self.one(*["none"] * 6, "field", "drop", "bytes", "repeat", "number", "swap")
        if harm == "field":
            made[self.one(*made, "unknown")] = self.anything()
        if harm == "drop":
            del made[self.one(*made)]
        separators = self.one((",", ":"), (",", ":"), (", ", ": "), (" ,\n", "\t: "))
        text = json.dumps(made, separators=separators, ensure_ascii=self.one(True, False))
        if harm == "repeat":
            # The second value may be shorter, longer, or just as long as what a comma, a space or a number saves.
            key = self.one(
                "event_id", "identifiers", "context", "url", "customer_id", "x", "geo", "message_id", "location"
            )
            inside = self.one("{", '"page":{', '"properties":{', '"identifiers":{', '"geo":{')
            text = text.replace(inside, f"{inside}{json.dumps(key)}:{json.dumps(self.anything())},", 1)
        if harm in ("number", "repeat"):
            where, name = self.one('"properties":{', '"geo":{', "{"), self.one("latitude", "sequence", "n")
            text = text.replace(
                where, f'{where}"{name}":{self.random.choice(WRITTEN_NUMBERS)}{self.one(",", ",", " ,", ",,")}', 1
            )
        if harm == "swap":
            text = text.replace(*self.random.choice(SWAPS), self.one(1, -1))
        value = text.encode()
        if harm == "bytes":
            at = self.random.randrange(len(value))
            value = (
                value[:at] + self.random.randbytes(self.random.randrange(4)) + value[at + self.random.randrange(4) :]
            )
        return value


def integer(written: str) -> str:
    return "0" if written == "-0" else written


def reference(value: bytes, clock: timedelta = contract.CLOCK_TOLERANCE) -> dict | None:
    """The row that the record must become; None where it must be rejected."""
    if not value or len(value) > contract.LARGEST_EVENT:
        return None
    repeated = []

    def pairs(members):
        if len({key for key, _ in members}) < len(members):
            repeated.append(members)
        return dict(members)

    def constant(name):
        raise ValueError(f"{name} is not JSON")

    try:
        made = EVENT.validate_json(value)
        whole = json.loads(value, object_pairs_hook=pairs, parse_constant=constant, parse_int=integer)
    except (ValidationError, ValueError):
        return None
    if repeated:
        return None
    raw, sent, received = made.occurred_at, made.sent_at, made.received_at
    is_wrong = sent is not None and received is not None and abs(received - sent) > clock
    try:
        occurred_at = raw + (received - sent) if is_wrong else raw
    except OverflowError:
        return None
    if received and occurred_at - received > TOLERANCE:
        return None
    return {
        "event_id": made.event_id,
        "event_type": made.event_type,
        "channel": made.channel,
        "occurred_at": occurred_at,
        "occurred_at_raw": raw,
        "sent_at": sent,
        "received_at": received,
        "sequence": made.sequence,
        "initiator": made.initiator,
        "identifiers": made.identifiers,
        "context": whole.get("context"),
        "properties": whole.get("properties"),
        "extra": made.model_extra or None,
    }


def read(row: dict) -> dict:
    """The lake's row as Python reads it."""
    found = {name: row[name] for name in ("event_id", "event_type", "channel", "occurred_at", "occurred_at_raw")}
    found |= {name: row[name] for name in ("sent_at", "received_at", "sequence", "initiator")}
    found |= {"identifiers": dict(row["identifiers"])}
    for name in ("context", "properties"):
        found[name] = row[name] and json.loads(row[name], parse_int=integer)
    return found | {"extra": row["extra"] and json.loads(row["extra"])}


def assert_lawful(values: list[bytes], clock: timedelta = contract.CLOCK_TOLERANCE) -> None:
    told_apart = judge(records_of(values), clock_tolerance=clock)
    accepted = {row["offset"]: row for row in told_apart.accepted.to_pylist()}
    rejected = {row["offset"]: row for row in told_apart.rejected.to_pylist()}
    assert sorted([*accepted, *rejected]) == list(range(len(values))), "each record is in one table, once"
    for number, value in enumerate(values):
        expected = reference(value, clock)
        if expected is None:
            assert number in rejected, value
            assert rejected[number]["value"] == value
        else:
            assert number in accepted, (value, rejected.get(number))
            assert read(accepted[number]) == expected, value


def clock_of(seed: int) -> timedelta:
    """Today's tolerance, none, or one between two of the instants above."""
    return (contract.CLOCK_TOLERANCE, timedelta(0), timedelta(seconds=1))[seed % 3]


@pytest.fixture
def each_pass(monkeypatch):
    """However few records are left, they go through every pass."""
    monkeypatch.setattr(contract, "_FEW", 0)


@pytest.mark.usefixtures("each_pass")
@given(seed=st.integers(0, 2**64))
def test_what_columns_accept_pydantic_accepts_with_the_same_values(seed):
    """25 seeds, a thousand payloads each; `make test-fast` tries three."""
    producer = Producer(seed)
    assert_lawful([producer.payload() for _ in range(PAYLOADS_PER_SEED)], clock_of(seed))


@pytest.mark.integration
@settings(parent=settings.get_profile("default"), max_examples=50)
@given(seed=st.integers(0, 2**64))
def test_the_law_holds_for_fifty_thousand_payloads(seed):
    producer = Producer(seed)
    assert_lawful([producer.payload() for _ in range(PAYLOADS_PER_SEED)], clock_of(seed))


@pytest.mark.parametrize("hidden", ['"":1', '"a":true', '"ab":[[]]'])
@pytest.mark.parametrize("number", ["1e5", "1E5", "12e5", "1e15", "5e-324", "1e-7"])
def test_a_number_written_short_hides_no_field(number, hidden):
    """DuckDB writes it longer: by as much as an unknown field beside it may take."""
    made = json.dumps(event("e1", "2026-01-02 03:04", "order_completed"), separators=(",", ":"))
    assert_lawful([f'{made[:-1]},"properties":{{"n":{number}}},{hidden}}}'.encode()])


@pytest.mark.usefixtures("each_pass")
@pytest.mark.parametrize(
    ("number", "longer", "hidden"),
    [
        ("1e19", "10000000000000000000.0", '"channel":"12345"'),
        ("1e19", "10000000000000000000.0", '"event_id":"2222"'),
        ("1e5", "100000.0", '"":1'),
    ],
)
def test_a_copy_of_a_longer_number_vouches_for_nothing(number, longer, hidden):
    """The object as DuckDB writes it stands in the text, across two identifiers: not as what the event says."""
    identifiers = f'{{"customer_id":"a","b":"x{{",":{longer}}}":"v"}}'
    assert_lawful(
        [
            '{"event_id":"1","event_type":"x","channel":"web","occurred_at":"2026-01-01T00:00:00Z",'
            f'"identifiers":{identifiers},"properties":{{",":{number}}},{hidden}}}'.encode()
        ]
    )


@pytest.mark.usefixtures("each_pass")
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_plain_event_needs_no_pydantic(channel, separators, monkeypatch):
    monkeypatch.setattr(contract, "_verdict", None)
    required = REQUIREMENTS[channel].event_type or "order_completed"
    made = event("e1", "2026-01-02 03:04", required, channel=channel, context={"screen": "s", "geo": {"latitude": 1.5}})
    made |= {"sent_at": "2026-01-02T03:04:05.5+01:00", "received_at": "2026-01-02T03:04:06Z", "sequence": 3}
    value = json.dumps(made, separators=separators).encode()
    assert judge(records_of([value])).accepted.num_rows == 1


@pytest.mark.parametrize("members", ['"x":1,"x":2', '"x":1,"y":2,"z":3,"w":4,"x":5'])
def test_a_repeated_key_is_seen(members):
    made = json.dumps(event("e1", "2026-01-02 03:04", "order_completed"), separators=(",", ":"))
    assert_lawful([f'{made[:-1]},"properties":{{{members}}}}}'.encode()])


@pytest.mark.usefixtures("each_pass")
def test_a_large_event_needs_no_pydantic_either(monkeypatch):
    monkeypatch.setattr(contract, "_verdict", None)
    made = event("e1", "2026-01-02 03:04", "order_completed", properties={"text": "Málaga 123 " * 50_000, "n": 1})
    assert judge(records_of([json.dumps(made, separators=(",", ":")).encode()])).accepted.num_rows == 1


def test_long_texts_of_digits_are_looked_at_as_fast_as_others():
    """A search for a long number that began anywhere would take a second and more for each of them."""
    made = event("e1", "2026-01-02 03:04", "order_completed", properties={"text": ("7" * 999 + "a:,") * 300})
    value = json.dumps(made, separators=(",", ":")).encode()
    began = time.process_time()
    assert judge(records_of([value] * 10)).accepted.num_rows == 10
    assert time.process_time() - began < 3


@pytest.mark.parametrize("digits", [999, 1000, 3990, 4299, 4300, 4301, 9000])
@pytest.mark.parametrize("rest", ["", ".0", "e1", ',"text":"' + "x" * 5000 + '"'])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_of_many_digits_is_what_pydantic_says(digits, rest, sign):
    made = json.dumps(event("e1", "2026-01-02 03:04", "order_completed"), separators=(",", ":"))
    assert_lawful([f'{made[:-1]},"properties":{{"n":{sign}{"7" * digits}{rest}}}}}'.encode()])


def test_the_reference_rejects_and_accepts():
    good = event("e1", "2026-01-02 03:04")
    assert reference(json.dumps(good).encode())["occurred_at"] == datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert reference(json.dumps(good).replace('"e1"', '"e1","event_id":"e1"').encode()) is None
