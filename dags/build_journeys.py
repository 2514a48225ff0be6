"""Lake to release, whenever the lake has news: build, check, publish."""

import os

from airflow.sdk import Asset, dag, task

# What a task writes holds people: it is its owner's alone (docs/decisions/0022).
os.umask(0o077)


@dag(schedule=[Asset("journey_lake")], catchup=False, max_active_runs=1, tags=["journey"])
def build_journeys():
    """Lake → warehouse → checks → release.

    A failed check stops the run, and the release before it stays current.
    """

    @task
    def build() -> None:
        from pipelines.build import build
        from pipelines.door import say
        from pipelines.settings import Settings

        say(build(Settings()).with_warnings)

    @task
    def check() -> None:
        from pipelines.check import check, require_passed
        from pipelines.door import say
        from pipelines.settings import Settings

        say(str(require_passed(check(Settings()))))

    @task
    def publish() -> None:
        from pipelines.door import say
        from pipelines.publish import publish
        from pipelines.settings import Settings

        say(str(publish(Settings())))

    build() >> check() >> publish()


build_journeys()
