"""The lake of a home, unless it is lost: for every verb that reads or writes it."""

from __future__ import annotations

from journey_core.errors import JourneyError, LostLakeError, NotBuiltError
from journey_core.lake import TABLES, Lake
from journey_core.release import newest
from journey_core.warehouse import LAKE
from pipelines.settings import Settings


def open_lake(settings: Settings, *, new_lake: bool = False) -> Lake:
    """The home's lake; a new home's is begun when it is first read.

    Raises LostLakeError where a build or a release was made from a lake that is not there, unless `new_lake`; and where
    a part of the lake is missing. Begun anew it would lack what Kafka no longer holds, and nobody would notice.
    """
    lake = Lake(settings.lake)
    missing = lake.missing()
    if missing and lake.holds_data():
        raise LostLakeError(
            f"of the lake {lake.root} a part is missing: {', '.join(missing)}. Restore it from a backup. To begin anew "
            "with what Kafka still holds, move the folder away, then: journey land --new-lake"
        )
    if len(missing) == len(TABLES) and not new_lake and (made := _made_from_a_lake(settings)) is not None:
        raise LostLakeError(
            f"the lake {lake.root} is not there, and {made} was made from it. Restore it from a backup, or check "
            "JOURNEY_HOME. To begin anew with what Kafka still holds (who was erased comes back with it): "
            "journey land --new-lake"
        )
    return lake


def _made_from_a_lake(settings: Settings) -> str | None:
    """What tells that this home had a lake with records."""
    release = newest(settings.releases)
    if release is not None and release.is_of_a_lake and release.manifest["offsets"]:
        return f"release {release.name}"
    warehouse = settings.open_warehouse()
    if not warehouse.path.exists():
        return None
    try:
        last = warehouse.last_build()
    except NotBuiltError:
        return None
    except JourneyError:
        return f"{warehouse.path}, which cannot be read,"
    return f"build {last.build_id}" if last.origin == LAKE and last.offsets else None
