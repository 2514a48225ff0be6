"""Identity by default: what nobody declared links nothing, placeholders name nobody, a phone is one however written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey_core.errors import TaxonomyError
from journey_core.phones import phone_number
from journey_core.taxonomy import TAXONOMIES, load_taxonomy
from tests.conftest import build_tables, event
from tests.properties.test_incremental import differences
from tests.sql.test_identity import ANN, BOB, COOKIE, OWNERS


def with_identity(**keys):
    retail = load_taxonomy("retail")
    identity = type(retail.identity).model_validate(retail.identity.model_dump() | keys)
    return retail.model_copy(update={"identity": identity})


@pytest.mark.parametrize("namespace", ["user_id", "Customer_ID", "ip"])
def test_two_logins_by_an_undeclared_name_on_one_cookie_make_nobody_one_customer(build_world, namespace):
    """It may be a login, a device or an address: who was who, nobody has said. So they do not link, and it is counted."""
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who={namespace: "1", "anonymous_id": "c1"}),
            event("2", "2026-01-01 11:00", who={namespace: "1", "anonymous_id": "c2"}),
            event("3", "2026-01-01 12:00", who={namespace: "2"}),
        ]
    )
    assert len({customer for _, customer in tables.values(OWNERS)}) == 2
    assert tables.values("select event_id from marts.touchpoints order by 1") == [("1",), ("2",)]
    assert tables.values("select distinct namespace from marts.identity_map") == [("anonymous_id",)]
    coverage = "select counted, round(share, 2) from marts.identity_coverage where measure || value_of = ?"
    with tables.warehouse.connect() as connection:
        assert connection.execute(coverage, [f"undeclared_namespaces{namespace}"]).fetchall() == [(3, 1.0)]
        assert connection.execute(coverage, ["eventsnames_nobody"]).fetchall() == [(1, 0.33)]
    (warning,) = tables.build.warnings
    assert f"3 events name `{namespace}`, which is not declared" in warning


def test_two_logins_on_one_cookie_are_two_customers_where_the_name_is_declared(build_world):
    tables = build_world(
        [event(n, f"2026-01-01 1{n}:00", who={"Customer_ID": n, "anonymous_id": "c"}) for n in ("1", "2")],
        with_identity(namespaces={"Customer_ID": "strong"}),
    )
    assert tables.values(OWNERS) == [("1", "Customer_ID:1"), ("2", "Customer_ID:2")]
    assert tables.values("select count(*) from marts.identity_refusals") == [(2,)]


def test_drift_counts_undeclared_names_with_the_one_that_is_spelled_like_them(build_world):
    merged = event("m", "2026-01-01 12:00", "identity_merged", who=ANN, properties={"with": {"customerId": "ann2"}})
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=ANN | {"Customer_ID": "1", "user_id": "1"}),
            event("2", "2026-01-01 11:00", who=ANN | {"user_id": "1"}, page=3),
            event("2", "2026-01-01 11:00", who=ANN | {"user_id": "1"}, page=3),
            merged,
        ]
    )
    drift = "select field, records, first_offset, nearest_namespace from marts.schema_drift order by 1"
    assert tables.values(drift) == [
        ("identifiers.Customer_ID", 1, 0, "customer_id"),
        ("identifiers.user_id", 3, 0, "customer_id"),
        ("page", 2, 1, None),
        ("properties.with.customerId", 1, 3, "customer_id"),
    ]
    assert tables.values("select distinct customer_id from marts.touchpoints") == [("ann",)]


def test_what_is_said_of_an_undeclared_name_moves_nobody(build_world):
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=COOKIE | ANN | {"user_id": "7"}),
            event("2", "2026-01-01 11:00", "identity_removed", who={"user_id": "7"}),
            event("3", "2026-01-01 12:00", "identity_merged", who={"user_id": "7"}, properties={"with": BOB}),
            event("4", "2026-01-01 13:00", who=COOKIE),
        ]
    )
    assert dict(tables.values(OWNERS))["4"] == "ann"
    assert tables.values("select distinct customer_id from marts.touchpoints where event_id <> '3'") == [("ann",)]


NOBODY = [
    "(not set)", "N/A", "nil", "id", "\\N", "{}", "not_authenticated", "NOT_SET", "(None)", "<null>", "'undefined'",
    "[object Object]", "-1", " Guest ", "#N/A", "[]", "--", "?", "not provided", "0", "00000000-0000-0000-0000-000000000000",
    "customer_id", "«unknown»", "None.", "null", "NaN", "true", "(anonymous)",
    "not authenticated", "NotAuthenticated", "notset", "Not-Set", "not logged in", "unknown user", "undefined,undefined",
    "null null", "\uff4e\uff55\uff4c\uff4c", "${user}", "0.0", "{{ user }}", "%USER%", "(\uff10)", "Not_Provided / not provided",
]  # fmt: skip


@pytest.mark.parametrize("text", NOBODY)
def test_a_placeholder_links_nobody(build_world, text):
    tables = build_world(
        [event(f"{n}", "2026-01-01 10:00", who={"customer_id": text, "anonymous_id": f"c{n}"}) for n in range(3)]
    )
    assert tables.values("select count(distinct customer_id) from marts.touchpoints") == [(3,)]
    assert tables.values("select distinct namespace from marts.identity_map") == [("anonymous_id",)]


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "n",
        "N",
        "ida",
        "nobody",
        "@ann",
        "ann!",
        "null-and-void",
        "_x_",
        "😀",
        "010",
        "0.1",
        "{3f2504e0-4f89}",
        "n-a-d-i-a",
        "nana",
        "test@example.com",
        "Test-1",
        "<ann>",
        "null null 7",
    ],
)
def test_what_only_looks_like_a_placeholder_is_somebody(build_world, text):
    tables = build_world([event("1", "2026-01-01 10:00", who={"customer_id": text})])
    assert tables.values("select customer_id from marts.touchpoints") == [(text,)]


def test_a_taxonomy_has_placeholders_of_its_own(build_world):
    events = [
        event(f"{n}", "2026-01-01 10:00", who={"customer_id": text, "anonymous_id": f"c{n}"})
        for n, text in enumerate(["Kiosk", "(kiosk)", " KIOSK ", "kiosk-7"])
    ]
    tables = build_world(events, with_identity(placeholders=["kiosk"]))
    named = "select identifier from marts.identity_map where namespace = 'customer_id'"
    assert tables.values(named) == [("kiosk-7",)]


def visits(count, who="user", namespace="anonymous_id"):
    return [
        event(f"{n:03}", f"2026-01-01 10:{n % 60:02}", who={"customer_id": who, namespace: f"{namespace}-{n}@x.de"})
        for n in range(count)
    ]


@pytest.mark.parametrize(("namespace", "most"), [("anonymous_id", 100), ("email", 20)])
def test_an_id_of_more_devices_or_contacts_than_one_customer_has_is_a_placeholder(build_world, namespace, most):
    several = visits(most, namespace=namespace)
    assert build_world(several).values("select count(distinct customer_id) from marts.touchpoints") == [(1,)]
    tables = build_world(visits(most + 1, namespace=namespace))
    assert tables.values("select count(distinct customer_id) from marts.touchpoints") == [(most + 1,)]
    assert tables.values("select * exclude (first_refused_at, identifier_key) from marts.identity_refusals") == [
        ("suspected_placeholder", "customer_id", "user", namespace, f"({most + 1} of them)", "000", most + 1)
    ]
    (warning,) = tables.build.warnings
    assert tables.build.with_warnings == f"{tables.build}\nwarning: {warning}"
    assert warning.startswith(
        f"customer_id `user` looks like a placeholder, and links nothing: seen with {namespace} ("
    )


def test_a_suspected_placeholder_is_nobodys_login(build_world):
    """It shares no cookie with those who log in by their own ids, and owns only what names nobody else."""
    tables = build_world(
        [
            event("1", "2026-01-01 10:00", who=COOKIE | {"customer_id": "user"}),
            event("2", "2026-01-01 11:00", who=COOKIE | ANN),
            event("3", "2026-01-01 12:00", who=COOKIE),
            event("4", "2026-01-01 13:00", who={"anonymous_id": "tablet", "customer_id": "user"}),
            event("5", "2026-01-01 14:00", who={"customer_id": "user"}),
        ],
        with_identity(suspected_placeholder={"devices": 1}),
    )
    owners = dict(tables.values(OWNERS))
    assert (owners["1"], owners["2"], owners["3"], owners["5"]) == ("ann", "ann", "ann", "user")
    assert owners["4"].startswith("anonymous:")
    assert tables.values("select evidence from marts.identity_map where identifier = 'user'") == [
        ("suspected_placeholder",)
    ]


def test_who_was_suspected_wrongly_is_one_customer_with_a_larger_number(build_world):
    tables = build_world(visits(150), with_identity(suspected_placeholder={"devices": 150}))
    assert tables.values("select distinct customer_id from marts.touchpoints") == [("user",)]
    assert tables.build.warnings == []


#: Arabic and full-width digits, as people in Cairo and Tokyo type them.
ARABIC = "+34 600 000 001".translate({ord(str(n)): chr(0x660 + n) for n in range(10)})
FULL_WIDTH = "+34600000001".translate({ord("+"): chr(0xFF0B)} | {ord(str(n)): chr(0xFF10 + n) for n in range(10)})
ONE_NUMBER = [
    "+34600000001", "+34 600\u2011000\u2011001", "+34 600\u2013000\u2013001", ARABIC, FULL_WIDTH,
    "tel:+34-600-000-001", "TEL:+34600000001", "0034 600 000 001", "(+34) 600.000.001", "+34 (600) 000/001",
    "\u202a+34600000001\u202c", "+34 600\u00a0000\u00ad001", "tel:600000001;phone-context=+34",
    "whatsapp:+34600000001", "WhatsApp:+34 600 000 001", "+34 (0) 600 000 001",
]  # fmt: skip


def test_a_phone_is_one_however_it_is_written(build_world):
    events = [event(f"{n}", "2026-01-01 10:00", who={"phone": text}) for n, text in enumerate(ONE_NUMBER)]
    tables = build_world(events)
    assert tables.values("select distinct identifier from marts.identity_map") == [("+34600000001",)]
    assert tables.values("select count(distinct customer_id) from marts.touchpoints") == [(1,)]


def test_a_trunk_prefix_in_brackets_is_not_dialled_from_abroad():
    assert phone_number("+44 (0)20 7946 0018") == phone_number("+44 20 7946 0018") == "+442079460018"
    for written in ("+34 (0) 600 000 001", "+34(0)600000001", "0034 (0) 600 000 001", "(+34) (0) 600-000-001"):
        assert phone_number(written) == "+34600000001", "no country dials it, also one that has no such prefix"
    assert phone_number("whatsapp:+34 (0)600 000 001") == phone_number("+34\u00ad (0) 600 000 001") == "+34600000001"
    assert phone_number("+1 (0) 212 555 0123") == "+12125550123"
    assert phone_number("+39 (0)6 6982 1234") == "+390669821234", "in Rome the zero is part of the number"
    assert phone_number("+39 (0) 347 123 4567") == "+393471234567"
    assert phone_number("+34 600 (0) 00 001") == "+34600000001", "a zero elsewhere is a digit"


def test_a_national_number_is_one_of_the_default_region(build_world):
    events = [
        event(f"{n}", "2026-01-01 10:00", who={"phone": text}) for n, text in enumerate(["600 000 001", *ONE_NUMBER])
    ]
    phones = "select distinct identifier from marts.identity_map order by 1"
    assert build_world(events, with_identity(default_region="ES")).values(phones) == [("+34600000001",)]
    assert build_world(events).values(phones) == [("+34600000001",), ("600000001",)], "of which country, nobody knows"
    assert phone_number("020 7946 0018", "GB") == "+442079460018"
    assert phone_number("011 34 600 000 001", "US") == phone_number("0034 600 000 001", "US") == "+34600000001"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("12", "12"),
        ("+34 12", "+3412"),
        ("call me", "callme"),
        ("hmac:4f3a12345678", "hmac:4f3a12345678"),
        ("1-800-FLOWERS", "1800FLOWERS"),
        ("+34 600 000 001 ext. 5", "+34600000001;ext=5"),
    ],
)
def test_what_is_no_possible_number_is_nobody_elses(written, kept):
    assert phone_number(written, "US") == kept


@given(text=st.text(max_size=30), region=st.sampled_from([None, "ES", "US"]))
def test_a_number_as_we_write_it_is_itself(text, region):
    """Idempotent, whatever the text: what the tables have can be asked for."""
    once = phone_number(text, region)
    assert phone_number(once, region) == once


@given(
    digits=st.from_regex(r"[67][0-9]{8}", fullmatch=True),
    marks=st.lists(st.sampled_from(" -.\u2011\u2013/"), min_size=8, max_size=8),
)
def test_marks_between_digits_make_no_other_number(digits, marks):
    written = digits[0] + "".join(mark + digit for mark, digit in zip(marks, digits[1:], strict=True))
    assert phone_number(f"+34 {written}") == phone_number(digits, "ES") == f"+34{digits}"


@pytest.mark.parametrize(
    ("identity", "says"),
    [
        ("{default_region: Spain}", "unknown region `Spain`; write two capital letters"),
        ("{suspected_placeholder: {devices: 0}}", "greater than or equal to 1"),
        ('{namespaces: {"a:b": device}}', "pattern"),
    ],
)
def test_a_mistake_in_identity_is_said(tmp_path, identity, says):
    text = (TAXONOMIES / "retail.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(
        "".join(f"identity: {identity}\n" if line.startswith("identity:") else line for line in text.splitlines(True))
    )
    with pytest.raises(TaxonomyError, match=says):
        load_taxonomy(str(path))


def test_an_increment_finds_who_has_become_a_placeholder_and_who_is_none_any_more(tmp_path):
    """L6: one event crosses the number, one removal goes back below it; both change what was built long before."""
    taxonomy = with_identity(suspected_placeholder={"devices": 2})
    user = {"customer_id": "user"}
    made = [
        event("1", "2026-01-01 10:00", who=user | {"anonymous_id": "a"}),
        event("2", "2026-01-01 11:00", who=user | {"anonymous_id": "b"}),
        event("3", "2026-01-01 12:00", who=ANN | {"anonymous_id": "a"}),
        event("4", "2026-01-01 13:00", who={"anonymous_id": "a"}),
        event("5", "2026-01-01 14:00", who={"anonymous_id": "b"}),
        event("6", "2026-01-01 15:00", who=user | {"anonymous_id": "c"}),
        event("7", "2026-01-01 16:00", "identity_removed", who={"anonymous_id": "c"}),
    ]
    owners = []
    for count in range(1, len(made) + 1):
        lines = [json.dumps(one).encode() for one in made[:count]]
        updated = build_tables(lines, tmp_path / "updated.duckdb", taxonomy)
        build_tables(lines, tmp_path / "fresh.duckdb", taxonomy)
        assert differences(tmp_path / "updated.duckdb", tmp_path / "fresh.duckdb") == {}, count
        (tmp_path / "fresh.duckdb").unlink()
        owners.append(dict(updated.values(OWNERS)))
    assert owners[4]["5"] == "user"
    assert owners[5]["5"].startswith("anonymous:")
    assert owners[5]["4"] == "ann", "the cookie is hers alone, since the other is nobody"
    assert owners[6]["5"] == "user"
    assert owners[6]["4"] == "ann", "shared again: hers by her login"
