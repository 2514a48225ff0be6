"""What changed, when, where and why: funnels by period of entry."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from tests.conftest import event
from tests.funnels import one_funnel

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
FUNNEL = {"window": "1 day", "segments": ["country"], "periods": ["week"]}


def weeks(rates, *, errors=(), reached=40, first=0):
    """Each week `reached` customers enter; of them the week's rate leaves. In `errors` those who leave see why."""
    events = [event("z", f"{MONDAY + timedelta(weeks=len(rates) + 1):%Y-%m-%d} 00:00", who={"customer_id": "zoe"})]
    for week, rate in enumerate(rates):
        for number in range(reached):
            at = MONDAY + timedelta(weeks=week, hours=number * 4)
            who = {"customer_id": f"c{week + first}-{number:03}"}
            context = {"geo": {"country": "ES" if number % 2 else "PT"}}
            name = f"{week + first}-{number}"
            events.append(event(f"a{name}", f"{at:%Y-%m-%d %H:%M}", "a", who=who, context=context))
            after = f"{at + timedelta(minutes=1):%Y-%m-%d %H:%M}"
            if number >= rate * reached:
                paid = {"revenue": "10.00", "currency": "EUR"}
                events.append(event(f"b{name}", after, "b", who=who, context=context, properties=paid))
            elif week in errors:
                events.append(event(f"f{name}", after, "payment_failed", who=who, properties={"error_code": "503"}))
    return events


def test_an_outage_of_two_weeks_is_one_change_with_its_weeks_its_signal_and_its_money(build_world):
    tables = build_world(
        weeks([0.25] * 9 + [0.75, 0.75] + [0.25] * 3, errors=(9, 10)), one_funnel(["a", "b"], **FUNNEL)
    )
    changes = tables.rows("select * from marts.changes where segment_by = 'all'")
    assert len(changes) == 1, "what comes after the outage is as usual: the outage is no part of what is usual"
    (change,) = changes
    assert (change["started_at"], change["ended_at"]) == (MONDAY + timedelta(weeks=9), MONDAY + timedelta(weeks=11))
    assert (change["step"], change["direction"], change["periods"]) == ("s1", "rise", 2)
    assert (change["from_rate"], change["to_rate"], change["excess_drops"]) == (0.25, 0.75, 40.0)
    assert (str(change["revenue"]), change["currency"]) == ("400.0000", "EUR")
    assert (change["candidate_kind"], change["signal"], change["detail"]) == (
        "declared",
        "failure",
        "payment_failed: 503",
    )
    assert (change["signal_share"], change["signal_baseline_share"], change["signal_events"]) == (1.0, 0.0, 60)
    assert "f9-0" in change["event_ids"]


def test_each_period_says_what_it_counts(build_world):
    tables = build_world(weeks([0.25] * 9 + [0.75, 0.75], errors=(9, 10)), one_funnel(["a", "b"], **FUNNEL))
    rows = tables.rows(
        "select * from marts.funnel_periods where segment_by = 'all' and step_order = 1 order by period_start"
    )
    assert [row["period_start"] for row in rows] == [MONDAY + timedelta(weeks=week) for week in range(11)]
    assert [row["baseline_periods"] for row in rows] == [None, None, None, 3, 4, 5, 6, 7, 8, 8, 8]
    outage = rows[9]
    assert (outage["customers_reached"], outage["customers_advanced"], outage["customers_dropped"]) == (40, 10, 30)
    assert (outage["customers_converted"], outage["customers_open"], outage["is_complete"]) == (0, 0, True)
    assert (outage["drop_rate"], outage["baseline_rate"], outage["baseline_reached"]) == (0.75, 0.25, 320)
    pooled = (30 + 80) / 360
    assert math.isclose(outage["z"], 0.5 / math.sqrt(pooled * (1 - pooled) * (1 / 40 + 1 / 320)))
    # The hypergeometric distribution itself: as few, or as likely, as 30 of the 110 among the 40.
    chances = [math.comb(110, k) * math.comb(250, 40 - k) / math.comb(360, 40) for k in range(41)]
    assert math.isclose(outage["p_value"], sum(c for c in chances if c <= chances[30] * (1 + 1e-7)), rel_tol=1e-9)
    assert (outage["top_signal"], outage["top_signal_share"], outage["top_signal_baseline_share"]) == ("failure", 1, 0)
    assert [row["is_changed"] for row in rows] == [False] * 9 + [True, True]


def test_two_causes_in_a_row_are_two_changes(build_world):
    events = weeks([0.25] * 8 + [0.75, 0.75, 0.25], errors=(8,))
    other = [
        event(f"q{n}", f"{MONDAY + timedelta(weeks=9, hours=n * 4, minutes=1):%Y-%m-%d %H:%M}", "coupon_refused",
              who={"customer_id": f"c9-{n:03}"})
        for n in range(30)
    ]  # fmt: skip
    tables = build_world([*events, *other], one_funnel(["a", "b"], **FUNNEL))
    assert tables.values(
        "select signal, periods, started_at from marts.changes where segment_by = 'all' order by started_at"
    ) == [("failure", 1, MONDAY + timedelta(weeks=8)), ("coupon_refused", 1, MONDAY + timedelta(weeks=9))]


def test_weeks_without_anybody_part_two_changes(build_world):
    events = weeks([0.25] * 6 + [0.75])
    later = weeks([0.25] * 12 + [0.75])
    quiet = [made for made in later if made["event_id"] == "z" or made["event_id"].split("-")[0][1:] == "12"]
    tables = build_world(
        [*(made for made in events if made["event_id"] != "z"), *quiet], one_funnel(["a", "b"], **FUNNEL)
    )
    assert tables.values("select started_at, periods from marts.changes where segment_by = 'all' order by 1") == [
        (MONDAY + timedelta(weeks=6), 1),
        (MONDAY + timedelta(weeks=12), 1),
    ]


def test_a_change_of_what_has_become_usual_is_a_change_of_its_own(build_world):
    tables = build_world(weeks([0.2] * 6 + [0.6] * 8 + [0.95] * 2), one_funnel(["a", "b"], **FUNNEL))
    assert tables.values(
        "select started_at, periods, round(from_rate, 2), round(to_rate, 2) from marts.changes"
        " where segment_by = 'all' order by 1"
    ) == [(MONDAY + timedelta(weeks=6), 8, 0.2, 0.6), (MONDAY + timedelta(weeks=14), 2, 0.6, 0.95)]


def test_what_lasts_for_eight_weeks_is_the_new_usual(build_world):
    tables = build_world(weeks([0.2] * 6 + [0.7] * 12), one_funnel(["a", "b"], **FUNNEL))
    assert tables.values("select started_at, periods from marts.changes where segment_by = 'all'") == [
        (MONDAY + timedelta(weeks=6), 8)
    ]


def test_a_steady_funnel_has_no_changes_and_an_unfinished_week_no_rate(build_world):
    events = weeks([0.25] * 12)
    as_of = MONDAY + timedelta(weeks=12) - timedelta(hours=1)
    tables = build_world(events, one_funnel(["a", "b"], **FUNNEL), as_of=as_of)
    assert tables.values("from marts.changes") == []
    assert tables.values(
        "select is_complete, drop_rate, customers_reached, customers_open > 0 from marts.funnel_periods"
        " where segment_by = 'all' and step_order = 1 order by period_start desc limit 2"
    ) == [(False, None, 40, False), (True, 0.25, 40, False)]
    endless = build_world(events, one_funnel(["a", "b"], **(FUNNEL | {"window": None})))
    assert endless.values("select distinct is_complete, drop_rate from marts.funnel_periods") == [(False, None)]


def test_periods_follow_the_funnels_time_zone_and_its_first_day_of_the_week(build_world):
    """2026-03-29 02:00 the clocks of Madrid go forward: that Sunday has 23 hours."""
    who = [{"customer_id": name} for name in ("ann", "bob", "cid")]
    events = [
        event("1", "2026-03-28 22:59", "a", who=who[0]),  # Saturday, 23:59 in Madrid
        event("2", "2026-03-28 23:00", "a", who=who[1]),  # Sunday, 00:00
        event("3", "2026-03-29 22:00", "a", who=who[2]),  # Monday, 00:00
        event("z", "2026-12-31 00:00", who={"customer_id": "zoe"}),
    ]
    for week_start, expected in (
        ("monday", [("2026-03-22 23:00", 2), ("2026-03-29 22:00", 1)]),
        ("sunday", [("2026-03-21 23:00", 1), ("2026-03-28 23:00", 2)]),
    ):
        funnel = one_funnel(["a", "b"], window="1 day", timezone="Europe/Madrid", week_start=week_start)
        tables = build_world(events, funnel)
        counted = "select strftime(period_start, '%Y-%m-%d %H:%M'), customers_reached from marts.funnel_periods"
        of_step = "and step_order = 1 order by period_start"
        assert tables.values(f"{counted} where period = 'week' {of_step}") == expected
        assert tables.values(f"{counted} where period = 'day' {of_step}") == [
            ("2026-03-27 23:00", 1),
            ("2026-03-28 23:00", 1),
            ("2026-03-29 22:00", 1),
        ]
        assert tables.values(f"{counted} where period = 'month' {of_step}") == [("2026-02-28 23:00", 3)]
