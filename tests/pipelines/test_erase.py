"""A person who asks to be forgotten leaves every file; a person who asks what is held gets it."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from journey_core import lake as lake_module
from journey_core.contract import judge, records_of
from journey_core.erasures import Erasures
from journey_core.errors import InputError
from journey_core.lake import Lake, Partition
from journey_core.models import contracts
from journey_core.privacy import Person
from journey_core.query import query_release
from journey_core.release import current_release, publish_release
from journey_core.warehouse import Warehouse
from pipelines import erase as module
from pipelines.build import build
from pipelines.erase import erase, export
from pipelines.settings import Settings
from tests.conftest import event

ANN = {"customer_id": "ann-41", "email": "Ann.Lee@Example.com "}
COOKIE = {"anonymous_id": "cookie-of-ann"}
BOB = {"customer_id": "bob-7"}
TABLET = {"device_id": "tablet-in-the-kitchen"}
#: However they are written: none of these may be left in any file.
NAMES = ("ann-41", "ann.lee@example.com", "cookie-of-ann")
ON = Partition("events.web.v1", 0)

RECORDS = [
    json.dumps(made).encode()
    for made in (
        event("a1", "2026-01-01 10:00", who=COOKIE),
        event("a2", "2026-01-01 10:05", who=COOKIE | ANN),
        event("a3", "2026-01-01 10:06", "order_completed", who=ANN | TABLET, properties={"revenue": "10.00"}),
        event("a4", "2026-01-01 10:07", who=TABLET),
        event("b1", "2026-01-02 10:00", who=BOB | TABLET),
        event("b2", "2026-01-02 11:00", who=BOB, properties={"text": "ask ann.lee@example.com"}),
        event("b3", "2026-01-02 12:00", who=BOB | {"email": "ann.lee@example.com"}),
        event("b4", "2026-01-02 13:00", who=TABLET),
    )
]
RECORDS += [RECORDS[1], b'{"broken": "ann-41"', b'{"broken": "bob-7"', b"\xff ANN.LEE@example.com"]


def landed(settings, values, first=0):
    lake = Lake(settings.lake)
    if first == 0:
        lake.accept((), lake.snapshot(), {ON: 0}, {}, datetime.now(UTC))
    records = records_of(values, topic=ON.topic)
    records = records.set_column(3, "offset", [list(range(first, first + len(values)))])
    judged = Erasures.read(settings.erasures).withhold(judge(records))
    lake.commit(judged, lake.snapshot(), {ON: first}, {ON: first + len(values)}, {})
    return judged


@pytest.fixture
def shop(home):
    """A landed, built and twice published home."""
    settings = Settings(home=home)
    landed(settings, RECORDS)
    warehouse = settings.open_warehouse()
    # The whole comes last: an erasure builds again what was built last, with its `as_of`.
    publish_release(
        warehouse, build(settings, as_of=datetime(2026, 1, 2, tzinfo=UTC)), contracts(), settings.releases, None
    )
    publish_release(warehouse, build(settings), contracts(), settings.releases, None)
    return settings


def names_left(home, names=NAMES):
    """File → a name that is left in it; compressed files as they read."""
    found = {}
    for path in (path for path in home.rglob("*") if path.is_file()):
        text = path.read_bytes().decode("latin-1").lower()
        if path.suffix == ".parquet":
            text += str(pq.read_table(path).to_pylist()).lower()
        if path.suffix == ".duckdb" and path.name != "catalog.duckdb":
            with duckdb.connect(str(path), read_only=True) as connection:
                connection.execute("set timezone = 'UTC'")
                for (table,) in connection.execute(
                    "select schema_name || '.' || table_name from duckdb_tables()"
                ).fetchall():
                    text += str(connection.sql(f"from {table}").to_arrow_table().to_pylist()).lower()
        for name in names:
            if name in text:
                found[str(path.relative_to(home))] = name
    return found


def test_a_landing_that_writes_while_somebody_is_erased_loses_nothing(shop, monkeypatch):
    """Its file lies there without a commit when the files are cleared away."""
    write = lake_module.write_deltalake
    is_written, is_cleared = Event(), Event()
    clear = DeltaTable.vacuum

    def slow_write(table, rows, **more):
        if not is_written.is_set() and rows.num_rows:
            orphan = Path(table.table_uri.removeprefix("file://")) / "part-on-its-way.parquet"
            pq.write_table(rows, orphan)
            is_written.set()
            is_cleared.wait(5)
            assert orphan.exists()
            orphan.unlink()
        return write(table, rows, **more)

    monkeypatch.setattr(lake_module, "write_deltalake", slow_write)

    def told_clear(table, *arguments, **more):
        gone = clear(table, *arguments, **more)
        if table.table_uri.rstrip("/").endswith("/events"):
            is_cleared.set()
        return gone

    monkeypatch.setattr(DeltaTable, "vacuum", told_clear)
    with ThreadPoolExecutor(1) as pool:
        landing = pool.submit(
            landed, shop, [json.dumps(event("b9", "2026-01-03 10:00", who=BOB)).encode()], len(RECORDS)
        )
        assert is_written.wait(10)
        erase(shop, "ann-41")
        assert landing.result().accepted.num_rows == 1
    build(shop)
    left = shop.open_warehouse().query("select event_id from marts.touchpoints order by 1")
    assert left["event_id"].to_pylist() == ["b1", "b2", "b3", "b4", "b9"]


def test_what_a_killed_run_left_behind_goes_too(shop):
    """A landing between its files and its commit, a publisher, an eraser, a build that spilled."""
    release = current_release(shop.releases)
    for folder in (".publishing-dead", ".erasing-dead"):
        shutil.copytree(release.root / release.name, shop.home / folder / release.name)
    lake = Lake(shop.lake)
    (file,) = lake.snapshot().files("events")
    for table in ("events", "rejected_events"):
        shutil.copy(file, shop.lake / table / "part-never-committed.parquet")
        lake.snapshot().tables[table].create_checkpoint()
    spilled = shop.warehouse.with_name(f"{shop.warehouse.name}.tmp") / "duckdb_temp_storage_DEFAULT-0.tmp"
    spilled.parent.mkdir(exist_ok=True)
    spilled.write_text("ann-41")
    assert erase(shop, "ann-41").identifiers == 3
    assert names_left(shop.home) == {}


@pytest.mark.parametrize("who", ["ann-41", "email=ann.lee@example.com", "anonymous_id=cookie-of-ann"])
def test_an_erased_person_is_in_no_file(shop, who):
    assert names_left(shop.home), "else the scan is blind"
    erased = erase(shop, who)
    assert names_left(shop.home) == {}
    # a1, a2 twice, a3, a4 (hers on the tablet, by the policy), and two of the records that were rejected.
    assert (erased.events, erased.records_removed, erased.records_redacted) == (4, 7, 2)
    assert erased.releases_rewritten == 2
    left = shop.open_warehouse().query("select event_id, customer_id from marts.touchpoints order by 1").to_pylist()
    assert [(row["event_id"], row["customer_id"]) for row in left] == [(f"b{n}", "bob-7") for n in range(1, 5)]
    release = current_release(shop.releases)
    assert {row["customer_id"] for row in query_release(release, "from marts.touchpoints").to_pylist()} <= {"bob-7"}


def test_a_replay_brings_nobody_back_and_a_new_beginning_is_let_in(shop):
    erase(shop, "ann-41")
    again = landed(shop, [*RECORDS[:4], *RECORDS[9:]], first=len(RECORDS))
    assert again.accepted.num_rows == 0
    assert again.rejected["reason"].to_pylist().count("erased") == 6
    assert names_left(shop.home) == {}
    tomorrow = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    anew = landed(shop, [json.dumps(event("n1", tomorrow, who=ANN)).encode()], first=len(RECORDS) + 7)
    assert anew.accepted.num_rows == 1


@pytest.mark.parametrize("step", ["erase_from_releases", "Lake.erase", "build", "Warehouse.forget"])
def test_an_erasure_that_died_is_finished_by_the_same_command(shop, monkeypatch, step):
    def die(*_, **__):
        raise KeyboardInterrupt

    calls = []

    def second_build(*arguments, **more):
        calls.append(1)
        return die() if len(calls) == 2 else build(*arguments, **more)

    with monkeypatch.context() as patched:
        owner = {"Lake.erase": Lake, "Warehouse.forget": Warehouse}.get(step, module)
        patched.setattr(owner, step.split(".")[-1], second_build if step == "build" else die)
        with pytest.raises(KeyboardInterrupt):
            erase(shop, "ann-41")
    erase(shop, "ann-41")
    assert names_left(shop.home) == {}


def of(settings, sql):
    return [tuple(row.values()) for row in settings.open_warehouse().query(sql).to_pylist()]


@pytest.mark.parametrize("name", ["7", "web", "page", "41000007", "product_id"])
def test_what_looks_like_a_name_stays_in_the_facts_of_others(home, name):
    settings = Settings(home=home)
    facts = {"revenue": "7", "product_id": "7", "referred_by": 41000007, "amount": 141000007.5, "text": "web page 7"}
    bought = event("b1", "2026-01-02 10:00", "order_completed", who=BOB, properties=facts)
    broken = event("bx", "2026-01-02 10:00", who=BOB, properties={"qty": "7"}) | {"channel": "fax"}
    landed(
        settings,
        [
            json.dumps(one).encode()
            for one in (event("a1", "2026-01-01 10:00", who={"customer_id": name}), bought, broken)
        ],
    )
    publish_release(settings.open_warehouse(), build(settings), contracts(), settings.releases, None)
    theirs = "select * exclude (stage, current_stage) from marts.touchpoints where customer_id = 'bob-7'"
    before = of(settings, theirs)
    published = query_release(current_release(settings.releases), theirs).to_pylist()
    erased = erase(settings, f"customer_id={name}")
    assert (erased.records_removed, erased.records_redacted) == (1, 0)
    assert of(settings, theirs) == before
    assert query_release(current_release(settings.releases), theirs).to_pylist() == published
    assert of(settings, "select outcome, reason, records from marts.event_outcomes order by all") == [
        ("accepted", "names_a_customer", 1),
        ("rejected", "erased", 1),
        ("rejected", "unknown_channel", 1),
    ]


def test_who_was_anonymous_in_a_release_leaves_it_too(shop):
    publish_release(
        shop.open_warehouse(),
        build(shop, as_of=datetime(2026, 1, 1, 10, 2, tzinfo=UTC)),
        contracts(),
        shop.releases,
        None,
    )
    early = current_release(shop.releases)
    ((anonymous,),) = query_release(early, "select customer_id from marts.touchpoints").to_pydict().values()
    assert anonymous.startswith("anonymous:")
    erase(shop, "ann-41")
    assert query_release(current_release(shop.releases), "from marts.touchpoints").num_rows == 0
    assert of(shop, f"from marts.restatements where customer_id = '{anonymous}'") == []


def test_others_events_that_name_an_erased_person_are_landed_without_the_name(shop):
    erase(shop, "ann-41")
    order = event("b9", "2026-01-02 14:00", "order_completed", who=BOB | {"email": "ann.lee@example.com"})
    assert landed(shop, [json.dumps(order).encode()], first=len(RECORDS)).accepted["identifiers"].to_pylist() == [
        [("customer_id", "bob-7")]
    ]


def test_a_device_of_several_people_is_nobodys_to_erase(shop):
    with pytest.raises(InputError, match="several customers"):
        erase(shop, "device_id=tablet-in-the-kitchen")


def test_other_spellings_removed_identifiers_and_merges_leave_too(home):
    settings = Settings(home=home)
    phone, other = {"phone": "+34600111222"}, {"phone": "0034 600 111 222"}
    made = [
        event("b0", "2026-01-01 09:00", "identity_merged", who=BOB, properties={"with": other}),
        event("b1", "2026-01-01 09:30", "identity_removed", who=other),
        # The copy that names the phone is the later one: it conflicts, and is no evidence.
        event("b2", "2026-01-01 10:00", who=BOB, received_at="2026-01-01T10:00:00Z"),
        event("b2", "2026-01-01 10:01", who=BOB | other),
        event("a1", "2026-01-02 10:00", who=ANN | phone),
        event("a2", "2026-01-03 10:00", "identity_removed", who={"email": ANN["email"]}),
        event("a3", "2026-01-04 10:00", who={"customer_id": "ann-41"}),
    ]
    landed(settings, [json.dumps(one).encode() for one in made])
    erase(settings, "ann-41")
    assert names_left(home) == {}
    for path in home.rglob("*.parquet"):
        left = [str(row) for row in pq.read_table(path).to_pylist() if "600" in str(row).replace(" ", "")]
        assert [row for row in left if "600111222" in row.replace(" ", "")] == [], path
    assert of(settings, "select count(*) from marts.touchpoints") == [(2,)]


def test_a_removed_persons_own_words_leave_with_them(home):
    settings = Settings(home=home)
    made = [
        event("a1", "2026-01-01 10:00", who={"customer_id": "ann-41"}, properties={"text": "my secret"}),
        event("a2", "2026-01-02 10:00", "identity_removed", who={"customer_id": "ann-41"}),
        event("b1", "2026-01-03 10:00", who=BOB),
    ]
    landed(settings, [json.dumps(one).encode() for one in made])
    erase(settings, "customer_id=ann-41")
    assert of(settings, "select event_id from staging.events") == [("b1",)]


def test_what_is_held_comes_as_json_lines(shop):
    lines = [json.loads(line) for line in export(shop, "ann-41")]
    events = [line["row"]["event_id"] for line in lines if line["table"] == "staging.events"]
    assert sorted(events) == ["a1", "a2", "a3", "a4"]
    assert {"marts.touchpoints", "marts.journeys", "marts.sessions", "marts.identity_map"} <= {
        line["table"] for line in lines
    }
    assert "bob-7" not in json.dumps(lines)


@pytest.mark.parametrize(
    "who", ["email=ANN.Lee@example.com ", "phone=0034 600\u2011111\u2011222", "customer_id= ann-41"]
)
def test_who_asks_may_write_an_identifier_as_a_producer_does(home, who):
    settings = Settings(home=home)
    made = event("a1", "2026-01-02 10:00", who=ANN | {"phone": "+34 600 111 222"})
    landed(settings, [json.dumps(made).encode()])
    assert any('"a1"' in line for line in export(settings, who))
    assert erase(settings, who).events == 1


def test_a_name_that_nobody_declared_is_nobodys_to_erase_and_leaves_with_its_event(home):
    settings = Settings(home=home)
    made = [
        event("a1", "2026-01-01 10:00", who=ANN | {"user_id": "u-4711-x"}),
        event("b1", "2026-01-02 10:00", who=BOB),
    ]
    landed(settings, [json.dumps(one).encode() for one in made])
    with pytest.raises(InputError, match="`user_id` names nobody: no namespace of this name is declared"):
        erase(settings, "user_id=u-4711-x")
    erase(settings, "ann-41")
    assert names_left(home, (*NAMES, "u-4711-x")) == {}


def test_who_was_erased_by_a_name_that_is_declared_no_more_stays_erased(home):
    """Fingerprints of before namespaces had to be declared."""
    settings = Settings(home=home)
    erasures = Erasures.read(settings.erasures)
    erasures.add(
        Person(frozenset(), frozenset([("user_id", "u-4711-x")]), frozenset()), [], datetime(2027, 1, 1, tzinfo=UTC)
    )
    judged = landed(settings, [json.dumps(event("a1", "2026-01-01 10:00", who={"user_id": "u-4711-x"})).encode()])
    assert judged.rejected["reason"].to_pylist() == ["erased"]


def test_nobody_is_erased_by_mistake(shop):
    with pytest.raises(InputError, match="nobody is known as carl"):
        erase(shop, "carl")
    with pytest.raises(InputError, match=r"nobody is known as email=x@y\.z"):
        list(export(shop, "email=x@y.z"))
