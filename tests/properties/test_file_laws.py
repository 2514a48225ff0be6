"""Files are read letter by letter: text, numbers and every type that Parquet has."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from journey_core.contract import judge
from journey_core.event_files import read_events
from journey_core.logs import Rejected, read_log

MAPPING = """
mapping: any
fields:
  event_id: row_number
  event_type: "'seen'"
  channel: "'app'"
  occurred_at: "'2026-01-01T00:00:00Z'"
  identifiers: {customer_id: value, other: "'x'"}
  properties: {value: value, deep: deep, path: deep.value}
"""


class Raw(float):
    """A number of JSON with its letters."""

    def __new__(cls, text: str) -> Raw:
        made = super().__new__(cls, float(text))
        made.text = text
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Raw) and self.text == other.text

    __hash__ = float.__hash__


def letters(text: str) -> object:
    return json.loads(text, parse_float=Raw, parse_int=Raw)


def events_of(path, mapping) -> list[dict]:
    """Every event that the mapping makes, also those that the contract does not accept."""
    rejected: list[Rejected] = []
    texts = [record.value.decode() for record in read_log(path, mapping).records(rejected.append)]
    made = [letters(text) for text in [*texts, *(row.event for row in rejected)]]
    return sorted(made, key=lambda event: int(event["event_id"]))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
LITERALS = st.one_of(TEXTS.map(json.dumps), TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)), NUMBERS)


@given(st.lists(LITERALS, min_size=1, max_size=8))
@example(['"2026-01-02"', "1026454427.1112504123", '"00012"', "1e400", "-0.0", '"a\\"1, 2\\""', '"\\ufdd05"', '"null"'])
def test_any_jsonl_of_strings_and_numbers_comes_out_letter_by_letter(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("jsonl")
    log, mapping = folder / "log.jsonl", folder / "any.yaml"
    mapping.write_text(MAPPING)
    lines = [f'{{"value": {value}, "deep": {{"value": {value}, "list": [{value}]}}}}' for value in values]
    log.write_text("\n".join(lines), encoding="utf-8", newline="\n")
    for event, value in zip(events_of(log, mapping), values, strict=True):
        written = letters(value)
        assert event["properties"] == {"value": written, "deep": {"value": written, "list": [written]}, "path": written}
        assert event["identifiers"]["customer_id"] == (written.text if isinstance(written, Raw) else written)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_any_csv_comes_out_letter_by_letter(tmp_path_factory, rows, encoding):
    folder = tmp_path_factory.mktemp("csv")
    log, mapping = folder / "log.csv", folder / "any.yaml"
    mapping.write_text(f"{MAPPING.replace(', path: deep.value', '')}reader: {{encoding: {encoding}}}\n")
    with log.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("value", "deep"), *rows])
    for event, (value, deep) in zip(events_of(log, mapping), rows, strict=True):
        assert event["properties"] == {"value": value, "deep": deep}
        assert event["identifiers"]["customer_id"] == value


def cut(nanoseconds: int) -> str:
    """RFC 3339 of nanoseconds since 1970, cut to microseconds."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


SECONDS = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
TIMES = [pa.timestamp(unit, zone) for unit in SECONDS for zone in (None, "UTC", "Europe/Madrid")]


@st.composite
def typed(draw) -> tuple[pa.DataType, object, object]:
    """A type of Arrow, a value of it, and what JSON says of it."""
    kind = draw(
        st.sampled_from([*INTEGERS, *TIMES, pa.decimal128(38, 4), pa.float32(), pa.float64(), pa.bool_(), *STRINGS])
    )
    if pa.types.is_integer(kind):
        signed = pa.types.is_signed_integer(kind)
        low, high = (
            (-(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1) if signed else (0, 2**kind.bit_width - 1)
        )
        value = draw(st.integers(low, high))
        return kind, value, value
    if pa.types.is_timestamp(kind):
        value = draw(st.integers(-(2**60), 2**60)) // SECONDS[kind.unit]
        return kind, value, cut(value * SECONDS[kind.unit])
    if pa.types.is_decimal(kind):
        value = Decimal(draw(st.integers(-(10**30), 10**30))).scaleb(-4)
        return kind, value, value
    if pa.types.is_floating(kind):
        value = draw(st.floats(width=kind.bit_width))
        return kind, value, value if abs(value) < float("inf") else None
    value = draw(st.booleans()) if pa.types.is_boolean(kind) else draw(TEXTS)
    return kind, value, value


STRINGS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]
INSIDE = {
    "top": lambda kind: (kind, lambda value: value),
    "struct": lambda kind: (pa.struct([("a", kind)]), lambda value: {"a": value}),
    "list": lambda kind: (pa.list_(kind), lambda value: [value]),
    "map": lambda kind: (pa.map_(pa.string(), kind), lambda value: [("a", value)]),
}


@given(typed(), st.sampled_from(list(INSIDE)))
@example((pa.float64(), float("nan"), None), "struct")
@example((pa.timestamp("ns"), -1, "1969-12-31T23:59:59.999999Z"), "top")
@example((pa.timestamp("ns", "UTC"), 1767225600999999999, "2026-01-01T00:00:00.999999Z"), "map")
@example((pa.decimal128(18, 4), Decimal("12345678901234.5678"), Decimal("12345678901234.5678")), "struct")
def test_a_value_of_any_type_of_parquet_is_itself_wherever_it_stands(tmp_path_factory, value, place):
    kind, given_value, said = value
    if pa.types.is_binary(kind):
        given_value = given_value.encode()
    if place != "top" and pa.types.is_dictionary(kind):
        kind = pa.string()  # pyarrow makes no nested dictionaries of plain values
    path = tmp_path_factory.mktemp("parquet") / "events.parquet"
    whole, wrapped = INSIDE[place](kind)
    row = {
        "event_id": pa.array(["1"]),
        "event_type": pa.array(["seen"]),
        "channel": pa.array(["app"]),
        "occurred_at": pa.array([0], pa.timestamp("ns")),
        "identifiers": pa.array([[("customer_id", "ann")]], pa.map_(pa.string(), pa.string())),
        "properties": pa.StructArray.from_arrays([pa.array([wrapped(given_value)], whole)], ["value"]),
    }
    pq.write_table(pa.table(row), path)
    records = read_events(path)
    (text,) = records["value"].to_pylist()
    found = json.loads(text, parse_float=Decimal if isinstance(said, Decimal) else float)["properties"].get("value")
    empty = {"top": None, "struct": {}, "list": [None], "map": {}}
    expected = {"top": said, "struct": {"a": said}, "list": [said], "map": {"a": said}}
    if pa.types.is_float32(kind) and said is not None:
        found = json.loads(json.dumps(found), parse_float=lambda number: pa.scalar(float(number), kind).as_py())
    assert found == (empty if said is None else expected)[place]
    assert judge(records).rejected.num_rows == 0
