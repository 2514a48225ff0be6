"""Kafka to lake, every five minutes; says so when the lake holds more than the current release."""

import os
from datetime import timedelta

from airflow.sdk import Asset, TriggerRule, dag, task

# What a task writes holds people: it is its owner's alone (docs/decisions/0022).
os.umask(0o077)

LAKE = Asset("journey_lake")


def lake_has_news(_context) -> bool:
    from pipelines.land import has_news
    from pipelines.settings import Settings

    return has_news(Settings())


@dag(schedule=timedelta(minutes=5), catchup=False, max_active_runs=1, tags=["journey"])
def land_events():
    """Kafka → lake, one task per topic.

    `announce` updates the asset `journey_lake`, which starts `build_journeys`: only if every topic landed and the lake
    holds what the current release does not. A lost or doubled announcement changes nothing.
    """

    @task
    def list_topics() -> list[str]:
        from pipelines.land import list_topics
        from pipelines.settings import Settings

        return list_topics(Settings())

    @task
    def land_topic(topic: str) -> None:
        from pipelines.door import say
        from pipelines.land import land
        from pipelines.settings import Settings

        say(str(land(Settings(), topics=[topic])))

    @task.run_if(lake_has_news, skip_message="the release holds all that is landed")
    @task(outlets=[LAKE], trigger_rule=TriggerRule.NONE_FAILED)
    def announce() -> None:
        print("announced journey_lake")

    land_topic.expand(topic=list_topics()) >> announce()


land_events()
