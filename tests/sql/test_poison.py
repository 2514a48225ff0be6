"""Data that keeps the contract, and taxonomies that are allowed, never end a build."""

from __future__ import annotations

import json

import pytest

from journey_core.errors import TaxonomyError
from journey_core.taxonomy import Rule, load_taxonomy
from tests.conftest import build_tables, event
from tests.funnels import one_funnel

GOOD = event("good", "2026-01-01 10:00")


@pytest.mark.parametrize(
    "poison",
    [
        {"sent_at": "2026-01-01T10:00:00Z", "received_at": "infinity"},
        {
            "occurred_at": "290000-01-01T00:00:00Z",
            "received_at": "290000-01-01T00:00:00Z",
            "sent_at": "0001-01-01T00:00:00Z",
        },
        {"occurred_at": "9999-12-31T23:59:59-14:00"},
        {"occurred_at": "0001-01-01T00:00:00+14:00"},
        {"sent_at": "0001-01-01T00:00:00Z", "received_at": "9999-12-31T00:00:00Z"},
    ],
)
def test_a_time_out_of_the_calendar_is_rejected_and_its_neighbours_live(build_world, poison):
    tables = build_world([GOOD, GOOD | {"event_id": "poison"} | poison])
    assert tables.values("select event_id from marts.touchpoints") == [("good",)]
    assert tables.values("select count(*) from staging.rejected_events") == [(1,)]


@pytest.mark.parametrize(
    "properties",
    [
        {"survey": "high", "rating": "NaN", "revenue": "a lot"},
        {"survey": {"kind": ["nps"], "score": "Infinity"}, "rating": 1e308, "revenue": 10**400},
        {"product_id": {"a": [1, {"b": None}]}, "text": "'; drop schema marts; --", "error_code": "\u0000"},
    ],
)
def test_odd_properties_are_kept_and_count_for_nothing(build_world, properties):
    tables = build_world([GOOD | {"properties": properties}])
    assert tables.values("select survey_score, revenue, stage from marts.touchpoints") == [(None, None, "awareness")]
    ((kept,),) = tables.values("select properties::varchar from marts.touchpoints")
    assert json.loads(kept).keys() == properties.keys()


@pytest.mark.parametrize(
    "when",
    [
        "error_code = 500",
        "error_code in (500, 501)",
        "prior_orders = event_type",
        "survey_score > 'abc'",
        "prior_orders % 0 = 1",
        "occurred_at > 'foo'",
        "occurred_at + interval 999999999 day > occurred_at",
    ],
)
def test_a_comparison_that_does_not_fit_is_no_match(build_world, when):
    retail = load_taxonomy("retail")
    rules = [Rule(stage="need", when=when), *retail.rules]
    odd = event("1", "2026-01-01 10:00", properties={"error_code": "E500", "survey": {"kind": "x", "score": 3}})
    tables = build_world([odd], retail.model_copy(update={"rules": rules}))
    assert tables.values("select stage from marts.touchpoints") == [("awareness",)]


@pytest.mark.parametrize(
    "whens",
    [
        ["error_code = 500", "error_code = 404"],
        ["error_code = 500 or error_code = 404"],
        ["properties -> '$.quantity' >= 2 and properties -> '$.quantity' < 10"],
        ["revenue * 1.21 > 2 and revenue * 1.21 < 5"],
    ],
)
def test_a_term_that_stands_twice_ends_no_build(tmp_path, whens):
    """DuckDB takes what stands twice out of its `try`. Full and incremental builds meet the event all the same."""
    retail = load_taxonomy("retail")
    rules = [Rule.model_validate({"stage": "need", "when": when}) for when in whens]
    taxonomy = retail.model_copy(update={"rules": [*rules, *retail.rules]})
    fits = event("1", "2026-01-01 10:00", properties={"error_code": "500", "quantity": 3, "revenue": "2"})
    poison = {"error_code": "E500", "quantity": "x", "revenue": "99999999999999.9999"}
    events = [fits, event("2", "2026-01-01 10:01", properties=poison)]
    for known in (events[:1], events):
        tables = build_tables(known, tmp_path / "shop.duckdb", taxonomy)
    assert tables.values("select event_id, stage from marts.touchpoints order by 1") == [
        ("1", "need"),
        ("2", "awareness"),
    ]


@pytest.mark.parametrize("is_full", [True, False])
def test_what_raises_all_the_same_names_its_table_in_every_build(tmp_path, monkeypatch, is_full):
    """As if DuckDB took repeated casts out of their `try` again: an incremental build had a traceback."""
    retail = load_taxonomy("retail")
    when = "properties -> '$.quantity' >= 2 and properties -> '$.quantity' < 10"
    taxonomy = retail.model_copy(update={"rules": [Rule.model_validate({"stage": "need", "when": when})]})
    poison = event("2", "2026-01-01 10:01", properties={"quantity": "x"})
    if not is_full:
        build_tables([GOOD], tmp_path / "shop.duckdb", taxonomy)
    monkeypatch.setattr("journey_core.warehouse.KEEP_TRIES", "set timezone = 'UTC'")
    with pytest.raises(TaxonomyError, match=r"taxonomy\.event_ranks cannot be built: .* The previous build stays"):
        build_tables([GOOD, poison], tmp_path / "shop.duckdb", taxonomy)


def test_a_log_that_knows_days_only_is_not_tried_in_all_its_permutations(build_world):
    kinds = ("a", "b", "c", "d")
    events = [event(f"{kind}{n:03}", "2026-01-01 00:00", kind) for kind in kinds for n in range(100)]
    tables = build_world(events, one_funnel(kinds, window="1 day"))
    assert tables.values("select status, event_ids from marts.funnel_attempts") == [
        ("converted", ["a000", "b000", "c000", "d000"])
    ]
    assert tables.values("select count(*) < 2000 from intermediate.funnel_chains") == [(True,)]
