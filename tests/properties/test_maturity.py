"""A mature rate is the naive rate of the same entrants once everything is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from journey_core.taxonomy import Entered
from tests.conftest import event
from tests.funnels import one_funnel

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(days=4)
RATES = """
    select segment_by, segment, step_order, {reached} as reached, {dropped} as dropped, round({rate}, 12) as rate
    from marts.funnel_drops where {reached} > 0 order by all
"""
MATURE = RATES.format(reached="customers_reached_mature", dropped="customers_dropped_mature", rate="drop_rate_mature")
NAIVE = RATES.format(reached="customers_reached", dropped="customers_dropped", rate="drop_rate_naive")


@st.composite
def worlds(draw):
    """Some customers' steps within twenty days, by the quarter of a day: many lie at the very end of a window."""
    made = [event("start", "2026-01-01 00:00", who={"customer_id": "first"})]
    for number in range(draw(st.integers(1, 30))):
        at = START + timedelta(days=draw(st.integers(0, 80)) / 4)
        kind, channel = draw(st.sampled_from("aaabbc")), draw(st.sampled_from(["web", "app"]))
        who = {"customer_id": f"c{draw(st.integers(0, 7))}"}
        made.append(event(f"e{number:02}", f"{at:%Y-%m-%d %H:%M:%S}", kind, who=who, channel=channel))
    return made


@given(
    world=worlds(),
    quarters=st.integers(1, 80),
    order=st.sampled_from(["ordered", "any", "strict"]),
    entry=st.sampled_from(["first", "every"]),
    within=st.sampled_from([None, "1 day"]),
)
def test_the_mature_rate_is_what_the_same_entrants_end_at(build_world, world, quarters, order, entry, within):
    as_of = START + timedelta(days=quarters / 4)
    options = {"order": order, "entry": entry, "window": "4 days", "segments": ["channel"]}
    funnel = one_funnel(["a", ("b", within), "c"], **options)
    entrants = funnel.funnels[0].model_copy(update={"entered": Entered.model_validate({"until": as_of - WINDOW})})
    then = build_world(world, funnel, as_of=as_of)
    once_over = build_world(world, funnel.model_copy(update={"funnels": [entrants]}), as_of=START + timedelta(days=365))
    assert then.rows(MATURE) == once_over.rows(NAIVE)


def test_last_weeks_converters_do_not_count_before_last_weeks_leavers_can(build_world):
    """Ten enter a week ago, ten today; half of each convert within the hour. "Not open" would say that a third leave."""
    events = []
    for number in range(20):
        who = {"customer_id": f"c{number:02}"}
        day = "2026-01-01" if number < 10 else "2026-01-08"
        events.append(event(f"a{number}", f"{day} 10:00", "a", who=who))
        if number % 2:
            events.append(event(f"b{number}", f"{day} 11:00", "b", who=who))
    columns = "customers_reached, customers_open, customers_reached_mature, customers_dropped_mature, drop_rate_mature"
    step = f"select {columns} from marts.funnel_drops where step_order = 1"
    assert build_world(events, one_funnel(["a", "b"], window="3 days")).values(step) == [(20, 5, 10, 5, 0.5)]
    assert build_world(events, one_funnel(["a", "b"])).values(step) == [(20, 10, 0, 0, None)], "no window: no maturity"
