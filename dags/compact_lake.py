"""Lake maintenance, once a night: many small files become few large ones."""

import os

from airflow.sdk import dag, task

# What a task writes holds people: it is its owner's alone (docs/decisions/0022).
os.umask(0o077)


@dag(schedule="30 3 * * *", catchup=False, max_active_runs=1, tags=["journey"])
def compact_lake():
    """Small files of the lake → files of about 128 MB, sorted by time. Landing and building may go on meanwhile."""

    @task
    def compact() -> None:
        from pipelines.compact import compact
        from pipelines.door import say
        from pipelines.settings import Settings

        say(str(compact(Settings())))

    compact()


compact_lake()
