"""L6, incremental = full, and with it L1 to L5 and L7: whatever comes, in whatever batches, however late.

And however much fits into memory: some builds go part by part (`journey_core.parts`).

A machine lands, replays, corrects, removes and reconfigures at random, builds now and then, and after every build holds
the tables against those that a fresh warehouse builds from the same events: row for row, both ways, every table.
`make test` takes some hundred steps; `make test-laws` ten thousand.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import duckdb
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from journey_core import parts
from journey_core.contract import RECORDS, judge, records_of
from journey_core.identity import SuspectedPlaceholder
from journey_core.taxonomy import load_taxonomy
from journey_core.warehouse import Source, Warehouse
from tests.conftest import OF_BUILDS, event

START = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = ("page_viewed", "product_viewed", "product_added", "checkout_started", "order_completed", "review_submitted")
PEOPLE = ("u", "v", "w", "CORP\\j", "it's", "\\1")  # what SQL or a pattern could take for its own

minutes = st.integers(0, 8).flatmap(
    lambda times: st.sampled_from([0, 1, 10, 31, 60, 1440, 20_000, 60_000]).map(lambda step: step * times)
)
identifiers = st.dictionaries(
    # `user_id` is declared by one of the taxonomies below alone.
    st.sampled_from(["customer_id", "email", "anonymous_id", "device_id", "phone", "user_id"]),
    st.sampled_from([*PEOPLE, *PEOPLE, "undefined", "600 000 001", "+34600000001"]),
    min_size=1,
    max_size=3,
)
RETAIL = load_taxonomy("retail")


def changed(part, **keys):
    return RETAIL.model_copy(update={part: getattr(RETAIL, part).model_copy(update=keys)})


TAXONOMIES = {
    "retail": RETAIL,
    "last authenticated": changed("identity", shared_devices="last_authenticated"),
    "one customer per contact": changed("identity", limits={"email": 1}),
    "suspicious": changed(
        "identity",
        suspected_placeholder=SuspectedPlaceholder(devices=1, contacts=1),
        namespaces={"user_id": "strong"},
        default_region="ES",
        placeholders=["w"],
    ),
    "short silence": changed("journeys", idle_timeout=timedelta(days=1)),
    "short sessions": changed("sessions", timeout=timedelta(minutes=5)),
    "midnight": changed("sessions", cut_at_midnight="Europe/Madrid"),
    "one rule": RETAIL.model_copy(update={"rules": RETAIL.rules[-1:]}),
    "one funnel": RETAIL.model_copy(update={"funnels": RETAIL.funnels[:1]}),
}


class Builds(RuleBasedStateMachine):
    """One warehouse that is only ever brought up to date."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(prefix="journey-laws-"))
        self.warehouse = Warehouse(self.folder / "updated.duckdb", threads=1)
        self.landed = records_of([], topic="t").to_pylist()
        self.offset = 0
        self.number = 0
        self.taxonomy = "retail"
        self.as_of = None
        self.landed_at = None

    def land(self, made):
        for value in made:
            (record,) = records_of([json.dumps(value).encode()], topic="t").to_pylist()
            self.landed.append(record | {"offset": self.offset, "landed_at": self.landed_at})
            self.offset += 1

    def one(self, at, who, event_type, more):
        self.number += 1
        instant = START + timedelta(minutes=at)
        return event(f"e{self.number:03}", f"{instant:%Y-%m-%d %H:%M:%S}", event_type, who=who, **more)

    @rule(
        touches=st.lists(st.tuples(minutes, st.sampled_from(TYPES)), min_size=1, max_size=6),
        who=identifiers,
        initiator=st.sampled_from(["customer", "customer", "company"]),
        session=st.sampled_from(["", "s1", "s2"]),
    )
    def touch(self, touches, who, initiator, session):
        more = {"initiator": initiator, "context": {"session_id": session}}
        self.land(self.one(at, who, event_type, dict(more)) for at, event_type in touches)

    @rule(
        at=minutes,
        who=identifiers,
        order=st.sampled_from(["O1", "O2", ""]),
        kind=st.sampled_from(["order_completed", "order_completed", "order_refunded", "order_cancelled"]),
        revenue=st.sampled_from(["10", "-3", "$1", None]),
        currency=st.sampled_from(["EUR", "usd", "euro", None]),
    )
    def order(self, at, who, order, kind, revenue, currency):
        said = {"order_id": order, "revenue": revenue, "currency": currency}
        self.land([self.one(at, who, kind, {"properties": said})])

    @rule(at=minutes, who=identifiers, score=st.sampled_from([0, 9, None]))
    def answer(self, at, who, score):
        said = {"survey": {"kind": "nps", "score": score}}
        self.land([self.one(at, who, "survey_answered", {"properties": said})])

    @rule(at=minutes, one=st.sampled_from(PEOPLE), other=st.sampled_from(PEOPLE))
    def merge(self, at, one, other):
        said = {"properties": {"with": {"customer_id": other}}}
        self.land([self.one(at, {"customer_id": one}, "identity_merged", said)])

    @rule(at=minutes, space=st.sampled_from(["customer_id", "email", "anonymous_id"]), who=st.sampled_from(PEOPLE))
    def remove(self, at, space, who):
        self.land([self.one(at, {space: who}, "identity_removed", {})])

    @rule(at=st.integers(0, 400), who=identifiers, event_type=st.sampled_from(TYPES))
    def come_late(self, at, who, event_type):
        self.land([self.one(-at * 1440, who, event_type, {})])

    @rule(data=st.data())
    def deliver_twice(self, data):
        if self.landed:
            again = data.draw(st.sampled_from(self.landed))
            self.landed.append(again | {"offset": self.offset})
            self.offset += 1

    @rule(data=st.data(), who=identifiers)
    def conflict(self, data, who):
        """The same event_id with another payload: by hash, either may be the one that stays."""
        if self.landed:
            value = json.loads(data.draw(st.sampled_from(self.landed))["value"])
            self.land([value | {"identifiers": who}])

    @rule(data=st.data())
    def erase(self, data):
        if self.landed:
            gone = data.draw(st.sets(st.integers(0, len(self.landed) - 1), max_size=3))
            self.landed = [record for number, record in enumerate(self.landed) if number not in gone]

    @rule(taxonomy=st.sampled_from([*TAXONOMIES, *["retail", "suspicious"] * 3]))
    def configure(self, taxonomy):
        self.taxonomy = taxonomy

    @rule(day=st.sampled_from([None, None, None, 3, 50]))
    def look_back(self, day):
        self.as_of = None if day is None else START + timedelta(days=day)

    @rule(day=st.sampled_from([None, 1, 30, 60]))
    def be_landed(self, day):
        """By a clock from which the devices are far ahead: what they tell lies beyond `as_of`."""
        self.landed_at = None if day is None else START + timedelta(days=day)

    @rule(data=st.data(), sizes=st.tuples(*[st.sampled_from([parts.BYTES_AN_EVENT, 10**9])] * 2))
    def build(self, data, sizes):
        arrived = data.draw(st.permutations(self.landed)) if len(self.landed) < 30 else self.landed
        judged = judge(pa.Table.from_pylist(arrived, schema=RECORDS), future_tolerance=timedelta(days=36_500))
        identity = hashlib.sha256(repr(sorted(map(repr, self.landed))).encode()).hexdigest()
        source = Source(identity, judged.accepted, judged.rejected)
        taxonomy = TAXONOMIES[self.taxonomy]
        with patch.object(parts, "BYTES_AN_EVENT", sizes[0]):
            self.warehouse.build(source, taxonomy, as_of=self.as_of)
        fresh = Warehouse(self.folder / "fresh.duckdb", threads=1)
        fresh.path.unlink(missing_ok=True)
        with patch.object(parts, "BYTES_AN_EVENT", sizes[1]):
            fresh.build(source, taxonomy, as_of=self.as_of)
        assert differences(self.warehouse.path, fresh.path) == {}

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def differences(one: Path, other: Path) -> dict[str, list]:
    """Table → rows that only one of two warehouses holds."""
    found = {}
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach '{one}' as one (read_only)")
        connection.execute(f"attach '{other}' as other (read_only)")
        names = connection.execute(
            "select distinct schema_name || '.' || table_name from duckdb_columns()"
            " where schema_name in ('staging', 'intermediate', 'marts', 'taxonomy')"
        ).fetchall()
        for (name,) in names:
            if name in OF_BUILDS:
                continue
            rows = connection.execute(
                f"select 'only one' as side, * from (from one.{name} except all from other.{name}) union all "
                f"select 'only other' as side, * from (from other.{name} except all from one.{name})"
            ).fetchall()
            if rows:
                found[name] = rows
    return found


@pytest.mark.integration
@pytest.mark.timeout(7200)
def test_an_incremental_build_equals_a_full_one(pytestconfig):
    examples, steps = (200, 50) if pytestconfig.getoption("full") else (8, 15)
    run_state_machine_as_test(
        Builds,
        settings=settings(parent=settings.get_profile("default"), max_examples=examples, stateful_step_count=steps),
    )
