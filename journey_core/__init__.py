"""What we know of journeys: no Kafka, no Airflow, no wall clock. The only door; the rooms behind it may move."""

from journey_core.contract import EVENTS, RECORDS, REJECTED_EVENTS, Judged, judge, records_of
from journey_core.errors import (
    BrokerError,
    CheckFailedError,
    InputError,
    JourneyError,
    LandingGapError,
    NotBuiltError,
    NothingAcceptedError,
    StorageError,
    SupersededError,
    TaxonomyError,
)
from journey_core.events import CHANNELS, Event, event_key, json_schema, topic_of
from journey_core.lake import Lake, Partition, Snapshot
from journey_core.logs import Log, Record, Rejected, read_log
from journey_core.query import query_release
from journey_core.release import Release, current_release
from journey_core.taxonomy import Taxonomy, load_taxonomy
from journey_core.warehouse import Build, Source, Warehouse

__all__ = [
    "CHANNELS",
    "EVENTS",
    "RECORDS",
    "REJECTED_EVENTS",
    "BrokerError",
    "Build",
    "CheckFailedError",
    "Event",
    "InputError",
    "JourneyError",
    "Judged",
    "Lake",
    "LandingGapError",
    "Log",
    "NotBuiltError",
    "NothingAcceptedError",
    "Partition",
    "Record",
    "Rejected",
    "Release",
    "Snapshot",
    "Source",
    "StorageError",
    "SupersededError",
    "Taxonomy",
    "TaxonomyError",
    "Warehouse",
    "current_release",
    "event_key",
    "json_schema",
    "judge",
    "load_taxonomy",
    "query_release",
    "read_log",
    "records_of",
    "topic_of",
]
