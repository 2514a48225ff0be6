"""`journey demo`: the whole path on a simulated shop, through both DAGs, and what it found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from journey_core.errors import DamagedError
from journey_core.query import query_release
from journey_core.release import Release, current_release
from pipelines import broker
from pipelines.airflow import run_dag
from pipelines.produce import send
from pipelines.progress import Progress
from pipelines.settings import Settings
from pipelines.simulate import simulate
from pipelines.tables import rows_as_text

FUNNEL = """
select step, customers_reached, customers_dropped, customers_open, round(drop_rate_mature, 3) as drop_rate_mature
from marts.funnel_drops
where funnel = 'checkout' and segment_by = 'all'
order by step_order
"""

DEVICES = """
select segment as device, step, customers_reached, customers_dropped, round(drop_rate_mature, 3) as drop_rate_mature
from marts.funnel_drops
where funnel = 'checkout' and segment_by = 'device'
order by segment, step_order
"""

CHANGES = """
select
    step,
    strftime(started_at, '%d %b') as started,
    strftime(ended_at, '%d %b') as ended,
    round(from_rate, 3) as from_rate,
    round(to_rate, 3) as to_rate,
    signal,
    revenue
from marts.changes
where funnel = 'checkout' and segment_by = 'all'
order by started_at, step_order
"""

# One journey of each status: the longest that crosses channels, so that there is something to read.
JOURNEYS = """
with longest as (
    select
        *,
        row_number() over (
            partition by status order by (first_channel <> last_channel) desc, touchpoints desc, journey_id
        ) as place
    from marts.journeys
    where touchpoints between 6 and 14
)
select
    longest.status,
    longest.customer_id,
    strftime(touchpoints.occurred_at, '%d %b %H:%M') as at,
    touchpoints.channel,
    touchpoints.event_type,
    touchpoints.stage
from longest
inner join marts.touchpoints on longest.journey_id = touchpoints.journey_id
where longest.place = 1
order by longest.status desc, touchpoints.touchpoint_order
"""


def run_demo(settings: Settings, progress: Progress, say: Callable[[str], None]) -> str:
    """Start the broker, simulate, land, build, check, publish; return what to read. A second run sends nothing."""
    say(str(broker.start(settings, progress)))
    say(_simulate_once(settings, progress))
    for dag in ("land_events", "build_journeys"):
        progress(f"airflow dags test {dag}", 0, None)
        say(f"airflow dags test {dag}")
        run_dag(dag, settings, lambda line: say(f"  {line}"))
    return _report(settings, current_release(settings.releases))


def _simulate_once(settings: Settings, progress: Progress) -> str:
    """The shop's records lie in Kafka once: the manifest is written when all of them are acknowledged."""
    path = settings.home / "simulation" / "manifest.json"
    if path.exists():
        try:
            records = int(json.loads(path.read_bytes())["records"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DamagedError(
                f"{path} is no manifest of a simulation: {error}. Remove it, then run: journey demo, which sends the "
                "records again; each event_id counts once"
            ) from error
        return f"{records:,} simulated records are in Kafka already ({path})"
    progress("simulating", 0, None)
    simulation = simulate()
    send(simulation.records, settings, total=len(simulation.records), progress=progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(simulation.manifest.to_json() + "\n")
    return str(simulation.manifest)


def _report(settings: Settings, release: Release) -> str:
    home = "" if settings.home == Path(".journey") else f"JOURNEY_HOME={settings.home} "
    return "\n".join(
        [
            "",
            "Where customers leave the checkout:",
            rows_as_text(query_release(release, FUNNEL, settings.query_limits)),
            "",
            "... by device:",
            rows_as_text(query_release(release, DEVICES, settings.query_limits)),
            "",
            "What changed there, when, and which signal rose with it (drop rates by week of entry):",
            rows_as_text(query_release(release, CHANGES, settings.query_limits)),
            "",
            "Three journeys:",
            rows_as_text(query_release(release, JOURNEYS, settings.query_limits)),
            "",
            f"The release lies in {release.root / release.name} (plain Parquet, one folder per table).",
            f"Its checks: {release.root / release.name / 'data_docs' / 'index.html'}",
            "Ask it anything:",
            f'  {home}.venv/bin/journey query "select * from marts.journeys limit 5"',
            f'  duckdb {release.root / "catalog.duckdb"} "from marts.funnel_drops"',
            f"Stop the broker: {home}.venv/bin/journey broker stop",
        ]
    )
