"""`journey check`: every contract of the marts holds, or the run stops here."""

from __future__ import annotations

from journey_core.checks import CheckResult, run_checks
from journey_core.errors import CheckFailedError
from journey_core.models import contracts
from pipelines.progress import Progress, silent
from pipelines.settings import Settings


def check(settings: Settings, *, progress: Progress = silent) -> CheckResult:
    """Check the last build with Great Expectations, inside DuckDB, and write the result with its Data Docs.

    Raises CheckFailedError where a check of severity `fail` fails: `publish` then refuses this build, and the release
    before it stays current. Checks of severity `warn` are counted and shown.
    """
    warehouse = settings.open_warehouse()
    build = warehouse.last_build()
    result = run_checks(warehouse.path, build.build_id, contracts(), settings.checks, progress=progress)
    if not result.passed:
        raise CheckFailedError(f"{result}. Nothing is published; look at {result.data_docs / 'index.html'}")
    return result
