"""Events of one instant: what each is by itself breaks the tie (law L3), and all marts agree."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import event
from tests.funnels import one_funnel

LATER = event("z", "2026-12-31 00:00", who={"customer_id": "zoe"})
# In the order in which a customer does these things.
WAY = ["something_new", "product_searched", "page_viewed", "product_viewed", "product_added", "order_completed"]
FUNNEL = ["product_viewed", "product_added", "checkout_started", "order_completed"]
ORDERED = "select event_type from marts.touchpoints where customer_id = 'ann' order by event_order"
JOURNEYS = "select status, touchpoints from marts.journeys where customer_id = 'ann' order by journey_order"


def one_second(kinds, names, **more):
    return [event(name, "2026-01-01 10:00", kind, **more) for kind, name in zip(kinds, names, strict=True)]


def test_an_order_of_the_same_second_ends_the_journey_of_the_touches_before_it(build_world):
    """Clocks of a second, and the order's name comes first: the touches were called abandoned, the funnel converted."""
    tables = build_world([*one_second(FUNNEL, "dbca"), LATER])
    assert tables.values(ORDERED) == [(kind,) for kind in FUNNEL]
    assert tables.values(JOURNEYS) == [("converted", 4)]
    funnel = "select status, step_times[1] = step_times[4] from marts.funnel_attempts where funnel = 'acquisition'"
    assert tables.values(funnel) == [("converted", True)]
    assert tables.values("select from_stage, to_stage, is_regression from marts.stage_transitions order by 1") == [
        ("consideration", "selection", False),
        ("selection", "purchase", False),
    ]
    assert tables.values("select is_converted, touchpoints from marts.sessions where customer_id = 'ann'") == [
        (True, 4)
    ]


def test_sequence_still_comes_before_what_an_event_is(build_world):
    numbered = [
        event("1", "2026-01-01 10:00", "order_completed", sequence=1),
        event("2", "2026-01-01 10:00", "product_viewed", sequence=2),
        event("3", "2026-01-01 10:00", "page_viewed"),
    ]
    tables = build_world([*numbered, LATER])
    assert tables.values(ORDERED) == [("order_completed",), ("product_viewed",), ("page_viewed",)]


def test_two_orders_of_one_second_are_two_journeys_and_the_touches_belong_to_the_first(build_world):
    kinds = ["order_completed", "order_completed", "product_viewed", "product_added"]
    tables = build_world([*one_second(kinds, "abcd"), LATER])
    assert tables.values(JOURNEYS) == [("converted", 3), ("converted", 1)]


def test_a_login_of_the_same_instant_decides_about_a_shared_device_as_before(build_world):
    """Evidence of identity is ordered by name alone: the goal's place is no part of it."""
    shared = [
        event("a", "2026-01-01 10:00", "order_completed", who={"customer_id": "bob", "anonymous_id": "k"}),
        event("b", "2026-01-01 10:00", "page_viewed", who={"customer_id": "ann", "anonymous_id": "k"}),
        event("c", "2026-01-01 11:00", "page_viewed", who={"anonymous_id": "k"}),
    ]
    tables = build_world(shared)
    assert tables.values("select customer_id from marts.touchpoints where event_id = 'c'") == [("ann",)]


@given(names=st.permutations("abcdef"), kinds=st.permutations(WAY))
def test_names_decide_nothing_where_what_happened_does(build_world, names, kinds):
    tables = build_world([*one_second(kinds, names), LATER])
    # Need comes before awareness among the stages; what no rule knows comes first.
    assert tables.values(ORDERED) == [(kind,) for kind in WAY]
    assert tables.values(JOURNEYS) == [("converted", len(WAY))]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"order": "strict"},
        {"order": "any"},
        {"entry": "every"},
        {"tie_tolerance": "1 minute"},
        {"hold_constant": ["channel"]},
        {"exclusions": [{"when": "event_type = 'product_removed'"}]},
    ],
    ids=str,
)
def test_a_house_account_of_one_instant_is_matched_by_few_of_its_events(build_world, more):
    """3,000 numbered events of one instant took five minutes: every chain of them was tried."""
    kinds = ["product_viewed", "product_added", "checkout_started"]
    numbers = random.Random(1).sample(range(3000), 3000)
    events = [
        event(f"{number}", "2026-01-01 10:00", kinds[place % 3], sequence=number)
        for place, number in enumerate(numbers)
    ]
    tables = build_world(events, one_funnel(kinds, **more))
    assert tables.values("select status, furthest_step from marts.funnel_attempts") == [("converted", 3)]
    assert tables.values("select count(*) < 100 from intermediate.funnel_matches") == [(True,)]
    assert tables.values("select count(*) < 1000 from intermediate.funnel_chains") == [(True,)]


def test_the_number_that_lies_far_behind_is_found_all_the_same(build_world):
    """All baskets are numbered before the looks, but for the last one: only it can follow."""
    events = [event(f"a{n:03}", "2026-01-01 10:00", "product_added", sequence=n) for n in range(100)]
    events += [event(f"v{n:03}", "2026-01-01 10:00", "product_viewed", sequence=100 + n) for n in range(100)]
    taxonomy = one_funnel(["product_viewed", "product_added"], window="1 day")
    attempts = "select status, event_ids from marts.funnel_attempts"
    assert build_world([*events, LATER], taxonomy).values(attempts) == [("dropped", ["v000", None])]
    last = event("last", "2026-01-01 10:00", "product_added", sequence=200)
    assert build_world([*events, last, LATER], taxonomy).values(attempts) == [("converted", ["v000", "last"])]


def test_a_late_entry_of_the_instant_stays_clean_where_the_first_one_is_excluded(build_world):
    """The second look has no basket after it, so nothing that lies between basket and order can end it."""
    taxonomy = one_funnel(
        ["look", "basket", "order"], window="1 day", exclusions=[{"when": "event_type = 'x'", "between": ["s2", "s3"]}]
    )
    kinds = ["look", "look", "look", "look", "basket", "basket", "basket", "basket", "look", "look"]
    events = [event(str(n), "2026-01-01 10:00", kind, sequence=n) for n, kind in enumerate(kinds)]
    tables = build_world([*events, event("x", "2026-01-01 11:00", "x"), LATER], taxonomy)
    assert tables.values("select status, entry_event_id from marts.funnel_attempts") == [("dropped", "8")]
