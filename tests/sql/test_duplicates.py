"""Duplicates and conflicts: one copy stays, and every record is accounted for."""

from __future__ import annotations

import json

from tests.conftest import event

OUTCOMES = "select outcome, reason, records from marts.event_outcomes order by all"


def test_the_same_payload_twice_is_one_event_with_two_copies(build_world):
    tables = build_world([event("1", "2026-01-01 10:00")] * 3)
    assert tables.values("select event_id, copies from staging.events") == [("1", 3)]
    assert tables.values(OUTCOMES) == [("accepted", "names_a_customer", 1), ("duplicate", "none", 2)]


def test_of_two_payloads_with_one_id_the_first_received_stays_whatever_arrives_first(build_world):
    early = event("1", "2026-01-01 10:00", "product_viewed", received_at="2026-01-01T10:00:01Z")
    late = event("1", "2026-01-01 10:00", "product_added", received_at="2026-01-01T10:00:02Z")
    for arrival in ([early, late], [late, early], [late, early, late]):
        tables = build_world(arrival)
        assert tables.values("select event_type from marts.touchpoints") == [("product_viewed",)]
        conflicts = len(arrival) - 1
        assert tables.values(OUTCOMES)[-1] == ("rejected", "conflicting_duplicate", conflicts)


def test_every_record_is_accounted_for(build_world):
    good = event("1", "2026-01-01 10:00")
    other = good | {
        "sequence": 4,
        "received_at": "2026-01-01T10:00:00Z",
    }  # the only one with a time of receipt: it stays
    world = [good, good, other, event("2", "2026-01-01 10:00", who={"email": "none"}), b"{", b""]
    tables = build_world([*world, json.dumps(good | {"channel": "fax"}).encode()])
    assert tables.values("select sum(records)::bigint from marts.event_outcomes") == [(7,)]
    assert tables.values("select reason, count(*) from staging.rejected_events group by all order by all") == [
        ("conflicting_duplicate", 2),
        ("empty_value", 1),
        ("invalid_json", 1),
        ("unknown_channel", 1),
    ]
