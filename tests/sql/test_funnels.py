"""Funnels, ordered and best: where customers leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from journey_core.taxonomy import _mistakes
from tests.conftest import event
from tests.funnels import one_funnel

LATER = event("z", "2026-12-31 00:00", who={"customer_id": "zoe"})
ATTEMPTS = "select status, furthest_step from marts.funnel_attempts"


def test_a_customer_who_returns_gets_a_second_chance(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-02-01 10:00", "a"),
            event("3", "2026-02-01 11:00", "b"),
            LATER,
        ],
        one_funnel(["a", "b"], window="1 day"),
    )
    assert tables.values("select status, furthest_step, event_ids from marts.funnel_attempts") == [
        ("converted", 2, ["2", "3"])
    ]


def test_the_window_is_inclusive(build_world):
    for last, status in (("2026-01-02 10:00:00.000000", "converted"), ("2026-01-02 10:00:00.000001", "dropped")):
        tables = build_world(
            [event("1", "2026-01-01 10:00", "a"), event("2", last, "b"), LATER], one_funnel(["a", "b"], window="1 day")
        )
        assert tables.values("select status from marts.funnel_attempts") == [(status,)]


def test_a_later_second_step_saves_a_third_that_must_follow_soon(build_world):
    # The first b is too early for c; the second is not: each step as early as possible, but the deepest chain first.
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-01-01 11:00", "b"),
            event("3", "2026-01-01 14:00", "b"),
            event("4", "2026-01-01 14:30", "c"),
            LATER,
        ],
        one_funnel(["a", "b", ("c", "1 hour")]),
    )
    assert tables.values("select event_ids from marts.funnel_attempts") == [(["1", "3", "4"],)]


def test_recent_entrants_are_open_not_lost_up_to_and_including_the_last_instant(build_world):
    events = [event("1", "2026-01-01 10:00", "a")]
    for as_of, status in (("2026-01-02T10:00:00", "open"), ("2026-01-02T10:00:00.000001", "dropped")):
        instant = datetime.fromisoformat(as_of).replace(tzinfo=UTC)
        tables = build_world(events, one_funnel(["a", "b"], window="1 day"), as_of=instant)
        assert tables.values(ATTEMPTS) == [(status, 1)]


def test_without_a_window_nothing_times_out(build_world):
    tables = build_world([event("1", "2026-01-01 10:00", "a"), LATER], one_funnel(["a", "b"]))
    assert tables.values("select status, open_until from marts.funnel_attempts") == [("open", None)]


def test_without_a_window_thousands_of_years_are_no_window_either(build_world):
    """A date that stands for "never", from a file."""
    events = [event("1", "2026-01-01 10:00", "a"), event("2", "9999-12-31 00:00", "b")]
    assert build_world(events, one_funnel(["a", "b"])).values(ATTEMPTS) == [("converted", 2)]


def test_one_event_advances_one_step_and_ties_count_in_any_order(build_world):
    once = build_world([event("1", "2026-01-01 10:00", "a"), LATER], one_funnel(["a", "a"], window="1 day"))
    assert once.values(ATTEMPTS) == [("dropped", 1)]
    tie = [event("b1", "2026-01-01 10:00", "b"), event("a2", "2026-01-01 10:00", "a"), LATER]
    assert build_world(tie, one_funnel(["a", "b"], window="1 day")).values(ATTEMPTS) == [("converted", 2)]
    told = [tie[0] | {"sequence": 1}, tie[1] | {"sequence": 2}, LATER]
    assert build_world(told, one_funnel(["a", "b"], window="1 day")).values(ATTEMPTS) == [("dropped", 1)]


def test_only_the_entry_is_bounded_by_entered(build_world):
    taxonomy = one_funnel(
        ["a", "b"], window="30 days", entered={"from": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    )
    tables = build_world(
        [
            event("1", "2026-01-31 23:59", "a", who={"customer_id": "ann"}),
            event("2", "2026-02-05 10:00", "b", who={"customer_id": "ann"}),
            event("3", "2026-02-01 00:00", "a", who={"customer_id": "bob"}),
            event("4", "2025-12-31 23:59", "a", who={"customer_id": "cid"}),
            LATER,
        ],
        taxonomy,
    )
    assert tables.values("select customer_id, status from marts.funnel_attempts") == [("ann", "converted")]


def test_the_drop_table_says_what_each_number_counts(build_world):
    taxonomy = one_funnel(["a", "b", "c"], window="1 day")
    events = [LATER]
    for number in range(10):  # 10 enter, 6 reach b, 3 reach c; 2 entered within the last day
        who = {"customer_id": f"c{number}"}
        day = "2026-12-30 12:00" if number in (8, 9) else "2026-01-01 10:00"
        events.append(event(f"a{number}", day, "a", who=who))
        if number < 6:
            events.append(event(f"b{number}", "2026-01-01 10:10", "b", who=who))
        if number < 3:
            events.append(event(f"c{number}", "2026-01-01 10:40", "c", who=who))
    tables = build_world(events, taxonomy)
    assert tables.values(
        """
        select step, customers_reached, customers_advanced, customers_dropped, customers_open,
            round(drop_rate_mature, 4), round(drop_rate_naive, 4), seconds_from_previous_step_median
        from marts.funnel_drops where segment_by = 'all' order by step_order
        """
    ) == [
        ("s1", 10, 6, 2, 2, 0.25, 0.4, None),
        ("s2", 6, 3, 3, 0, 0.5, 0.5, 600.0),
        ("s3", 3, 0, 0, 0, None, None, 1800.0),
    ]


def test_segments_name_whose_value_counts(build_world):
    segments = [
        "channel",
        {"segment": "country", "of": "first"},
        {"segment": "device", "of": "s2"},
        {"segment": "city", "of": "last"},
    ]
    taxonomy = one_funnel(["a", "b"], window="1 day", segments=segments)
    entry = event("1", "2026-01-01 10:00", "a", context={"geo": {"city": "Leon"}, "device": {"type": "mobile"}})
    done = event("2", "2026-01-01 10:01", "b", channel="app", context={"geo": {"country": "ES", "city": "Lugo"}})
    lost = event("3", "2026-01-01 10:00", "a", who={"customer_id": "bob"})
    tables = build_world([entry, done, lost, LATER], taxonomy)
    assert tables.values(
        "select segment_by, segment, customers_reached from marts.funnel_drops where step_order = 1 order by all"
    ) == [
        ("all", "all", 2),
        ("channel", "web", 2),
        ("city", "Lugo", 1),
        ("city", "unknown", 1),
        ("country", "ES", 1),
        ("country", "unknown", 1),
        ("device", "not_reached", 1),
        ("device", "unknown", 1),
    ]


STRICT = one_funnel(["a", "b"], window="1 day", order="strict")


def test_strict_is_broken_by_the_customers_own_other_touches_and_not_by_the_companys(build_world):
    for between, status in (("customer", "dropped"), ("company", "converted")):
        tables = build_world(
            [
                event("1", "2026-01-01 10:00", "a"),
                event("2", "2026-01-01 10:01", "x", initiator=between),
                event("3", "2026-01-01 10:02", "b"),
                LATER,
            ],
            STRICT,
        )
        assert tables.values("select status from marts.funnel_attempts") == [(status,)]


def test_strict_begins_anew_at_a_repeat_and_touches_of_its_ends_instants_are_not_between(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-01-01 10:01", "a"),
            event("3", "2026-01-01 10:01", "x"),
            event("4", "2026-01-01 10:02", "x"),
            event("5", "2026-01-01 10:02", "b"),
            LATER,
        ],
        STRICT,
    )
    assert tables.values("select status, event_ids from marts.funnel_attempts") == [("converted", ["2", "5"])]


def test_a_broken_strict_chain_has_ended_where_it_broke(build_world):
    tables = build_world([event("1", "2026-01-01 10:00", "a"), event("2", "2026-01-01 10:01", "x"), LATER], STRICT)
    assert tables.values("select status, ended_at::varchar from marts.funnel_attempts") == [
        ("dropped", "2026-01-01 10:01:00+00")
    ]


def test_in_any_order_the_number_of_steps_counts(build_world):
    events = [
        event("1", "2026-01-01 10:00", "c"),
        event("2", "2026-01-01 10:01", "a"),
        event("3", "2026-01-01 10:00", "b", who={"customer_id": "bob"}),
        LATER,
    ]
    tables = build_world(events, one_funnel(["a", "b", "c"], window="1 day", order="any"))
    assert tables.values("select customer_id, furthest_step, event_ids from marts.funnel_attempts order by 1") == [
        ("ann", 2, ["2", None, "1"]),
        ("bob", 1, [None, "3", None]),
    ]
    assert tables.values("select customer_id, last_event_id from marts.funnel_attempts order by 1") == [
        ("ann", "2"),
        ("bob", "3"),
    ]
    assert tables.values("select customer_id, exit_event_id from marts.funnel_exits order by 1") == [
        ("ann", "2"),
        ("bob", "3"),
    ]
    assert tables.values(
        "select step, customers_reached, customers_dropped from marts.funnel_drops where segment_by = 'all' order by 1"
    ) == [("1 of 3", 2, 1), ("2 of 3", 1, 1), ("3 of 3", 0, 0)]


THREE_TRIES = [
    event("1", "2026-01-01 10:00", "a"),
    event("2", "2026-01-01 10:30", "a"),
    event("3", "2026-01-03 10:00", "a"),
    event("4", "2026-01-03 11:00", "b"),
    event("5", "2026-01-03 11:00", "a"),
    event("6", "2026-01-05 10:00", "a"),
    LATER,
]


def test_first_counts_the_first_entry_and_every_each_one_after_the_end_of_the_one_before(build_world):
    first = build_world(THREE_TRIES, one_funnel(["a", "b"], window="1 day", entry="first"))
    assert first.values("select entry_event_id, status from marts.funnel_attempts") == [("1", "dropped")]
    every = build_world(THREE_TRIES, one_funnel(["a", "b"], window="1 day", entry="every"))
    # 2 runs inside the attempt of 1; 5 stands at the very instant at which the attempt of 3 ended.
    assert every.values("select attempt, entry_event_id, status from marts.funnel_attempts order by 1") == [
        (1, "1", "dropped"),
        (2, "3", "converted"),
        (3, "6", "dropped"),
    ]
    assert every.values(
        "select counts, customers_reached from marts.funnel_drops where segment_by = 'all' and step_order = 1"
    ) == [("attempts", 3)]


def test_an_optional_step_delays_nobody_and_drops_nobody(build_world):
    taxonomy = one_funnel(["a", {"type": "b", "optional": True}, "c"], window="1 day")
    events = [
        event("1", "2026-01-01 10:00", "a"),
        event("2", "2026-01-01 10:01", "c"),
        event("3", "2026-01-01 10:02", "b"),
        event("4", "2026-01-01 10:03", "c"),
        event("5", "2026-01-01 10:00", "a", who={"customer_id": "bob"}),
        event("6", "2026-01-01 10:01", "b", who={"customer_id": "bob"}),
        LATER,
    ]
    tables = build_world(events, taxonomy)
    assert tables.values("select customer_id, status, event_ids from marts.funnel_attempts order by 1") == [
        ("ann", "converted", ["1", None, "2"]),
        ("bob", "dropped", ["5", "6", None]),
    ]
    assert tables.values(
        "select step, customers_reached, customers_advanced, customers_dropped, customers_converted"
        " from marts.funnel_drops where segment_by = 'all' order by step_order"
    ) == [("s1", 2, 2, 0, 0), ("s2", 1, 0, 1, 0), ("s3", 1, 0, 0, 1)]


def test_not_before_and_within_are_inclusive_on_the_microsecond(build_world):
    limited = one_funnel(["a", {"type": "b", "not_before": "1 minute", "within": "2 minutes"}], window="1 day")
    for at, status in (
        ("10:00:59.999999", "dropped"),
        ("10:01:00.000000", "converted"),
        ("10:02:00.000000", "converted"),
        ("10:02:00.000001", "dropped"),
    ):
        tables = build_world([event("1", "2026-01-01 10:00", "a"), event("2", f"2026-01-01 {at}", "b"), LATER], limited)
        assert tables.values("select status from marts.funnel_attempts") == [(status,)], at


def test_an_exclusion_ends_the_attempt_and_it_counts_at_no_step(build_world):
    taxonomy = one_funnel(
        ["a", "b", "c"], window="1 day", exclusions=[{"when": "event_type = 'x'", "between": ["s1", "s2"]}]
    )
    for at, status in (("10:00", "converted"), ("10:01", "excluded"), ("10:02", "converted"), ("10:03", "converted")):
        tables = build_world(
            [
                event("1", "2026-01-01 10:00", "a"),
                event("x", f"2026-01-01 {at}", "x"),
                event("2", "2026-01-01 10:02", "b"),
                event("3", "2026-01-01 10:05", "c"),
                LATER,
            ],
            taxonomy,
        )
        assert tables.values("select status from marts.funnel_attempts") == [(status,)], at
        if status == "excluded":
            assert tables.values("select furthest_step, excluded_by from marts.funnel_attempts") == [(1, "x")]
            assert tables.values(
                "select customers_reached, customers_excluded from marts.funnel_drops where segment_by = 'all'"
                " order by step_order"
            ) == [(0, 1), (0, 0), (0, 0)]


def test_a_clean_attempt_comes_before_a_deeper_excluded_one(build_world):
    taxonomy = one_funnel(
        ["a", "b", "c"], window="1 hour", exclusions=[{"when": "event_type = 'x'", "between": ["s2", "s3"]}]
    )
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-01-01 10:01", "b"),
            event("3", "2026-01-01 10:02", "x"),
            event("4", "2026-01-02 10:00", "a"),
            LATER,
        ],
        taxonomy,
    )
    assert tables.values("select status, entry_event_id from marts.funnel_attempts") == [("dropped", "4")]


def test_what_is_held_constant_must_be_the_same_and_null_equals_nothing(build_world):
    taxonomy = one_funnel(["a", "b"], hold_constant=["product_id"])
    for first, second, status in (("p", "p", "converted"), ("p", "q", "open"), (None, None, "dropped")):
        tables = build_world(
            [
                event("1", "2026-01-01 10:00", "a", properties={"product_id": first}),
                event("2", "2026-01-01 10:01", "b", properties={"product_id": second}),
                LATER,
            ],
            taxonomy,
        )
        assert tables.values("select status from marts.funnel_attempts") == [(status,)]


def test_two_tickets_of_one_customer_are_two_attempts_side_by_side(build_world):
    taxonomy = one_funnel(["look", "pick"], entry="every", hold_constant=["product_id"])
    told = [("look", "A"), ("look", "B"), ("pick", "A"), ("pick", "B"), ("look", "A"), ("look", None), ("look", None)]
    events = [
        event(str(n), f"2026-01-01 10:0{n}", kind, properties={"product_id": ticket} if ticket else {})
        for n, (kind, ticket) in enumerate(told)
    ]
    tables = build_world([*events, event("z", "2026-01-02 00:00")], taxonomy)
    attempts = "select attempt, held, event_ids, status from marts.funnel_attempts order by attempt"
    assert tables.values(attempts) == [
        (1, ["A"], ["0", "2"], "converted"),
        (2, ["B"], ["1", "3"], "converted"),
        (3, ["A"], ["4", None], "open"),
        (4, None, ["5", None], "dropped"),  # null equals nothing: each is over at once, one after the other
        (5, None, ["6", None], "dropped"),
    ]
    together = one_funnel(["look", "pick"], entry="every")
    tables = build_world(events, together)
    assert tables.values("select event_ids from marts.funnel_attempts where status = 'converted'") == [(["0", "2"],)]


def test_ties_are_tolerated_back_from_the_newest_event(build_world):
    taxonomy = one_funnel(["a", "b"], window="1 day", tie_tolerance="2 seconds")
    for at, status in (("09:59:58.000000", "converted"), ("09:59:57.999999", "dropped")):
        tables = build_world(
            [event("1", "2026-01-01 10:00", "a"), event("2", f"2026-01-01 {at}", "b"), LATER], taxonomy
        )
        assert tables.values("select status from marts.funnel_attempts") == [(status,)], at
    assert build_world(
        [event("1", "2026-01-01 10:00", "a"), event("2", "2026-01-01 09:59:59", "b"), LATER], taxonomy
    ).values(
        "select seconds_from_previous_step_median from marts.funnel_drops where segment_by = 'all' and step_order = 2"
    ) == [(0.0,)]


def test_kaplan_and_meier_watch_the_open_ones_as_long_as_they_can(build_world):
    # By hand: at 1 h one of four goes on (3/4 left); then one is open since 2 h; at 3 h one of two goes on.
    events = []
    for number, (entered, advanced) in enumerate(
        [("10:00", "11:00"), ("10:00", "13:00"), ("10:00", None), ("20:00", None)]
    ):
        who = {"customer_id": f"c{number}"}
        events.append(event(f"a{number}", f"2026-01-01 {entered}", "a", who=who))
        if advanced:
            events.append(event(f"b{number}", f"2026-01-01 {advanced}", "b", who=who))
    events.append(event("z", "2026-01-01 22:00", who={"customer_id": "zoe"}))
    tables = build_world(events, one_funnel(["a", "b"], window="5 hours"))
    assert tables.values(
        "select customers_open, drop_rate_naive, round(drop_rate_mature, 4), drop_rate_kaplan_meier, customers_at_risk"
        " from marts.funnel_drops where segment_by = 'all' and step_order = 1"
    ) == [(1, 0.5, 0.3333, 0.375, 2)]


def test_a_funnel_that_nobody_entered_says_so(build_world):
    tables = build_world([LATER], one_funnel(["a", "b"]))
    assert tables.values("select segment, step, customers_reached, drop_rate_mature from marts.funnel_drops") == [
        ("all", "s1", 0, None),
        ("all", "s2", 0, None),
    ]


def test_a_counting_profile_sets_what_the_funnel_does_not(build_world):
    assert one_funnel(["a", "b"], counting="mixpanel").funnels[0].entry == "first"
    mine = one_funnel(["a", "b"], counting="mixpanel", window="1 hour").funnels[0]
    assert (mine.entry, mine.window) == ("first", timedelta(hours=1))


@pytest.mark.parametrize(
    ("steps", "options", "said"),
    [
        ([{"type": "a", "optional": True}, "b"], {}, "never optional"),
        ([("a", "1 day"), "b"], {}, "no step before it"),
        (["a", {"type": "b", "within": "1 day", "not_before": "2 days"}], {}, "ends before"),
        (["a", "b"], {"exclusions": [{"when": "event_type = 'x'", "between": ["s2", "s1"]}]}, "must come before"),
        (["a", "b"], {"exclusions": [{"when": "event_type = 'x'", "between": ["s1", "s9"]}]}, "no step `s9`"),
        (
            ["a", "b"],
            {"order": "any", "exclusions": [{"when": "event_type = 'x'", "between": ["s1", "s2"]}]},
            "in any order",
        ),
    ],
)
def test_a_mistake_in_a_funnel_is_told(steps, options, said):
    assert said in " ".join(what for _, what in _mistakes(one_funnel(steps, **options)))


def test_what_has_ended_cannot_be_excluded_any_more(build_world):
    taxonomy = one_funnel(["a", ("b", "1 hour")], entry="every", exclusions=[{"when": "event_type = 'x'"}])
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-02-01 10:00", "a"),
            event("3", "2026-02-01 10:30", "b"),
            event("4", "2026-05-01 10:00", "x"),
            LATER,
        ],
        taxonomy,
    )
    assert tables.values("select status from marts.funnel_attempts order by attempt") == [("dropped",), ("converted",)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"entered": {"from": "2026-02-01", "until": "2026-01-01"}}, "nobody can enter"),
        ({"window": "1 hour", "steps": ["a", {"type": "b", "not_before": "2 hours"}]}, "nobody can convert"),
        ({"steps": ["a", *[{"type": "o", "optional": True}] * 9]}, "at most 8 optional"),
        ({"steps": ["a"], "exclusions": [{"when": "event_type = 'x'"}]}, "nothing between its steps"),
    ],
)
def test_what_can_never_work_is_told(options, said):
    steps = options.pop("steps", ["a", "b"])
    assert said in " ".join(what for _, what in _mistakes(one_funnel(steps, **options)))
