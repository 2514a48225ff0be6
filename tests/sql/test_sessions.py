"""Sessions: where one visit ends and the next begins, to the microsecond."""

from __future__ import annotations

from journey_core.taxonomy import load_taxonomy
from tests.conftest import event

COOKIE = {"anonymous_id": "cookie", "customer_id": "ann"}
SESSIONS = "select touchpoints, cut_cause from marts.sessions order by started_at, session_id"


def test_a_gap_of_exactly_the_timeout_stays_and_one_microsecond_more_cuts(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00:00.000000", who=COOKIE),
            event("2", "2026-01-01 10:30:00.000000", who=COOKIE),
            event("3", "2026-01-01 11:00:00.000001", who=COOKIE),
        ]
    )
    assert tables.values(SESSIONS) == [(2, "first"), (1, "timeout")]


def test_two_session_ids_never_share_a_session_even_interleaved(build_world):
    def visit(number, minute, session):
        context = {"session_id": session} if session else {}
        return event(number, f"2026-01-01 10:{minute:02}", who=COOKIE, context=context)

    tables = build_world(
        [visit("1", 0, None), visit("2", 1, "A"), visit("3", 2, "B"), visit("4", 3, "A"), visit("5", 4, None)]
    )
    rows = tables.values(
        "select session_id, list(event_id order by event_id) from marts.touchpoints group by all order by 1"
    )
    assert rows == [("session:1", ["1", "2", "4", "5"]), ("session:3", ["3"])]
    assert tables.values(SESSIONS) == [(4, "first"), (1, "session_id")]


def test_an_event_without_an_id_belongs_to_the_id_before_it_up_to_exactly_the_timeout(build_world):
    named = event("1", "2026-01-01 10:00", who=COOKIE, context={"session_id": "A"})
    for minute, sessions in (("10:30:00.000000", [(2, "first")]), ("10:30:00.000001", [(1, "first"), (1, "timeout")])):
        tables = build_world([named, event("2", f"2026-01-01 {minute}", who=COOKIE)])
        assert tables.values(SESSIONS) == sessions


def test_an_explicit_id_is_still_split_by_the_timeout(build_world):
    context = {"session_id": "A"}
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=COOKIE, context=context),
            event("2", "2026-01-01 11:00", who=COOKIE, context=context),
        ]
    )
    assert tables.values(SESSIONS) == [(1, "first"), (1, "timeout")]


def test_a_session_lasts_24_hours_at_the_most_measured_from_its_start(build_world):
    # A visit every 20 minutes for 50 hours: the first event strictly later than start + 24 h starts the next one.
    events = [
        event(f"{n:03}", f"2026-01-{1 + n // 72:02} {n % 72 // 3:02}:{n % 3 * 20:02}", who=COOKIE) for n in range(150)
    ]
    tables = build_world(events)
    assert tables.values(SESSIONS) == [(73, "first"), (73, "max_length"), (4, "max_length")]


def test_each_device_has_its_own_sessions(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=COOKIE),
            event("2", "2026-01-01 10:01", who={"anonymous_id": "phone", "customer_id": "ann"}),
            event("3", "2026-01-01 10:02", who=COOKIE),
        ]
    )
    assert tables.values(SESSIONS) == [(2, "first"), (1, "first")]


def test_what_the_company_does_has_no_session_and_extends_none(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=COOKIE),
            event("2", "2026-01-01 10:20", "push_sent", who=COOKIE, initiator="company"),
            event("3", "2026-01-01 10:40", who=COOKIE),
        ]
    )
    assert tables.values(SESSIONS) == [(1, "first"), (1, "timeout")]
    assert tables.values("select session_id from marts.touchpoints where event_id = '2'") == [(None,)]


def cutting(**options):
    retail = load_taxonomy("retail")
    return retail.model_copy(update={"sessions": retail.sessions.model_copy(update=options)})


def test_another_campaign_cuts_where_the_taxonomy_says_so(build_world):
    def click(number, minute, source):
        context = {"campaign": {"source": source}} if source else {}
        return event(number, f"2026-01-01 10:{minute:02}", who=COOKIE, context=context)

    visits = [click("1", 0, None), click("2", 1, "a"), click("3", 2, None), click("4", 3, "a"), click("5", 4, "b")]
    assert build_world(visits).values(SESSIONS) == [(5, "first")]
    cut = build_world(visits, cutting(cut_at_campaign=True))
    assert cut.values(SESSIONS) == [(1, "first"), (3, "campaign"), (1, "campaign")]


def test_midnight_cuts_in_the_zone_that_the_taxonomy_names(build_world):
    visits = [
        event("1", "2026-01-01 22:50", who=COOKIE),
        event("2", "2026-01-01 23:10", who=COOKIE),  # 00:10 in Madrid
        event("3", "2026-01-01 23:30", who=COOKIE),
        event("4", "2026-01-02 00:00", who=COOKIE),
    ]
    assert build_world(visits, cutting(cut_at_midnight="Europe/Madrid")).values(SESSIONS) == [
        (1, "first"),
        (3, "midnight"),
    ]
    assert build_world(visits, cutting(cut_at_midnight="UTC")).values(SESSIONS) == [(3, "first"), (1, "midnight")]


def test_a_campaign_is_another_one_within_its_session_only(build_world):
    def click(number, at, source):
        return event(number, f"2026-01-01 {at}", who=COOKIE, context={"campaign": {"source": source}} if source else {})

    later = [click("2", "12:00", None), click("3", "12:05", "x")]
    cut = [(1, "timeout"), (1, "campaign")]
    assert build_world([click("1", "10:00", "x"), *later], cutting(cut_at_campaign=True)).values(SESSIONS)[1:] == cut
    assert build_world([click("1", "10:00", None), *later], cutting(cut_at_campaign=True)).values(SESSIONS)[1:] == cut
