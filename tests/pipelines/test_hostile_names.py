"""No text that a producer writes, as an identifier or elsewhere, ends a landing or an erasure."""

from __future__ import annotations

import json

import duckdb
import pytest

from journey_core.contract import judge, records_of
from journey_core.pseudonyms import Pseudonyms
from journey_core.shapes import patterns, teach
from tests.conftest import event

HOSTILE = [
    "%FF%00%", "%", "%25FF", "%C3%28", "\x00a", "&#xFFFFFFF;", "&#999999999;", "\\xZZ", "\\ud800", "'", '"', "ann'41\"",
    "++++1234567", "(((((", "[a-", "\\1", "=40=", "ann@xn--a.de", "ann@-.de", "ann@" + "a" * 80 + ".de", "TWFu" * 40 + "=",
]  # fmt: skip


def test_pseudonyms_take_any_text():
    made = [
        event(f"e{n}", "2026-01-01 10:00", text, who={"customer_id": text, "email": f"x@{text}"},
              properties={"text": text, "more": [text, {text: text}]})
        for n, text in enumerate(HOSTILE)
    ]  # fmt: skip
    broken = [b"\xff\xfe" + text.encode() for text in HOSTILE]
    records = records_of([*(json.dumps(one).encode() for one in made), *broken], topic="events.web.v1")
    keys = [[text.encode() for text in HOSTILE] * 2]
    judged = judge(records.set_column(records.schema.get_field_index("key"), "key", keys))
    hidden = Pseudonyms(frozenset(["email", "customer_id"]), "a secret of the house").hide(judged)
    assert hidden.accepted.num_rows == judged.accepted.num_rows > 0
    assert hidden.rejected.num_rows == judged.rejected.num_rows >= len(broken)


@pytest.mark.parametrize("name", HOSTILE)
def test_anybody_can_be_looked_for(name):
    with duckdb.connect() as connection:
        teach(connection, patterns({("customer_id", name)}, [name], [f"x{name}"]))
        ((is_named, is_name),) = connection.execute(
            "select is_named('customer_id:' || $1), is_name($1)", [name]
        ).fetchall()
        assert is_named
        assert is_name
