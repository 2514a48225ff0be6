"""The shape of `sql/`: every model says its grain twice, and its columns are the promised ones."""

from __future__ import annotations

import re

import pytest

from journey_core.models import contracts, in_build_order, quoted, shipped_models, type_name
from journey_core.paths import SQL
from tests.conftest import event


@pytest.mark.parametrize("model", shipped_models(), ids=str)
def test_a_model_is_import_work_select_with_its_grain_on_line_2(model):
    lines = model.sql.splitlines()
    grain = re.fullmatch(r"-- Grain: (?:\((.*)\)|one row)\.", lines[1])
    assert lines[0].startswith("-- ")
    assert (grain[1] or "").split(", ") == (model.contract.grain or [""])
    assert model.contract.table == model.name
    assert re.fullmatch(r"select \* from \w+", lines[-1]), "the last line selects the last step"


def test_every_yaml_has_its_sql():
    assert {path.with_suffix(".sql") for path in SQL.glob("*/*.yaml")} == set(SQL.glob("*/*.sql")) - set(
        (SQL / "analyses").glob("*.sql")
    )


def test_the_build_order_is_read_from_the_sql():
    order = [model.name for model in in_build_order(shipped_models())]
    for model in shipped_models():
        for upstream in model.upstreams & set(order):
            assert order.index(upstream) < order.index(model.name)


def test_columns_are_the_promised_ones_in_the_promised_order(build_world):
    tables = build_world([event("1", "2026-01-01 10:00")])
    with tables.warehouse.connect() as connection:
        for contract in contracts():
            described = connection.execute(f"describe {contract.table}").fetchall()
            promised = {name: column.type for name, column in contract.columns.items()}
            assert [(name, type_name(kind)) for name, kind, *_ in described] == list(promised.items()), contract.table


def test_a_world_without_events_builds_too(build_world):
    tables = build_world([])
    assert tables.build.as_of is None
    assert tables.values("select count(*) from marts.touchpoints") == [(0,)]
    assert tables.values("select count(*) from marts.stages") == [(9,)]


def test_every_grain_is_unique_and_every_sentence_holds(build_world):
    kinds = ["product_viewed", "product_added", "checkout_started", "order_completed"] * 3
    tables = build_world(
        [
            event(f"{n}", f"2026-01-0{1 + n % 3} 1{n % 10}:00", kind, who={"anonymous_id": f"c{n % 2}"})
            for n, kind in enumerate(kinds)
        ]
    )
    for contract in contracts():
        if contract.grain:
            grain = ", ".join(map(quoted, contract.grain))
            repeated = f"select {grain} from {contract.table} group by all having count(*) > 1"
            assert tables.values(repeated) == [], contract.table
        for check in contract.checks:
            assert tables.values(check.sql) == [], check.check
