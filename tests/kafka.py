"""A real Apache Kafka for the whole session, and settings for it."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from pipelines import broker
from pipelines.settings import Settings


def two_free_ports() -> int:
    """A port that is free, and whose successor is too: Kafka's controller takes that one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a running broker. It is stopped by its process id when the session ends.

    `JOURNEY_TEST_KAFKA` names one that runs already: mutants of the lander are tried on their parent's broker.
    """
    if servers := os.environ.get("JOURNEY_TEST_KAFKA"):
        yield Settings(home=tmp_path_factory.mktemp("kafka"), kafka_bootstrap_servers=servers)
        return
    settings = Settings(home=tmp_path_factory.mktemp("kafka"), broker_port=two_free_ports())
    started = broker.start(settings)
    assert started.running
    yield settings
    broker.stop(settings)
    assert broker.status(settings).pid is None


@pytest.fixture(params=["kafka-python", "kafka-python apart", "confluent"])
def each_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whatever holds of landing holds with both clients, and where kafka-python runs in a process of its own."""
    client, _, is_apart = request.param.partition(" ")
    monkeypatch.setenv("JOURNEY_KAFKA_CLIENT", client)
    if is_apart:
        monkeypatch.setenv("JOURNEY_LAND_APART_FROM", "0")
    return request.param


def is_first(settings: Settings) -> bool:
    """Whether this is the first of `each_client`: it is tried most, the others write alike."""
    return settings.kafka_client == "kafka-python" and settings.land_apart_from > 0


@pytest.fixture
def on_kafka(kafka: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a fresh home on the running broker, also in the environment, for commands and DAGs."""
    monkeypatch.setenv("JOURNEY_KAFKA_BOOTSTRAP_SERVERS", ",".join(kafka.bootstrap_servers))
    return Settings()


@pytest.fixture
def topic(kafka: Settings) -> Iterator[str]:
    """An event topic that no other test writes to, and that is gone afterwards."""
    name = f"events.t{uuid.uuid4().hex[:12]}.v1"
    yield name
    with KafkaAdminClient(**kafka.kafka) as admin:
        if name in admin.list_topics():
            admin.delete_topics([name])
