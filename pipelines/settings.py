"""Every `JOURNEY_*` variable, its default and its unit. Values are read from the environment when asked for."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from unicodedata import category

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from journey_core.contract import CLOCK_TOLERANCE, FUTURE_TOLERANCE
from journey_core.documents import parse_duration
from journey_core.erasures import Erasures
from journey_core.errors import BrokerError
from journey_core.identity import Identity
from journey_core.modes import PRIVATE
from journey_core.pseudonyms import Pseudonyms
from journey_core.query import Limits
from journey_core.taxonomy import load_taxonomy
from journey_core.warehouse import Warehouse

#: delta-rs reads these characters as parts of a URL, and would look elsewhere or panic.
_IN_URLS = "[]?#%\\^|"


def _usable_path(path: Path) -> Path:
    """The path, if every library that gets it finds the same folder there."""
    if any(character in str(path.absolute()) for character in _IN_URLS):
        raise ValueError(f"the path may not contain any of {' '.join(_IN_URLS)}")
    if any(category(character) in ("Cc", "Cs") for character in str(path)):
        raise ValueError("the path may not contain control characters, line breaks or bytes that are no text")
    if str(path).startswith("~"):  # a shell would have put the folder in its place, and DuckDB does it later
        raise ValueError("write the folder itself, or $HOME, in the place of ~")
    if path.parts[:1] and path.parts[0].endswith(":"):
        raise ValueError(f"`{path.parts[0]}` would be read as the kind of a URL. Write an absolute path")
    return path


def _written_duration(value: Any) -> Any:
    """`20 seconds`, as everywhere in this project; an ISO 8601 duration is read too."""
    return value if isinstance(value, timedelta) or str(value).startswith("P") else parse_duration(value)


def _written_mode(value: Any) -> Any:
    """`0640`, in octal digits; the owner can always read and write."""
    if isinstance(value, int):
        return value
    if not re.fullmatch("0?6[04][04]", str(value)):
        raise ValueError("write who may read as chmod does: 0600, 0640 or 0644")
    return int(value, 8)


def _without_users(servers: str | None) -> str | None:
    if servers is not None and "@" in servers:
        raise ValueError(
            "write host:port, without a user or password: those belong in JOURNEY_KAFKA_SASL_USERNAME and _PASSWORD"
        )
    return servers


Duration = Annotated[timedelta, BeforeValidator(_written_duration)]


class Settings(BaseSettings):
    """The settings of one command. `JOURNEY_HOME=/data journey build` sets `home`; every field works alike."""

    model_config = SettingsConfigDict(
        env_prefix="JOURNEY_", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    home: Annotated[Path, AfterValidator(_usable_path)] = Field(
        Path(".journey"), description="Where everything lies: lake, warehouse, releases, broker data."
    )
    taxonomy: str = Field("retail", description="Name of a shipped taxonomy, or the path of a YAML file.")

    kafka_bootstrap_servers: Annotated[str | None, AfterValidator(_without_users)] = Field(
        None, description="host:port, comma separated. Unset: the local broker of `journey broker start`."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
    )
    kafka_sasl_mechanism: str | None = Field(None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, ...")
    kafka_sasl_username: str | None = Field(None, description="User name for SASL.")
    kafka_sasl_password: SecretStr | None = Field(None, description="Password for SASL.")
    kafka_ssl_cafile: FilePath | None = Field(None, description="PEM file of the authorities that signed the broker.")
    kafka_ssl_certfile: FilePath | None = Field(None, description="PEM file of the client's certificate.")
    kafka_ssl_keyfile: FilePath | None = Field(None, description="PEM file of the client's key.")
    kafka_timeout: Duration = Field(
        timedelta(seconds=20), description="How long to wait for a broker before saying that there is none."
    )
    broker_port: int = Field(
        9092, ge=1, le=65534, description="Port of the local broker; its controller takes the next."
    )
    topic_partitions: int = Field(2, ge=1, description="Partitions of a topic that a producer has to create.")

    kafka_client: Literal["kafka-python", "confluent"] = Field(
        "kafka-python", description="kafka-python, or confluent: several times as fast, needs the extra `confluent`."
    )
    kafka_group: str = Field(
        "journey", min_length=1, description="Consumer group under which Kafka's tools see how far the lake is."
    )

    land_batch_records: int = Field(30_000, ge=1, description="Records per lake commit, at most: bounds memory.")
    land_batch_bytes: int = Field(
        16 * 1024 * 1024, ge=1, description="Bytes of records per lake commit, about: bounds memory."
    )
    land_apart_from: int = Field(
        50_000,
        ge=0,
        description="Where so many records wait, kafka-python reads them in a process of its own.",
    )
    land_patience: Duration = Field(
        timedelta(seconds=60), description="How long a running landing waits for a broker that has gone away."
    )
    lake_keep: Duration = Field(
        timedelta(days=7),
        ge=timedelta(hours=1),
        description="How long `journey compact` keeps files that a reader may still hold.",
    )
    max_lag: int | None = Field(
        None, ge=0, description="Offsets that a partition may be behind before `journey status` exits 1. Unset: any."
    )
    future_tolerance: Duration = Field(
        FUTURE_TOLERANCE,
        description="An event dated further after its landing, by the lander's clock, is `occurred_in_future`.",
    )
    clock_tolerance: Duration = Field(
        CLOCK_TOLERANCE,
        ge=timedelta(0),
        description="Up to this difference of `received_at` and `sent_at` is transit; beyond, the device's clock is "
        "wrong and `occurred_at` is corrected. Decided at landing: what is landed stays as it is.",
    )

    pseudonymise: str | None = Field(
        None,
        description="Namespaces whose identifiers are landed as HMAC-SHA-256, comma separated, as `email,phone`. "
        "Set it before the first landing: what is landed already stays as it is.",
    )
    pseudonym_key: SecretStr | None = Field(
        None, min_length=16, description="The secret of the pseudonyms. Keep it: another one knows nobody again."
    )

    erasure_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="The secret of erased people's fingerprints. Without it they are hashed slowly instead.",
    )

    duckdb_memory_limit: str = Field(
        "8GB", pattern=r"(?i)^\d+(\.\d+)? ?(B|[KMGT]i?B|%)$", description="DuckDB spills to disk above this."
    )
    duckdb_threads: int | None = Field(None, ge=1, description="DuckDB threads. Unset: all cores.")
    query_timeout: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="How long `journey query` may take."
    )
    releases_mode: Annotated[int, BeforeValidator(_written_mode)] = Field(
        PRIVATE,
        description="Who may read a published release, as chmod writes it: 0600, 0640 or 0644. Directories get an x "
        "for each r; nothing published can be written. All else under JOURNEY_HOME is its owner's alone.",
    )
    releases_kept: int = Field(10, ge=2, description="How many releases stay on disk, the current one included.")

    debug: bool = Field(False, description="Print the traceback of an error that nobody has foreseen.")

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and self.kafka_sasl_mechanism is None:
            raise ValueError("JOURNEY_KAFKA_SECURITY_PROTOCOL=SASL_* needs JOURNEY_KAFKA_SASL_MECHANISM")
        needs_password = (self.kafka_sasl_mechanism or "").startswith(("PLAIN", "SCRAM"))
        if needs_password and not (self.kafka_sasl_username and self.kafka_sasl_password):
            raise ValueError("PLAIN and SCRAM need JOURNEY_KAFKA_SASL_USERNAME and JOURNEY_KAFKA_SASL_PASSWORD")
        return self

    @model_validator(mode="after")
    def _pseudonyms_have_a_secret(self) -> Self:
        if self.pseudonymise is not None and self.pseudonym_key is None:
            raise ValueError("JOURNEY_PSEUDONYMISE needs JOURNEY_PSEUDONYM_KEY, a secret of 16 characters or more")
        return self

    @cached_property
    def pseudonyms(self) -> Pseudonyms | None:
        """Which identifiers are hidden, and how; None where none are."""
        if self.pseudonymise is None or self.pseudonym_key is None:
            return None
        names = frozenset(name.strip() for name in self.pseudonymise.split(",") if name.strip())
        return Pseudonyms(names, self.pseudonym_key.get_secret_value(), self.identity)

    @cached_property
    def identity(self) -> Identity:
        """How identifiers are normalised, as the taxonomy says. Raises TaxonomyError where it cannot be read."""
        return load_taxonomy(self.taxonomy).identity

    def by_taxonomy(self, named: str) -> Settings:
        """These settings with another taxonomy, a shipped one's name or a YAML file."""
        others = self.model_copy(update={"taxonomy": named})
        for known in ("identity", "pseudonyms"):  # what the former taxonomy said
            others.__dict__.pop(known, None)
        return others

    @property
    def lake(self) -> Path:
        """The lake's folder."""
        return self.home / "lake"

    @property
    def erasures(self) -> Path:
        """The file of erased people's fingerprints."""
        return self.home / "lake" / "erased.json"

    def read_erasures(self) -> Erasures:
        """Who was erased. Raises DamagedError, or InputError where `erasure_key` is not the one of then."""
        key = None if self.erasure_key is None else self.erasure_key.get_secret_value()
        return Erasures.read(self.erasures, key)

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that builds write."""
        return self.home / "warehouse.duckdb"

    @property
    def releases(self) -> Path:
        """The folder of published releases."""
        return self.home / "releases"

    @property
    def rejected(self) -> Path:
        """The folder of rows that `journey produce` could not send."""
        return self.home / "rejected"

    @property
    def checks(self) -> Path:
        """The folder of check results and their Data Docs, one sub-folder per build."""
        return self.home / "checks"

    @cached_property
    def bootstrap_servers(self) -> list[str]:
        """The cluster's addresses."""
        servers = self.kafka_bootstrap_servers or f"127.0.0.1:{self.broker_port}"
        return [server.strip() for server in servers.split(",")]

    @property
    def kafka_timeout_ms(self) -> int:
        """`kafka_timeout` in milliseconds."""
        return round(self.kafka_timeout.total_seconds() * 1000)

    @property
    def kafka(self) -> dict[str, Any]:
        """Connection arguments that every kafka-python client takes."""
        security = {
            "security_protocol": self.kafka_security_protocol,
            "sasl_mechanism": self.kafka_sasl_mechanism,
            "sasl_plain_username": self.kafka_sasl_username,
            "sasl_plain_password": self.kafka_sasl_password and self.kafka_sasl_password.get_secret_value(),
            "ssl_cafile": self.kafka_ssl_cafile and str(self.kafka_ssl_cafile),
            "ssl_certfile": self.kafka_ssl_certfile and str(self.kafka_ssl_certfile),
            "ssl_keyfile": self.kafka_ssl_keyfile and str(self.kafka_ssl_keyfile),
        }
        return {"bootstrap_servers": self.bootstrap_servers} | {k: v for k, v in security.items() if v is not None}

    @property
    def librdkafka(self) -> dict[str, Any]:
        """Connection arguments that every confluent-kafka client takes."""
        security = {
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password and self.kafka_sasl_password.get_secret_value(),
            "ssl.ca.location": self.kafka_ssl_cafile and str(self.kafka_ssl_cafile),
            "ssl.certificate.location": self.kafka_ssl_certfile and str(self.kafka_ssl_certfile),
            "ssl.key.location": self.kafka_ssl_keyfile and str(self.kafka_ssl_keyfile),
            "log_level": 0,  # what goes wrong is told by the error that ends the run
        }
        servers = {"bootstrap.servers": ",".join(self.bootstrap_servers)}
        return servers | {name: value for name, value in security.items() if value is not None}

    def open_warehouse(self) -> Warehouse:
        """The warehouse of this `home`."""
        return Warehouse(self.warehouse, memory_limit=self.duckdb_memory_limit, threads=self.duckdb_threads)

    @property
    def query_limits(self) -> Limits:
        """What `journey query` may use."""
        return Limits(self.duckdb_memory_limit, self.duckdb_threads, self.query_timeout, self.home)

    def refused(self, error: BaseException) -> BrokerError:
        """What to say of a Kafka error: nobody answers, or somebody refuses."""
        servers = ",".join(self.bootstrap_servers)
        said = f"{type(error).__name__}: {error}"
        if type(error).__name__ not in (
            "KafkaConnectionError",
            "KafkaTimeoutError",
            "NodeNotReadyError",
            "TimeoutError",
        ):
            return BrokerError(f"Kafka at {servers} refuses: {said}")
        secured = "" if self.kafka_security_protocol == "PLAINTEXT" else ", check the JOURNEY_KAFKA_* security settings"
        return BrokerError(
            f"no Kafka broker answers at {servers} ({said}). "
            f"Run: journey broker start, or set JOURNEY_KAFKA_BOOTSTRAP_SERVERS{secured}"
        )


#: The variables whose values are never printed.
SECRETS = frozenset(
    f"JOURNEY_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if SecretStr in get_args(field.annotation)
)
_HIDDEN = "(hidden)"


def what_is_wrong(error: ValidationError) -> str:
    """The first thing that is wrong with the settings: the variable, its value unless it is a secret, and why."""
    first = error.errors(include_url=False)[0]
    said = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return said
    name = f"JOURNEY_{str(first['loc'][0]).upper()}"
    # Whoever writes an @ into an address writes a password before it.
    is_hidden = name in SECRETS or (name == "JOURNEY_KAFKA_BOOTSTRAP_SERVERS" and "@" in str(first["input"]))
    value = _HIDDEN if is_hidden else str(first["input"]).replace("\n", "\\n")
    return f"{name}={value}: {said}"


def concealed(text: str) -> str:
    """The text without the values of secret settings: a library's error may quote what it was given."""
    for name, value in os.environ.items():
        if name.upper() in SECRETS and len(value) > 3:  # what is shorter stands in every text
            text = text.replace(value, _HIDDEN)
    return text
