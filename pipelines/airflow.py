"""Runs a DAG of `dags/` here and now, by `airflow dags test` (SQLite metadata under `JOURNEY_HOME/airflow`).

The scheduler is not needed for that; `docs/runbook.md` says how to schedule the same DAGs for good.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from journey_core.errors import JourneyError
from journey_core.paths import DAGS
from pipelines.settings import Settings

AIRFLOW = [sys.executable, "-m", "airflow"]


def airflow_environment(settings: Settings) -> dict[str, str]:
    """The environment in which Airflow finds our DAGs and a database of ours, never the user's own."""
    home = settings.home.resolve() / "airflow"
    ours = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "JOURNEY_HOME": str(settings.home.resolve()),
        "PYTHONWARNINGS": "ignore",
        # Airflow starts through `python -m`, so the folder of the running interpreter may be missing on PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return os.environ | ours


def run_dag(name: str, settings: Settings, say: Callable[[str], None]) -> None:
    """Run one DAG; `say` gets each line that it prints. Raises JourneyError where a task failed."""
    if find_spec("airflow") is None:
        raise JourneyError("DAGs need Apache Airflow. Install it: pip install 'journey-pipeline[airflow]'")
    environment = airflow_environment(settings)
    # Written when the migration has ended: an interrupted one, or a newer Airflow, migrates again.
    migrated = settings.home / "airflow" / f"migrated-{version('apache-airflow')}"
    if not migrated.exists():
        _run(["db", "migrate"], environment, say=lambda _: None)
        migrated.touch()
    _run(["dags", "test", name], environment, say)


def _run(arguments: list[str], environment: dict[str, str], say: Callable[[str], None]) -> None:
    command = [*AIRFLOW, *arguments]
    lines: list[str] = []
    is_over = False
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            # DuckDB's binding prints forty lines about its own leaks when the process ends.
            is_over = is_over or line.startswith("nanobind: leaked")
            if not is_over:
                lines.append(line.rstrip())
                say(lines[-1])
    if process.returncode:
        tail = "\n".join(lines[-40:])
        raise JourneyError(f"`airflow {' '.join(arguments)}` failed (exit {process.returncode}):\n{tail}")
