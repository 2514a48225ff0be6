"""What every fault test uses: an oracle, and whether this run is at full size."""

from __future__ import annotations

import pytest

from pipelines.settings import Settings
from tests.faults.oracle import Oracle


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))


@pytest.fixture
def oracle(on_kafka: Settings) -> Oracle:
    return Oracle(on_kafka)
