"""No value of a secret setting is ever printed, whatever goes wrong."""

from __future__ import annotations

import json
import traceback

import pytest
from pydantic import ValidationError

from journey_core.errors import BrokerError
from pipelines.settings import SECRETS, Settings, concealed, what_is_wrong
from tests.commands import journey
from tests.conftest import event

MARKER = "m4rk3r"  # too short for a key
LONG = "m4rk3r-" * 4
NAMES = [f"JOURNEY_{name.upper()}" for name in Settings.model_fields]


@pytest.fixture
def secret(monkeypatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, LONG)


def everything_said(*arguments: str) -> str:
    """What a command prints, and what its error says to whoever logs it in any way."""
    done = journey(*arguments)
    said = done.out + done.err
    try:
        settings = Settings()
    except ValidationError as error:
        return said + "".join(traceback.format_exception(error)) + repr(error) + what_is_wrong(error)
    return said + repr(settings) + str(settings) + settings.model_dump_json()


def test_there_are_secrets_to_keep():
    assert set(SECRETS) == {"JOURNEY_ERASURE_KEY", "JOURNEY_KAFKA_SASL_PASSWORD", "JOURNEY_PSEUDONYM_KEY"}


@pytest.mark.parametrize("value", ["", "nope", "-1", "0", "[]", "1 parsec", "a@b", "\n"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in SECRETS])
def test_an_error_of_any_setting_prints_no_secret_beside_it(secret, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert MARKER not in everything_said("query", "select 1")


@pytest.mark.parametrize("name", sorted(SECRETS))
@pytest.mark.parametrize("spelled", [str.upper, str.lower])
def test_an_error_of_a_secret_does_not_print_it(monkeypatch, name, spelled):
    monkeypatch.setenv(spelled(name), MARKER)
    monkeypatch.setenv("JOURNEY_KAFKA_SASL_MECHANISM", "PLAIN")
    said = everything_said("query", "select 1")
    assert MARKER not in said
    assert "JOURNEY_" in said


def test_a_key_that_is_too_short_is_named_and_not_shown(monkeypatch):
    monkeypatch.setenv("JOURNEY_PSEUDONYM_KEY", MARKER)
    done = journey("build")
    assert done.code == 2
    assert done.err.startswith("journey: JOURNEY_PSEUDONYM_KEY=(hidden): ")


@pytest.mark.parametrize("servers", [f"ann:{MARKER}@kafka:9092", f"sasl://ann:{MARKER}@kafka:9092,other:9092"])
def test_an_address_with_a_password_is_refused_and_not_shown(monkeypatch, servers):
    monkeypatch.setenv("JOURNEY_KAFKA_BOOTSTRAP_SERVERS", servers)
    said = everything_said("status")
    assert MARKER not in said
    assert "JOURNEY_KAFKA_SASL_USERNAME" in said


def test_what_a_library_quotes_of_a_secret_is_hidden(secret, monkeypatch):
    def refuse(*_, **__):
        raise Settings().refused(ValueError(f"SASL failed for ann with {LONG}"))

    monkeypatch.setattr("pipelines.cli.lake_status", refuse)
    done = journey("status")
    assert done.code == BrokerError.exit_code
    assert "(hidden)" in done.err
    assert MARKER not in done.err

    def break_down(*_, **__):
        raise ValueError(f"unforeseen {LONG}")

    monkeypatch.setattr("pipelines.cli.lake_status", break_down)
    for debug in ("", "1"):
        monkeypatch.setenv("JOURNEY_DEBUG", debug)
        done = journey("status")
        assert done.code == 70
        assert MARKER not in done.err
        assert ("Traceback" in done.err) == bool(debug)


def test_the_pseudonyms_do_not_show_their_key_and_another_key_is_another_source(secret, monkeypatch, tmp_path):
    monkeypatch.setenv("JOURNEY_PSEUDONYMISE", "email")
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(event("1", "2026-01-01 10:00", who={"email": "ann@example.com"})) + "\n")
    assert "Pseudonyms" in repr(Settings().pseudonyms)
    assert MARKER not in repr(Settings().pseudonyms)
    assert journey("build", "--events", str(file)).out.startswith("built")
    assert journey("build", "--events", str(file)).out.startswith("unchanged")
    monkeypatch.setenv("JOURNEY_PSEUDONYM_KEY", "another key of length")
    assert journey("build", "--events", str(file)).out.startswith("built")


def test_an_empty_secret_hides_nothing(monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "")
    assert concealed("an ordinary line") == "an ordinary line"
