"""Pseudonyms: joins work as before, and what somebody was called is nowhere on the disk."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from journey_core.contract import records_of
from journey_core.errors import InputError
from journey_core.lake import Lake, Partition
from journey_core.models import contracts
from journey_core.release import publish_release
from journey_core.taxonomy import TAXONOMIES
from pipelines.admit import admit
from pipelines.build import build
from pipelines.erase import erase, export
from pipelines.replay import replay_rejected
from pipelines.settings import Settings
from tests.conftest import event
from tests.pipelines.test_erase import names_left

SECRET = "a secret of the house"
ON = Partition("events.web.v1", 0)
MAIL = {"email": " Ann.Lee@Example.com"}
RECORDS = [
    json.dumps(made).encode()
    for made in (
        event("1", "2026-01-01 10:00", who={"anonymous_id": "cookie"} | MAIL),
        event("2", "2026-01-02 10:00", who={"email": "ann.lee@example.com", "customer_id": "ann"}),
        event("3", "2026-01-03 10:00", who={"phone": "0034 600 111 222", "customer_id": "ann"},
              properties={"callback": 34600111222, "note": "call +34600111222 or ann.lee@example.com"}),
        event("4", "2026-01-04 10:00", who={"anonymous_id": "cookie"}),
        event("5", "2026-01-05 10:00", "identity_merged", who={"customer_id": "ann"},
              properties={"with": {"email": "LEE@work.example"}}),
        event("6", "2026-01-06 10:00", who={"email": "lee@work.example"}, context={"page": {"url": "u?m=lee@work.example"}}),
    )
]  # fmt: skip
BROKEN = [b'{"broken": "ann.lee@example.com"', json.dumps(event("7", "2100-01-01 10:00", who=MAIL)).encode()]
NAMES = ("ann.lee@example.com", "lee@work.example", "600111222", "600 111 222")


@pytest.fixture
def hidden(home, monkeypatch):
    monkeypatch.setenv("JOURNEY_PSEUDONYMISE", "email, phone")
    monkeypatch.setenv("JOURNEY_PSEUDONYM_KEY", SECRET)
    return Settings()


def landed(settings, values, first=0):
    lake = Lake(settings.lake)
    if first == 0:
        lake.accept((), lake.snapshot(), {ON: 0}, {}, datetime.now(UTC))
    records = records_of(values, topic=ON.topic)
    records = records.set_column(3, "offset", [list(range(first, first + len(values)))])
    records = records.set_column(4, "kafka_timestamp", [[datetime(2026, 2, 1, tzinfo=UTC)] * len(values)])
    lake.commit(admit(records.cast(records_of([], topic="t").schema), settings), lake.snapshot(), {ON: first}, {ON: first + len(values)}, {})  # fmt: skip


def pseudonym(namespace: str, identifier: str) -> str:
    return "hmac:" + hmac.new(SECRET.encode(), f"{namespace}:{identifier}".encode(), hashlib.sha256).hexdigest()


def test_the_raw_value_is_nowhere_on_disk_and_joins_still_work(hidden):
    landed(hidden, RECORDS + BROKEN)
    made = build(hidden)
    publish_release(hidden.open_warehouse(), made, contracts(), hidden.releases, None)
    assert names_left(hidden.home, NAMES) == {}
    rows = hidden.open_warehouse().query("select distinct customer_id from marts.touchpoints").to_pylist()
    assert rows == [{"customer_id": "ann"}], "address, cookie, number and merge lead to one person"
    known = hidden.open_warehouse().query("select identifier from marts.identity_map where namespace = 'email'")
    assert set(known["identifier"].to_pylist()) == {
        pseudonym("email", "ann.lee@example.com"),
        pseudonym("email", "lee@work.example"),
    }


def test_what_stands_beside_an_identifier_stays(hidden):
    landed(hidden, RECORDS)
    build(hidden)
    ((properties,),) = [
        tuple(row.values())
        for row in hidden.open_warehouse()
        .query("select properties::varchar as p from marts.touchpoints where event_id = '3'")
        .to_pylist()
    ]
    assert json.loads(properties) == {
        "callback": "(pseudonymised)",
        "note": "call (pseudonymised) or (pseudonymised)",
    }


def test_a_rejected_record_is_sealed_and_can_be_replayed(hidden, monkeypatch):
    landed(hidden, BROKEN)
    assert str(replay_rejected(hidden)) == "replayed 2 rejected records: 0 accepted now"
    monkeypatch.setenv("JOURNEY_FUTURE_TOLERANCE", "36500 days")
    monkeypatch.setenv("JOURNEY_PSEUDONYM_KEY", "another secret, as long")
    with pytest.raises(InputError, match="under another secret"):
        replay_rejected(Settings())
    monkeypatch.setenv("JOURNEY_PSEUDONYM_KEY", SECRET)
    assert str(replay_rejected(Settings())).endswith("1 accepted now")
    assert names_left(hidden.home, NAMES) == {}


def test_a_person_is_found_exported_and_erased_by_what_they_are_called(hidden):
    landed(hidden, RECORDS)
    assert sum('"staging.events"' in line for line in export(hidden, "email=ANN.LEE@example.com")) == 6
    erase(hidden, "phone=+34 600 111 222")
    build(hidden)
    assert hidden.open_warehouse().query("from marts.touchpoints").num_rows == 0
    landed(hidden, RECORDS[:1], first=len(RECORDS))
    build(hidden)
    assert hidden.open_warehouse().query("from marts.touchpoints").num_rows == 0, "a replay brings nobody back"


def test_two_spellings_of_a_phone_have_one_pseudonym_by_the_taxonomys_region(hidden, monkeypatch, tmp_path):
    mine = tmp_path / "mine.yaml"
    text = (TAXONOMIES / "retail.yaml").read_text()
    mine.write_text(text.replace("identity: {", "identity: {default_region: ES, placeholders: [kiosk@x.de], "))
    monkeypatch.setenv("JOURNEY_TAXONOMY", str(mine))
    settings = Settings()
    spellings = ["600 111 222", "+34 600\u2011111\u2011222", "tel:+34600111222", "0034 600 111 222"]
    made = [event(f"{n}", "2026-01-01 10:00", who={"phone": text}) for n, text in enumerate(spellings)]
    made += [event(f"k{n}", "2026-01-01 10:00", who={"customer_id": f"c{n}", "email": "Kiosk@x.de"}) for n in range(2)]
    landed(settings, [json.dumps(one).encode() for one in made])
    build(settings)
    rows = settings.open_warehouse().query("select namespace, identifier from marts.identity_map order by all")
    assert rows.to_pylist() == [
        {"namespace": "customer_id", "identifier": "c0"},
        {"namespace": "customer_id", "identifier": "c1"},
        {"namespace": "phone", "identifier": pseudonym("phone", "+34600111222")},
    ]
    assert names_left(settings.home, NAMES) == {}
    assert erase(settings, "phone=600-111-222").events == 4


def test_pseudonyms_need_a_secret(home, monkeypatch):
    monkeypatch.setenv("JOURNEY_PSEUDONYMISE", "email")
    with pytest.raises(ValidationError, match="needs JOURNEY_PSEUDONYM_KEY"):
        Settings()
