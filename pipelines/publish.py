"""`journey publish`: a checked build → an immutable release."""

from __future__ import annotations

from journey_core.checks import read_result
from journey_core.errors import CheckFailedError, NotBuiltError
from journey_core.gate import require_accepted, require_kept
from journey_core.models import contracts
from journey_core.release import Release, newest, publish_release
from pipelines.settings import Settings


def publish(settings: Settings, *, accept_rejected: bool = False, accept_shrinking: bool = False) -> Release:
    """Publish the last build, if its checks passed. The same build again changes nothing.

    Raises NotBuiltError where it is unchecked, CheckFailedError where a check failed, RefusedError where most records
    are rejected or most customers of the current release are lost (unless that is accepted), StorageError where the
    disk refuses; the previous release stays current in each case.
    """
    warehouse = settings.open_warehouse()
    build = warehouse.last_build()
    result = read_result(settings.checks, build.build_id)
    if result is None:
        raise NotBuiltError(f"build {build.build_id} is not checked yet. Run: journey check")
    if not result.passed:
        raise CheckFailedError(f"build {build.build_id} is not published: {result}")
    if not accept_rejected:
        require_accepted(warehouse)
    if not accept_shrinking and (before := newest(settings.releases)) is not None:
        require_kept(warehouse, before)
    return publish_release(
        warehouse,
        build,
        contracts(),
        settings.releases,
        result.data_docs,
        keep=settings.releases_kept,
        mode=settings.releases_mode,
    )
