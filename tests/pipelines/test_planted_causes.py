"""What was planted is found: as the top reason and a driver of its step, in its window, and nowhere else."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta

import pytest

from journey_core.taxonomy import Entered, load_taxonomy
from pipelines.simulate import simulate
from tests.conftest import build_tables

#: How each planted cause shows: its signal and detail.
SIGNS = {
    "mobile_checkout_loop": ("back_and_forth", "checkout_started / product_removed"),
    "payment_outage": ("failure", "payment_failed: gateway_timeout"),
    "shipping_price_shock": ("shipping_costs", "shipping_quoted"),
}


#: What else of a planted cause the tables may call a driver: its trace in the events, whom it strikes.
TRACES = {
    ("repeated_step", "checkout"),
    ("product_removed", "none"),
    ("failure", "all"),
    ("device", "mobile"),
    ("country", "PT"),
    *SIGNS.values(),
}
WEEK = timedelta(days=7)


def in_three_parts(manifest):
    """The checkout funnel three times per cause: entered before, in, and after its window."""
    retail = load_taxonomy("retail")
    checkout = next(funnel for funnel in retail.funnels if funnel.funnel == "checkout")
    funnels = []
    for cause in manifest.planted_causes:
        for part, bounds in {
            "before": {"until": cause.starts_at},
            "inside": {"from": cause.starts_at, "until": cause.ends_at},
            "after": {"from": cause.ends_at},
        }.items():
            entered = Entered.model_validate(bounds)
            funnels.append(checkout.model_copy(update={"funnel": f"{cause.cause}_{part}", "entered": entered}))
    return retail.model_copy(update={"funnels": funnels})


@pytest.mark.timeout(3600)  # 20 shops with --full
def test_each_planted_cause_is_found_where_and_when_it_acts_and_nowhere_else(request, tmp_path):
    for seed in range(20 if request.config.getoption("--full") else 1):
        shop = simulate(customers=2000, seed=seed)
        values = [record.value for record in shop.records]
        tables = build_tables(values, tmp_path / f"{seed}.duckdb", in_three_parts(shop.manifest))
        for cause in shop.manifest.planted_causes:
            sign = SIGNS[cause.cause]
            for part in ("before", "inside", "after"):
                of_step = f"funnel = '{cause.cause}_{part}' and step = '{cause.last_step}'"
                top = [
                    tables.values(
                        f"select signal, top_detail from marts.pain_points where {of_step} and segment_by = 'all'"
                        f" order by {rank} desc limit 1"
                    )
                    for rank in ("customers", "revenue_at_risk")
                ]
                drivers = tables.values(f"select signal, detail from marts.drop_drivers where {of_step} and is_driver")
                assert (top == [[sign]] * 2) == (part == "inside"), f"seed {seed}, {cause.cause} {part}: {top}"
                assert (sign in drivers) == (part == "inside"), f"seed {seed}, {cause.cause} {part}: {drivers}"


@pytest.mark.timeout(3600)  # 20 shops with --full
def test_over_all_time_planted_causes_come_first_and_their_weeks_are_found(request, tmp_path):
    tests = unplanted = 0
    for seed in range(20 if request.config.getoption("--full") else 1):
        shop = simulate(customers=3000, seed=seed)
        tables = build_tables([record.value for record in shop.records], tmp_path / f"{seed}.duckdb")
        pains = tables.rows(
            "select signal, top_detail, funnel, step, customers, revenue_at_risk from marts.pain_points"
            " where segment_by = 'all' and reason not in ('silence', 'unknown')"
        )
        changes = tables.rows("select * from marts.changes where segment_by = 'all' and direction = 'rise'")
        for cause in shop.manifest.planted_causes:
            sign = SIGNS[cause.cause]
            (own,) = (pain for pain in pains if (pain["funnel"], pain["step"], pain["signal"]) == (
                cause.funnel, cause.last_step, sign[0]
            ))  # fmt: skip
            for pain in pains:
                if (pain["signal"], pain["top_detail"]) not in TRACES:
                    for rank in ("customers", "revenue_at_risk"):
                        assert pain[rank] < own[rank], f"seed {seed}: {pain} outranks {own}"
            starts, ends = datetime.fromisoformat(cause.starts_at), datetime.fromisoformat(cause.ends_at)
            found = [
                change
                for change in changes
                if (change["funnel"], change["step"]) == (cause.funnel, cause.last_step)
                and (change["signal"], change["detail"]) == sign
            ]
            assert found, f"seed {seed}: {cause.cause} changed nothing"
            for change in found:
                assert starts - WEEK < change["started_at"] < ends, f"seed {seed}, {cause.cause}: {change}"
                assert starts < change["ended_at"] < ends + WEEK, f"seed {seed}, {cause.cause}: {change}"
        strange = [change for change in changes if (change["signal"], change["detail"]) not in TRACES]
        assert len(strange) <= 0.05 * len(changes) + 1, f"seed {seed}: {strange}"
        drivers = tables.values("select signal, detail, is_driver from marts.drop_drivers")
        tests += len(drivers)
        unplanted += sum(is_driver and (signal, detail) not in TRACES for signal, detail, is_driver in drivers)
    assert unplanted <= 0.05 * tests, f"{unplanted} of {tests}"
    print(f"{unplanted} drivers that nobody planted in {tests} tests")


def test_a_naive_taxonomy_without_signals_still_shows_the_failure_that_rose(tmp_path):
    shop = simulate(customers=2000)
    naive = load_taxonomy("retail").model_copy(update={"signals": []})
    tables = build_tables([record.value for record in shop.records], tmp_path / "naive.duckdb", naive)
    assert tables.values(
        "select reason, signal from marts.pain_points where funnel = 'checkout' and step = 'payment'"
        " and segment_by = 'all' order by customers desc limit 1"
    ) == [("failure", "payment_failed")]
    ((change,),) = tables.values(
        "select signal from marts.changes where funnel = 'checkout' and step = 'payment' and segment_by = 'all'"
    )
    assert change == "payment_failed"


def with_noise(values, chance):
    """Right after every third step or so an error is shown, whatever comes next."""
    noisy = list(values)
    for value in values:
        try:
            made = json.loads(value)
            at = datetime.fromisoformat(made["occurred_at"])
        except (ValueError, KeyError):
            continue
        is_step = made.get("event_type") in ("product_viewed", "product_added", "checkout_started", "shipping_quoted")
        if is_step and at.year == 2026 and chance.random() < 0.3:
            after = (at + timedelta(milliseconds=1)).isoformat().replace("+00:00", "Z")
            properties = {"error_code": chance.choice("ab")}
            error = {"event_id": f"noise-{made['event_id']}", "event_type": "error_shown", "occurred_at": after}
            noisy.append(json.dumps(made | error | {"properties": properties}).encode())
    return noisy


@pytest.fixture
def calm_seeds(request) -> int:
    return 200 if request.config.getoption("--full") else 4


@pytest.mark.timeout(3600)  # 200 shops with --full
def test_where_nothing_is_planted_chance_finds_no_more_drivers_than_declared(calm_seeds, tmp_path):
    tests = drivers = troubled = 0
    for seed in range(calm_seeds):
        shop = simulate(seed=seed, causes=False)
        values = with_noise([record.value for record in shop.records], random.Random(seed))
        tables = build_tables(values, tmp_path / f"{seed}.duckdb")
        ((tested, found),) = tables.values("select count(*), count(*) filter (where is_driver) from marts.drop_drivers")
        tests, drivers = tests + tested, drivers + found
        ((runs,),) = tables.values("select count(*) from marts.changes")
        troubled += runs > 0
    assert tests >= 8 * calm_seeds, "a test that tests nothing proves nothing"
    assert drivers / tests <= 0.05, f"{drivers} of {tests}"
    # Where nothing has changed, one shop in twenty may show something; a binomial of 20 gives 4 once in sixty times.
    assert troubled <= 0.05 * calm_seeds + 2 * (0.05 * calm_seeds) ** 0.5, f"{troubled} of {calm_seeds} shops"
    print(f"{drivers} drivers in {tests} tests, changes in {troubled} of {calm_seeds} shops")
