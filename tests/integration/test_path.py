"""The whole path: Kafka → Airflow → lake → DuckDB → Great Expectations → release."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from journey_core import models
from journey_core.errors import CheckFailedError, JourneyError
from journey_core.query import query_release
from journey_core.release import current_release
from pipelines.airflow import run_dag
from pipelines.build import build
from pipelines.check import check, require_passed
from pipelines.land import land
from pipelines.produce import send
from pipelines.publish import publish
from pipelines.simulate import simulate
from tests.conftest import SHARED_DATA

LOAN_LOG = SHARED_DATA / "bpic2012_loan.parquet"


def journey(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("journey")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def shop():
    return simulate(customers=300, days=60, seed=7)


def test_both_dags_run_for_real_from_kafka_to_a_release_that_anyone_can_read(on_kafka, shop):
    """The channel topics of the shared broker are this module's alone: its first test sees what it has sent."""
    send(shop.records, on_kafka)
    said: list[str] = []
    run_dag("land_events", on_kafka, said.append)
    run_dag("build_journeys", on_kafka, said.append)
    text = "\n".join(said)
    assert text.count("landed ") == 5, "one mapped task per topic"
    assert "announced journey_lake" in text
    for verb in ("built ", "checked ", "published "):
        assert text.count(verb) == 1

    manifest = shop.manifest
    release = current_release(on_kafka.releases)
    outcomes = {
        (row["outcome"], row["reason"]): row["records"]
        for row in query_release(
            release, "select outcome, reason, sum(records)::bigint as records from marts.event_outcomes group by all"
        ).to_pylist()
    }
    expected = {("rejected", reason): count for reason, count in manifest.malformed.items()}
    expected |= {
        ("accepted", "names_a_customer"): manifest.events,
        ("duplicate", "none"): manifest.duplicates,
        ("rejected", "conflicting_duplicate"): manifest.conflicts,
    }
    assert outcomes == expected, "every record of the producer is accounted for, by reason"
    assert sum(release.manifest["offsets"].values()) == manifest.records

    # Anybody's reader: DuckDB on the catalog, DuckDB and pandas on the files, each in a process of their own habits.
    with duckdb.connect(str(on_kafka.releases / "catalog.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from marts.touchpoints").fetchall() == [(manifest.events,)]
    (file,) = release.files("journeys")
    journeys = pd.read_parquet(file)
    assert int((journeys.status == "converted").sum()) == manifest.orders
    assert (release.root / release.name / "data_docs" / "index.html").exists()

    # Again: nothing new, nothing changed, nobody told.
    said.clear()
    run_dag("land_events", on_kafka, said.append)
    assert "announced" not in "\n".join(said)
    assert publish(on_kafka).is_new is False


def test_a_failed_check_stops_publishing_and_the_release_before_it_stays(on_kafka, shop, monkeypatch, tmp_path):
    land(on_kafka)
    build(on_kafka)
    check(on_kafka)
    before = publish(on_kafka)

    # Somebody breaks a table behind our back: a journey twice.
    build(on_kafka, full=True, taxonomy=str(_louder(tmp_path)))
    with duckdb.connect(str(on_kafka.warehouse)) as connection:
        connection.execute("insert into marts.journeys (from marts.journeys limit 1)")
    with pytest.raises(CheckFailedError, match=r"marts\.journeys: the grain is unique \(1 rows break it"):
        require_passed(check(on_kafka))
    with pytest.raises(CheckFailedError, match="is not published"):
        publish(on_kafka)
    assert current_release(on_kafka.releases).name == before.name

    # ... and so in the DAG: `build` finds nothing to do, `check` fails, `publish` never runs.
    monkeypatch.setenv("JOURNEY_TAXONOMY", str(_louder(tmp_path)))
    said: list[str] = []
    with pytest.raises(JourneyError, match="airflow dags test build_journeys"):
        run_dag("build_journeys", on_kafka, said.append)
    text = "\n".join(said)
    assert "unchanged: " in text
    assert "the grain is unique" in text
    assert "published" not in text.replace("Nothing is published", "")
    assert current_release(on_kafka.releases).name == before.name
    assert journey("check").returncode == 1
    assert journey("publish").returncode == 1


def _louder(folder: Path) -> Path:
    """The retail taxonomy with another version: another build."""
    text = (models.SQL.parent / "schemas" / "taxonomies" / "retail.yaml").read_text()
    path = folder / "retail.yaml"
    path.write_text(text.replace("version: 1", "version: 2"))
    return path


@pytest.mark.skipif(not LOAN_LOG.exists(), reason="../shared/data/bpic2012_loan.parquet is not here")
def test_the_loan_log_end_to_end_reproduces_its_published_counts(kafka, home, monkeypatch):
    """262,200 events of a real bank: a cluster's topics, landed, built, checked, published, queried."""
    from tests.kafka import two_free_ports

    monkeypatch.setenv("JOURNEY_BROKER_PORT", str(two_free_ports()))
    monkeypatch.setenv("JOURNEY_TAXONOMY", "loan")
    assert journey("broker", "start").returncode == 0
    try:
        produced = journey("produce", str(LOAN_LOG), "--mapping", "loan_application")
        assert "produced 262,200 records to 3 topics" in produced.stdout, produced.stderr
        landed = journey("land")
        assert "262,200 accepted, 0 rejected" in landed.stdout, landed.stderr
    finally:
        assert journey("broker", "stop").returncode == 0
    for verb in ("build", "check", "publish"):
        done = journey(verb)
        assert done.returncode == 0, done.stderr

    def rows(sql: str) -> list[tuple]:
        answer = journey("query", sql, "--json")
        assert answer.returncode == 0, answer.stderr
        return [tuple(row.values()) for row in json.loads(answer.stdout)]

    with duckdb.connect() as connection:
        truth = f"select activity, count(*) from read_parquet('{LOAN_LOG}') group by all order by all"
        activities = connection.execute(truth).fetchall()
    assert len(activities) == 24
    assert rows("select event_type, count(*) from marts.touchpoints group by all order by all") == activities
    assert rows("select count(distinct customer_id), count(*) from marts.touchpoints") == [(13_087, 262_200)]
    steps = "select step, customers_reached from marts.funnel_drops where segment_by = 'all' order by step_order"
    assert rows(steps) == [
        ("submitted", 13_087),
        ("preaccepted", 7_367),
        ("accepted", 5_113),
        ("finalised", 5_015),
        ("approved", 2_246),
    ]
    assert rows("select count(*) from marts.journeys where status = 'converted'") == [(2_246,)]
