"""Lake maintenance, once a night: many small files become few large ones."""

from airflow.sdk import dag, task


@dag(schedule="30 3 * * *", catchup=False, max_active_runs=1, tags=["journey"])
def compact_lake():
    """Small files of the lake → files of about 128 MB, sorted by time. Landing and building may go on meanwhile."""

    @task
    def compact() -> None:
        from pipelines.compact import compact
        from pipelines.door import say
        from pipelines.private import keep_private
        from pipelines.settings import Settings

        keep_private()
        say(str(compact(Settings())))

    compact()


compact_lake()
