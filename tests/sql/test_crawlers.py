"""One customer with thousands of touches of each kind: twice as many take about twice as long."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from journey_core.models import shipped_models
from tests.conftest import event
from tests.funnels import one_funnel

START = datetime(2026, 1, 1, tzinfo=UTC)
FUNNELS = ("funnel_matches", "funnel_chains", "funnel_timed_entries", "funnel_entries")


def crawled(count):
    """`count` touches of each of five kinds, one after the other."""
    for number in range(count):
        for place, kind in enumerate("abcdx"):
            at = START + timedelta(seconds=10 * (5 * number + place))
            yield event(f"{kind}{number}", f"{at:%Y-%m-%d %H:%M:%S}", kind)


@pytest.mark.parametrize("entry", ["best", "every"])
def test_twice_the_touches_of_a_crawler_take_about_twice_as_long(build_world, entry):
    """Before, 250 of each took 35 s: every pair of touches within the time between two steps made a chain."""
    funnel = one_funnel(
        ["a", ("b", "12 hours"), ("c", "12 hours"), ("d", "12 hours")],
        window="1 day",
        entry=entry,
        exclusions=[{"when": "event_type = 'x'"}],
    )
    selects = {model.name: model.sql for model in shipped_models()}
    seconds = []
    for count in (1000, 2000):
        tables = build_world(list(crawled(count)), funnel)
        assert tables.values("select distinct status from marts.funnel_attempts") == [("converted",)]
        with tables.warehouse.connect() as connection:
            runs = []
            for _ in range(3):
                begun = time.perf_counter()
                for name in FUNNELS:
                    connection.execute(f"select count(*) from ({selects[f'intermediate.{name}']})").fetchall()
                runs.append(time.perf_counter() - begun)
        seconds.append(min(runs))
    assert seconds[1] < 2.5 * seconds[0] + 0.05
