"""What came from somebody's data cannot steer a terminal, forge a line, or run in a page."""

from __future__ import annotations

import json

import pytest

from journey_core.checks import run_checks
from journey_core.models import Check, contracts
from journey_core.release import publish_release
from pipelines.build import build
from pipelines.settings import Settings
from pipelines.terminal import visible, visible_json
from tests.commands import journey
from tests.conftest import build_tables, event
from tests.pipelines.test_erase import landed

HOSTILE = "\x1b[2J\x1b]0;title\x07\r\x08\x9b31m\u202eevil\u2066\u200b\ufeff\u2028\x00\U000e0041"
SHOWN = r"\x1b[2J\x1b]0;title\x07\r\x08\x9b31m\u202eevil\u2066\u200b\ufeff\u2028\x00\U000e0041"
LEFT_TO_RIGHT = set(
    map(chr, [*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
)


def test_controls_are_shown_as_their_escapes_and_text_stays_itself():
    assert visible(HOSTILE) == SHOWN
    assert visible("\ud800") == r"\ud800"
    ordinary = "Ünïcödé\t日本語\n👩\u200d🚀 نمی\u200cشود 10\xa0€ \\x1b"
    assert visible(ordinary) == ordinary


def test_json_stays_the_same_json():
    text = json.dumps([HOSTILE, "\ud800", "👩"], ensure_ascii=False, indent=1)
    assert json.loads(visible_json(text)) == [HOSTILE, "\ud800", "👩"]
    assert not LEFT_TO_RIGHT & set(visible_json(text))


@pytest.fixture
def hostile(home) -> Settings:
    """A release of a customer whose every text steers the terminal."""
    settings = Settings(home=home)
    text = HOSTILE.replace("\x00", "")
    who = {"customer_id": f"ann{text}"}
    made = [
        event("1", "2026-01-01 10:00", who=who),
        event("2" + text, "2026-01-01 10:05", f"checkout_started{text}", who=who, properties={"text": text}),
        event("3", "2026-01-01 10:06", "checkout_started", who=who, properties={"revenue": text}),
    ]
    landed(settings, [*(json.dumps(one).encode() for one in made), f"not json {text}".encode()])
    publish_release(settings.open_warehouse(), build(settings), contracts(), settings.releases, None)
    return settings


def test_a_query_may_begin_with_a_comment(hostile):
    """It looks like an option."""
    for sql in ("-- one\nselect 1 as n", "--one = 1\nselect 1 as n"):
        assert json.loads(journey("query", sql, "--json").out) == [{"n": 1}]
    assert journey("query", "--jsn", "select 1").code == 2


def test_no_command_prints_a_control_that_came_from_data(hostile, tmp_path, monkeypatch):
    who = "ann" + HOSTILE.replace("\x00", "")
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps({"event_id": who}) + "\n")
    evil = f"select 'a' as \"{who}\""
    commands = [
        ["query", "from marts.touchpoints"],
        ["query", "from marts.touchpoints", "--json"],
        ["query", evil],
        ["query", evil, "--json"],
        ["query", f"selec '{who}'"],
        ["explain-funnel", "checkout"],
        ["explain-funnel", "checkout", "--json"],
        ["explain-funnel", who],
        ["explain-funnel", "checkout", "--customer", "x" + who],
        ["export", "--customer", who],
        ["export", "--customer", "x" + who],
        ["build", "--events", str(file)],
        ["build", "--taxonomy", who],
        ["build", "--as-of", who],
        ["erase", "--yes", "--customer", "x" + who],
        ["erase", "--yes", "--customer", who],
    ]
    for command in commands:
        done = journey(*command)
        assert not LEFT_TO_RIGHT & set(done.out + done.err), command
        assert "unexpected" not in done.err, done.err
        if "--json" in command and done.code == 0:
            json.loads(done.out)


def test_pages_show_data_and_do_not_run_it(tmp_path):
    evil = """<script>alert(1)</script>"><img src=x onerror=alert(2)>' {{7*7}} $v__0 &amp;"""
    who = {"customer_id": evil}
    page = {"page": {"url": f"https://x.example/?{evil}"}, "campaign": {"source": evil, "medium": evil, "name": evil}}
    made = [event("1", "2026-01-01 10:00", who=who), event("2", "2026-01-01 10:05", evil, who=who, context=page)]
    tables = build_tables(made, tmp_path / "w.duckdb")
    touchpoints = next(contract for contract in contracts() if contract.table == "marts.touchpoints")
    texts = {name: column for name, column in touchpoints.columns.items() if column.type == "varchar"}
    broken = touchpoints.model_copy(
        update={
            # Every value of every text is an example of a broken check, and so is every row.
            "columns": {name: column.model_copy(update={"accepted": ["none"]}) for name, column in texts.items()},
            "checks": [
                Check(check="no row", sql="select * from marts.touchpoints"),
                Check(check="no error", sql="select customer_id::integer from marts.touchpoints"),
            ],
        }
    )
    result = run_checks(tables.warehouse, tables.build.build_id, [broken], tmp_path / "checks")
    assert len(result.failures) > 10
    pages = [path.read_text() for path in (tmp_path / "checks").rglob("*.html")]
    assert any("&lt;script&gt;alert(1)" in page for page in pages)
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)" not in page or "{{7*7}}" in page
