"""What one build says of the one before it: whose rows moved, why, and whose an identifier was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from journey_core.errors import NotBuiltError
from journey_core.models import contracts
from journey_core.release import publish_release
from journey_core.taxonomy import Funnel, load_taxonomy
from journey_core.warehouse import Warehouse
from tests.conftest import build_tables, event
from tests.properties.test_incremental import changed, differences

ANN, BOB, COOKIE = {"customer_id": "ann"}, {"customer_id": "bob"}, {"anonymous_id": "cookie"}
CAUSES = """
    select distinct customer_id, cause from marts.restatements
    where build_order = (select max(build_order) from marts.restatements) order by all
"""
BASE = [
    event("1", "2026-01-10 10:00", who=ANN),
    event("2", "2026-01-11 10:00", who=COOKIE),
    event("3", "2026-01-12 10:00", who=BOB),
]


@pytest.fixture
def rebuild(tmp_path):
    """Build one warehouse again and again."""

    def build(events, taxonomy="retail", **options):
        return build_tables(events, tmp_path / "one.duckdb", taxonomy, **options)

    return build


def anonymous(tables):
    ((name,),) = tables.values("select customer_id from marts.identity_map where identifier = 'cookie'")
    return name


def test_a_first_build_restates_nothing(rebuild):
    assert rebuild(BASE).values("select count(*) from marts.restatements") == [(0,)]


@pytest.mark.parametrize(
    ("more", "causes"),
    [
        (event("4", "2026-01-12 10:00:00.000001", who=BOB), [("bob", "new")]),
        (event("4", "2026-01-12 10:00", who=BOB), [("bob", "late")]),
        (event("4", "2024-12-01 10:00", who=BOB), [("bob", "late")]),
    ],
)
def test_what_comes_is_new_or_late_by_the_as_of_before(rebuild, more, causes):
    # Nobody else's rows move: the first event of all would move `is_left_truncated`, were it within an idle timeout.
    early = event("0", "2024-01-01 10:00", who={"customer_id": "first"})
    rebuild([early, *BASE])
    assert rebuild([early, *BASE, more]).values(CAUSES) == causes


def test_a_late_login_moves_events_from_one_customer_to_another(rebuild):
    before = anonymous(rebuild(BASE))
    tables = rebuild([*BASE, event("4", "2026-01-09 10:00", who=COOKIE | ANN), event("0", "2025-06-01 10:00", who=BOB)])
    assert dict(tables.values(CAUSES)) == {before: "identity", "ann": "identity", "bob": "late"}
    moved = """
        select customer_id, rows_before, rows_after from marts.restatements where "table" = 'touchpoints' order by 1
    """
    assert tables.values(moved) == [("ann", 1, 3), (before, 1, 0), ("bob", 1, 2)]
    history = """
        select customer_id, valid_to_build is null from marts.identity_history
        where identifier = 'cookie' order by valid_to_build nulls last
    """
    assert tables.values(history) == [(before, False), ("ann", True)]


def test_who_keeps_their_events_has_not_changed_hands(rebuild):
    tablet = {"device_id": "tablet"}
    before = [event("0", "2026-01-09 10:00", who=ANN | tablet), event("5", "2026-01-09 11:00", who=tablet), *BASE]
    rebuild(before)
    more = [event("6", "2026-01-13 10:00", who=BOB | tablet), event("7", "2026-01-13 10:00", who=ANN)]
    assert rebuild([*before, *more]).values(CAUSES) == [("ann", "new"), ("bob", "new")]


def test_what_goes_is_a_removal(rebuild):
    rebuild([*BASE, event("4", "2026-01-11 11:00", who=ANN)])
    assert rebuild(BASE).values(CAUSES) == [("ann", "removal")]


def test_time_alone_ends_what_was_open(rebuild):
    rebuild(BASE)
    tables = rebuild([*BASE, event("4", "2026-02-10 12:00", who={"customer_id": "carl"})])
    assert dict(tables.values(CAUSES))["ann"] == "time"
    assert tables.values("select status from marts.journeys where customer_id = 'ann'") == [("abandoned",)]


def test_to_go_back_to_an_earlier_configuration_is_another_build(rebuild, tmp_path):
    """Its history has grown meanwhile: it shares no release with the build that was made from the same."""
    shared = [
        event("1", "2026-01-10 10:00", who=ANN | {"card": "7"}),
        event("2", "2026-01-11 10:00", who={"card": "7"}),
    ]
    by_card = changed("identity", namespaces={"card": "strong"})
    made = {}
    for taxonomy in ("retail", by_card, "retail", "retail"):
        tables = rebuild(shared, taxonomy)
        release = publish_release(tables.warehouse, tables.build, contracts(), tmp_path / "releases", None)
        bytes_of_all = [file["sha256"] for table in release.manifest["tables"].values() for file in table["files"]]
        assert made.setdefault(release.name, bytes_of_all) == bytes_of_all
        assert release.manifest["build_order"] == len(made)
    assert len(made) == 3, "the fourth build is the third one"
    grain = """
        select count(*) from marts.identity_history
        group by namespace, identifier, since, valid_from_build having count(*) > 1
    """
    assert tables.values(grain) == []


def test_another_taxonomy_is_the_cause_of_what_it_changes_and_only_that_is_built(rebuild):
    bought = [*BASE, event("4", "2026-01-14 10:00", "order_completed", who=ANN)]
    rebuild(bought)
    built = []
    silence = changed("journeys", idle_timeout=load_taxonomy("loan").journeys.idle_timeout)
    tables = rebuild(bought, silence, progress=lambda label, *_: built.append(label))
    assert {cause for _, cause in tables.values(CAUSES)} == {"configuration"}
    assert "updating staging.events" in built
    assert "updating intermediate.session_events" in built
    assert "building marts.journeys" in built
    assert "building staging.events" not in built


def test_nothing_is_left_of_models_that_are_no_more(rebuild, tmp_path):
    """An older version's tables would keep who is erased."""
    rebuild(BASE)
    with duckdb.connect(str(tmp_path / "one.duckdb")) as connection:
        connection.execute("create table taxonomy.touchpoint_stages as select 'ann' as customer_id")
        connection.execute("create table intermediate.identified_events as select 'ann' as customer_id")
    tables = rebuild([*BASE, event("4", "2026-01-14 10:00", who=ANN)])
    gone = "('touchpoint_stages', 'identified_events')"
    assert tables.values(f"select count(*) from duckdb_tables() where table_name in {gone}") == [(0,)]


def test_a_table_that_has_become_a_view_is_built_over(rebuild, tmp_path):
    rebuild(BASE)
    with duckdb.connect(str(tmp_path / "one.duckdb")) as connection:
        connection.execute("drop view intermediate.identity_evidence")
        connection.execute("create table intermediate.identity_evidence as select 'ann' as customer_id")
        connection.execute("delete from meta.models where model <> 'marts.stages'")
    tables = rebuild([*BASE, event("4", "2026-01-14 10:00", who=ANN)])
    assert tables.values("select count(*) from duckdb_views() where view_name = 'identity_evidence'") == [(1,)]
    assert tables.values("select count(*) from marts.touchpoints") == [(len(BASE) + 1,)]


def test_conditions_may_begin_and_cease_to_need_more_than_the_narrow_history(rebuild, build_world):
    """Then `taxonomy.step_matches`, a view over that history, becomes a table, and a view again."""
    more = [*BASE, event("5", "2026-01-14 10:00", "order_completed", who=ANN, properties={"revenue": "9.50"})]
    narrow, wide = ("event_type = 'order_completed'", "event_type = 'order_completed' and revenue > 5")
    for when, kinds in ((narrow, [("view",)]), (wide, [("table",)]), (narrow, [("view",)])):
        funnel = {"funnel": "f", "steps": [{"step": "a", "when": "true"}, {"step": "b", "when": when}]}
        taxonomy = load_taxonomy("retail").model_copy(update={"funnels": [Funnel.model_validate(funnel)]})
        for events in (BASE, more):
            tables = rebuild(events, taxonomy=taxonomy)
            assert (
                tables.values(
                    "select 'view' from duckdb_views() where view_name = 'step_matches' union all"
                    " select 'table' from duckdb_tables() where table_name = 'step_matches'"
                )
                == kinds
            )
            assert tables.everything() == build_world(events, taxonomy=taxonomy).everything()


ROOT = str(Path(__file__).parents[2])
KILLED = """
import os, signal, sys
from tests.sql.test_restatements import worlds
from tests.conftest import build_tables
def kill(label, *_):
    if label == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
from pathlib import Path
build_tables(worlds(int(sys.argv[2])), Path(sys.argv[1]), progress=kill)
"""


def worlds(number):
    """Two worlds, the second with more of everybody."""
    return [*BASE, *(event(f"x{n}", "2026-01-09 10:00", who=COOKIE | ANN) for n in range(number))]


@pytest.mark.parametrize("label", ["updating intermediate.customers", "updating marts.journeys", "building"])
def test_a_build_that_is_killed_leaves_the_one_before_it(tmp_path, label):
    """`building` is the last word before the commit."""
    path = tmp_path / "one.duckdb"
    before = build_tables(worlds(0), path)
    expected = before.everything()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), "2", label],
        env=os.environ | {"PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert before.everything() == expected
    build_tables(worlds(2), path)
    build_tables(worlds(2), tmp_path / "fresh.duckdb")
    assert differences(path, tmp_path / "fresh.duckdb") == {}


def test_a_first_build_that_is_killed_leaves_no_build(tmp_path):
    path = tmp_path / "one.duckdb"
    subprocess.run(
        [sys.executable, "-c", KILLED, str(path), "2", "building"],
        env=os.environ | {"PYTHONPATH": ROOT},
        capture_output=True,
        check=False,
    )
    with pytest.raises(NotBuiltError):
        Warehouse(path).last_build()
    assert build_tables(worlds(2), path).values("select count(*) from marts.touchpoints") == [(5,)]
