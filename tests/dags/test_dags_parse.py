"""The DAGs load, are scheduled as the runbook says, and each of their tasks is one call. They run in tests/integration."""

from __future__ import annotations

import ast
import os
import runpy
from datetime import timedelta

import pytest

from journey_core.paths import DAGS
from pipelines.private import PRIVATE_UMASK

pytestmark = pytest.mark.integration  # importing Airflow takes a few seconds


@pytest.fixture(scope="module")
def dags():
    from airflow.dag_processing.dagbag import DagBag

    umask = os.umask(0o022)
    bag = DagBag(DAGS)
    os.umask(umask)  # the DAGs set theirs
    assert bag.import_errors == {}
    return bag.dags


def test_land_events_lands_each_topic_in_a_task_and_announces_once(dags):
    dag = dags["land_events"]
    assert dag.schedule == timedelta(minutes=5)
    assert dag.max_active_runs == 1
    assert dag.task_dict["list_topics"].downstream_task_ids == {"land_topic"}
    assert dag.task_dict["land_topic"].is_mapped
    assert dag.task_dict["land_topic"].downstream_task_ids == {"announce"}
    assert [asset.name for asset in dag.task_dict["announce"].outlets] == ["journey_lake"]
    assert not dag.task_dict["land_topic"].partial_kwargs.get("outlets"), (
        "a mapped outlet would announce once per topic"
    )


def test_build_journeys_runs_on_the_asset_and_in_order(dags):
    from airflow.sdk import Asset

    dag = dags["build_journeys"]
    assert dag.schedule == [Asset("journey_lake")]
    assert dag.max_active_runs == 1
    assert dag.task_dict["build"].downstream_task_ids == {"check"}
    assert dag.task_dict["check"].downstream_task_ids == {"publish"}


def test_every_dag_says_what_it_is_for(dags):
    assert all(dag.doc_md for dag in dags.values())


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_a_task_writes_for_its_owner_alone(path):
    umask = os.umask(0o022)
    try:
        runpy.run_path(str(path))
        assert os.umask(0o022) == PRIVATE_UMASK
    finally:
        os.umask(umask)


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_a_task_is_one_call(path):
    """Beside its imports, a task's body is one statement: DAGs say when, not what."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    tasks = [node for node in functions if any("task" in ast.unparse(decorator) for decorator in node.decorator_list)]
    assert tasks
    for task in tasks:
        body = [node for node in task.body if not isinstance(node, ast.Import | ast.ImportFrom)]
        assert len(body) == 1, task.name


def test_the_lake_is_compacted_every_night(dags):
    assert dags["compact_lake"].schedule == "30 3 * * *"
    assert dags["compact_lake"].max_active_runs == 1
