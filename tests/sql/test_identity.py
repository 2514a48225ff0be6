"""Identity: whose an event is."""

from __future__ import annotations

import random

import duckdb
import pytest

from journey_core.models import shipped_models
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
    periods = (
        "select customer_id, since::varchar from marts.identity_map where evidence = 'shared_device' order by since"
    )
    assert [(customer.split(":")[0], since[:19]) for customer, since in tables.values(periods)] == {
        "device_split": [("ann", "2026-01-01 20:00:00"), ("bob", "2026-01-02 20:05:00")],
        "last_authenticated": [("bob", "2026-01-01 20:00:00")],
        "none": [("anonymous", "2026-01-01 20:00:00")],
    }[policy]
    refused = (
        "select rule, identifier, other_identifier, first_event_id, events from marts.identity_refusals order by 3"
    )
    assert tables.values(refused) == [
        ("shared_device", "tablet", "ann", "2", 1),
        ("shared_device", "tablet", "bob", "4", 1),
    ]


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


def test_two_users_on_one_device_stay_two(build_world):
    tables = build_world(
        [event("1", "2026-01-01 10:00", who=COOKIE | ANN), event("2", "2026-01-01 11:00", who=COOKIE | BOB)]
    )
    assert tables.values(OWNERS) == [("1", "ann"), ("2", "bob")]


def test_a_contact_stays_with_its_first_customer_and_the_refusal_is_written_down(build_world):
    home = {"email": "home@x.de"}
    tables = build_world(
        [
            event("2", "2026-01-02 10:00", who=BOB | home),
            event("1", "2026-01-01 10:00", who=ANN | home),
            event("3", "2026-01-03 10:00", "email_opened", who=home, channel="email"),
            event("4", "2026-01-04 10:00", who=BOB | home),
        ]
    )
    assert tables.values(OWNERS) == [("1", "ann"), ("2", "bob"), ("3", "ann"), ("4", "bob")]
    assert tables.values("select * exclude (identifier_key, first_refused_at) from marts.identity_refusals") == [
        ("contact_taken", "email", "home@x.de", "customer_id", "bob", "2", 2)
    ]


def merged(event_id, at, one, other):
    return event(event_id, at, "identity_merged", who=one, properties={"with": other})


def test_an_explicit_merge_joins_two_strong_ids_under_the_one_seen_first(build_world):
    tables = build_world(
        [
            event("1", "2026-01-03 10:00", who=ANN | COOKIE),
            event("2", "2026-01-01 10:00", who=BOB | COOKIE),
            merged("3", "2026-01-05 10:00", ANN, BOB),
            event("4", "2026-01-06 10:00", who=COOKIE),
        ]
    )
    assert {customer for _, customer in tables.values(OWNERS)} == {"bob"}
    # Judged after the merge, the device was never shared.
    assert tables.values("select count(*) from marts.identity_refusals") == [(0,)]


def test_merges_on_one_back_office_device_merge_no_more_than_they_say(build_world):
    office = {"device_id": "backoffice"}
    people = {name: {"customer_id": name} for name in "abcd"}
    tables = build_world(
        [
            merged("1", "2026-01-01 10:00", people["a"] | office, people["b"]),
            merged("2", "2026-01-02 10:00", people["c"] | office, people["d"]),
            *(event(f"x{name}", "2026-01-03 10:00", who=who) for name, who in people.items()),
        ]
    )
    owners = "select event_id, customer_id from marts.touchpoints where event_id like 'x%' order by 1"
    assert tables.values(owners) == [("xa", "a"), ("xb", "a"), ("xc", "c"), ("xd", "c")]


def test_no_two_customers_bear_one_name(build_world):
    retail = load_taxonomy("retail")
    identity = retail.identity.model_copy(update={"namespaces": {"member": "strong"}})
    cookie = build_world([event("1", "2026-01-01 10:00", who=COOKIE)]).values(OWNERS)[0][1]
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=COOKIE),
            event("2", "2026-01-01 10:00", who={"customer_id": cookie}),
            event("3", "2026-01-01 10:00", who={"customer_id": "member:7"}),
            event("4", "2026-01-01 10:00", who={"member": "7"}),
            event("5", "2026-01-01 10:00", who={"customer_id": "shop:7"}),
        ],
        retail.model_copy(update={"identity": identity}),
    )
    names = [name for _, name in tables.values(OWNERS)]
    assert names == [cookie, f"customer_id:{cookie}", "customer_id:member:7", "member:7", "shop:7"]


def test_strong_ids_of_two_namespaces_are_one_person(build_world):
    retail = load_taxonomy("retail")
    identity = retail.identity.model_copy(update={"namespaces": {"loyalty_id": "strong"}})
    card = {"loyalty_id": "77"}
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=card),
            event("2", "2026-01-02 10:00", who=card | ANN | COOKIE),
            event("3", "2026-01-03 10:00", who=COOKIE),
            event("4", "2026-01-04 10:00", who={"loyalty_id": "ann"}),
        ],
        retail.model_copy(update={"identity": identity}),
    )
    assert tables.values(OWNERS) == [("1", "ann"), ("2", "ann"), ("3", "ann"), ("4", "loyalty_id:ann")]


def removed(event_id, at, who):
    return event(event_id, at, "identity_removed", who=who)


def test_after_a_removal_the_orphaned_events_are_their_cookies(build_world):
    """Not Bob's, who uses that cookie later, and not Ann's other device's."""
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=COOKIE),
            event("2", "2026-01-01 11:00", who=COOKIE | ANN),
            event("3", "2026-01-01 12:00", who=COOKIE),
            event("4", "2026-01-02 10:00", who=ANN),
            removed("5", "2026-01-03 10:00", ANN),
            event("6", "2026-01-04 10:00", who=COOKIE | BOB),
            event("7", "2026-01-04 11:00", who=COOKIE),
            event("8", "2026-01-05 10:00", who=ANN),
        ]
    )
    cookie = "select customer_id from marts.identity_map where identifier = 'cookie' order by since limit 1"
    ((device,),) = tables.values(cookie)
    assert device.startswith("anonymous:")
    assert tables.values(OWNERS) == [
        ("1", device), ("2", device), ("3", device), ("6", "bob"), ("7", "bob"), ("8", "ann"),
    ]  # fmt: skip
    # What was removed names nobody any more; her name came back with the event after it.
    assert tables.values("select other_identifier from marts.identity_refusals order by 1") == [
        ("(removed)",),
        ("bob",),
    ]
    coverage = "select counted from marts.identity_coverage where value_of = 'names_nobody'"
    assert tables.values(coverage) == [(2,)]


def test_a_removal_alone_leaves_the_cookie_to_itself(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 11:00", who=COOKIE | ANN),
            event("2", "2026-01-01 12:00", who=COOKIE | {"email": "bob@x.de"}),
            event("3", "2026-01-01 13:00", who=BOB | {"email": "bob@x.de"}),
            removed("4", "2026-01-03 10:00", ANN),
        ]
    )
    owners = dict(tables.values(OWNERS))
    assert owners["1"].startswith("anonymous:")
    assert (owners["2"], owners["3"]) == ("bob", "bob")


def test_a_chain_of_ten_thousand_identifiers_is_one_customer(build_world):
    links = 10_000
    tables = build_world(
        [
            event(f"{n:05}", "2026-01-01 10:00", who={"anonymous_id": f"c{(n + 1) // 2}", "device_id": f"d{n // 2}"})
            for n in range(links - 1)
        ]
    )
    assert tables.values("select count(*), count(distinct customer_id) from marts.identity_map") == [(links, 1)]


def test_no_order_of_keys_keeps_a_chain_long():
    """Who knows how keys are made can link them in their order: each neighbour the next larger one."""
    length = 3000
    (model,) = [model for model in shipped_models() if model.name == "intermediate.identity_candidates"]
    with duckdb.connect() as connection:
        connection.execute(f"""
            create schema intermediate;
            create table intermediate.identifiers as select i::uhugeint as identifier_key from range({length}) as t(i);
            create table intermediate.identity_links as
            select i::uhugeint as from_key, (i + 1)::uhugeint as to_key from range({length} - 1) as t(i);
        """)
        assert connection.execute(f"select distinct candidate_key from ({model.sql})").fetchall() == [(0,)]
        rows = model.sql.replace("select * from candidates", "select count(*), max(round) from rounds")
        ((held, rounds),) = connection.execute(rows).fetchall()
        assert held < 50 * length  # not 2 * length ** 2
        assert rounds < 60


def test_names_that_look_alike_are_two_identifiers(build_world):
    ann, bob = ({"customer_id": name, "a": "b:c"} for name in ("ann", "bob"))
    retail = load_taxonomy("retail")
    # Namespaces have to be declared by now; a colon in one can only be made here.
    identity = retail.identity.model_copy(update={"namespaces": {"a": "device", "a:b": "device"}})
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=ann),
            event("2", "2026-01-01 11:00", who=bob),
            event("3", "2026-01-01 12:00", who={"a": "b:c", "a:b": "c"}),
        ],
        retail.model_copy(update={"identity": identity}),
    )
    assert tables.values("select event_id, count(*) from marts.touchpoints group by 1 order by 1") == [
        ("1", 1),
        ("2", 1),
        ("3", 1),
    ]
    assert tables.values("select count(distinct identifier_key) from intermediate.identity_evidence") == [(4,)]


@pytest.mark.integration  # for its size
def test_a_hub_of_a_hundred_thousand_links_holds(build_world):
    """One cookie seen with a hundred thousand installs is one customer; a hundred thousand customers share a device."""
    many = range(100_000)
    tables = build_world(
        [event(f"a{n}", "2026-01-01 10:00", who={"anonymous_id": "hub", "device_id": f"d{n}"}) for n in many]
        + [event(f"b{n}", "2026-01-01 10:00", who={"anonymous_id": "kiosk", "customer_id": f"u{n}"}) for n in many]
    )
    assert tables.values("select count(distinct customer_id) from marts.touchpoints") == [(1 + len(many),)]
    assert tables.values("select counted from marts.identity_coverage where measure = 'largest_customers' limit 1") == [
        (1 + len(many),)
    ]


def test_components_agree_with_union_find_on_random_graphs(build_world):
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


def test_links_are_tried_in_their_order_as_a_loop_would(build_world):
    """Strong ids, contacts and devices at random, against a loop that tries one link after the other."""
    for seed in range(12):
        chance = random.Random(seed)
        retail = load_taxonomy("retail")
        identity = retail.identity.model_copy(update={"limits": {}})
        events = []
        for number in range(30):
            who = {"email": f"m{chance.randrange(6)}"} if chance.random() < 0.7 else {}
            who |= {"customer_id": f"u{chance.randrange(5)}"} if chance.random() < 0.4 else {}
            who |= {"phone": f"+{1 + chance.randrange(6)}"} if chance.random() < 0.6 or not who else {}
            events.append((f"e{number:02}", chance.randrange(60), who))
        tables = build_world(
            [event(name, f"2026-01-01 10:{minute:02}", who=who) for name, minute, who in events],
            retail.model_copy(update={"identity": identity}),
        )
        found = dict(tables.values("select namespace || ':' || identifier, customer_id from marts.identity_map"))
        expected = tried_one_by_one(events)
        assert {(a, b) for a in found for b in found if found[a] == found[b]} == {
            (a, b) for a in expected for b in expected if expected[a] == expected[b]
        }, seed


def tried_one_by_one(events):
    """Identifier → the set of identifiers it is one with."""
    order = ["customer_id", "email", "phone"]
    tier = {"customer_id": 10, "email": 20, "phone": 20}
    links = {}
    groups = {}
    for name, minute, who in events:
        named = sorted((order.index(space), space, value) for space, value in who.items())
        centre, *others = [f"{space}:{value}" for _, space, value in named]
        groups |= {one: {one} for one in [centre, *others] if one not in groups}
        for other in others:
            pair = tuple(sorted((centre, other)))
            weak, strong = other.split(":")[0], centre.split(":")[0]
            key = (tier[weak] + tier[strong] // 10, (minute, name))
            links[pair] = min(links.get(pair, key), key)
    for one, other in sorted(links, key=lambda pair: (*links[pair], pair)):
        joined = groups[one] | groups[other]
        if sum(member.startswith("customer_id") for member in joined) <= 1:
            groups |= dict.fromkeys(joined, joined)
    return {one: min(group) for one, group in groups.items()}
