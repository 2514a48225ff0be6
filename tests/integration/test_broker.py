"""`journey broker`: a real Kafka, and clear words where it cannot be had."""

from __future__ import annotations

import socket

import pytest

from journey_core.errors import BrokerError
from pipelines import broker
from pipelines.settings import Settings
from tests.kafka import two_free_ports
from tests.pipelines.test_private import modes, private

__all__ = ["private"]  # a fixture


def test_start_is_repeatable_stop_is_clean_and_the_topics_stay(home, private):
    settings = Settings(broker_port=two_free_ports())
    first = broker.start(settings)
    try:
        assert first.running
        assert first.pid
        assert broker.start(settings).pid == first.pid, "a second start changes nothing"
        from pipelines.land import list_topics
        from pipelines.produce import create_topics

        create_topics(settings, ["events.web.v1"])
        assert broker.stop(settings).running is False
        assert not broker.status(settings).running
        broker.start(settings)
        assert list_topics(settings) == ["events.web.v1"]
        assert (home / "broker" / "broker.log").exists()
        others = {name: mode for name, mode in modes(home).items() if mode & 0o077}
        assert others == {}, "Kafka's own files are private, too"
    finally:
        broker.stop(settings)


def test_a_home_has_one_broker_however_often_and_wherever_it_is_started(home):
    from concurrent.futures import ThreadPoolExecutor

    settings = Settings(broker_port=two_free_ports())
    try:
        with ThreadPoolExecutor(3) as starters:
            started = list(starters.map(lambda _: broker.start(settings), range(3)))
        assert len({one.pid for one in started}) == 1
        elsewhere = settings.model_copy(update={"broker_port": two_free_ports()})
        elsewhere.__dict__.pop("bootstrap_servers", None)
        with pytest.raises(BrokerError, match=r"runs already \(pid \d+\), but not at port"):
            broker.start(elsewhere)
        assert broker.status(settings).pid == started[0].pid
    finally:
        broker.stop(settings)


def test_a_port_in_use_is_named_with_the_remedy():
    port = two_free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(BrokerError, match=rf"port {port} is in use.*JOURNEY_BROKER_PORT"):
            broker.start(Settings(broker_port=port))


def test_missing_java_and_maven_are_named_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    settings = Settings(broker_port=two_free_ports())
    with pytest.raises(BrokerError, match=r"no `java` on PATH.*Install Java 17"):
        broker.start(settings)
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    with pytest.raises(BrokerError, match=r"needs Java 17 or newer.*11\.0\.2"):
        broker.start(settings)
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\"' >&2\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(BrokerError, match=r"no `mvn` on PATH.*Install it"):
        broker.start(settings)


def test_another_cluster_is_used_instead_and_never_started_or_stopped(kafka):
    other = Settings(kafka_bootstrap_servers=",".join(kafka.bootstrap_servers))
    assert broker.start(other).pid is None
    broker.stop(other)
    assert broker.status(other).running
    nobody = Settings(kafka_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(BrokerError, match=r"no broker answers at 127\.0\.0\.1:1"):
        broker.start(nobody)
