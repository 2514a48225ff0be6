"""Logs are read as they are written: nothing is guessed, and no row is lost for another's fault."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from journey_core.errors import InputError, TaxonomyError
from journey_core.logs import Log, Rejected, read_log

MAPPING = """
mapping: mine
timezone: UTC
fields:
  event_id: id
  event_type: "'seen'"
  channel: "'app'"
  occurred_at: at
  identifiers: {customer_id: u}
  properties: {value: value}
"""
AT = "2026-01-01T10:00:00Z"


class World:
    """A log and its mapping: `events` are what came out, `rejected` what did not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mapping = MAPPING

    def read(self, name: str, content: str | bytes) -> World:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.run(path)

    def jsonl(self, *rows: dict[str, Any] | str) -> World:
        texts = (
            row if isinstance(row, str) else json.dumps({"id": str(n), "at": AT, "u": "ann", "value": None} | row)
            for n, row in enumerate(rows)
        )
        return self.read("log.jsonl", "\n".join(texts) + "\n")

    def csv(self, *rows: str, header: str = "id,at,u,value", name: str = "log.csv") -> World:
        return self.read(name, "\n".join((header, *rows)) + "\n")

    def run(self, path: Path) -> World:
        file = self.folder / "mine.yaml"
        file.write_text(self.mapping)
        self.rejected: list[Rejected] = []
        self.log: Log = read_log(path, file)
        self.texts = [record.value.decode() for record in self.log.records(self.rejected.append)]
        self.events = [json.loads(text) for text in self.texts]
        return self

    def say(self, old: str, new: str) -> World:
        assert old in self.mapping
        self.mapping = self.mapping.replace(old, new)
        return self

    @property
    def values(self) -> list[Any]:
        return [event.get("properties", {}).get("value") for event in self.events]

    @property
    def customers(self) -> list[str]:
        return [event["identifiers"]["customer_id"] for event in self.events]

    @property
    def lines(self) -> list[tuple[int, str]]:
        return [(row.line, row.reason) for row in self.rejected]


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


# Nothing is guessed.


def test_revenue_behind_twenty_thousand_whole_numbers_keeps_its_cents(world):
    rows = [f"{n},{AT},ann,10" for n in range(20_480)]
    assert world.csv(*rows, f"x,{AT},ann,10.75").values[-1] == "10.75"
    world.say("value: value", "value: cast(value as double)")
    assert world.csv(*rows, f"x,{AT},ann,10.75").values[-1] == 10.75


def test_leading_zeros_and_long_cookies_stay_what_they_are(world):
    world.csv(f"1,{AT},1026454427.1112504123,007", f"2,{AT},1026454427.1112504129,0012.50")
    assert world.customers == ["1026454427.1112504123", "1026454427.1112504129"], "two people, not one"
    assert world.values == ["007", "0012.50"]


def test_a_number_for_an_id_keeps_all_its_digits_in_jsonl_too(world):
    world.jsonl(f'{{"id": "1", "at": "{AT}", "u": 1026454427.1112504123}}', {"u": "1@abc"}, {"u": 111})
    assert world.customers == ["1026454427.1112504123", "1@abc", "111"]


@pytest.mark.parametrize(
    "number", ["10.750", "1e400", "-0", "1E-7", "12345678901234567890123", "1026454427.1112504123"]
)
def test_a_number_of_json_comes_out_digit_by_digit(world, number):
    world.jsonl(f'{{"id": "1", "at": "{AT}", "u": "ann", "value": {number}}}')
    assert f'"properties":{{"value":{number}}}' in world.texts[0]


@pytest.mark.parametrize(
    "text", ["2026-01-02", "D9428888-122B-11E1-B85C-61CD3CBB3210", "00012", "true", "null", '"', "\ufdd05", " 1 "]
)
def test_a_text_of_json_stays_that_text(world, text):
    assert world.jsonl({"value": text}, {"value": {"deep": [text]}}).values == [text, {"deep": [text]}]


def test_a_key_that_comes_late_is_known(world):
    world.jsonl(*[{}] * 20_481, {"value": "late"})
    assert world.values[-1] == "late"


def test_keys_that_differ_in_case_alone_are_two(world):
    world.say("{value: value}", '{small: "\\"revenue\\"", large: "\\"Revenue\\"", all: deep}')
    (event,) = world.jsonl({"revenue": 1, "Revenue": 2, "deep": {"a": 1, "A": 2}}).events
    assert event["properties"] == {"small": 1, "large": 2, "all": {"a": 1, "A": 2}}


@pytest.mark.parametrize(
    ("order", "occurred_at"),
    [("ymd", None), ("dmy", "2026-02-01T10:00:00.000000Z"), ("mdy", "2026-01-02T10:00:00.000000Z")],
)
def test_the_order_of_a_date_is_said_or_the_row_is_refused(world, order, occurred_at):
    world.say("timezone: UTC", f"timezone: UTC\nreader: {{date_order: {order}}}")
    world.csv("1,01/02/2026 10:00,ann,")
    assert [event["occurred_at"] for event in world.events] == ([occurred_at] if occurred_at else [])
    assert world.lines == ([] if occurred_at else [(2, "invalid_value")])


@pytest.mark.parametrize(
    ("written", "occurred_at"),
    [
        ("2026-01-01 10:00:00+02:00", "2026-01-01T08:00:00.000000Z"),
        ("2026-01-01 10:00:00 UTC", "2026-01-01T10:00:00.000000Z"),
        ("2026-07-01 10:00:00", "2026-07-01T08:00:00.000000Z"),
        ("2026-07-01", "2026-06-30T22:00:00.000000Z"),
        ("2026-01-01T10:00:00.123456789Z", "2026-01-01T10:00:00.123456789Z"),  # as it is: the contract cuts it
        ("0000-00-00", None),
        ("infinity", None),
        ("1767225600", None),
        ("10:00", None),
    ],
)
def test_a_time_is_what_says_its_offset_or_stands_in_the_mappings_zone(world, written, occurred_at):
    world.say("timezone: UTC", "timezone: Europe/Madrid").csv(f"1,{written},ann,", f"2,{AT},ann,")
    assert [event["occurred_at"] for event in world.events[:-1]] == ([occurred_at] if occurred_at else [])
    assert world.lines == ([] if occurred_at else [(2, "invalid_value")])


def test_a_naive_time_without_a_zone_is_refused_as_in_canonical_events(world):
    world.say("timezone: UTC\n", "").csv("1,2026-01-01 10:00:00,ann,", f"2,{AT},ann,")
    assert world.lines == [(2, "invalid_value")]
    assert world.rejected[0].detail == "must be an RFC 3339 time with an offset, as 2026-01-31T18:05:00+01:00"
    world.say("occurred_at: at", "occurred_at: \"strptime(at, '%Y')\"")
    with pytest.raises(TaxonomyError, match=r"mine\.yaml:7, key fields\.occurred_at: .*timezone: Europe/Madrid"):
        world.csv("1,2026,ann,")


# One fault costs one row.


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"id": "2", ', "invalid_json"),
        (b'{"id": "2", "at": "\\ud800"}', "invalid_json"),
        (b'{"id": "2", "u": "jos\xe9"}', "not_utf8"),
        (b'{"id": "2", "u": 1,}', "invalid_json"),
        (b'{"id": "2", "value": NaN}', "invalid_json"),
        (b'{"id": 02}', "invalid_json"),
        (b"[1]", "invalid_json"),
        (b'{"id": "2", "id": "3"}', "duplicate_key"),
        (b'{"id": "2", "at": "0000-00-00", "u": "ann"}', "invalid_value"),
    ],
)
def test_a_bad_line_is_one_rejected_row_and_its_neighbours_go_on(world, bad, reason):
    good = [json.dumps({"id": n, "at": AT, "u": "ann", "value": 0}).encode() for n in (1, 3)]
    world.read("log.jsonl", b"\n".join([good[0], b"", bad, good[1]]))
    assert [event["event_id"] for event in world.events] == ["1", "3"]
    assert world.lines == [(3, reason)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"2,t,ann", "malformed_row"),
        (b"2,t,ann,1,2", "malformed_row"),
        (b'2,t,"ann,1', "malformed_row"),
        (b'2,"a"b,ann,1', "malformed_row"),
        (b"2,t,jos\xe9,1", "not_utf8"),
        (b"2,0000-00-00,ann,1", "invalid_value"),
    ],
)
def test_a_bad_row_of_csv_is_one_rejected_row(world, bad, reason):
    good = f',{AT},"ann, or\nbob",'.encode()
    world.read("log.csv", b"\n".join([b"id,at,u,value", b"1" + good, bad, b"3" + good, b'4,"']))
    assert [event["event_id"] for event in world.events] == ["1", "3"]
    assert world.lines == [(4, reason), (7, "malformed_row")], "lines of the file, not of the rows"
    assert world.customers == ["ann, or\nbob"] * 2


def test_one_latin_1_byte_costs_one_row_and_a_named_encoding_none(world):
    content = f"id,at,u,value\n1,{AT},ann,é\n2,{AT},ann,e\n".encode("latin-1")
    assert world.read("log.csv", content).lines == [(2, "not_utf8")]
    assert world.rejected[0].raw == f"1,{AT},ann,\\xe9"
    world.say("timezone: UTC", "timezone: UTC\nreader: {encoding: latin-1}")
    assert world.read("log.csv", content).values == ["é", "e"]


def test_a_late_text_among_ids_of_digits_costs_nothing(world):
    world.jsonl(*[{"id": n} for n in range(20_481)], {"id": "order-1"})
    assert len(world.events) == 20_482
    assert world.rejected == []


def test_a_key_that_no_row_has_is_a_mistake_unless_the_mapping_says_that_it_may_come(world):
    row = json.dumps({"id": "1", "at": AT, "u": "ann"})
    with pytest.raises(TaxonomyError, match="unknown column `value`; known: at, id, row_number, u"):
        world.read("log.jsonl", row)
    world.say("timezone: UTC", "timezone: UTC\nreader: {columns: [value]}")
    assert world.read("log.jsonl", row).values == [None]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_a_file_may_end_its_lines_as_it_likes(world, end):
    world.read("log.csv", end.join(["id,at,u,value", f'1,{AT},ann,"a{end}b"', "bad", f"2,{AT},bob,c", ""]))
    assert (world.customers, world.values) == (["ann", "bob"], [f"a{end}b", "c"])
    assert world.lines == [(4, "malformed_row")]


def test_a_carriage_return_within_a_row_costs_that_row(world):
    assert world.csv(f"1,{AT},an\rn,1", f"2,{AT},bob,2").customers == ["bob"]
    assert world.rejected[0].detail == "a carriage return stands within the row, outside of quotes"


def test_a_column_that_stands_twice_is_named(world):
    with pytest.raises(TaxonomyError, match=r"key fields\.properties\.value: column `value` stands in the header more"):
        world.csv(f"1,{AT},ann,1,2", header="id,at,u,value,value")
    world.say("value: value", "id: id")
    assert len(world.csv(f"1,{AT},ann,1,2", header="id,at,u,value,value").events) == 1


@pytest.mark.parametrize(
    "expression",
    ["epoch_s(at)", "(epoch_ms((at)))", "epoch_us(at)", "epoch_ns(at)", "strptime(at, '%d.%m.%Y')"],
)
def test_text_that_is_no_time_is_named_and_not_called_missing(world, expression):
    world.say("occurred_at: at", f'occurred_at: "{expression}"').csv("1,abc,ann,1", "2,,ann,1")
    assert [(row.line, row.reason, row.field) for row in world.rejected] == [
        (2, "invalid_value", "occurred_at"),
        (3, "missing_field", "occurred_at"),
    ]
    assert '"occurred_at":"abc"' in world.rejected[0].event
    assert world.rejected[0].detail.startswith("must be an RFC 3339 time")


# Expressions.


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("amount * 2", 21.5),
        ("amount > 5", True),
        ("amount between 10 and 11", True),
        ("code = 7", True),
        ("'id-' || (code + 1)", "id-8"),
        ("properties.revenue", 1.10),
        ("props ->> '$.revenue'", "1.10"),
        ("cast(props ->> '$.revenue' as decimal(9, 2)) * 3", 3.3),
        ("at + interval '2 hours'", "2026-01-01T10:00:00.000000Z"),
        ("cast(at as timestamp)", "2026-01-01T08:00:00.000000Z"),
        ("at > timestamp '2026-01-01 07:59:59+00'", True),
        ("cast(at as date)", "2026-01-01"),
        ("lookup(params, 'page_location')", "/x"),
        ("lookup(params, 'ga_session_id')", 12345678901234567890),
        ("lookup(params, 'plain')", 5),
        ("lookup(params, 'none')", None),
        ("epoch_s(1767225600.5)", "2026-01-01T00:00:00.500000Z"),
        ("epoch_ms(ms)", "2026-01-01T00:00:00.123000Z"),
        ("epoch_us('1767225600123456')", "2026-01-01T00:00:00.123456Z"),
        ("epoch_ns(1767225600123456789)", "2026-01-01T00:00:00.123456Z"),
        ("upper(name) || row_number", "ANN1"),
        ("coalesce(missing, name)", "ann"),
        ("case when name = 'ann' then props end", '{"revenue": 1.10}'),
        ("cast(name as integer)", None),
        ("cast(amount as integer)", None),  # 10.75 is not 11
        ("cast(code as bigint)", 7),
        ("scored * 2", None),  # 1_000 is no number
        ("cast(scored as double)", None),
        ("cast(scored as decimal(9, 2))", None),
        ("cast(scored as bigint)", None),
        ("epoch_s(scored)", None),
        ("value in (500, 501)", True),
        ("cast('{\"a\": 1.0}' as json) -> '$.a'", 1.0),
    ],
)
def test_an_expression_reads_texts_as_what_it_needs(world, expression, value):
    row = (
        '{"id": "1", "u": "ann", "at": "2026-01-01T10:00:00+02:00", "amount": "10.75", "code": "07", "name": "ann", "scored": "1_000",'
        ' "properties": {"revenue": 1.10}, "props": "{\\"revenue\\": 1.10}", "ms": 1767225600123, "missing": null, "value": 500,'
        ' "params": [{"key": "page_location", "value": {"string_value": "/x", "int_value": null}},'
        ' {"key": "ga_session_id", "value": {"int_value": 12345678901234567890}}, {"key": "plain", "value": 5}]}'
    )
    world.say("value: value", f"value: {json.dumps(expression)}").read("log.jsonl", row + "\n")
    assert world.values == [value]


@pytest.mark.parametrize(
    ("local", "occurred_at"),
    [
        ("2026-03-29 02:30", "2026-03-29T01:30:00.000000Z"),  # 03:30 of the new offset
        ("2026-10-25 02:30", "2026-10-25T01:30:00.000000Z"),  # the second of the two, in winter time
    ],
)
def test_a_local_time_that_does_not_exist_or_exists_twice_is_what_the_recipe_says(world, local, occurred_at):
    world.say("timezone: UTC", "timezone: Europe/Madrid").csv(f"1,{local},ann,1")
    assert world.events[0]["occurred_at"] == occurred_at


def test_an_expression_for_a_time_needs_no_brackets(world):
    world.say("occurred_at: at", "occurred_at: \"at + interval '2 hours'\"").csv("1,2026-01-01 10:00:00+02:00,ann,")
    assert world.events[0]["occurred_at"] == "2026-01-01T10:00:00.000000Z"


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("value ->> '$[?(@.key==\"a\")].v'", "a path names keys and places alone"),
        ("value ->> '$..key'", "a path names keys and places alone"),
        ("value -> value", "constant"),
        ("value ->> 'a.b'", "one key or two?"),
        ("lookup(value)", "another number of values"),
        ("read_text('/etc/passwd')", "not allowed here"),
        ("lower(", "within { } YAML ends it at a comma: put it in quotes"),
        ("value + [", "is no SQL expression"),
        ("timestamp '2026-01-01' > at", "is no time with an offset"),
        ("row_number + interval '1 day'", "Candidate functions"),
    ],
)
def test_what_cannot_be_asked_names_the_mapping_and_says_all_of_the_reason(world, expression, says):
    world.say("timezone: UTC\n", "").say("value: value", f"value: {json.dumps(expression)}")
    with pytest.raises(TaxonomyError) as error:
        world.csv(f"1,{AT},ann,1")
    assert "mine.yaml:9, key fields.properties.value" in str(error.value)
    assert says in str(error.value)


def test_fields_of_the_contract_have_the_contracts_type(world):
    context = (
        "context: {session_id: n, geo: {latitude: n}, device: {os: n}, consent: {analytics: yes_}, page: page, own: n}"
    )
    world.say("  properties: {value: value}", f"  sequence: s\n  {context}")
    world.jsonl({"id": 1, "u": 2, "n": 40.10, "s": "7", "yes_": "true", "page": {"url": "/x"}})
    (event,) = world.events
    assert event["sequence"] == 7
    assert event["context"] == {
        "session_id": "40.1",
        "geo": {"latitude": 40.1},
        "device": {"os": "40.1"},
        "consent": {"analytics": True},
        "page": {"url": "/x"},
        "own": 40.1,
    }
    assert world.jsonl({"s": "seven", "n": 1, "yes_": "1", "page": {}}).lines == [(1, "invalid_value")]


def test_text_with_an_underscore_is_no_number_and_goes_on_as_it_is(world):
    world.say("properties: {value: value}", "context: {geo: {latitude: value}}")
    world.csv(f"1,{AT},ann,1_0", f"2,{AT},ann, 1e1 ")
    assert [event["context"]["geo"]["latitude"] for event in world.events] == ["1_0", 10]


def test_members_of_a_whole_context_have_the_contracts_type(world):
    world.say("properties: {value: value}", "context: c")
    given = """{"session_id": 77, "device": {"app_version": 1.10, "os": null}, "geo": {"latitude": "40.40", "longitude": 1.10},
        "consent": {"analytics": "true"}, "page": null, "own": {"price": 1.10, "none": null}, "": 5}"""
    given = given.replace("\n", " ")
    world.jsonl(f'{{"id": 1, "at": "{AT}", "u": "ann", "c": {given}}}', {"c": given}, {"c": {}}, {"c": None})
    typed = (
        '{"session_id":"77","device":{"app_version":"1.10"},"geo":{"latitude":40.40,"longitude":1.10},'
        '"consent":{"analytics":true},"own":{"price":1.10,"none":null},"":5}'
    )
    assert world.rejected == []
    assert [f'"context":{typed}' in text for text in world.texts] == [True, True, False, False]
    assert world.jsonl({"c": {"session_id": [1]}}, {"c": {"geo": "here"}}, {"c": "x"}).lines == [
        (1, "invalid_value"), (2, "invalid_value"), (3, "invalid_value")
    ]  # fmt: skip


def test_one_part_of_the_context_may_be_a_whole_object(world):
    world.say("properties: {value: value}", "context: {device: d}")
    (event,) = world.jsonl({"d": {"app_version": 2, "os": None}}).events
    assert event["context"] == {"device": {"app_version": "2"}}


def test_members_of_whole_identifiers_are_texts_and_nulls_are_left_out(world):
    world.say("identifiers: {customer_id: u}", "identifiers: ids")
    world.jsonl(
        f'{{"id": 1, "at": "{AT}", "value": 1, "ids": {{"customer_id": 12345.60, "email": null, "device_id": "1.50"}}}}',
        {"ids": {"customer_id": ["a"]}},
        {"ids": {"customer_id": None}},
    )
    assert [event["identifiers"] for event in world.events] == [{"customer_id": "12345.60", "device_id": "1.50"}]
    assert [row.line for row in world.rejected] == [2, 3]


def test_the_empty_key_is_a_column(world):
    world.say("{value: value}", "{value: '\"\"', deep: 'd.\"\"'}")
    (event,) = world.jsonl({"": 1.10, "d": {"": "x"}}).events
    assert event["properties"] == {"value": 1.10, "deep": "x"}


# What a mapping can do.


def test_where_keeps_rows_and_row_number_counts_them_all(world):
    world.say("timezone: UTC", "timezone: UTC\nwhere: value > 5").say("event_id: id", "event_id: row_number")
    world.csv(f"a,{AT},ann,4", f"b,{AT},ann,6", "broken", f"d,{AT},ann,abc", f"e,{AT},ann,7")
    assert [event["event_id"] for event in world.events] == ["2", "5"], "a mended row moves no other"
    assert (world.log.left_out, world.lines) == (2, [(4, "malformed_row")])


def test_where_is_a_condition(world):
    world.say("timezone: UTC", "timezone: UTC\nwhere: value")
    with pytest.raises(TaxonomyError, match=r"key where: `value` is no boolean expression: its type is VARCHAR"):
        world.csv(f"1,{AT},ann,1")


@pytest.mark.parametrize("as_text", [False, True])
def test_one_row_becomes_an_event_per_item(world, as_text):
    world.say("timezone: UTC", "timezone: UTC\neach: {item: items}")
    world.say("event_id: id", "event_id: id || '-' || item_number").say(
        "value: value", "value: item.sku, p: \"item ->> '$.p'\""
    )
    items = [{"sku": 7, "p": 1.5}, {"sku": "b"}]
    rows = [{"items": items}, {"items": []}, {}, {"items": {"sku": 1}}]
    world.jsonl(*({"items": json.dumps(row["items"])} if as_text and row else row for row in rows))
    assert [event["event_id"] for event in world.events] == ["0-1", "0-2"]
    assert [event["properties"] for event in world.events] == [{"value": 7, "p": "1.5"}, {"value": "b"}]
    assert world.log.without_items == 2, "no item, no event: counted"
    assert world.lines == [(4, "not_a_list")]


def test_whole_objects_go_into_properties_and_identifiers(world):
    world.say("identifiers: {customer_id: u}", "identifiers: ids").say(
        "properties: {value: value}", "properties: deep.most"
    )
    world.jsonl(
        {"ids": {"customer_id": 5, "email": "a@b.example"}, "deep": {"most": {"a": [1.50, {"b": None}]}}}, {"ids": "x"}
    )
    (event,) = world.events
    assert event["identifiers"] == {"customer_id": "5", "email": "a@b.example"}
    assert event["properties"] == {"a": [1.5, {"b": None}]}
    assert world.rejected[0].field == "identifiers"


@pytest.mark.parametrize(
    "name", ["log.jsonl", "log.ndjson", "log.json", "log.jsonl.gz", "log.jsonl.zst", "log.JSON.GZ"]
)
@pytest.mark.parametrize("is_array", [False, True])
def test_json_comes_in_lines_or_in_an_array_compressed_or_not(world, name, is_array):
    rows = [json.dumps({"id": n, "at": AT, "u": "ann", "value": "ü,]}"}, ensure_ascii=False) for n in range(3)]
    text = ("[" + ",\r\n".join(rows) + "\n]\n") if is_array and "json" in name.lower().split(".") else "\r\n".join(rows)
    content = b"\xef\xbb\xbf" + text.encode()
    packed = {"gz": gzip.compress, "zst": lambda data: pa.compress(data, "zstd", asbytes=True)}.get(
        name.lower().split(".")[-1]
    )
    world.read(name, packed(content) if packed else content)
    assert [event["event_id"] for event in world.events] == ["0", "1", "2"]
    assert world.values == ["ü,]}"] * 3


def test_a_bad_member_of_an_array_is_one_rejected_row(world):
    good = json.dumps({"id": 1, "at": AT, "u": "ann", "value": 0})
    world.read("log.json", f'[\n{good},\n{{"id": 2, "x": [1, 02]}},\n5,\n{good.replace("1", "3", 1)}, {{"id":')
    assert [event["event_id"] for event in world.events] == ["1", "3"]
    assert world.lines == [(3, "invalid_json"), (4, "invalid_json"), (5, "invalid_json")]


def numbered(number: int) -> str:
    return json.dumps({"id": number, "at": AT, "u": "ann", "value": 0})


ONE, TWO, THREE, FOUR = map(numbered, (1, 2, 3, 4))
QUOTE = TWO.replace('"ann"', '"ann')


@pytest.mark.parametrize(
    ("text", "ids", "lines"),
    [
        (f"[{ONE}]\n[{TWO}]\n", "12", []),
        (f"[\n{ONE}\n]\nleft over\n{TWO}\n", "12", [4]),
        (f"[\n{ONE}\n],\n{TWO}\n]\n", "12", [3, 5]),  # an extra bracket: its comma, and the last one
        (f"[{ONE}]\n]}}", "1", [2]),
        (f"[\n{ONE}}},\n{TWO},\n{THREE}\n]", "23", [2]),
        (f"[{ONE}}}, {TWO}, {THREE}]", "23", [1]),
        (f"[\n{ONE},\n{TWO[:-1]},\n{THREE},\n{FOUR}\n]", "134", [3]),
        (f"[\n{ONE}\n,{TWO[:-1]}\n,{THREE}\n,{FOUR}\n]", "134", [3]),
        (f"[{ONE},{TWO[:-1]},{THREE},{FOUR}]", "134", [1]),
        (f"[\n{ONE},\n{QUOTE},\n{THREE},\n{FOUR}\n]", "134", [3]),
        (f"[{ONE},{QUOTE},{THREE},{FOUR}]", "134", [1]),
        (f"[\n{ONE},\n{TWO[:-1]}\n]", "1", [3]),
        (f'[{ONE},{{"id": 2, "items": [{{"at": 1}}, {{"at": 2}}],{THREE}]', "13", [1]),
        (f"[\n{ONE},\n{TWO}\n", "12", [1]),  # nobody closed the bracket of line 1
        (f"[\n{ONE},\n{TWO},\n", "12", [1]),
        (f"[\n{ONE}\n{TWO}\n]", "12", []),
        (f"[{ONE},,{TWO}]", "12", [1]),
        ("[\n" + TWO.replace("ann", "a\nb") + f",\n{THREE}]", "3", [2]),
        (json.dumps(json.loads(ONE), indent=2), "1", []),
        (json.dumps(json.loads(ONE), indent=2).replace("{\n", "{"), "1", []),
        (json.dumps([*map(json.loads, (ONE, TWO))], indent=2).replace('"id": 1', '"x": {"y": [1, 2}'), "2", [2]),
        (f'{{"id":\n{TWO}\n', "2", [1]),
    ],
)
def test_text_that_is_no_json_array_costs_itself_alone(world, text, ids, lines):
    world.read("log.json", text)
    assert "".join(event["event_id"] for event in world.events) == ids
    assert world.lines == [(line, "invalid_json") for line in lines]


def test_a_byte_that_is_no_text_costs_its_member_and_not_its_line(world):
    world.read("log.json", f"[{ONE},{TWO},{THREE}]".encode().replace(b'2, "at": "', b'2, "at": "\xe9'))
    assert [event["event_id"] for event in world.events] == ["1", "3"]
    assert world.lines == [(1, "not_utf8")]


def test_a_reader_is_told_how_to_read(world):
    world.say(
        "timezone: UTC",
        "timezone: UTC\nreader: {format: csv, encoding: utf-16, delimiter: ';', quote: \"'\", columns: [id, at, u, value]}",
    )
    world.read("export.log", f"1;{AT};ann;'a;''b'\r\n".encode("utf-16"))
    assert world.values == ["a;'b"]


def test_a_file_at_fault_is_named_with_the_whole_reason(world, tmp_path):
    with pytest.raises(InputError, match=r"log\.jsonl\.gz cannot be read: .*compressed"):
        world.read("log.jsonl.gz", gzip.compress(b"x" * 10_000)[:-9])
    with pytest.raises(InputError, match=r"log\.parquet cannot be read: "):
        world.read("log.parquet", b"PAR1 no")
    with pytest.raises(InputError, match=r"log\.csv:1: the header cannot be read"):
        world.read("log.csv", b'"id"x,at\n')
    with pytest.raises(InputError, match=r"log\.csv: its header is one column, 'id;at;u'; .*delimiter"):
        world.read("log.csv", b"id;at;u\n")


def test_a_file_without_one_readable_row_blames_the_file_and_not_the_mapping(world):
    assert world.read("log.jsonl", "nope\n{]\n").lines == [(1, "invalid_json"), (2, "invalid_json")]
    assert world.read("log.jsonl", "").lines == []
    assert world.read("log.csv", "").lines == []


def test_parquet_has_types_of_its_own(world, tmp_path):
    times = pa.array([1767225600123456789], pa.timestamp("ns"))
    nested = pa.array([{"v": float("nan"), "w": 1.5}])
    table = pa.table(
        {"id": [5], "at": times, "u": [5.0], "value": nested, "revenue": [1], "items": [[{"n": 1}, {"n": 2}]]}
    )
    pq.write_table(table, tmp_path / "log.parquet")
    world.say("timezone: UTC", "timezone: UTC\neach: {item: items}\nwhere: revenue = 1 and row_number = 1")
    world.say("event_id: id", "event_id: id || '-' || item.n").say("value: value", "value: value, w: value.w")
    world.run(tmp_path / "log.parquet")
    assert [event["event_id"] for event in world.events] == ["5-1", "5-2"]
    assert world.events[0]["occurred_at"] == "2026-01-01T00:00:00.123456Z", "cut, not rounded"
    assert world.customers == ["5", "5"]
    assert world.events[0]["properties"] == {"value": {"w": 1.5}, "w": 1.5}
    world.say("timezone: UTC\n", "")
    with pytest.raises(TaxonomyError, match=r"key fields\.occurred_at: this time has no offset"):
        world.run(tmp_path / "log.parquet")


def test_columns_of_parquet_and_csv_keep_their_names(world, tmp_path):
    columns = [["1"], [AT], ["ann"], [1], [2]]
    pq.write_table(pa.table(columns, names=["id", "at", "u", "revenue", "Revenue"]), tmp_path / "log.parquet")
    world.say("{value: value}", "{small: revenue, large: Revenue}").run(tmp_path / "log.parquet")
    assert world.events[0]["properties"] == {"small": 1, "large": 2}
    world.say("large: Revenue", "large: properties.revenue")
    world.csv(f"1,{AT},ann,3,4", header="id,at,u,revenue,properties.revenue")
    assert world.events[0]["properties"] == {"small": "3", "large": "4"}


OURS = ["place", "row_number", "state", "items", "whole", "is_kept", "item", "item_number", "file_row_number", "batch"]


@pytest.mark.parametrize("with_items", [False, True])
@pytest.mark.parametrize("name", [*OURS, "File_Row_Number", "p0", "c0", "filename", "a b"])
def test_a_column_of_parquet_may_have_any_name(world, tmp_path, name, with_items):
    columns = [["1", "2"], [AT, AT], ["ann", "bob"], ["x", "y"], [[1, 2], [3]]]
    pq.write_table(pa.table(columns, names=["id", "at", "u", name, "lst"]), tmp_path / "log.parquet")
    world.say("value: value", f"value: '\"{name}\"'")
    if with_items:
        world.say("timezone: UTC", "timezone: UTC\neach: {it: lst}").say("event_id: id", "event_id: id || it_number")
    world.run(tmp_path / "log.parquet")
    assert world.rejected == []
    assert [event["event_id"] for event in world.events] == (["11", "12", "21"] if with_items else ["1", "2"])
    assert world.values == (["x", "x", "y"] if with_items else ["x", "y"])


def test_a_rejected_row_of_parquet_names_its_row_whatever_its_columns_are(world, tmp_path):
    columns = [["1", "2"], [AT, "bad"], ["ann", "bob"], [7, 8], [9, 9]]
    names = ["id", "at", "u", "place", "file_row_number"]
    pq.write_table(pa.table(columns, names=names), tmp_path / "log.parquet")
    world.say("value: value", "value: place, row: row_number").run(tmp_path / "log.parquet")
    assert world.events[0]["properties"] == {"value": 7, "row": 1}
    assert world.lines == [(2, "invalid_value")]


def test_a_number_for_a_time_asks_what_it_counts(world, tmp_path):
    pq.write_table(pa.table({"id": [5], "at": [1767225600], "u": ["a"], "value": [1]}), tmp_path / "log.parquet")
    with pytest.raises(TaxonomyError, match="say what it counts by epoch_s"):
        world.run(tmp_path / "log.parquet")
