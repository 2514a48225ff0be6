"""Why customers leave: every kind of reason, its evidence, and what is no evidence."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from journey_core.taxonomy import Signal, Step
from tests.conftest import event
from tests.funnels import one_funnel

LATER = event("z", "2026-12-31 00:00", who={"customer_id": "zoe"})
WHY = (
    "select reason, signal, detail, event_ids from marts.drop_reasons where customer_id = 'ann' order by evidence_rank"
)
PAY = one_funnel(["a", "b"], window="1 day")


def test_a_failure_after_the_last_step_comes_before_all_else_and_names_its_event(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-01-01 10:01", "payment_failed", properties={"error_code": "expired"}),
            event("3", "2026-01-01 10:02", "coupon_refused"),
            LATER,
        ],
        PAY,
    )
    assert tables.values(WHY) == [
        ("failure", "failure", "payment_failed: expired", ["2"]),
        ("commercial", "coupon_refused", "coupon_refused", ["3"]),
        ("silence", "no_touch_in_7_days", "none", ["3"]),
    ]


def test_what_happens_after_the_exit_is_no_evidence(build_world):
    # The visit ends at event 2; the failure is a later visit's, and the customer went on to buy something else.
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-01-01 10:10", "page_viewed"),
            event("3", "2026-01-01 12:00", "payment_failed"),
            event("4", "2026-01-01 12:01", "page_viewed"),
            LATER,
        ],
        PAY,
    )
    assert tables.values("select exit_event_id, next_event_ids, seconds_to_next from marts.funnel_exits") == [
        ("2", ["3", "4"], 6600.0)
    ]
    assert tables.values(WHY) == [("unknown", "no_evidence", "none", ["2"])]


def test_stated_reasons_are_surveys_cancellations_and_support_topics(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-01-01 10:01", "support_contacted", properties={"support_topic": "delivery"}),
            event(
                "3",
                "2026-01-01 10:02",
                "survey_answered",
                properties={"survey": {"kind": "exit"}, "reason": "too dear"},
            ),
            LATER,
        ],
        PAY,
    )
    assert tables.values(WHY)[:2] == [
        ("stated_reason", "reason_given", "survey_answered: too dear", ["3"]),
        ("stated_reason", "support_contacted", "support_contacted: delivery", ["2"]),
    ]


def test_back_and_forth_and_the_same_step_three_times_are_friction_of_that_step(build_world):
    steps = ["a", "x", "a", "x", "a"]
    walk = [event(str(n), f"2026-01-01 10:0{n}", kind) for n, kind in enumerate(steps)]
    tables = build_world([*walk, LATER], PAY)
    assert tables.values(WHY)[:2] == [
        ("friction", "back_and_forth", "a / x", ["0", "1", "2", "3", "4"]),
        ("friction", "repeated_step", "s1", ["0", "2", "4"]),
    ]
    # Going round in what is no part of the step says nothing about the step.
    aside = [event(str(n), f"2026-01-01 10:0{n}", kind) for n, kind in enumerate(["a", "x", "y", "x", "y", "x"])]
    assert tables_reasons(build_world([*aside, LATER], PAY)) == ["silence"]


def test_a_slow_step_is_one_slower_than_95_in_100(build_world):
    events = [LATER]
    for number in range(40):
        who = {"customer_id": f"c{number}" if number else "ann"}
        minutes = 30 if number == 0 else 1
        events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who))
        events.append(event(f"b{number}", f"2026-01-01 10:{minutes:02}", "b", who=who))
    tables = build_world(events, one_funnel(["a", "b", "c"], window="1 day"))
    assert tables.values(WHY)[0] == ("friction", "slow_step", "none", ["a0", "b0"])
    assert tables.values("select count(*) from marts.drop_reasons where signal = 'slow_step'") == [(1,)]


def test_a_price_is_a_reason_only_where_it_was_the_last_thing_seen(build_world):
    dear, cheap = {"shipping": "20.00", "price": "100.00"}, {"shipping": "19.99", "price": "100.00"}
    for properties, after, expected in ((dear, [], "commercial"), (cheap, [], "silence"), (dear, ["x"], "silence")):
        quoted = [event("1", "2026-01-01 10:00", "shipping_quoted", properties=properties)]
        more = [event(f"m{n}", "2026-01-01 10:05", kind) for n, kind in enumerate(after)]
        tables = build_world([*quoted, *more, LATER], one_funnel(["shipping_quoted", "b"], window="1 day"))
        assert tables_reasons(tables)[0] == expected


def test_a_hand_off_is_lost_where_the_way_goes_on_elsewhere_and_ends_there(build_world):
    left = event("1", "2026-01-01 10:00", "a", who={"customer_id": "ann", "anonymous_id": "desk"})
    handset = {"customer_id": "ann", "anonymous_id": "handset"}
    for later, signal in (
        (event("2", "2026-01-03 10:00", "x", channel="app"), "channel_switch"),
        (event("2", "2026-01-03 10:00", "x", who=handset), "device_switch"),
    ):
        assert build_world([left, later, LATER], PAY).values(WHY) == [("hand_off_lost", signal, "web", ["1", "2"])]
    # The way goes on there: nothing was lost on it.
    more = [event("2", "2026-01-03 10:00", "x", channel="app"), event("3", "2026-01-03 10:01", "y", channel="app")]
    assert tables_reasons(build_world([left, *more, LATER], PAY)) == ["unknown"]
    # Another journey is another way.
    taxonomy = PAY.model_copy(update={"journeys": PAY.journeys.model_copy(update={"idle_timeout": timedelta(days=1)})})
    assert tables_reasons(build_world([left, more[0], LATER], taxonomy)) == ["unknown"]


def test_an_order_elsewhere_or_an_event_without_a_device_is_no_lost_hand_off(build_world):
    left = event("1", "2026-01-01 10:00", "a", who={"customer_id": "ann", "anonymous_id": "desk"})
    for later in (
        event("2", "2026-01-03 10:00", "order_completed", channel="offline"),
        event("2", "2026-01-03 10:00", "x", who={"customer_id": "ann"}),
    ):
        assert tables_reasons(build_world([left, later, LATER], PAY)) == ["unknown"]


def test_a_link_followed_to_nowhere_is_a_lost_hand_off(build_world):
    world = [
        event("1", "2026-01-01 10:00", "a", channel="email"),
        event("2", "2026-01-01 10:01", "email_link_clicked", channel="email"),
        LATER,
    ]
    assert build_world(world, PAY).values(WHY) == [
        ("hand_off_lost", "link_followed", "email", ["2"]),
        ("silence", "no_touch_in_7_days", "none", ["2"]),
    ]


def test_to_be_anonymous_or_on_a_shared_device_is_no_reason(build_world):
    anonymous = build_world(
        [event("1", "2026-01-01 10:00", "a", who={"anonymous_id": "k"}), event("z", "2026-12-31 00:00", "b")], PAY
    )
    assert anonymous.values("select reason from marts.drop_reasons") == [("silence",)]
    tablet = {"anonymous_id": "tablet"}
    shared = build_world(
        [
            event("1", "2026-01-01 10:00", "login", who=tablet | {"customer_id": "ann"}),
            event("2", "2026-01-01 10:01", "a", who=tablet),
            event("3", "2026-01-05 10:00", "login", who=tablet | {"customer_id": "bob"}),
            LATER,
        ],
        PAY,
    )
    assert tables_reasons(shared) == ["silence"]


def test_another_funnel_is_a_competing_path(build_world):
    taxonomy = one_funnel(["a", "b"], window="1 day")
    other = one_funnel(["x", "y"], window="1 day").funnels[0].model_copy(update={"funnel": "g"})
    named = taxonomy.funnels[0].model_copy(update={"competes_with": ["g"]})
    taxonomy = taxonomy.model_copy(update={"funnels": [named, other]})
    world = [event("1", "2026-01-01 10:00", "a"), event("2", "2026-01-01 15:00", "x"), LATER]
    assert build_world(world, taxonomy).values(
        "select reason, detail, event_ids from marts.drop_reasons where funnel = 'f' order by evidence_rank"
    ) == [("competing_path", "g", ["2"])]
    # Funnels overlap by nature: nobody has said that these two compete.
    unnamed = taxonomy.model_copy(
        update={"funnels": [taxonomy.funnels[0].model_copy(update={"competes_with": []}), other]}
    )
    assert build_world(world, unnamed).values("select reason from marts.drop_reasons where funnel = 'f'") == [
        ("unknown",)
    ]


def test_a_signal_of_ones_own_is_looked_for_too(build_world):
    own = Signal.model_validate({"signal": "queue", "reason": "failure", "when": "event_type = 'queue_full'"})
    taxonomy = PAY.model_copy(update={"signals": [own]})
    world = [event("1", "2026-01-01 10:00", "a"), event("2", "2026-01-01 10:01", "queue_full"), LATER]
    assert tables_reasons(build_world(world, taxonomy))[0] == "failure"


def test_silence_and_hand_offs_are_known_only_when_seven_days_have_passed(build_world):
    left = event("1", "2026-01-01 10:00", "a")
    for as_of, expected in (
        ("2026-01-08 10:00", ("unknown", "too_early")),
        ("2026-01-08 10:01", ("silence", "no_touch_in_7_days")),
    ):
        tables = build_world([left, event("z", as_of, who={"customer_id": "zoe"})], PAY)
        assert tables.values("select reason, signal from marts.drop_reasons") == [expected]
        assert tables.values("select is_next_known from marts.funnel_exits") == [(expected[0] == "silence",)]


def test_a_charge_that_bounces_before_they_come_back_is_why_they_left(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", "a"),
            event("2", "2026-01-01 18:00", "payment_failed", initiator="company"),
            event("3", "2026-01-01 19:00", "email_delivered", channel="email", initiator="company"),
            LATER,
        ],
        PAY,
    )
    assert tables.values("select exit_event_id from marts.funnel_exits") == [("2",)]
    assert tables.values(WHY)[0] == ("failure", "failure", "payment_failed", ["2"])


def test_what_went_before_the_last_step_in_the_customers_order_is_no_failure_after_it(build_world):
    tie = [
        event("1", "2026-01-01 10:00", "payment_failed", sequence=1),
        event("2", "2026-01-01 10:00", "a", sequence=2),
    ]
    assert tables_reasons(build_world([*tie, LATER], PAY)) == ["silence"]


def test_the_same_step_is_not_the_same_event_type(build_world):
    cart = {"step": "cart", "when": "page_path = '/cart'"}
    funnel = PAY.funnels[0].model_copy(update={"steps": [Step.model_validate(cart), PAY.funnels[0].steps[1]]})
    taxonomy = PAY.model_copy(update={"funnels": [funnel]})

    def visit(*paths):
        return [
            event(str(n), f"2026-01-01 10:0{n}", context={"page": {"url": path, "path": path}})
            for n, path in enumerate(paths)
        ]

    assert tables_reasons(build_world([*visit("/", "/about", "/cart"), LATER], taxonomy)) == ["silence"]
    assert tables_reasons(build_world([*visit("/cart", "/cart", "/cart"), LATER], taxonomy))[0] == "friction"


def test_every_entry_of_another_funnel_is_a_competing_path(build_world):
    taxonomy = one_funnel(["a", "b"], window="1 day")
    other = one_funnel(["x", "y"], window="1 day").funnels[0].model_copy(update={"funnel": "g"})
    named = taxonomy.funnels[0].model_copy(update={"competes_with": ["g"]})
    taxonomy = taxonomy.model_copy(update={"funnels": [named, other]})
    world = [
        event("1", "2026-01-01 10:00", "a"),
        event("2", "2026-01-01 15:00", "x"),
        event("3", "2026-05-01 15:00", "x"),  # g's best attempt
        LATER,
    ]
    assert build_world(world, taxonomy).values(
        "select reason, event_ids from marts.drop_reasons where funnel = 'f' and evidence_rank = 1"
    ) == [("competing_path", ["2"])]


def test_who_enters_once_enters_no_more(build_world):
    taxonomy = one_funnel(["a", "b"], window="1 day")
    other = one_funnel(["x", "y"], window="1 day", entry="first").funnels[0].model_copy(update={"funnel": "g"})
    named = taxonomy.funnels[0].model_copy(update={"competes_with": ["g"]})
    taxonomy = taxonomy.model_copy(update={"funnels": [named, other]})
    world = [
        event("1", "2026-01-01 09:00", "x"),  # g's only attempt
        event("2", "2026-01-01 10:00", "a"),
        event("3", "2026-01-01 10:05", "x"),
        LATER,
    ]
    tables = build_world(world, taxonomy)
    assert tables.values("select reason from marts.drop_reasons where funnel = 'f' and evidence_rank = 1") == [
        ("silence",)
    ]


def test_three_different_products_are_no_friction(build_world):
    funnel = one_funnel(["product_viewed", "b"], window="1 day")

    def views(*products):
        return [
            event(
                str(n),
                f"2026-01-01 10:0{n}",
                "product_viewed",
                properties={"product_id": product},
                context={"page": {"url": "https://shop.example/product", "path": "/product"}},
            )
            for n, product in enumerate(products)
        ]

    assert tables_reasons(build_world([*views("lamp", "rug", "desk"), LATER], funnel)) == ["silence"]
    assert tables_reasons(build_world([*views("lamp", "rug", "lamp", "desk"), LATER], funnel)) == ["silence"]
    assert build_world([*views("lamp", "rug", "lamp", "lamp"), LATER], funnel).values(WHY)[0] == (
        "friction",
        "repeated_step",
        "s1",
        ["0", "2", "3"],
    )


def test_without_a_product_address_and_properties_tell_objects_apart(build_world):
    funnel = one_funnel(["product_viewed", "b"], window="1 day")
    for difference in ({"properties": [{"sku": str(n)} for n in range(3)]}, {"url": [f"/p?id={n}" for n in range(3)]}):
        views = [
            event(
                str(n),
                f"2026-01-01 10:0{n}",
                "product_viewed",
                properties=difference.get("properties", [{}] * 3)[n],
                context={"page": {"url": difference.get("url", ["/p"] * 3)[n], "path": "/p"}},
            )
            for n in range(3)
        ]
        assert tables_reasons(build_world([*views, LATER], funnel)) == ["silence"]


def test_what_those_who_went_on_have_seen_as_often_is_never_primary(build_world):
    """Everybody sees an error after the first step. It is shown, behind the price that only those who left saw."""
    events = [LATER]
    for number in range(80):
        who = {"customer_id": f"c{number:02}"}
        events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who))
        if number % 8:
            events.append(event(f"f{number}", "2026-01-01 10:01", "error_shown", who=who))
        if number < 40:
            events.append(event(f"p{number}", "2026-01-01 10:02", "coupon_refused", who=who))
        else:
            events.append(event(f"b{number}", "2026-01-01 10:05", "b", who=who))
    tables = build_world(events, PAY)
    assert tables.values(
        "select evidence_rank, reason, is_distinctive from marts.drop_reasons where customer_id = 'c01' order by 1"
    ) == [(1, "commercial", True), (2, "silence", None), (3, "failure", False)]
    assert tables.values(
        "select signal, customers from marts.pain_points where segment_by = 'all' order by customers desc limit 1"
    ) == [("coupon_refused", 40)]


def test_a_failure_that_no_signal_declares_is_found_by_its_name_and_by_who_left(build_world):
    taxonomy = PAY.model_copy(update={"signals": []})
    events = drivers_world((25, 6), (10, 24), failure="pay_error")
    tables = build_world(events, taxonomy)
    assert tables.values(
        "select candidate_kind, signal, dropped_with, advanced_with, is_driver from marts.drop_drivers"
    ) == [("event", "pay_error", 25, 6, True)]
    assert tables.values(
        "select reason, signal, event_ids from marts.drop_reasons where customer_id = 'c000' order by evidence_rank"
    ) == [("failure", "pay_error", ["f0"]), ("silence", "no_touch_in_7_days", ["f0"])]
    # By name alone nothing is guessed: as many of those who went on have seen this one.
    calm = build_world(drivers_world((20, 20), (20, 20), failure="pay_error"), taxonomy)
    assert calm.values("select distinct reason from marts.drop_reasons") == [("silence",)]


def drivers_world(with_signal: tuple[int, int], without: tuple[int, int], failure: str = "error_shown"):
    """(dropped, advanced) customers with and without a failure right after the first step."""
    events = [LATER]
    number = 0
    for failing, (dropped, advanced) in ((True, with_signal), (False, without)):
        for advances in [False] * dropped + [True] * advanced:
            who = {"customer_id": f"c{number:03}"}
            events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who))
            if failing:
                events.append(event(f"f{number}", "2026-01-01 10:01", failure, who=who))
            if advances:
                events.append(event(f"b{number}", "2026-01-01 10:05", "b", who=who))
            number += 1
    return events


def test_a_driver_has_its_four_counts_its_odds_and_an_exact_p(build_world):
    tables = build_world(drivers_world((25, 6), (10, 24)), PAY)
    ((step, signal, counts, odds, low, p, q, is_driver),) = tables.values(
        """
        select step, signal, [dropped_with, dropped_without, advanced_with, advanced_without], odds_ratio,
            odds_ratio_low, p_value, q_value, is_driver from marts.drop_drivers
        """
    )
    assert (step, signal, counts) == ("s1", "failure", [25, 10, 6, 24])
    assert math.isclose(odds, 25.5 * 24.5 / (10.5 * 6.5))
    assert math.isclose(low, math.exp(math.log(odds) - 1.959963984540054 * math.sqrt(sum(
        1 / (n + 0.5) for n in counts
    ))))  # fmt: skip
    # scipy.stats.fisher_exact([[25, 10], [6, 24]]).pvalue, written out: the hypergeometric distribution itself.
    chances = [math.comb(35, k) * math.comb(30, 31 - k) / math.comb(65, 31) for k in range(1, 32)]
    assert math.isclose(p, sum(chance for chance in chances if chance <= chances[24] * (1 + 1e-7)), rel_tol=1e-9)
    assert q == p, "one test needs no correction"
    assert is_driver


def test_a_signal_is_tested_as_a_whole_where_its_details_differ(build_world):
    events = [LATER]
    for number in range(80):
        who = {"customer_id": f"c{number:02}"}
        events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who))
        if number < 40:
            code = {"error_code": f"ref-{number}"}
            events.append(event(f"f{number}", "2026-01-01 10:01", "error_shown", who=who, properties=code))
        else:
            events.append(event(f"b{number}", "2026-01-01 10:05", "b", who=who))
    tables = build_world(events, PAY)
    assert tables.values("select signal, detail, dropped_with, is_driver from marts.drop_drivers") == [
        ("failure", "all", 40, True)
    ]
    assert tables.values("select signal, customers from marts.pain_points where segment_by = 'all'") == [
        ("failure", 40)
    ]


def test_a_failure_is_a_driver_although_success_has_an_event_of_its_own(build_world):
    """Visits that end well are longer by the event that says so: they have to be compared with the others all the same."""
    events = [LATER]
    for number in range(100):
        who = {"customer_id": f"c{number:02}"}
        events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who))
        if number < 30:
            events.append(event(f"f{number}", "2026-01-01 10:01", "payment_failed", who=who))
        else:
            events.append(event(f"s{number}", "2026-01-01 10:01", "payment_authorised", who=who))
            events.append(event(f"b{number}", "2026-01-01 10:02", "b", who=who))
    tables = build_world(events, PAY)
    assert tables.values("select q_value < 1e-9, is_driver from marts.drop_drivers where signal = 'failure'") == [
        (True, True)
    ]
    assert tables.values("select distinct reason from marts.drop_reasons where evidence_rank = 1") == [("failure",)]


def test_what_everybody_sees_is_nobodys_reason(build_world):
    events = [LATER]
    for number in range(100):
        who = {"customer_id": f"c{number:02}"}
        events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who))
        events.append(event(f"f{number}", "2026-01-01 10:01", "payment_failed", who=who))
        if number % 2:
            events.append(event(f"b{number}", "2026-01-01 10:02", "b", who=who))
    assert build_world(events, PAY).values(
        "select distinct evidence_rank, reason, is_distinctive from marts.drop_reasons order by 1"
    ) == [(1, "silence", None), (2, "failure", False)]


def test_failures_are_known_by_their_names_however_these_are_written(build_world):
    for name, reason in {
        "Payment Failed": "failure",
        "PaymentFailed": "failure",
        "CheckoutError": "failure",
        "card_refused": "failure",
        "pago_rechazado": "failure",
        "OutOfStockShown": "failure",
        "terror_viewed": "silence",
        "fallback_shown": "silence",
    }.items():
        world = [event("1", "2026-01-01 10:00", "a"), event("2", "2026-01-01 10:01", name), LATER]
        assert tables_reasons(build_world(world, PAY))[0] == reason, name


def test_longer_visits_see_more_of_everything_and_that_makes_no_driver(build_world):
    """Who strays (five pages more) mostly leaves, and mostly sees the banner. Among equals it makes no difference."""
    events = [LATER]
    for number in range(400):
        who = {"customer_id": f"c{number:03}"}
        strays = number % 2 == 0
        leaves = number // 2 % 10 < (8 if strays else 2)
        sees = number // 20 % 10 < (8 if strays else 2)
        events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who))
        for page in range(5 if strays else 0):
            events.append(event(f"x{number}-{page}", f"2026-01-01 10:01:0{page}", "strayed", who=who))
        if sees:
            events.append(event(f"f{number}", "2026-01-01 10:02", "banner_shown", who=who))
        if not leaves:
            events.append(event(f"b{number}", "2026-01-01 10:05", "b", who=who))
    ((crude, adjusted, p, p_stratified, strata, is_driver),) = build_world(events, PAY).values(
        "select odds_ratio, odds_ratio_stratified, p_value, p_value_stratified, strata, is_driver"
        " from marts.drop_drivers where signal = 'banner_shown'"
    )
    assert crude > 4, "all visits together"
    assert p < 1e-9
    assert math.isclose(adjusted, 1.0), "visits of one length"
    assert (p_stratified > 0.9, strata, is_driver) == (True, 2, False)


def test_the_stratified_test_is_that_of_mantel_and_haenszel(build_world):
    """Two lengths of visits, each with its own table; the numbers by hand from the textbook's formula."""
    tables_by_length = {0: (30, 10, 12, 28), 6: (20, 15, 9, 16)}  # dropped with, without, advanced with, without
    events, number = [LATER], 0
    for pages, counts in tables_by_length.items():
        for cell, (leaves, sees) in zip(counts, ((1, 1), (1, 0), (0, 1), (0, 0)), strict=True):
            for _ in range(cell):
                who = {"customer_id": f"c{number:03}"}
                events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who))
                for page in range(pages):
                    events.append(event(f"x{number}-{page}", f"2026-01-01 10:01:0{page}", "strayed", who=who))
                if sees:
                    events.append(event(f"f{number}", "2026-01-01 10:02", "banner_shown", who=who))
                if not leaves:
                    events.append(event(f"b{number}", "2026-01-01 10:05", "b", who=who))
                number += 1
    excess = variance = concordant = discordant = 0.0
    for a, b, c, d in tables_by_length.values():
        n = a + b + c + d
        excess += a - (a + b) * (a + c) / n
        variance += (a + b) * (c + d) * (a + c) * (b + d) / (n * n * (n - 1))
        concordant, discordant = concordant + a * d / n, discordant + b * c / n
    expected = math.erfc((abs(excess) - 0.5) / math.sqrt(2 * variance))
    ((odds, p),) = build_world(events, PAY).values(
        "select odds_ratio_stratified, p_value_stratified from marts.drop_drivers where signal = 'banner_shown'"
    )
    assert math.isclose(odds, concordant / discordant)
    assert math.isclose(p, expected, rel_tol=2e-7)


def test_properties_and_events_are_tried_without_a_declaration_and_in_each_segment(build_world):
    """On phones of Spain, and only there, the step is broken."""
    funnel = one_funnel(["a", "b"], window="1 day", segments=["country"])
    events = [LATER]
    for number in range(400):
        device, country = ("phone", "desk")[number % 2], ("ES", "PT")[number // 2 % 2]
        who = {"customer_id": f"c{number:03}"}
        context = {"device": {"type": device}, "geo": {"country": country}}
        events.append(event(f"a{number}", "2026-01-01 10:00", "a", who=who, context=context))
        if not (device == "phone" and country == "ES" and number % 5) and number % 7:
            events.append(event(f"b{number}", "2026-01-01 10:05", "b", who=who, context=context))
    drivers = build_world(events, funnel).values(
        "select segment_by, segment, signal, detail from marts.drop_drivers where is_driver order by all"
    )
    assert ("country", "ES", "device", "phone") in drivers
    assert ("all", "all", "device", "phone") in drivers
    assert ("country", "PT", "device", "phone") not in drivers


def test_drivers_wait_until_both_sides_are_known(build_world):
    """An outage of yesterday: who got through is known, who gave up is not yet. It must not look like a blessing."""
    taxonomy = one_funnel(["a", "b"], window="30 days")
    events = [event("z", "2026-06-30 00:00", who={"customer_id": "zoe"})]
    for number in range(340):
        is_recent = number >= 240
        day = "2026-06-15" if is_recent else "2026-01-01"
        who = {"customer_id": f"c{number:03}"}
        events.append(event(f"a{number}", f"{day} 10:00", "a", who=who))
        if is_recent:
            events.append(event(f"f{number}", f"{day} 10:01", "error_shown", who=who))
        if number % 2 if is_recent else number % 4:
            events.append(event(f"b{number}", f"{day} 10:05", "b", who=who))
    assert build_world(events, taxonomy).values("from marts.drop_drivers") == []
    later = [*events, event("y", "2026-09-01 00:00", who={"customer_id": "zoe"})]
    assert build_world(later, taxonomy).values(
        "select dropped_with, advanced_with, associated_with, is_driver from marts.drop_drivers"
    ) == [(50, 50, "dropping", True)]


def test_too_few_customers_are_no_support(build_world):
    tables = build_world(drivers_world((24, 1), (10, 24)), PAY)
    assert tables.values("select customers_with, q_value <= 0.05, is_driver from marts.drop_drivers") == [
        (25, True, False)
    ], "24 who dropped with it are too few to call it a driver"
    assert build_world(drivers_world((20, 4), (10, 24)), PAY).values("from marts.drop_drivers") == []


def test_pain_points_say_who_how_much_and_what_to_do(build_world):
    events = [LATER]
    people = [("b", "12-20"), ("free", "12-20"), ("failed", "12-20"), ("failed", "12-21"), ("failed", "11-15")]
    for number, (kind, day) in enumerate(people):
        who = {"customer_id": f"c{number}"}
        events.append(event(f"a{number}", f"2026-{day} 10:00", "a", who=who, properties={"revenue": "80.00"}))
        if kind == "failed":
            events.append(event(f"f{number}", f"2026-{day} 10:01", "payment_failed", who=who))
        else:
            paid = {"revenue": "80.00" if kind == "b" else "0.00", "currency": "EUR"}
            events.append(event(f"b{number}", f"2026-{day} 10:01", "b", who=who, properties=paid))
    tables = build_world(events, PAY)
    # Two attempts converted, for 80 and for nothing: 40 a drop. The price at the first step is not paid.
    assert tables.values(
        "select step, reason, customers, share_of_step, revenue_at_risk::varchar, currency, customers_last_30_days,"
        " customers_previous_30_days, trend, strategy, top_detail from marts.pain_points where segment_by = 'all'"
    ) == [("s1", "failure", 3, 1.0, "120.0000", "EUR", 2, 1, 1, "respond_to_desire", "payment_failed")]


def test_a_steady_loss_has_no_trend_however_long_the_window(build_world):
    events = []
    for day in range(120):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
        events.append(event(f"a{day}", f"{at:%Y-%m-%d} 10:00", "a", who={"customer_id": f"c{day}"}))
    tables = build_world(events, one_funnel(["a", "b"], window="20 days"))
    assert tables.values(
        "select customers_last_30_days, customers_previous_30_days, trend, known_until::varchar"
        " from marts.pain_points where segment_by = 'all' and signal = 'anonymous_device'"
        " or segment_by = 'all' and signal = 'no_touch_in_7_days'"
    ) == [(30, 30, 0, "2026-04-10 10:00:00+00")]


def tables_reasons(tables) -> list[str]:
    return [reason for (reason,) in tables.values(
        "select reason from marts.drop_reasons where customer_id = 'ann' order by evidence_rank"
    )]  # fmt: skip
