"""`journey produce`: what a log's rows become, and where the others are."""

from __future__ import annotations

import json

import pytest

from journey_core.errors import InputError, NothingAcceptedError
from journey_core.files import written_whole
from journey_core.logs import Record, read_log
from pipelines.build import build
from pipelines.erase import erase
from pipelines.produce import ProducedLog, produce, write_jsonl
from pipelines.settings import Settings
from tests.conftest import event

MAPPING = """
mapping: mine
where: id <> '9'
fields:
  event_id: id
  event_type: "'seen'"
  channel: "'app'"
  occurred_at: at
  identifiers: {customer_id: u}
"""


@pytest.fixture
def run(tmp_path):
    """`run(rows)` produces a CSV file of (id, at, u) to `out.jsonl`."""

    def run(*rows: str) -> ProducedLog:
        log, mapping, out = tmp_path / "log.csv", tmp_path / "mine.yaml", tmp_path / "out.jsonl"
        log.write_text("\n".join(("id,at,u", *rows)) + "\n")
        mapping.write_text(MAPPING)
        return produce(
            read_log(log, mapping), out.with_suffix(".rejected.jsonl"), lambda records: write_jsonl(records, out)
        )

    return run


def test_the_result_counts_every_row(run, tmp_path):
    done = run("1,2026-01-01T10:00:00Z,ann", "2,0000-00-00,ann", "3,x", "9,2026-01-01T10:00:00Z,ann")
    out, rejected = tmp_path / "out.jsonl", tmp_path / "out.rejected.jsonl"
    assert str(done) == (
        f"produced 1 records to 1 topics at {out}; 1 row left out by `where`; "
        f"2 rows rejected (invalid_value 1, malformed_row 1), see {rejected}"
    )
    assert [json.loads(line)["event_id"] for line in out.read_text().splitlines()] == ["1"]
    kept = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert [(row["line"], row["reason"], row["field"], row["raw"]) for row in kept] == [
        (3, "invalid_value", "occurred_at", "2,0000-00-00,ann"),
        (4, "malformed_row", None, "3,x"),
    ]
    run("1,2026-01-01T10:00:00Z,ann")
    assert not rejected.exists(), "what an earlier run rejected is not left beside a good file"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "log.csv holds no rows"),
        (["9,2026-01-01T10:00:00Z,ann"], "no row became an event: 1 row left out by `where`"),
        (
            ["1,now,ann"],
            r"1 row rejected \(invalid_value 1\); see .*out\.rejected\.jsonl\. The first is line 2: must be",
        ),
    ],
)
def test_where_nothing_is_accepted_nothing_is_written(run, tmp_path, rows, says):
    (tmp_path / "out.jsonl").write_text("before")
    with pytest.raises(NothingAcceptedError, match=says) as error:
        run(*rows)
    assert error.value.exit_code == 1
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert (tmp_path / "out.rejected.jsonl").exists() == (rows == ["1,now,ann"])


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("before")

    def broken():
        yield Record("events.web.v1", None, b"{}")
        raise InputError("the log ends here")

    with pytest.raises(InputError):
        write_jsonl(broken(), out)
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out], "no half file stays"
    with written_whole(out) as file:
        file.write(b"after")
    assert out.read_bytes() == b"after"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "events.jsonl is empty: it holds no events"),
        ("\n\n", "is empty"),
        ("nope\n{}\n", r"2 of 2 records rejected \(invalid_json 1, missing_field 1\), first at line 1: invalid_json: "),
    ],
)
def test_a_file_without_one_event_does_not_empty_the_tables(tmp_path, content, says):
    path, settings = tmp_path / "events.jsonl", Settings()
    heard: list[str] = []
    path.write_text(json.dumps(event("1", "2026-01-01 10:00")) + "\nnope\n")
    before = build(settings, events=path, say=heard.append)
    assert heard[0].startswith(f"{path}: 1 of 2 records rejected (invalid_json 1), first at line 2: invalid_json: ")
    path.write_text(content)
    with pytest.raises(NothingAcceptedError, match=says) as error:
        build(settings, events=path)
    assert error.value.exit_code == 1
    assert settings.open_warehouse().last_build().build_id == before.build_id
    (offset,) = settings.open_warehouse().query('select "offset" from staging.rejected_events').to_pylist()
    assert offset == {"offset": 2}, "the line of the file"


def test_a_file_whose_people_are_all_erased_builds_empty_tables(tmp_path):
    path, settings = tmp_path / "events.jsonl", Settings()
    path.write_text(json.dumps(event("1", "2026-01-01 10:00")) + "\n")
    build(settings, events=path)
    erase(settings, "ann")
    heard: list[str] = []
    build(settings, events=path, say=heard.append)
    assert heard[0].startswith(f"{path}: 1 of 1 records rejected (erased 1), first at line 1: erased")
    assert settings.open_warehouse().query("from marts.touchpoints").num_rows == 0
