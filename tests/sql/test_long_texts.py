"""An event of a megabyte counts as any other; its longest members stay in the lake (decision 0027)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey_core.contract import judge, records_of
from journey_core.lake import Lake, Partition
from journey_core.long_texts import LARGEST_MEMBER, LARGEST_TEXT, shortened
from journey_core.taxonomy import Rule, load_taxonomy
from journey_core.warehouse import Warehouse
from tests.conftest import build_tables, event
from tests.properties.test_incremental import differences

HUGE = 800_000
RETAIL = load_taxonomy("retail")
BY_PROPERTY = RETAIL.model_copy(
    update={"rules": [Rule(stage="need", when="properties ->> '$.x' = 'yes'"), *RETAIL.rules]}
)


def order(event_id: str, at: str, **properties: object):
    return event(event_id, at, "order_completed", properties={"order_id": "A", "currency": "EUR"} | properties)


def doubts(tables):
    return tables.values("select kind, channel, field, events, example_event_id from marts.data_quality order by kind")


def test_an_event_with_one_huge_member_counts_by_its_other_members(build_world):
    tables = build_world(
        [
            order("big", "2026-01-01 10:00", html="é" * (HUGE // 8), revenue="12.50", x="yes", note="n" * 4_000),
            order("small", "2026-01-02 10:00", order_id="B", revenue=1),
        ],
        BY_PROPERTY,
    )
    assert tables.values("select event_id, stage, order_id, revenue from marts.touchpoints order by 1") == [
        ("big", "need", "A", Decimal("12.5000")),
        ("small", "loyalty", "B", Decimal("1.0000")),
    ]
    ((kept,),) = tables.values("select properties::varchar from marts.touchpoints where event_id = 'big'")
    assert json.loads(kept).keys() == {"order_id", "currency", "revenue", "x", "note"}
    assert doubts(tables) == [("shortened_properties", "web", "properties", 1, "big")]
    (warning,) = [line for line in tables.build.warnings if "64 KB" in line]
    assert warning.startswith("1 event with properties over 64 KB")


def test_of_an_event_with_very_many_members_those_that_the_contract_names_stay(build_world):
    crowd = {f"k{number}": number for number in range(60_000)}
    tables = build_world([order("big", "2026-01-01 10:00", **crowd, revenue=123456789012.3456, x="yes")], BY_PROPERTY)
    assert tables.values("select stage, order_id, revenue, properties from marts.touchpoints") == [
        ("purchase", "A", Decimal("123456789012.3456"), '{"order_id":"A","currency":"EUR","revenue":123456789012.3456}')
    ]
    assert doubts(tables) == [("shortened_properties", "web", "properties", 1, "big")]


def test_a_long_context_keeps_where_it_happened(build_world):
    context = {"session_id": "s1", "geo": {"country": "ES"}, "dom": ["x" * 100] * 7_000}
    tables = build_world([event("big", "2026-01-01 10:00", context=context)])
    assert tables.values("select session_id is not null, country, page_path from marts.touchpoints") == [
        (True, "ES", None)
    ]
    assert tables.values("select explicit_session_id, page_url, context from staging.events") == [
        (
            "s1",
            "https://shop.example/",
            '{"page":{"url":"https://shop.example/"},"session_id":"s1","geo":{"country":"ES"}}',
        )
    ]
    assert doubts(tables) == [("shortened_context", "web", "context", 1, "big")]


def test_who_is_merged_does_not_depend_on_the_length_of_what_is_said(build_world):
    others = {f"crm_{number}": "c" * 100 for number in range(1_000)} | {"customer_id": "bob"}
    merge = event("m", "2026-01-02 10:00", "identity_merged", properties={"with": others, "log": "x" * HUGE})
    tables = build_world([event("1", "2026-01-01 10:00", who={"customer_id": "bob"}), merge])
    assert tables.values("select count(distinct customer_id) from marts.identity_map") == [(1,)]


@pytest.mark.parametrize(("more", "is_whole"), [(0, True), (1, False)])
@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_text_of_exactly_the_largest_size_stays_whole(build_world, letter, more, is_whole):
    empty = len(json.dumps({"text": "", "end": ""}, separators=(",", ":")))
    size = LARGEST_TEXT - empty
    text = letter * (size // len(letter.encode()))
    end = "." * (size - len(text.encode()) + more)
    tables = build_world([event("1", "2026-01-01 10:00", properties={"text": text, "end": end})])
    ((kept,),) = tables.values("select properties from staging.events")
    assert (json.loads(kept) == {"text": text, "end": end}) is is_whole
    assert bool(doubts(tables)) is not is_whole


def test_an_incremental_build_shortens_as_a_full_one(tmp_path):
    events = [
        order("1", "2026-01-01 10:00", html="x" * HUGE, revenue=1, x="yes"),
        order("2", "2026-01-01 11:00", order_id="B", **{f"k{number}": number for number in range(20_000)}),
        event("3", "2026-01-01 12:00", context={"dom": "x" * HUGE}),
    ]
    for known in (events[:2], [*events, events[0]]):
        build_tables(known, tmp_path / "updated.duckdb", BY_PROPERTY)
    build_tables([*events, events[0]], tmp_path / "full.duckdb", BY_PROPERTY)
    assert differences(tmp_path / "updated.duckdb", tmp_path / "full.duckdb") == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    few=st.dictionaries(st.text(max_size=9), json_values, max_size=6),
    long=st.sets(st.text(max_size=9), min_size=1, max_size=3),
    is_ascii=st.booleans(),
    spaces=st.sampled_from(["", " ", "\n\t"]),
)
def test_long_members_go_and_the_others_stay_as_they_are_written(few, long, is_ascii, spaces):
    whole = few | dict.fromkeys(long, "é" * LARGEST_TEXT)
    text = json.dumps(whole, ensure_ascii=is_ascii, separators=("," + spaces, spaces + ":" + spaces))
    kept = shortened(text, [])
    assert json.loads(kept) == {name: value for name, value in few.items() if name not in long}
    assert len(kept.encode()) <= LARGEST_TEXT


def test_numbers_keep_their_digits_and_deep_nesting_ends_no_build():
    long = '"long":"' + "x" * LARGEST_MEMBER + '"'
    assert shortened('{"a":123456789012345678.12345678, ' + long + ',"b":1E400}', []) == (
        '{"a":123456789012345678.12345678,"b":1E400}'
    )
    assert shortened('{"a":' + "[" * 200_000 + "]" * 200_000 + "}", []) == "{}"


def land(lake: Lake, first: int, count: int, size: int) -> None:
    values = [
        json.dumps(
            order(f"e{number}", f"2026-01-{1 + number % 28:02} 03:04", order_id=f"{number}", revenue=1, text="x" * size)
        ).encode()
        for number in range(first, first + count)
    ]
    records = records_of(values, topic="events.web.v1")
    offsets = pa.array(range(first, first + count), pa.int64())
    judged = judge(records.set_column(records.schema.get_field_index("offset"), "offset", offsets))
    partition = Partition("events.web.v1", 0)
    marks = {"events.web.v1#partitions": 1}
    lake.commit(judged, lake.snapshot(), {partition: first}, {partition: first + count}, marks)


def row_groups(lake: Lake) -> list[int]:
    footers = [pq.read_metadata(file) for file in lake.snapshot().files("events")]
    return [footer.row_group(number).num_rows for footer in footers for number in range(footer.num_row_groups)]


@pytest.mark.parametrize(("size", "most"), [(500, 600), (400_000, 10)])
def test_row_groups_are_small_where_rows_are_large_and_only_there(tmp_path, size, most):
    lake = Lake(tmp_path)
    for first in range(0, 3 * most, most):
        land(lake, first, most, size)
        assert max(row_groups(lake)) <= most
    lake.compact(keep=timedelta(0))
    assert sum(row_groups(lake)) == 3 * most
    assert (len(row_groups(lake)) == 1) is (size < 2_048)
    assert max(row_groups(lake)) <= (3 * most if size < 2_048 else most)


def test_memory_of_a_build_is_bounded_however_large_events_are(tmp_path):
    """Before, 150 such events did not fit into this limit, nor 400 into 2 GB."""
    lake = Lake(tmp_path / "lake")
    for first in range(0, 150, 50):
        land(lake, first, 50, HUGE)
    lake.compact(keep=timedelta(0))
    result = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli import app; app()", "build", "--json"],
        env=os.environ | {"JOURNEY_HOME": str(tmp_path), "JOURNEY_DUCKDB_MEMORY_LIMIT": "500MB"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    (row,) = warehouse.query(
        "select sum(revenue)::integer as revenue, count(*) as n from marts.touchpoints"
    ).to_pylist()
    assert row == {"revenue": 150, "n": 150}
