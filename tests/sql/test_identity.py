"""Identity: whose an event is."""

from __future__ import annotations

import pytest

from journey_core.taxonomy import load_taxonomy
from tests.conftest import event

COOKIE = {"anonymous_id": "cookie"}
TABLET = {"anonymous_id": "tablet"}
ANN = {"customer_id": "ann"}
BOB = {"customer_id": "bob"}

OWNERS = "select event_id, customer_id from marts.touchpoints order by event_id"


def with_policy(policy):
    retail = load_taxonomy("retail")
    return retail.model_copy(update={"identity": retail.identity.model_copy(update={"shared_devices": policy})})


def test_an_anonymous_visitor_who_signs_up_takes_her_past_along(build_world):
    tables = build_world([event("1", "2026-01-01 10:00", who=COOKIE), event("2", "2026-01-02 10:00", who=COOKIE | ANN)])
    assert tables.values(OWNERS) == [("1", "ann"), ("2", "ann")]


def test_a_returning_user_on_a_second_device_is_one_customer(build_world):
    phone = {"device_id": "phone"}
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=COOKIE | ANN),
            event("2", "2026-01-02 10:00", "app_opened", who=phone, channel="app"),
            event("3", "2026-01-03 10:00", "app_opened", who=phone | {"email": "Ann@Example.com "}, channel="app"),
            event("4", "2026-01-04 10:00", "email_opened", who=ANN | {"email": "ann@example.com"}, channel="email"),
        ]
    )
    assert {customer for _, customer in tables.values(OWNERS)} == {"ann"}


def test_without_a_strong_identifier_the_name_is_a_hash_that_says_so(build_world):
    ((_, customer),) = build_world([event("1", "2026-01-01 10:00", who=COOKIE)]).values(OWNERS)
    assert customer.startswith("anonymous:")


@pytest.mark.parametrize(
    ("policy", "owners"),
    [
        # Before the first login: the first. Between: the last one before. After: the last.
        ("device_split", ["ann", "ann", "ann", "bob", "bob"]),
        ("last_authenticated", ["bob", "ann", "bob", "bob", "bob"]),
        ("none", ["anonymous", "ann", "anonymous", "bob", "anonymous"]),
    ],
)
def test_a_tablet_that_two_people_share_merges_nobody(build_world, policy, owners):
    tables = build_world(
        [
            event("1", "2026-01-01 20:00", who=TABLET),
            event("2", "2026-01-01 20:05", who=TABLET | ANN),
            event("3", "2026-01-01 20:10", who=TABLET),
            event("4", "2026-01-02 20:05", who=TABLET | BOB),
            event("5", "2026-01-02 20:10", who=TABLET),
        ],
        with_policy(policy),
    )
    assert [customer.split(":")[0] for _, customer in tables.values(OWNERS)] == owners
    evidence = "select evidence from marts.identity_map where identifier = 'tablet'"
    assert tables.values(evidence) == [("shared_device",)]


def test_undefined_on_a_thousand_events_links_nobody(build_world):
    events = [
        event(f"{n}", "2026-01-01 10:00", who={"customer_id": "Undefined", "anonymous_id": f"cookie-{n}"})
        for n in range(1000)
    ]
    tables = build_world(events)
    assert tables.values("select count(distinct customer_id) from marts.touchpoints") == [(1000,)]


def test_placeholders_and_what_prints_nothing_name_nobody(build_world):
    nobody = ["0000000000", "000-000-0000", "+", "\t", "\u200b", " - ", "[object Object]", "NaN"]
    events = [
        event(f"{n}", "2026-01-01 10:00", who={"customer_id": f"c{n}", "phone": text}) for n, text in enumerate(nobody)
    ]
    tables = build_world(events)
    assert tables.values("select distinct namespace from marts.identity_map") == [("customer_id",)]


def test_identifiers_are_one_however_they_are_written(build_world):
    written = [
        ("email", "Ann@X.de\t"),
        ("email", " ann@x.de"),
        ("phone", "0034 600\u00a0000-001"),
        ("phone", "+34600000001"),
    ]
    events = [event(f"{n}", "2026-01-01 10:00", who={namespace: text}) for n, (namespace, text) in enumerate(written)]
    identifiers = "select identifier from marts.identity_map order by 1"
    assert build_world(events).values(identifiers) == [("+34600000001",), ("ann@x.de",)]


def test_an_event_that_names_nobody_is_counted_and_has_no_customer(build_world):
    tables = build_world([event("1", "2026-01-01 10:00", who={"email": "null"}), event("2", "2026-01-01 10:00")])
    assert tables.values("select reason, records from marts.event_outcomes order by reason") == [
        ("names_a_customer", 1),
        ("names_nobody", 1),
    ]


def test_an_email_seen_with_more_customers_than_its_limit_links_nothing(build_world):
    shared = {"email": "office@example.com"}
    events = [event(f"{n}", "2026-01-01 10:00", who={"customer_id": f"c{n}"} | shared) for n in range(6)]
    tables = build_world(events)
    assert tables.values("select count(distinct customer_id) from marts.touchpoints") == [(6,)]
    assert tables.values("select evidence from marts.identity_map where namespace = 'email'") == [("limit_exceeded",)]


def test_a_chain_of_identifiers_is_one_customer(build_world):
    events = [
        event(f"{n:03}", "2026-01-01 10:00", who={"anonymous_id": f"c{n}", "device_id": f"d{n}"}) for n in range(150)
    ] + [
        event(f"x{n:03}", "2026-01-01 11:00", who={"anonymous_id": f"c{n + 1}", "device_id": f"d{n}"})
        for n in range(149)
    ]
    tables = build_world(events)
    assert tables.values("select count(distinct customer_id) from marts.touchpoints") == [(1,)]


def test_components_agree_with_union_find_on_random_graphs(build_world):
    import random

    chance = random.Random(1)
    pairs = [(f"c{chance.randrange(80)}", f"d{chance.randrange(80)}") for _ in range(70)]
    parent: dict[str, str] = {}

    def find(name):
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for cookie, device in pairs:
        parent[find(cookie)] = find(device)
    tables = build_world(
        [event(f"{n}", "2026-01-01 10:00", who={"anonymous_id": c, "device_id": d}) for n, (c, d) in enumerate(pairs)]
    )
    found = dict(tables.values("select identifier, customer_id from marts.identity_map"))
    assert {(a, b) for a in found for b in found if found[a] == found[b]} == {
        (a, b) for a in parent for b in parent if find(a) == find(b)
    }
