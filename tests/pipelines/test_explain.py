"""`journey explain-funnel`: why numbers differ, on one customer and on all."""

from __future__ import annotations

import json

import pytest

from journey_core.errors import InputError
from pipelines.build import build
from pipelines.explain import explain_funnel
from pipelines.settings import Settings
from tests.conftest import event

TAXONOMY = """
taxonomy: shop
version: 1
stages: [{stage: need, moment: before, phase: recognize, label: {en: Need, es: Necesidad}}]
rules: [{stage: need, when: "channel = 'web'"}]
journeys: {goal: "event_type = 'b'"}
funnels:
  - funnel: f
    window: 1 day
    steps: [{step: looked, when: "event_type = 'a'"}, {step: bought, when: "event_type = 'b'"}]
  - funnel: endless
    steps: [{step: looked, when: "event_type = 'a'"}, {step: bought, when: "event_type = 'b'"}]
"""


@pytest.fixture
def shop(home, tmp_path):
    """Ann leaves at first and buys in a second try; Bob buys at once; Cid never does."""
    made = [
        event("1", "2026-01-01 10:00", "a"),
        event("2", "2026-01-05 10:00", "a"),
        event("3", "2026-01-05 11:00", "b"),
        event("4", "2026-01-01 10:00", "a", who={"customer_id": "bob"}),
        event("5", "2026-01-01 11:00", "b", who={"customer_id": "bob"}),
        event("6", "2026-01-01 10:00", "a", who={"customer_id": "cid"}),
        event("7", "2026-03-01 10:00", "x", who={"customer_id": "cid"}),
    ]
    events, taxonomy = tmp_path / "events.jsonl", tmp_path / "shop.yaml"
    events.write_text("".join(json.dumps(one) + "\n" for one in made))
    taxonomy.write_text(TAXONOMY)
    build(Settings(), events=events, taxonomy=str(taxonomy))
    return str(taxonomy)


def test_it_shows_whom_the_ways_of_counting_disagree_about_and_by_how_much(shop):
    explained = explain_funnel(Settings(), "f", taxonomy=shop)
    assert explained.customer_id == "ann"
    assert [row["event_id"] for row in explained.steps.to_pylist()] == ["2", "3"]
    judged = {row["counted_as"]: row["status"] for row in explained.judged.to_pylist()}
    assert (judged["f"], judged["mixpanel"], judged["amplitude"]) == ("converted", "dropped", "converted")
    counts = {row["counted_as"]: (row["1 looked"], row["2 bought"]) for row in explained.counts.to_pylist()}
    assert list(counts) == ["f", "clickhouse", "mixpanel", "amplitude", "posthog", "ga4"]
    assert (counts["f"], counts["mixpanel"]) == ((3, 2), (3, 1))
    assert "No attempt of theirs was dropped." in str(explained)


def test_a_profiles_window_counts_where_the_funnel_has_none(shop):
    counts = {row["counted_as"]: row for row in explain_funnel(Settings(), "endless", taxonomy=shop).counts.to_pylist()}
    assert {name: row["window_days"] for name, row in counts.items()} == {
        "endless": None, "clickhouse": None, "mixpanel": 7.0, "amplitude": 30.0, "posthog": 14.0, "ga4": None,
    }  # fmt: skip
    assert (counts["endless"]["still_open"], counts["posthog"]["still_open"]) == (1, 0)


def test_it_says_why_somebody_left(shop):
    explained = explain_funnel(Settings(), "f", customer="cid", taxonomy=shop)
    assert [row["reason"] for row in explained.reasons.to_pylist()] == ["silence"]


def test_its_reasons_are_the_builds_own(shop):
    """The ways of counting are no other funnels that somebody could have gone to."""
    explained = explain_funnel(Settings(), "endless", customer="cid", taxonomy=shop)
    built = Settings().open_warehouse().query("select reason from marts.drop_reasons where funnel = 'endless'")
    assert explained.reasons.num_rows == built.num_rows


def test_the_warehouse_stays_as_it_was(shop):
    warehouse = Settings().open_warehouse()
    before = warehouse.path.read_bytes()
    explain_funnel(Settings(), "f", taxonomy=shop)
    assert warehouse.path.read_bytes() == before


@pytest.mark.parametrize(
    ("funnel", "customer", "said"),
    [("nope", None, "has no funnel `nope`; its funnels: f, endless"), ("f", "dan", "dan never entered `f`")],
)
def test_what_cannot_be_explained_is_told(shop, funnel, customer, said):
    with pytest.raises(InputError, match=said):
        explain_funnel(Settings(), funnel, customer=customer, taxonomy=shop)
