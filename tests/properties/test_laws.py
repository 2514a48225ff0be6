"""The laws of SEMANTICS section 1, on random worlds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import event
from tests.funnels import Touch, one_funnel, reference

START = datetime(2026, 1, 1, tzinfo=UTC)

TYPES = ("page_viewed", "product_viewed", "product_added", "checkout_started", "order_completed", "review_submitted")
IDENTIFIERS = st.dictionaries(
    st.sampled_from(["customer_id", "email", "anonymous_id", "device_id"]),
    st.sampled_from(["x", "y", "z", "undefined"]),
    min_size=1,
    max_size=3,
)


@st.composite
def worlds(draw):
    """Some events of a few people on shared devices, close enough in time to meet each other."""
    made = []
    for number in range(draw(st.integers(1, 25))):
        hours = draw(st.sampled_from([0, 0, 0.1, 0.5, 1, 24, 200, 800]))
        at = START + timedelta(hours=hours * draw(st.integers(0, 4)))
        made.append(
            event(
                f"e{number:02}",
                f"{at:%Y-%m-%d %H:%M:%S}",
                draw(st.sampled_from(TYPES)),
                who=draw(IDENTIFIERS),
                initiator=draw(st.sampled_from(["customer", "customer", "company"])),
                context={"session_id": draw(st.sampled_from(["", "s1", "s2"])), "page": {"url": "u"}},
            )
        )
    return made


@given(world=worlds(), data=st.data())
def test_l1_order_and_duplicates_change_nothing(build_world, world, data):
    as_of = START + timedelta(days=200)
    arrival = data.draw(st.permutations(world))
    again = data.draw(st.lists(st.sampled_from(world), max_size=5))
    one = build_world(world, as_of=as_of).everything()
    other = build_world([*again, *arrival], as_of=as_of).everything()
    # What counts records differs by the repeated ones, and by nothing else.
    counts = one.pop("marts.event_outcomes"), other.pop("marts.event_outcomes")
    assert one == other
    assert sum(json.loads(row)["records"] for row in counts[1]) == len(again) + len(world)
    assert [row for row in counts[1] if '"duplicate"' not in row] == counts[0]


@given(world=worlds())
def test_l2_nothing_is_lost(build_world, world):
    tables = build_world([*world, b"{", world[0]])
    assert tables.values("select sum(records)::bigint from marts.event_outcomes") == [(len(world) + 2,)]
    assert tables.values(
        """
        select
            (select count(*) from marts.touchpoints) - (select coalesce(sum(touchpoints), 0) from marts.journeys),
            (select count(*) filter (where initiator = 'customer') from marts.touchpoints)
            - (select coalesce(sum(touchpoints), 0) from marts.sessions)
        """
    ) == [(0, 0)]
    drops = """
        select funnel from marts.funnel_drops where segment_by = 'all' group by funnel
        having sum(customers_dropped + customers_open) + arg_max(customers_reached, step_order)
        <> arg_min(customers_reached, step_order)
    """
    assert tables.values(drops) == [], "statuses sum to entrants"


@given(world=worlds(), others=worlds())
def test_l7_events_of_one_customer_change_no_row_of_another(build_world, world, others):
    """Others with their own identifiers come and go; nobody else's rows move, given the same bounds of time."""
    mine = [event("first", "2025-12-31 00:00", who={"customer_id": "bound"}), *world]
    strangers = [
        other
        | {
            "event_id": f"o{other['event_id']}",
            "identifiers": {k: f"other-{v}" for k, v in other["identifiers"].items()},
        }
        for other in others
    ]
    as_of = START + timedelta(days=200)
    rows = "from marts.{} where customer_id not in (select customer_id from marts.identity_map where identifier like 'other-%')"
    alone = build_world(mine, as_of=as_of)
    together = build_world([*mine, *strangers], as_of=as_of)
    for table in ("touchpoints", "sessions", "journeys", "stage_transitions", "funnel_attempts"):
        query = rows.format(table)
        assert sorted(map(str, alone.rows(query))) == sorted(map(str, together.rows(query))), table


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([None, "1 minute", "3 minutes"])), min_size=2, max_size=4
)


@given(
    steps=STEPS,
    window=st.sampled_from([None, "2 minutes", "6 minutes"]),
    people=st.lists(
        st.lists(
            st.tuples(st.integers(0, 9), st.sampled_from("abcd"), st.sampled_from([None, None, 1, 2])),
            min_size=1,
            max_size=9,
        ),
        min_size=1,
        max_size=12,
    ),
    as_of_minute=st.integers(0, 16),
)
def test_funnels_agree_with_a_reference_that_tries_everything(build_world, steps, window, people, as_of_minute):
    taxonomy = one_funnel([(kind, within) if within else kind for kind, within in steps], window=window)
    as_of = START + timedelta(minutes=as_of_minute)
    events, expected = [], {}
    for person, touches in enumerate(people):
        known = []
        for number, (minute, kind, sequence) in enumerate(touches):
            at = START + timedelta(minutes=minute)
            touch = Touch(f"{person:02}-{number}", kind, at, sequence)
            more = {} if sequence is None else {"sequence": sequence}
            events.append(
                event(touch.event_id, f"{at:%Y-%m-%d %H:%M}", kind, who={"customer_id": f"p{person:02}"}, **more)
            )
            if at <= as_of:
                known.append(touch)
        attempt = reference(known, taxonomy.funnels[0], as_of)
        if attempt is not None:
            expected[f"p{person:02}"] = attempt
    tables = build_world(events, taxonomy, as_of=as_of)
    found = tables.rows("select customer_id, furthest_step, entered_at, step_times, status from marts.funnel_attempts")
    assert {row["customer_id"]: (row["furthest_step"], row["entered_at"], row["status"]) for row in found} == {
        customer: (attempt.furthest_step, attempt.entered_at, attempt.status) for customer, attempt in expected.items()
    }
    for row in found:
        taken = tuple(at for at in row["step_times"] if at is not None)
        assert taken == expected[row["customer_id"]].step_times
