"""What every test may use: events, and tables built from them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from journey_core.contract import judge, records_of
from journey_core.taxonomy import Taxonomy, load_taxonomy
from journey_core.warehouse import Build, Source, Warehouse
from tests.kafka import each_client, kafka, on_kafka, topic

__all__ = ["each_client", "kafka", "on_kafka", "topic"]  # fixtures: one broker for whoever asks

# A world is built in half a second: `make test-fast` looks at few, `make test` at more.
LAWS = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}
settings.register_profile("fast", max_examples=3, derandomize=True, **LAWS)
# In CI the same examples every time; at home new ones, so that what is found there is found by somebody who can look.
settings.register_profile("default", max_examples=25, derandomize="CI" in os.environ, **LAWS)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="Fault tests at their full size: make test-faults.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "integration" in item.path.parts or "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)
    if not config.getoption("full"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

Event = dict[str, Any]

#: The only tables that are no function of the events: they tell which builds there were.
OF_BUILDS = ("marts.restatements", "marts.identity_history")


def event(event_id: str, at: str, event_type: str = "page_viewed", /, **more: Any) -> Event:
    """One event that keeps the contract. `at` is `2026-01-02 10:00` or longer, UTC; `who` its identifiers."""
    channel = more.pop("channel", "web")
    made: Event = {
        "event_id": event_id,
        "event_type": event_type,
        "channel": channel,
        "occurred_at": at.replace(" ", "T") + (":00Z" if len(at) == len("2026-01-02 10:00") else "Z"),
        "identifiers": more.pop("who", {"customer_id": "ann"}),
    }
    needed = {
        "email": {"message_id": "m"},
        "social": {"network": "n"},
        "offline": {"location": "l"},
    }.get(channel, {})
    properties = needed | more.pop("properties", {})
    context = more.pop("context", {})
    if event_type == "page_viewed":
        context = {"page": {"url": "https://shop.example/"}} | context
    return made | ({"properties": properties} if properties else {}) | ({"context": context} if context else {}) | more


class Tables:
    """The tables of one build, as rows."""

    def __init__(self, warehouse: Warehouse, build: Build) -> None:
        self.warehouse = warehouse
        self.build = build

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.warehouse.query(sql).to_pylist()

    def values(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.rows(sql)]

    def everything(self) -> dict[str, list[str]]:
        """Every mart's rows in a fixed order, to compare whole worlds; not those that tell which builds there were."""
        return {
            name: sorted(json.dumps(row, default=str, sort_keys=True) for row in self.rows(f"from {name}"))
            for name in self.build.rows
            if name not in OF_BUILDS
        }


def build_tables(
    events: Sequence[Event | bytes], database: Path, taxonomy: Taxonomy | str = "retail", **options: Any
) -> Tables:
    """Every table from events, with no broker and no lake."""
    values = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in events]
    judged = judge(records_of(values, topic="file"))
    warehouse = Warehouse(database, threads=1)
    loaded = load_taxonomy(taxonomy) if isinstance(taxonomy, str) else taxonomy
    identity = hashlib.sha256(b"\n".join(sorted(values))).hexdigest()
    return Tables(warehouse, warehouse.build(Source(identity, judged.accepted, judged.rejected), loaded, **options))


@pytest.fixture
def build_world(tmp_path: Path) -> Callable[..., Tables]:
    """`build_world(events, taxonomy=..., as_of=...)`: each call builds a world of its own."""
    count = itertools.count()

    def build(events: Sequence[Event | bytes], taxonomy: Taxonomy | str = "retail", **options: Any) -> Tables:
        return build_tables(events, tmp_path / f"{next(count)}.duckdb", taxonomy, **options)

    return build


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that a test does touches the user's own JOURNEY_HOME."""
    monkeypatch.setenv("JOURNEY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
