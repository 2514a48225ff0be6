"""The laws of docs/semantics.md, section 1, on random worlds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import event

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
