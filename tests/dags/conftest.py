"""Airflow reads its settings when it is first imported: before any test file of this folder is."""

import os
import tempfile

_HOME = tempfile.mkdtemp(prefix="journey-airflow-")
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_HOME}/airflow.db"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
