"""Funnels, ordered and best: where customers leave."""

from __future__ import annotations

from datetime import UTC, datetime

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
