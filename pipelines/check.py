"""`journey check`: every contract of the marts holds, or the run stops here."""

from __future__ import annotations

from journey_core.checks import CheckResult, run_checks
from journey_core.errors import CheckFailedError
from journey_core.models import contracts
from pipelines.progress import Progress, silent
from pipelines.settings import Settings


def check(settings: Settings, *, progress: Progress = silent) -> CheckResult:
    """Check the last build with Great Expectations, inside DuckDB, and write the result with its Data Docs.

    The result says whether it passed: `require_passed` stops a run, and `publish` refuses a build that did not. Checks
    of severity `warn` are counted and shown.
    """
    warehouse = settings.open_warehouse()
    build = warehouse.last_build()
    return run_checks(warehouse, build.build_id, contracts(), settings.checks, progress=progress)


def require_passed(result: CheckResult) -> CheckResult:
    """The result, if it passed. Raises CheckFailedError otherwise: the release before stays current."""
    if not result.passed:
        raise CheckFailedError(f"{result}. Nothing is published; look at {result.data_docs / 'index.html'}")
    return result
