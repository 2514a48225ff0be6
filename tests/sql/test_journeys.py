"""Journeys, stages and transitions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.conftest import event

JOURNEYS = "select journey_id, status, touchpoints from marts.journeys order by customer_id, journey_order"
LATER = event("z", "2026-12-31 00:00", who={"customer_id": "zoe"})


def of_ann(tables):
    return [row for row in tables.values(JOURNEYS) if row[0] != "journey:z"]


@pytest.mark.parametrize(
    ("strategy", "touches"),
    [
        ("automatic_execution", [("email_delivered", "company"), ("order_completed", "company")]),
        ("coach_behavior", [("email_delivered", "company"), ("product_viewed", "customer")]),
        # The company asked after the customer had: that is no nudge.
        ("unlabelled", [("product_viewed", "customer"), ("email_delivered", "company")]),
        ("curated_offering", [("quiz_completed", "customer"), ("product_added", "customer")]),
        (
            "curated_offering",
            [("product_searched", "customer"), ("product_compared", "customer"), ("order_completed", "customer")],
        ),
        ("respond_to_desire", [("product_searched", "customer"), ("order_completed", "customer")]),
        ("unlabelled", [("product_added", "customer"), ("quiz_completed", "customer")]),
        ("unlabelled", [("product_searched", "customer")]),
    ],
)
def test_the_connected_experience_is_the_first_strategy_that_shows(build_world, strategy, touches):
    tables = build_world(
        [event(str(n), f"2026-01-01 10:0{n}", kind, initiator=by) for n, (kind, by) in enumerate(touches)]
    )
    assert tables.values("select connected_experience from marts.journeys") == [(strategy,)]


def test_silence_longer_than_the_idle_timeout_abandons_and_exactly_it_does_not(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 00:00:00.000000"),
            event("2", "2026-01-31 00:00:00.000000"),
            event("3", "2026-03-02 00:00:00.000001"),
            LATER,
        ]
    )
    assert of_ann(tables) == [("journey:1", "abandoned", 2), ("journey:3", "abandoned", 1)]


def test_what_may_still_go_on_is_open_never_abandoned(build_world):
    events = [event("1", "2026-01-01 00:00")]
    for as_of, status in (("2026-01-31T00:00:00", "open"), ("2026-01-31T00:00:00.000001", "abandoned")):
        tables = build_world(events, as_of=datetime.fromisoformat(as_of).replace(tzinfo=UTC))
        assert of_ann(tables) == [("journey:1", status, 1)]


@pytest.mark.parametrize(("received_at", "status"), [("2026-01-30T20:00:00Z", "open"), (None, "abandoned")])
def test_a_device_that_is_ahead_closes_nobodys_journey(build_world, received_at, status):
    """An event dated after its landing is kept; but the instant that it names is over for nobody."""
    ahead = event("2", "2026-01-31 10:00", who={"customer_id": "zoe"})
    tables = build_world(
        [event("1", "2026-01-01 00:00"), ahead | ({"received_at": received_at} if received_at else {})]
    )
    journeys = tables.values("select customer_id, status from marts.journeys order by all")
    assert journeys == [("ann", status), ("zoe", "open")]


def test_every_transaction_is_a_whole_journey_and_the_next_one_is_linked(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "product_viewed"),
            event("2", "2026-01-01 10:10", "order_completed", properties={"revenue": "12.50", "currency": "EUR"}),
            event("3", "2026-01-04 10:00", "order_delivered", initiator="company"),
            event("4", "2026-01-05 10:00", "product_viewed"),  # before the next purchase: opens the next journey
            event("5", "2026-01-06 10:00", "review_submitted"),  # advocacy, but that journey has no goal behind it
            event("6", "2026-01-07 10:00", "order_completed", properties={"revenue": 7}),
            event("7", "2026-01-07 10:05", "order_completed"),  # a transaction of its own
            LATER,
        ]
    )
    assert of_ann(tables) == [
        ("journey:1", "converted", 3),
        ("journey:4", "converted", 3),
        ("journey:7", "converted", 1),
    ]
    chain = "select previous_journey_id, revenue::varchar, currency from marts.journeys where customer_id = 'ann' order by journey_order"
    assert tables.values(chain) == [
        (None, "12.5000", "EUR"),
        ("journey:1", "7.0000", None),
        ("journey:4", "0.0000", None),
    ]


def test_the_post_goal_period_ends_the_journey(build_world):
    order = event("1", "2026-01-01 00:00", "order_completed")
    care = event("2", "2026-01-20 00:00", "support_contacted")
    last = event("3", "2026-01-31 00:00:00.000000", "support_contacted")
    late = event("4", "2026-01-31 00:00:00.000001", "support_contacted")
    tables = build_world([order, care, last, late, LATER])
    assert of_ann(tables) == [("journey:1", "converted", 3), ("journey:4", "abandoned", 1)]


def test_each_touch_has_one_stage_and_the_journey_remembers_the_furthest(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00"),
            event("2", "2026-01-01 10:01", "product_added"),
            event("3", "2026-01-01 10:02", "product_viewed"),
            event("4", "2026-01-01 10:03", "something_new"),
        ]
    )
    assert tables.values(
        "select stage, furthest_stage, current_stage, moment, phase from marts.touchpoints order by event_id"
    ) == [
        ("awareness", "awareness", "awareness", "before", "recognize"),
        ("selection", "selection", "selection", "before", "request"),
        ("consideration", "selection", "consideration", "before", "request"),
        ("unlabelled", "selection", "consideration", None, None),
    ]
    # `something_new` has no stage, so nothing goes there.
    assert tables.values(
        "select from_stage, to_stage, seconds_in_stage, is_regression from marts.stage_transitions order by 4, 1"
    ) == [
        ("awareness", "selection", 60.0, False),
        ("selection", "consideration", 60.0, True),
    ]


def test_a_regression_is_found_across_what_no_rule_labels(build_world):
    kinds = ["something_new", "product_added", "something_new", "other", "product_viewed", "other", "product_viewed"]
    tables = build_world([event(str(n), f"2026-01-01 10:0{n}", kind) for n, kind in enumerate(kinds)])
    assert tables.values(
        "select from_stage, to_stage, seconds_in_stage, is_regression, transition_order, event_id"
        " from marts.stage_transitions"
    ) == [("selection", "consideration", 180.0, True, 1, "4")]


def test_a_survey_judges_the_stage_and_the_touch_before_it(build_world):
    answer = {"properties": {"survey": {"kind": "nps", "score": 9}}, "channel": "email"}
    tables = build_world(
        [
            event("0", "2026-01-01 09:00", "survey_answered", **answer),  # before anything that it could judge
            event("1", "2026-01-01 10:00", "product_added"),
            event("2", "2026-01-01 10:01", "order_completed"),
            event("3", "2026-01-03 10:00", "order_delivered", initiator="company"),
            event("4", "2026-01-03 11:00", "survey_shown"),
            event("5", "2026-01-04 10:00", "survey_sent", initiator="company"),
            event(
                "6",
                "2026-01-04 10:01",
                "email_opened",
                channel="email",
                properties={"survey": {"kind": "nps"}},
            ),
            event("7", "2026-01-04 10:02", "survey_answered", **answer),
            event("8", "2026-01-04 10:03", "survey_answered", **answer),  # its neighbour is no subject either
            event("9", "2026-01-04 10:04", "page_viewed"),
        ]
    )
    judged = "select event_id, judged_event_id, judged_stage from marts.touchpoints order by 1"
    asked = {"7": ("3", "experience"), "8": ("3", "experience")}
    assert tables.values(judged) == [(str(n), *asked.get(str(n), (None, None))) for n in range(10)]


def test_a_survey_judges_the_last_touch_and_the_last_stage_that_a_rule_gave(build_world):
    answer = {"properties": {"survey": {"kind": "csat", "score": 2}}}
    kinds = ["product_added", "something_new"]
    touches = [event(str(n), f"2026-01-01 10:0{n}", kind) for n, kind in enumerate(kinds)]
    tables = build_world([*touches, event("2", "2026-01-01 10:02", "rated", **answer)])
    judged = "select judged_event_id, judged_stage from marts.touchpoints where event_id = '2'"
    assert tables.values(judged) == [("1", "selection")]


def test_a_survey_of_another_customer_or_journey_judges_nothing_here(build_world):
    answer = {"properties": {"survey": {"kind": "nps", "score": 3}}}
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "product_added"),
            event("2", "2026-03-01 10:00", "survey_answered", **answer),  # a journey of its own
            event("3", "2026-01-01 10:01", "survey_answered", who={"customer_id": "bob"}, **answer),
        ]
    )
    assert tables.values("select distinct judged_event_id, judged_stage from marts.touchpoints") == [(None, None)]


def test_stages_that_need_history(build_world):
    score = {"survey": {"kind": "nps", "score": 9}}
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "order_completed"),
            event("2", "2026-01-05 10:00", "support_contacted"),
            event("3", "2026-01-06 10:00"),
            event("4", "2026-01-07 10:00", "survey_answered", channel="email", properties=score),
            event("5", "2026-06-01 10:00", "order_completed"),
            event("6", "2027-07-01 10:00", "order_completed"),
        ]
    )
    stages = tables.values("select event_id, stage from marts.touchpoints order by event_id")
    assert stages == [
        ("1", "purchase"),
        ("2", "experience"),
        ("3", "engagement"),
        ("4", "advocacy"),
        ("5", "loyalty"),  # a second purchase within 365 days
        ("6", "purchase"),  # a second purchase after more than that
    ]


def test_events_of_one_instant_keep_the_order_of_sequence_then_event_id(build_world):
    tables = build_world(
        [
            event("c", "2026-01-01 10:00"),
            event("b", "2026-01-01 10:00", sequence=2),
            event("a", "2026-01-01 10:00", sequence=10),
        ]
    )
    ordered = "select event_id from marts.touchpoints order by touchpoint_order"
    assert tables.values(ordered) == [("b",), ("a",), ("c",)]


def test_a_build_as_of_an_earlier_instant_knows_nothing_later(build_world):
    events = [event("1", "2026-01-01 10:00"), event("2", "2026-02-01 10:00")]
    tables = build_world(events, as_of=datetime(2026, 1, 15, tzinfo=UTC))
    assert tables.values("select event_id from marts.touchpoints") == [("1",)]
    assert tables.values("select outcome, records from marts.event_outcomes order by 1") == [
        ("accepted", 1),
        ("after_as_of", 1),
    ]
