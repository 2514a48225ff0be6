"""A person leaves in whatever shape somebody has written them; a name of theirs leaves nobody else's facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pytest

from journey_core.contract import RECORDS
from journey_core.lake import Lake, Partition
from journey_core.models import contracts
from journey_core.release import publish_release
from journey_core.shapes import ERASED, patterns, teach
from pipelines.admit import admit
from pipelines.build import build
from pipelines.erase import erase
from pipelines.settings import Settings
from tests.conftest import event
from tests.spellings import SHAPES, left_in

ON = Partition("events.web.v1", 0)
ADDRESS, CARD = "ann.lee@exämple.com", "ann-41"
PUNYCODE = "ann.lee@xn--exmple-cua.com"
WHO = {"customer_id": CARD, "email": ADDRESS}
PEOPLE = [("email", ADDRESS), ("email", PUNYCODE), ("customer_id", CARD)]
BOB = {"customer_id": "bob-7"}


def land(settings, records):
    """`records` are (key, value) pairs."""
    lake = Lake(settings.lake)
    lake.accept((), lake.snapshot(), {ON: 0}, {}, datetime.now(UTC))
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [(ON.topic, 0, 0, offset, moment, moment, key, value) for offset, (key, value) in enumerate(records)]
    table = pa.Table.from_pylist([dict(zip(RECORDS.names, row, strict=True)) for row in rows], schema=RECORDS)
    lake.commit(admit(table, settings), lake.snapshot(), {ON: 0}, {ON: len(records)}, {})


def planted():
    """Records of Ann, and of Bob: in each of his, one column names her in one shape."""
    records = [(None, json.dumps(event("a1", "2026-01-01 10:00", who=WHO)).encode())]
    for number, (namespace, identifier) in enumerate(PEOPLE):
        for place, shape in enumerate(SHAPES.values()):
            said = shape(namespace, identifier)
            at = f"2026-01-02 {place % 24:02}:00"
            made = [
                event(f"{said[:150]}#{number}.{place}", at, who=BOB),
                event(f"t{number}.{place}", at, said[:200], who=BOB),
                event(
                    f"p{number}.{place}", at, who=BOB, properties={"text": f"ask {said}", "more": {said[:99]: [said]}}
                ),
                event(
                    f"c{number}.{place}",
                    at,
                    who=BOB,
                    context={"page": {"url": said, "title": said}, "session_id": said[:150]},
                ),
                event(f"x{number}.{place}", at, who=BOB, unknown=said),
                event(f"i{number}.{place}", at, who=BOB | {"elsewhere": said[:200]}),
            ]
            records += [(None, json.dumps(one, ensure_ascii=place % 2 == 0).encode()) for one in made]
            wrong = [
                event(f"f{number}.{place}", at, who=BOB, channel="fax", properties={"text": said}),
                event(f"g{number}.{place}", at, who=BOB) | {"identifiers": {said: 7}},
                event(f"h{number}.{place}", at, who=BOB) | {"channel": said, "initiator": said},
            ]
            records += [(None, json.dumps(one).encode()) for one in wrong]
            records += [(said.encode(), None), (b"bob-7", f'{{"broken": "{said}'.encode()), (said.encode(), b"{")]
    return records


def test_every_shape_in_every_column_leaves_every_file(home):
    settings = Settings(home=home)
    records = planted()
    land(settings, [*records, (b"customer_id:bob-7", None)])
    publish_release(settings.open_warehouse(), build(settings), contracts(), settings.releases, None)
    before = left_in(home, PEOPLE)
    assert {name for _, name in before} == set(SHAPES), "else the scan is blind"
    kept = settings.open_warehouse().query("select count(*) from staging.events").to_pydict()
    erased = erase(settings, CARD)
    assert sorted(set(left_in(home, PEOPLE))) == []
    assert erased.events == 1
    # Bob loses no event: each of his stays, without her.
    after = settings.open_warehouse().query("select count(*) from staging.events").to_pydict()
    assert next(iter(after.values())) == [next(iter(kept.values()))[0] - 1]
    outcomes = settings.open_warehouse().query(
        "select reason, sum(records)::int as records from marts.event_outcomes where outcome = 'rejected' group by all"
    )
    assert {row["reason"]: row["records"] for row in outcomes.to_pylist()} == {
        "erased": 6 * len(PEOPLE) * len(SHAPES) + 1,
        "tombstone": 1,
    }


def test_pseudonyms_hide_every_shape_in_every_column(home, monkeypatch):
    """Ann's own records say her address in every shape; so do rejected ones, and keys."""
    monkeypatch.setenv("JOURNEY_PSEUDONYMISE", "email,customer_id")
    monkeypatch.setenv("JOURNEY_PSEUDONYM_KEY", "a secret of the house")
    settings = Settings()
    hers = [
        (key, value and value.replace(b'"customer_id": "bob-7"', json.dumps(WHO)[1:-1].encode()))
        for key, value in planted()
    ]
    land(settings, hers)
    publish_release(settings.open_warehouse(), build(settings), contracts(), settings.releases, None)
    assert sorted(set(left_in(home, PEOPLE))) == []
    owners = settings.open_warehouse().query("select distinct customer_id from marts.touchpoints").to_pylist()
    assert len(owners) == 1, "whatever else stands beside, she is one person"


def test_sealed_records_and_tombstones_of_a_person_leave(home, monkeypatch):
    """What was refused is sealed: it is opened to be searched, by the pseudonyms of all that it says."""
    monkeypatch.setenv("JOURNEY_PSEUDONYMISE", "email,customer_id")
    monkeypatch.setenv("JOURNEY_PSEUDONYM_KEY", "a secret of the house")
    settings = Settings()
    hers = [
        (None, json.dumps(event("a1", "2026-01-01 10:00", who=WHO)).encode()),
        (b"email:" + ADDRESS.encode(), None),
        (b"ann-41", None),
        (b"email:ann.lee%40ex%C3%A4mple.com", b"{"),
        (None, f'{{"to": "{ADDRESS}"'.encode()),
        (None, b'{"customer_id": "ann-41", "broken'),
    ]
    land(settings, [*hers, (b"customer_id:bob-7", None), (b"bob-7", b"{")])
    build(settings)
    assert erase(settings, f"email={ADDRESS}").records_removed == len(hers)


@pytest.fixture(scope="module")
def without():
    """A text without Ann, whose customer_id is 42; (text, JSON)."""
    with duckdb.connect() as connection:
        others = ["mary-bo@x.de", "bo@x.de.example"]
        theirs = {("email", "ann@x.de"), ("email", "bo@x.de"), ("customer_id", "42"), ("phone", "+34600111222")}
        teach(connection, patterns(theirs | {("device_id", "ann-41")}, (), others))
        yield lambda text: connection.execute("select without_names($1), json_without_names($1)", [text]).fetchone()


@pytest.mark.parametrize(
    "text",
    [
        "42", "product 42", '{"qty": 42}', "customer_id:421", "crm_customer_id:42", "34600111222", "ann-411", "xann-41",
        "joann@x.de", "ann-41@x.de", "ann-41%40x.de", "ann-41&#64;x.de", "mary-bo@x.de", "bo@x.de.example", "ann@x.dev",
        "1b1b2c3d-41aa-4bbb-8ccc-0123456789ab", "TW96aWxsYS81LjAgKFgxMTsgTGludXgp",
    ],
)  # fmt: skip
def test_the_facts_of_others_stay(without, text):
    assert without(text) == (text, text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("?customer_id=42&a=1", f"?customer_id={ERASED}&a=1"),
        ("customer_id%3A42", f"customer_id%3A{ERASED}"),
        ('{"customer_id": "42", "qty": 42}', f'{{"customer_id": "{ERASED}", "qty": 42}}'),
        ('{"customerId": 42}', f'{{"customerId": "{ERASED}"}}'),
        (r'{"said": "{\"customer_id\":42}"}', rf'{{"said": "{{\"customer_id\":{ERASED}}}"}}'),
        (r'{"text": "hi\nann@x.de\n"}', rf'{{"text": "hi\n{ERASED}\n"}}'),
        ("ann@x.de ann@x.de,ann@x.de", f"{ERASED} {ERASED},{ERASED}"),
        ("mary-ann@x.de", f"mary-{ERASED}"),  # nobody is known to be called so
        ("ask bo@x.de.", f"ask {ERASED}."),
        ("call 0034 600-111-222 or ?p=%2B34600111222", f"call {ERASED} or ?p={ERASED}"),
    ],
)
def test_what_is_theirs_goes_and_what_stands_around_stays(without, text, left):
    assert without(text)[1] == left
