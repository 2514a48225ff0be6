"""The simulated shop: the same bytes for the same seed, and tables that find what was planted."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from pipelines.simulate import simulate
from tests.conftest import build_tables


@pytest.fixture(scope="module")
def shop():
    return simulate(seed=7)


@pytest.fixture(scope="module")
def tables(shop, tmp_path_factory):
    return build_tables([record.value for record in shop.records], tmp_path_factory.mktemp("shop") / "shop.duckdb")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    one, same, other = (simulate(customers=30, days=30, seed=seed) for seed in (1, 1, 2))
    assert one.records == same.records
    assert one.manifest.to_json() == same.manifest.to_json()
    assert one.records != other.records


def test_the_world_is_as_believable_as_it_says(shop):
    manifest = shop.manifest
    assert (manifest.customers, manifest.days) == (1000, 90)
    assert set(manifest.events_by_channel) == {"web", "email", "app", "social", "offline"}
    for share in (manifest.duplicates, manifest.late, sum(manifest.malformed.values())):
        assert 0.005 < share / manifest.records < 0.05
    assert manifest.conflicts > 0
    assert len(manifest.shared_device["customers"]) == 2
    assert sum(len(known.get("anonymous_id", [])) > 1 for known in manifest.people.values()) > 50, "several devices"
    assert [len(cause.customers) > 20 for cause in manifest.planted_causes] == [True] * 3


def test_every_record_is_accounted_for(tables, shop):
    manifest = shop.manifest
    found = dict(tables.values("select reason, sum(records)::bigint from marts.event_outcomes group by all"))
    assert found == manifest.malformed | {
        "conflicting_duplicate": manifest.conflicts,
        "names_a_customer": manifest.events,
        "none": manifest.duplicates,
    }
    types = dict(tables.values("select event_type, count(*) from marts.touchpoints group by all"))
    assert types == manifest.events_by_type
    assert tables.values(
        "select count(*), sum(revenue)::decimal(18, 2)::varchar from marts.journeys where status = 'converted'"
    ) == [(manifest.orders, manifest.revenue)]


def test_the_people_are_found_and_the_family_tablet_merges_nobody(tables, shop):
    found = dict(
        tables.values(
            "select namespace || ':' || identifier, customer_id from marts.identity_map where evidence <> 'shared_device'"
        )
    )
    for customer, known in shop.manifest.people.items():
        for namespace, identifiers in known.items():
            for identifier in identifiers:
                assert found[f"{namespace}:{identifier}"] == customer
    assert tables.values("select distinct stage from marts.touchpoints where stage = 'unlabelled'") == []


@pytest.mark.parametrize("cause", range(3), ids=["mobile_checkout_loop", "payment_outage", "shipping_price_shock"])
def test_the_tables_find_each_planted_cause_in_its_own_window_and_segment(tables, shop, cause):
    """Checkouts entered while a cause acts drop at its step far more often than those entered outside it."""
    planted = shop.manifest.planted_causes[cause]
    inside = f"entered_at >= '{planted.starts_at}' and entered_at < '{planted.ends_at}'"
    if planted.segment_by != "all":
        inside += f" and segment_by = '{planted.segment_by}' and segment = '{planted.segment}'"
    ((dropped_inside, reached_inside, dropped_outside, reached_outside),) = tables.values(
        f"""
        with attempts as (
            select attempts.*, segments.segment_by, segments.segment, funnel_steps.step_order as here
            from marts.funnel_attempts as attempts
            inner join intermediate.funnel_attempt_segments as segments using (funnel, customer_id, attempt)
            inner join taxonomy.funnel_steps using (funnel)
            where funnel = '{planted.funnel}' and funnel_steps.step = '{planted.last_step}'
            and segment_by = '{planted.segment_by}'
        )
        select
            count(*) filter (where {inside} and status = 'dropped' and furthest_step = here),
            count(*) filter (where {inside} and furthest_step >= here),
            count(*) filter (where not ({inside}) and status = 'dropped' and furthest_step = here),
            count(*) filter (where not ({inside}) and furthest_step >= here)
        from attempts
        """
    )
    assert reached_inside >= 10
    assert dropped_inside / reached_inside > 0.3
    assert dropped_outside / reached_outside < 0.12
    # Those whom it cost the order, and who never came back, stand in the manifest.
    lost = set(
        tables.values(
            f"""
            select customer_id from marts.funnel_attempts where funnel = '{planted.funnel}' and status = 'dropped'
            and list_contains({json.dumps(planted.customers).replace('"', "'")}, customer_id)
            """
        )
    )
    assert len(lost) >= dropped_inside * 0.9


def test_the_manifest_is_json_and_says_it_all(shop):
    said = json.loads(shop.manifest.to_json())
    assert said == json.loads(json.dumps(asdict(shop.manifest)))
    assert said["planted_causes"][1]["event_type"] == "payment_failed"
