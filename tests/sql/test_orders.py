"""Orders and their money: one order is told more than once, money goes out again, and amounts are written in many ways."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from journey_core.taxonomy import Money, load_taxonomy
from pipelines.cli import app
from tests.conftest import event
from tests.funnels import one_funnel

LATER = event("z", "2026-12-31 00:00", who={"customer_id": "zoe"})
JOURNEYS = "select status, revenue, refunds, net_revenue, currency from marts.journeys where customer_id = 'ann' order by journey_order"


def order(event_id: str, at: str, order_id: str | None = "O1", revenue: object = "175.00", **more: object):
    properties = {"order_id": order_id, "revenue": revenue, "currency": "EUR"} | more.pop("properties", {})
    kind = more.pop("kind", "order_completed")
    return event(event_id, at, kind, properties={k: v for k, v in properties.items() if v is not None}, **more)


THREE_TELLINGS = [
    event("1", "2026-01-01 10:00", "product_viewed"),
    order("pixel", "2026-01-01 10:10:00"),
    order("server", "2026-01-01 10:10:02", initiator="company"),
    order("reload", "2026-01-01 11:30:00"),
]


def test_one_order_told_by_pixel_server_and_page_reload_is_one_order(build_world):
    tables = build_world([*THREE_TELLINGS, LATER])
    assert tables.values(JOURNEYS) == [("converted", Decimal(175), 0, 175, "EUR")]
    touches = "select event_id, stage, is_goal, is_repeated_order, revenue from marts.touchpoints where order_id = 'O1' order by event_order"
    assert tables.values(touches) == [
        ("pixel", "purchase", True, False, Decimal(175)),
        ("server", "purchase", False, True, None),
        ("reload", "purchase", False, True, None),
    ]
    assert tables.values("select from_stage, to_stage from marts.stage_transitions") == [("consideration", "purchase")]


def test_a_customer_who_orders_again_is_loyal_also_where_both_orders_are_told_twice(build_world):
    again = [order("5", "2026-02-01 10:00", "O2", "20"), order("6", "2026-02-01 10:01", "O2", "20")]
    tables = build_world([*THREE_TELLINGS, *again, LATER])
    assert [row[:2] for row in tables.values(JOURNEYS)] == [("converted", 175), ("converted", 20)]
    stages = "select distinct stage from marts.touchpoints where order_id = '{}'"
    assert tables.values(stages.format("O1")) == [("purchase",)]
    assert tables.values(stages.format("O2")) == [("loyalty",)]


def test_two_customers_and_two_orders_may_share_what_is_no_name(build_world):
    blank = [order(str(n), f"2026-01-0{n} 10:00", name, "1") for n, name in enumerate(("", "  ", None), start=1)]
    other = order("9", "2026-01-01 10:00", "O1", who={"customer_id": "bob"})
    tables = build_world([*THREE_TELLINGS, *blank, other, LATER])
    assert tables.values("select count(*) from marts.touchpoints where is_repeated_order") == [(2,)]


@pytest.mark.parametrize("name", ["undefined", "null", 0, {}, "(not set)", " N/A ", "${order_id}"])
def test_a_placeholder_is_no_name_of_an_order(build_world, name):
    made = [
        order("1", "2026-01-01 10:00", name, "100"),
        order("2", "2026-03-01 10:00", name, "50"),
        order("3", "2026-03-02 10:00", name, "20", kind="order_refunded"),
    ]
    tables = build_world([*made, LATER])
    assert [row[1:3] for row in tables.values(JOURNEYS)] == [(100, 0), (50, 20)]
    assert tables.values("select distinct order_id, is_repeated_order from marts.touchpoints") == [(None, False)]


def test_an_order_told_again_converts_no_second_attempt_and_excludes_none(build_world):
    taxonomy = one_funnel(["product_viewed", "order_completed"], entry="every")
    viewed = event("2", "2026-01-01 10:20", "product_viewed")
    tables = build_world([*THREE_TELLINGS, viewed, LATER], taxonomy)
    attempts = "select entry_event_id, status, last_event_id from marts.funnel_attempts where customer_id = 'ann' order by attempt"
    assert tables.values(attempts) == [("1", "converted", "pixel"), ("2", "open", "2")]

    excluding = one_funnel(
        ["product_viewed", "review_submitted"], exclusions=[{"when": "event_type = 'order_completed'"}]
    )
    review = event("3", "2026-01-01 12:00", "review_submitted")
    tables = build_world([*THREE_TELLINGS, viewed, review, LATER], excluding)
    assert tables.values(attempts)[0][:2] == ("2", "converted")

    asking = one_funnel([{"when": "is_repeated_order"}])
    tables = build_world([*THREE_TELLINGS, LATER], asking)
    assert tables.values(attempts) == [("reload", "converted", "reload")]


def test_an_order_told_again_breaks_no_strict_chain(build_world):
    strict = one_funnel(["order_completed", "review_submitted"], order="strict")
    review = event("3", "2026-01-01 12:00", "review_submitted")
    tables = build_world([*THREE_TELLINGS, review, LATER], strict)
    assert tables.values("select status from marts.funnel_attempts") == [("converted",)]


def test_the_telling_that_reaches_the_goal_is_the_one_that_counts(build_world):
    """A pixel without an amount comes first, and the taxonomy asks for one."""
    taxonomy = load_taxonomy("retail")
    goal = taxonomy.journeys.model_copy(update={"goal": "event_type = 'order_completed' and revenue > 0"})
    told = [order("pixel", "2026-01-01 10:00", revenue=None), order("server", "2026-01-01 10:01")]
    tables = build_world([*told, LATER], taxonomy.model_copy(update={"journeys": goal}))
    assert tables.values(JOURNEYS)[0][:2] == ("converted", 175)


@pytest.mark.parametrize("unknown", [None, " ", "$175"])
def test_the_amount_is_that_of_the_first_telling_that_has_one(build_world, unknown):
    """Two seconds after the pixel the server knows what the page did not: the pixel goes on to count."""
    pixel = order("pixel", "2026-01-01 10:10:00", revenue=unknown, properties={"currency": None})
    told = [pixel, order("server", "2026-01-01 10:10:02"), order("reload", "2026-01-01 10:11", revenue="9")]
    viewed = event("1", "2026-01-01 10:00", "product_viewed")
    tables = build_world([viewed, *told, LATER], one_funnel(["product_viewed", "order_completed"]))
    assert tables.values(JOURNEYS) == [("converted", 175, 0, 175, "EUR")]
    touches = (
        "select event_id, is_goal, revenue, currency from marts.touchpoints where order_id = 'O1' order by event_order"
    )
    assert tables.values(touches) == [
        ("pixel", True, 175, "EUR"),
        ("server", False, None, "EUR"),
        ("reload", False, None, "EUR"),
    ]
    assert tables.values("select paid from intermediate.attempt_revenues") == [({"currency": "EUR", "revenue": 175},)]


def test_a_renewal_that_the_page_tells_of_again_is_still_automatic(build_world):
    renewal = [order("1", "2026-01-01 10:00", initiator="company"), order("2", "2026-01-01 10:05")]
    tables = build_world([*renewal, LATER])
    assert tables.values("select connected_experience from marts.journeys where customer_id = 'ann'") == [
        ("automatic_execution",)
    ]


@pytest.mark.parametrize(
    ("returns", "refunds"),
    [
        ([order("2", "2026-01-09 10:00", kind="order_refunded", revenue="25.50")], "25.5"),
        ([order("2", "2026-01-09 10:00", kind="order_refunded", revenue="-25.50")], "25.5"),
        ([order("2", "2026-01-09 10:00", kind="order_refunded", revenue=None, properties={"amount": 25.5})], "25.5"),
        # Nothing said of how much: all of it.
        ([order("2", "2026-01-09 10:00", kind="order_refunded", revenue=None)], "175"),
        ([order("2", "2026-01-09 10:00", kind="order_cancelled", revenue=None)], "175"),
        ([order("2", "2026-01-09 10:00", kind="order_cancelled", revenue="100")], "100"),
        # What went wrong in the amount is no whole order.
        ([order("2", "2026-01-09 10:00", kind="order_refunded", revenue="$10")], "0"),
        # No more goes back than came in: one refund told twice, a cancellation and its refund.
        ([order(str(n), "2026-01-09 10:00", kind="order_refunded", revenue="100") for n in (2, 3)], "175"),
        ([order(str(n), "2026-01-09 10:00", kind="order_cancelled", revenue=None) for n in (2, 3)], "175"),
        # A tag manager's way to say it: the same order with less than nothing.
        ([order("2", "2026-01-09 10:00", revenue="-30")], "30"),
        # Without an order's name it counts where it lies.
        ([order("2", "2026-01-09 10:00", None, "12", kind="order_refunded")], "12"),
        # ... and all of them together are no more than came in.
        ([order(str(n), "2026-01-09 10:00", None, "100", kind="order_refunded") for n in (2, 3)], "175"),
        ([order("2", "2026-01-09 10:00", None, "-100"), order("3", "2026-01-09 10:00", "O1", "-100")], "175"),
        # Its currency may be left out, and is one purse with the others.
        (
            [
                order("2", "2026-01-09 10:00", None, "100", kind="order_refunded", properties={"currency": None}),
                order("3", "2026-01-09 10:00", None, "100", kind="order_refunded"),
            ],
            "175",
        ),
        # A form's empty field, or its 0, is no amount beside one that says how much.
        *(
            ([order("2", "2026-01-09 10:00", kind=kind, revenue=empty, properties={"amount": 30})], "30")
            for empty in ("", " ", 0, "0.00", "0,00")
            for kind in ("order_refunded", "order_cancelled")
        ),
        ([order("2", "2026-01-09 10:00", kind="order_refunded", revenue=" ", properties={"amount": ""})], "175"),
        ([order("2", "2026-01-09 10:00", kind="order_refunded", revenue=0, properties={"amount": " "})], "0"),
        # Before the order it names, by a wrong clock.
        ([order("2", "2025-12-31 10:00", kind="order_refunded", revenue="5")], "5"),
    ],
)
def test_what_goes_out_again_is_a_refund_of_its_order(build_world, returns, refunds):
    tables = build_world([order("1", "2026-01-01 10:00"), *returns, LATER])
    converted = [row for row in tables.values(JOURNEYS) if row[0] == "converted"]
    assert converted == [("converted", 175, Decimal(refunds), 175 - Decimal(refunds), "EUR")]


@pytest.mark.parametrize("order_id", ["O1", None, "R1"])
def test_a_return_told_as_an_order_below_0_is_money_out_and_no_order(build_world, order_id):
    """A shop sends `order_completed` with revenue -100 for what comes back: nobody has bought again."""
    made = [
        event("1", "2026-01-01 10:00", "product_viewed"),
        order("2", "2026-01-01 11:00", "O1", "100"),
        event("3", "2026-01-03 10:00", "product_viewed"),
        order("4", "2026-01-03 11:00", order_id, "-100"),
        order("5", "2026-01-04 11:00", "O2", "40", who={"customer_id": "bob"}),
        order("6", "2026-02-20 11:00", "O3", "60"),
        LATER,
    ]
    steps = one_funnel(["product_viewed", "order_completed"], entry="every", window="7 days")
    tables = build_world(made, steps)
    touches = "select is_goal, is_repeated_order, stage, revenue from marts.touchpoints where event_id = '4'"
    assert tables.values(touches) == [(False, False, "unlabelled", -100)]
    ann = [row[:4] for row in tables.values(JOURNEYS)]
    assert sum(row[3] for row in ann) == 60, "what came in and went out again is nothing"
    assert [row[0] for row in ann] == ["converted", "abandoned", "converted"]
    assert tables.values("select prior_orders from intermediate.touchpoint_history where event_id = '6'") == [(1,)]
    attempts = "select entry_event_id, status from marts.funnel_attempts where customer_id = 'ann' order by attempt"
    assert tables.values(attempts) == [("1", "converted"), ("3", "dropped")]
    assert tables.values("select revenue_per_conversion from intermediate.conversion_values") == [(100,)]


def test_a_step_may_ask_for_returns(build_world):
    asking = one_funnel([{"when": "event_type = 'order_completed' and is_return"}])
    tables = build_world([order("1", "2026-01-01 10:00"), order("2", "2026-01-02 10:00", revenue="-1"), LATER], asking)
    assert tables.values("select entry_event_id from marts.funnel_attempts") == [("2",)]


def test_a_refund_after_the_next_order_belongs_to_the_first(build_world):
    tables = build_world(
        [
            order("1", "2026-01-01 10:00"),
            order("2", "2026-03-01 10:00", "O2", "40"),
            order("3", "2026-03-02 10:00", "O1", "75", kind="order_refunded"),
            LATER,
        ]
    )
    assert [row[1:4] for row in tables.values(JOURNEYS)] == [(175, 75, 100), (40, 0, 40)]


def test_money_of_another_currency_stands_beside_the_journeys(build_world):
    dollars = order("2", "2026-01-02 10:00", None, "10", kind="order_refunded", properties={"currency": "usd"})
    tables = build_world([order("1", "2026-01-01 10:00"), dollars, LATER])
    assert tables.values(JOURNEYS) == [("converted", 175, 0, 175, "EUR")]
    assert tables.values("select other_revenues from marts.journeys where customer_id = 'ann'") == [
        ([("USD", Decimal(-10))],)
    ]


def test_the_analysis_of_experiences_adds_no_dollars_to_euros(build_world):
    bought = [
        order("1", "2026-01-01 10:00"),
        order("2", "2026-01-02 10:00", revenue="75", kind="order_refunded"),
        order("3", "2026-01-01 10:00", "O2", "10", properties={"currency": "USD"}, who={"customer_id": "bob"}),
        event("4", "2026-01-01 10:00", who={"customer_id": "cleo"}),
    ]
    tables = build_world([*bought, LATER])
    asked = (Path(__file__).parents[2] / "sql/analyses/12_which_experience_converts.sql").read_text()
    columns = "journeys, converted, currency, revenue, net_revenue"
    assert tables.values(f"select {columns} from ({asked}) where currency is not null order by currency") == [
        (4, 2, "EUR", 175, 100),
        (4, 2, "USD", 10, 10),
    ]


def test_usd_in_any_case_is_one_currency_and_an_unknown_code_joins_none(build_world):
    codes = ["usd", "USD", " Usd ", "Euro", "XBT", ""]
    tables = build_world(
        [order(str(n), "2026-01-01 10:00", str(n), "1", properties={"currency": code}) for n, code in enumerate(codes)]
    )
    assert tables.values("select currency, count(*) from marts.touchpoints group by 1 order by 1 nulls last") == [
        ("Euro", 1),
        ("USD", 3),
        ("XBT", 1),
        (None, 1),
    ]
    assert tables.values("from marts.data_quality") == [("unknown_currency", "web", "properties.currency", 2, "3")]
    assert tables.build.warnings == ["2 events with an unknown currency: it joins no other. See marts.data_quality"]


READABLE = {
    "1,234.50": "1234.5",
    "1.234,50": "1234.5",
    "-1.234.567,8": "-1234567.8",
    "1,234,567": "1234567",
    "1.234.567": "1234567",
    "12345678901234.5678": "12345678901234.5678",
    12345678901234.5678: "12345678901234.568",  # a double: the text that is sent is the next story
    " 10.5 ": "10.5",
    "1e3": "1000",
    ".5": "0.5",
    7: "7",
    0: "0",
}
UNREADABLE = [
    "10,00",
    "$10",
    "1,234",
    {"amount": 1},
    [1],
    True,
    "ten",
    "1_000",
    "1.2.3",
    "1,23.4",
    "NaN",
    "99e99",
    1e300,
]


def revenues(tables):
    rows = tables.values("select event_id, revenue from staging.events where channel = 'web' order by event_id")
    return [row[1] for row in rows]


def test_an_amount_is_read_where_its_form_says_how(build_world):
    tables = build_world([order(f"{n:02}", "2026-01-01 10:00", str(n), text) for n, text in enumerate(READABLE)])
    assert revenues(tables) == [Decimal(value) for value in READABLE.values()]
    assert tables.values("from marts.data_quality") == []
    assert tables.build.warnings == []


def test_an_amount_that_could_be_two_is_counted_and_never_nought(build_world):
    nothing = [order("97", "2026-01-01 10:00", "97", None), order("98", "2026-01-01 10:00", "98", " ")]
    made = [order(f"{n:02}", "2026-01-01 10:00", str(n), text) for n, text in enumerate(UNREADABLE)]
    tables = build_world([*made, *nothing])
    assert revenues(tables) == [None] * (len(UNREADABLE) + 2)
    assert tables.values("from marts.data_quality") == [
        ("unreadable_amount", "web", "properties.revenue", len(UNREADABLE), "00")
    ]
    assert tables.build.warnings == [
        f"{len(UNREADABLE)} events with an unreadable amount: its revenue is null. See marts.data_quality"
    ]


@pytest.mark.parametrize(
    ("mark", "texts"),
    [
        (",", {"10,00": "10", "1.234": "1234", "1.234,5": "1234.5", "1,234.5": "1234.5", "10.75": None, "12": "12"}),
        (".", {"10,00": None, "1,234": "1234", "1.234": "1.234", "1.234,5": "1234.5", "10.75": "10.75"}),
    ],
)
def test_a_taxonomy_says_which_mark_is_the_decimal_one(build_world, mark, texts):
    taxonomy = load_taxonomy("retail").model_copy(update={"money": Money(decimal=mark)})
    made = [order(f"{n:02}", "2026-01-01 10:00", str(n), text) for n, text in enumerate(texts)]
    number = order("99", "2026-01-01 10:00", "99", 1.234)  # JSON's own numbers have a point
    tables = build_world([*made, number], taxonomy)
    assert revenues(tables) == [value and Decimal(value) for value in [*texts.values(), "1.234"]]


def test_a_long_number_keeps_its_digits(build_world):
    raw = b"""{"event_id": "1", "event_type": "order_completed", "channel": "web", "occurred_at": "2026-01-01T00:00:00Z",
        "identifiers": {"customer_id": "ann"}, "properties": {"total": 1.5, "revenue": 12345678901234.5678}}"""
    tables = build_world([raw])
    assert tables.values("select revenue, properties ->> '$.total' from marts.touchpoints") == [
        (Decimal("12345678901234.5678"), "1.5")
    ]


def test_a_build_warns_of_what_it_cannot_read(tmp_path):
    file = tmp_path / "shop.jsonl"
    file.write_text(json.dumps(order("1", "2026-01-01 10:00", revenue="$10")))
    said = CliRunner().invoke(app, ["build", "--events", str(file)]).stderr
    assert said.count("warning: 1 event with an unreadable amount: its revenue is null. See marts.data_quality") == 1
