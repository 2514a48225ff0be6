"""Lake to release, whenever the lake has news: build, check, publish."""

from airflow.sdk import Asset, dag, task


@dag(schedule=[Asset("journey_lake")], catchup=False, max_active_runs=1, tags=["journey"])
def build_journeys():
    """Lake → warehouse → checks → release.

    A failed check stops the run, and the release before it stays current.
    """

    @task
    def build() -> None:
        from pipelines.build import build
        from pipelines.door import say
        from pipelines.private import keep_private
        from pipelines.settings import Settings

        keep_private()
        say(build(Settings()).with_warnings)

    @task
    def check() -> None:
        from pipelines.check import check, require_passed
        from pipelines.door import say
        from pipelines.private import keep_private
        from pipelines.settings import Settings

        keep_private()
        say(str(require_passed(check(Settings()))))

    @task
    def publish() -> None:
        from pipelines.door import say
        from pipelines.private import keep_private
        from pipelines.publish import publish
        from pipelines.settings import Settings

        keep_private()
        say(str(publish(Settings())))

    build() >> check() >> publish()


build_journeys()
