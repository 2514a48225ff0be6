"""Taxonomies: a mistake names file, line, key and what is allowed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from journey_core.documents import parse_duration
from journey_core.errors import TaxonomyError
from journey_core.expressions import parse_expression
from journey_core.taxonomy import TAXONOMIES, TOUCHPOINT_COLUMNS, load_taxonomy

RETAIL = (TAXONOMIES / "retail.yaml").read_text()


@pytest.fixture
def broken(tmp_path: Path):
    """A copy of the retail taxonomy with one piece of text replaced."""

    def write(old: str, new: str) -> str:
        assert old in RETAIL
        path = tmp_path / "mine.yaml"
        path.write_text(RETAIL.replace(old, new, 1))
        return str(path)

    return write


def test_the_default_taxonomy_has_nine_stages_in_order_with_both_roll_ups_and_labels():
    stages = load_taxonomy("retail").stages
    assert [s.stage for s in stages] == [
        "need", "awareness", "consideration", "selection", "purchase",
        "experience", "loyalty", "engagement", "advocacy",
    ]  # fmt: skip
    assert [s.moment for s in stages] == ["before"] * 4 + ["purchase"] + ["after"] * 4
    assert [s.phase for s in stages] == ["recognize"] * 2 + ["request"] * 3 + ["respond"] * 4
    assert all(s.label.en and s.label.es for s in stages)
    assert stages[6].label.es == "Lealtad"


@pytest.mark.parametrize(
    ("old", "new", "line_of", "says"),
    [
        ("{stage: loyalty, when", "{stage: loyal, when", "{stage: loyalty, when", "unknown stage `loyal`; known: need,"),
        ("\"event_type = 'survey_answered' and", "\"evnt_type = 'x' and", "survey_answered", "unknown column `evnt_type`"),
        ("when: \"days_since_order <= 30\"", "when: \"days_since_order + 30\"", "days_since_order <= 30", "no boolean"),
        ("when: \"days_since_order <= 30\"", "when: \"days_since_order <=\"", "days_since_order <= 30", "no SQL expression"),
        ("idle_timeout: 30 days", "idle_timeout: a month", "idle_timeout", "is no duration"),
        ("window: 14 days", "windo: 14 days", "window: 14 days", "not known here"),
        ("window: 14 days", "window: 2 months", "window: 14 days", "is no duration"),
        ("of: first", "of: third", "of: first", "allowed: entry, first, last, viewed"),
        ("segments: [channel", "segments: [chanel", "segments: [channel", "unknown column `chanel`"),
        ("step: added", "step: viewed", "step: added", "stands here twice"),
        ("shared_devices: device_split", "shared_devices: guess", "shared_devices", "'device_split'"),
        ("window: 14 days", "window: 999999999999 weeks", "window: 14 days", "too long"),
        ("{segment: country, of: first}", "{segment: all, value: channel}", "segments: [channel", "names the whole funnel"),
        ("step: viewed", "step: entry", "step: viewed", "has a meaning of its own"),
        ("limits: {email: 5", "limits: {emial: 5", "limits: {email: 5", "no namespace to limit; known: anonymous_id"),
        ("taxonomy: retail", "taxonomy: retail\ntaxonomy: mine", "version: 1", "stands here twice"),
        ("- funnel: checkout", "- funnel: acquisition", "- funnel: checkout", "stands here twice"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_line_key_and_what_is_allowed(broken, old, new, line_of, says):
    path = broken(old, new)
    with pytest.raises(TaxonomyError) as error:
        load_taxonomy(path)
    line = 1 + RETAIL[: RETAIL.index(line_of)].count("\n")
    assert f"{path}:{line}, key " in str(error.value)
    assert says in str(error.value)


def test_an_unknown_taxonomy_names_the_shipped_ones():
    with pytest.raises(TaxonomyError, match=r"no taxonomy `nope`: name one of loan, retail"):
        load_taxonomy("nope")


@pytest.mark.parametrize(
    "hostile",
    [
        "(select count(*) from marts.journeys) > 1",
        "event_type = 'x'; drop schema marts",
        "read_text('/etc/passwd') = ''",
        "getenv('HOME') = ''",
        "count(*) > 1",
        "row_number() over () = 1",
        "random() > 0.5",
        "other.event_type = 'x'",
        "event_type in (select 'x')",
        "exists (select 1)",
        "nextval('s') = 1",
        "*",
    ],
)
def test_a_predicate_is_one_side_effect_free_expression_over_known_columns(hostile):
    with pytest.raises(TaxonomyError):
        parse_expression(hostile, TOUCHPOINT_COLUMNS, boolean=True)


@pytest.mark.parametrize(
    "useful",
    [
        "event_type in ('a', 'b') and not channel = 'web'",
        "properties ->> '$.payment_method' = 'card'",
        "cast(properties ->> '$.rating' as integer) >= 4",
        "page_path like '/checkout%' or lower(country) = 'es'",
        "case when rating > 3 then true else false end",
        "prior_orders >= 1 and days_since_order between 0 and 365",
        "starts_with(event_type, 'W_')",
        "occurred_at >= timestamptz '2026-01-01 00:00:00+00'",
        "coalesce(revenue, 0) > 100.5",
    ],
)
def test_what_analysts_need_is_allowed(useful):
    parse_expression(useful, TOUCHPOINT_COLUMNS, boolean=True)


def test_a_cast_that_fails_is_null_and_never_the_end_of_a_build():
    assert "TRY_CAST" in parse_expression("cast(country as integer) > 1", TOUCHPOINT_COLUMNS, boolean=True).upper()


def test_durations_are_whole_numbers_of_a_unit():
    assert parse_duration("1 microsecond") == timedelta(microseconds=1)
    assert parse_duration("2 weeks") == timedelta(days=14)
    for wrong in ("1.5 days", "days", "30", "-1 day", "1 month", 30):
        with pytest.raises(ValueError, match="is no duration"):
            parse_duration(wrong)
