"""The command line: one line per verb, rows as text or JSON, and clear refusals."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import event

pytestmark = pytest.mark.integration  # each command is a process of its own

JOURNEY = str(Path(sys.executable).with_name("journey"))


def journey(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JOURNEY, *arguments], capture_output=True, text=True, check=False, env=os.environ | environment
    )


@pytest.fixture
def events(tmp_path) -> Path:
    path = tmp_path / "events.jsonl"
    made = [event("1", "2026-01-01 10:00"), event("2", "2026-01-01 10:05", "product_viewed")]
    path.write_text("".join(json.dumps(one) + "\n" for one in made) + "\nnot json\n")
    return path


def test_build_from_a_file_needs_no_broker_and_no_lake(events, home):
    done = journey("build", "--events", str(events))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("as of 2026-01-01 10:05:00 UTC: 2 touchpoints, 1 sessions, 1 journeys\n")
    assert not (home / "lake").exists()
    assert journey("build", "--events", str(events)).stdout.startswith("unchanged: ")
    as_json = json.loads(journey("build", "--events", str(events), "--full", "--json").stdout)
    assert as_json["rows"]["marts.touchpoints"] == 2


def test_a_build_says_what_links_nothing_and_not_among_its_results(tmp_path):
    path = tmp_path / "events.jsonl"
    made = [event(f"{n}", "2026-01-01 10:00", who={"customer_id": "user", "anonymous_id": f"c{n}"}) for n in range(101)]
    made.append(event("x", "2026-01-01 10:00", who={"Customer_ID": "1"}))
    path.write_text("".join(json.dumps(one) + "\n" for one in made))
    done = journey("build", "--events", str(path))
    assert "warning: customer_id `user` looks like a placeholder" in done.stderr
    assert "warning: 1 events name `Customer_ID`, which is not declared" in done.stderr
    assert "Is `customer_id` meant?" in done.stderr
    assert "warning" not in done.stdout


def test_a_parquet_file_of_events_gives_the_same_tables_as_its_jsonl(events, tmp_path):
    import duckdb

    parquet = tmp_path / "events.parquet"
    good = tmp_path / "good.jsonl"
    good.write_text("".join(line + "\n" for line in events.read_text().splitlines() if line.startswith("{")))
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        select = "select * replace (occurred_at::timestamptz as occurred_at)"
        connection.execute(f"copy ({select} from read_json_auto('{good}')) to '{parquet}'")
    counts = [json.loads(journey("build", "--events", str(path), "--json").stdout)["rows"] for path in (good, parquet)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "--taxonomy", "nope"], "no taxonomy `nope`: name one of loan, retail"),
        (["build", "--events", "missing.jsonl"], "missing.jsonl cannot be read: "),
        (["build", "--events", "events.xlsx"], "canonical events come as .jsonl or .parquet"),
        (["build", "--as-of", "yesterday"], "write an RFC 3339 time with an offset"),
        (["build", "--as-of", "2026-01-01T00:00:00"], "which time zone?"),
        (["build", "--as-of", "2016-12-31T23:59:60Z"], "write an RFC 3339 time with an offset"),
        (["build", "--as-of", "2026-01-01t00:00:00z", "--events", "nothing.jsonl"], "nothing.jsonl cannot be read"),
        (["check"], "nothing is built yet. Run: journey build"),
        (["publish"], "nothing is built yet. Run: journey build"),
        (["query", "select 1"], "holds no release yet. Run: journey publish"),
        (["produce", "missing.csv", "--mapping", "loan_application"], "missing.csv cannot be read: "),
        (["land"], "no Kafka broker answers at 127.0.0.1:1 "),
        (
            ["simulate", "--customers", "1", "--out", "/nowhere/events.jsonl"],
            "/nowhere/events.jsonl cannot be written",
        ),
        (["nonsense"], "No such command"),
    ],
)
def test_what_is_asked_wrongly_is_said_and_exits_with_2(arguments, says):
    done = journey(*arguments, JOURNEY_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", JOURNEY_KAFKA_TIMEOUT="1 second")
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_bad_input_changes_nothing(events, tmp_path):
    journey("build", "--events", str(events))
    before = journey("build", "--events", str(events)).stdout
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no")
    for arguments in (["--events", str(broken)], ["--taxonomy", "nope"]):
        assert journey("build", *arguments).returncode == 2
    assert journey("build", "--events", str(events)).stdout == before


MAPPING = """
mapping: mine
fields:
  event_id: id
  event_type: "'seen'"
  channel: "'app'"
  occurred_at: at
  identifiers: {customer_id: u}
"""


def test_a_log_goes_to_a_file_and_its_bad_rows_beside_it(tmp_path):
    log, mapping, out = tmp_path / "log.csv", tmp_path / "mine.yaml", tmp_path / "out.jsonl"
    mapping.write_text(MAPPING)
    log.write_text("id,at,u\n1,2026-01-01T10:00:00Z,ann\n2,0000-00-00,ann\n")
    arguments = ("produce", str(log), "--mapping", str(mapping), "--out", str(out))
    done = journey(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("produced 1 records to 1 topics at ")
    assert done.stdout.endswith(f"1 row rejected (invalid_value 1), see {tmp_path / 'out.rejected.jsonl'}\n")
    assert json.loads(journey(*arguments, "--json").stdout)["rejected"] == {"invalid_value": 1}
    assert journey("build", "--events", str(out)).returncode == 0
    log.write_text("id,at,u\n")
    mapping.write_text(MAPPING.replace("id\n", "id ->> '$..key'\n", 1))
    wrong = journey(*arguments)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "mine.yaml:4, key fields.event_id: " in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("content", ["", "nope\n", "[]"])
def test_a_file_of_which_nothing_is_accepted_exits_with_1(tmp_path, content):
    path, mapping = tmp_path / "log.json", tmp_path / "mine.yaml"
    path.write_text(content)
    mapping.write_text(MAPPING)
    for arguments in (
        ("build", "--events", str(path)),
        ("produce", str(path), "--mapping", str(mapping), "--out", str(tmp_path / "out.jsonl")),
    ):
        done = journey(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert str(path) in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOURNEY_BROKER_PORT", "many"),
        ("JOURNEY_KAFKA_SECURITY_PROTOCOL", "SASL-SSL"),
        ("JOURNEY_KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("JOURNEY_KAFKA_SSL_CAFILE", "/nowhere/ca.pem"),
        ("JOURNEY_KAFKA_TIMEOUT", "soon"),
        ("JOURNEY_HOME", "/tmp/br[1]"),
    ],
)
def test_a_broken_setting_is_named(name, value):
    done = journey("broker", "status", **{name: value})
    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_query_prints_every_column_and_row_even_of_one_name(events):
    from journey_core.models import contracts
    from journey_core.release import publish_release
    from pipelines.settings import Settings

    journey("build", "--events", str(events))
    settings = Settings()
    warehouse = settings.open_warehouse()
    publish_release(warehouse, warehouse.last_build(), contracts(), settings.releases, None)
    sql = "select 1 as a, ':smile:' as a, null as b, 'nan'::double as c, sum(2) as d"
    assert json.loads(journey("query", sql, "--json").stdout) == [
        {"a": 1, "a_2": ":smile:", "b": None, "c": None, "d": 2}
    ]
    assert ":smile:" in journey("query", sql).stdout
    assert len(journey("query", "select null as x from range(3)").stdout.splitlines()) == 5
    piped = f"{JOURNEY} query 'select * from range(100000) as t(n)' --json | head -1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[\n", "")


def test_no_broker_is_status_1_and_a_remedy():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = journey("broker", "status", JOURNEY_BROKER_PORT=str(port))
    assert done.returncode == 1
    assert done.stdout == f"no broker answers at 127.0.0.1:{port}. Run: journey broker start\n"


def test_simulate_to_a_file_is_the_embedded_way_in(tmp_path):
    out = tmp_path / "shop.jsonl"
    done = journey("simulate", "--customers", "50", "--days", "30", "--out", str(out))
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "shop.manifest.json").read_text())
    assert len(out.read_bytes().splitlines()) == manifest["records"]
    built = json.loads(journey("build", "--events", str(out), "--json").stdout)
    assert built["rows"]["marts.touchpoints"] == manifest["events"]
    assert built["as_of"] < "2026-02-01"


def test_a_command_does_without_pandas_but_whoever_asks_for_it_gets_it():
    says = """
import sys
from pipelines.lean import leave_pandas_out
leave_pandas_out()
import pyarrow, pyarrow.compute
pyarrow.compute.greater(pyarrow.array([1]), 0)
assert "pandas" not in sys.modules
assert pyarrow.table({"a": [1]}).to_pandas()["a"].tolist() == [1]
import pandas
assert pyarrow.array(pandas.Series([1.5, None])).null_count == 1
leave_pandas_out()
assert pyarrow.table({"a": [1]}).to_pandas()["a"].tolist() == [1]
"""
    done = subprocess.run([sys.executable, "-c", says], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_teaches():
    text = journey("--help").stdout
    for word in ("broker", "simulate", "produce", "land", "build", "check", "publish", "query", "demo", "JOURNEY_HOME"):
        assert word in text


def test_an_output_never_replaces_the_log_or_the_mapping(tmp_path):
    log, mapping = tmp_path / "shop.csv", tmp_path / "shop.yaml"
    log.write_text("id\n1\n")
    mapping.write_text("mapping: shop\n")
    for out in (log, mapping):
        done = journey("produce", str(log), "--mapping", str(mapping), "--out", str(out))
        assert done.returncode == 2
    assert (log.read_text(), mapping.read_text()) == ("id\n1\n", "mapping: shop\n")


def test_the_version_is_that_of_the_package():
    said = journey("--version")
    assert (said.returncode, said.stdout) == (0, f"journey {version('journey-pipeline')}\n")
