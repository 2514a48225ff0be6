"""Any log into canonical events, by a mapping."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from journey_core.contract import judge, records_of
from journey_core.errors import InputError, TaxonomyError
from journey_core.logs import Record, Rejected, read_log

FIELDS = """
mapping: mine
timezone: UTC
fields:
  event_id: id
  event_type: what
  channel: place
  occurred_at: at
  identifiers: {customer_id: who}
  context: {geo: {country: country}, page: {url: "'https://shop.example'"}}
  properties: {amount: amount}
"""


@pytest.fixture
def mapping(tmp_path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(FIELDS)
    return path


def csv(tmp_path, *rows: str) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("\n".join(("id,what,place,at,who,country,amount", *rows)) + "\n")
    return path


def produced(path: Path, mapping: Path) -> tuple[list[Record], list[Rejected]]:
    rejected: list[Rejected] = []
    return list(read_log(path, mapping).records(rejected.append)), rejected


def test_a_log_with_numbers_for_ids_becomes_events(tmp_path, mapping):
    ((record,), _) = produced(csv(tmp_path, "1,seen,web,2026-01-01 10:00:00,5,ES,2.5"), mapping)
    assert (record.topic, record.key) == ("events.web.v1", b"customer_id:5")
    assert json.loads(record.value) == {
        "event_id": "1",
        "event_type": "seen",
        "channel": "web",
        "occurred_at": "2026-01-01T10:00:00.000000Z",
        "identifiers": {"customer_id": "5"},
        "context": {"geo": {"country": "ES"}, "page": {"url": "https://shop.example"}},
        "properties": {"amount": "2.5"},  # a CSV file has texts: to make it a number is the mapping's to say
    }
    assert judge(records_of([record.value])).accepted.num_rows == 1


def test_what_is_missing_is_left_out_and_what_the_contract_rejects_is_rejected_with_its_line(tmp_path, mapping):
    # Before, such rows were produced as they were. Only their own file can name their line and keep what they hold.
    rows = (
        "1,seen,Web,2026-01-01 10:00:00,5,,",
        "2,seen,,2026-01-01 10:00:00,5,,",
        "3,seen,we b/ü,2026-01-01 10:00:00,5,,",
        "4,seen,web,2026-01-01 10:00:00,5,,",
    )
    (good,), rejected = produced(csv(tmp_path, *rows), mapping)
    event = json.loads(good.value)
    assert event["context"] == {"page": {"url": "https://shop.example"}}, (
        "an object of which nothing is known is left out"
    )
    assert "properties" not in event
    assert [(row.line, row.reason, row.field) for row in rejected] == [
        (2, "unknown_channel", "channel"),
        (3, "missing_field", "channel"),
        (4, "unknown_channel", "channel"),
    ]
    assert rejected[2].raw == rows[2]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "event_type: what",
            "event_type: wat",
            "mine.yaml:6, key fields.event_type: unknown column `wat`; known: amount,",
        ),
        ("event_type: what", "event_type: count(*)", "is not allowed here"),
        ("  event_id: id\n", "", "key fields.event_id: Field required"),
        ("mapping: mine", "mapping: mine\nfrom: x", "not known here"),
        ("timezone: UTC", "timezone: Madrid", "timezone: Madrid is no time zone"),
        ("geo: {country: country}", "geo: {country: kountry}", "key fields.context.geo.country: unknown column"),
    ],
)
def test_a_mistake_names_file_line_and_key(tmp_path, mapping, old, new, says):
    mapping.write_text(FIELDS.replace(old, new))
    with pytest.raises(TaxonomyError) as error:
        read_log(csv(tmp_path, "1,seen,web,2026-01-01 10:00:00,5,ES,2.5"), mapping)
    assert says in str(error.value)


def test_dates_as_people_write_them(tmp_path, mapping):
    mapping.write_text(FIELDS.replace("occurred_at: at", "occurred_at: \"strptime(at, '%d/%m/%Y')\""))
    rows = ("1,seen,web,31/01/2026,5,ES,1", "2,seen,web,soon,5,ES,1")
    (good,), (bad,) = produced(csv(tmp_path, *rows), mapping)
    assert json.loads(good.value)["occurred_at"] == "2026-01-31T00:00:00.000000Z"
    # The text stays in the event (decision 0014): it is no time, which is something else than a missing one.
    assert (bad.line, bad.reason, bad.field) == (3, "invalid_value", "occurred_at"), "one row does not end the run"


def test_a_log_of_another_kind_or_none_is_said(tmp_path, mapping):
    with pytest.raises(InputError, match=r"log\.xlsx: a log is one of \.parquet, \.csv"):
        read_log(tmp_path / "log.xlsx", mapping)
    with pytest.raises(TaxonomyError, match="no mapping `nope`: name one of loan_application"):
        read_log(csv(tmp_path, "1,seen,web,2026-01-01 10:00:00,5,ES,2.5"), Path("nope"))
