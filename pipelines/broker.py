"""`journey broker start|stop|status`: one real Apache Kafka (KRaft, one node) for laptops, demos and tests.

The jars come from Maven into the user's cache, the data and the log lie under `JOURNEY_HOME/broker`. Where
`JOURNEY_KAFKA_BOOTSTRAP_SERVERS` is set that cluster is used instead, and nothing is started here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from platformdirs import user_cache_path

from journey_core.errors import BrokerError, StorageError
from pipelines.progress import Progress, silent
from pipelines.settings import Settings

POM = Path(__file__).with_name("broker_pom.xml")
STARTS_WITHIN = 60.0  # seconds; a cold start takes 5 to 10 on two cores
STOPS_WITHIN = 30.0  # seconds; after that the broker is killed, and recovers its log at the next start

# Records stay until somebody deletes them: simulated and replayed events are older than any retention, and a laptop's
# lake must never find a gap because a weekend passed.
SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
log.retention.ms=-1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""

LOG4J = """\
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %-5p %c{1} - %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""


@dataclass(frozen=True)
class BrokerStatus:
    """Whether the cluster answers, and where. `pid` is None for a cluster that we did not start."""

    running: bool
    bootstrap_servers: str
    pid: int | None = None
    log: Path | None = None

    def __str__(self) -> str:
        if not self.running:
            return f"no broker answers at {self.bootstrap_servers}. Run: journey broker start"
        if self.pid is None:
            return f"broker answers at {self.bootstrap_servers} (not started by journey)"
        return f"broker answers at {self.bootstrap_servers} (pid {self.pid}, log {self.log})"


def start(settings: Settings, progress: Progress = silent) -> BrokerStatus:
    """Start the local broker and wait until it answers. Already running: nothing changes.

    Raises BrokerError where Java or Maven is missing, the port is taken, or Kafka does not come up.
    """
    if settings.kafka_bootstrap_servers:
        return _require_answer(settings)
    home = settings.home / "broker"
    with _broker_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        # One starter at a time: the second one finds a broker that runs.
        with FileLock(home / "lock", timeout=2 * STARTS_WITHIN):
            return _start(settings, home, progress)


def _start(settings: Settings, home: Path, progress: Progress) -> BrokerStatus:
    ours = _process(settings)
    if ours is not None:
        if _answers(settings, within=10.0):
            return status(settings)
        raise BrokerError(
            f"this home's broker runs already (pid {ours.pid}), but not at port {settings.broker_port}; see "
            f"{home / 'server.properties'}. Run: journey broker stop, or set JOURNEY_BROKER_PORT to its port"
        )
    for port in (settings.broker_port, settings.broker_port + 1):
        _require_free(port)
    java = _java()
    jars = _jars(progress)
    command = _prepare(home, settings.broker_port, java, jars)
    progress("starting Apache Kafka", 0, None)
    with (home / "broker.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    (home / "pid").write_text(f"{process.pid} {psutil.Process(process.pid).create_time()}")
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _answers(settings, within=1.0):
            return status(settings)
    if process.poll() is None:
        process.kill()
    (home / "pid").unlink(missing_ok=True)
    raise BrokerError(f"Kafka did not start. The end of {home / 'broker.log'}:\n{_tail(home / 'broker.log')}")


def stop(settings: Settings) -> BrokerStatus:
    """Stop the broker that `start` started, cleanly where it lets us. Not running: nothing changes."""
    process = None if settings.kafka_bootstrap_servers else _process(settings)
    if process is not None:
        process.terminate()
        try:
            process.wait(STOPS_WITHIN)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOPS_WITHIN)
        (settings.home / "broker" / "pid").unlink(missing_ok=True)
    return BrokerStatus(False, ",".join(settings.bootstrap_servers))


def status(settings: Settings) -> BrokerStatus:
    """Whether the configured cluster answers now."""
    process = None if settings.kafka_bootstrap_servers else _process(settings)
    return BrokerStatus(
        running=_answers(settings, within=2.0),
        bootstrap_servers=",".join(settings.bootstrap_servers),
        pid=process.pid if process else None,
        log=settings.home / "broker" / "broker.log" if process else None,
    )


@contextmanager
def _broker_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{home} cannot be used: {error}. Check JOURNEY_HOME and its permissions") from error


def _require_answer(settings: Settings) -> BrokerStatus:
    answer = status(settings)
    if not answer.running:
        raise BrokerError(
            f"no broker answers at {answer.bootstrap_servers} (JOURNEY_KAFKA_BOOTSTRAP_SERVERS). "
            "Check the address and the JOURNEY_KAFKA_* security settings, or unset it to use the local broker"
        )
    return answer


def _answers(settings: Settings, within: float) -> bool:
    deadline = time.monotonic() + within
    while not settings.kafka_bootstrap_servers and not _is_listening(settings.broker_port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    try:
        with KafkaAdminClient(**settings.kafka, bootstrap_timeout_ms=round(within * 1000)) as admin:
            return bool(admin.describe_cluster()["brokers"])
    except (KafkaError, OSError):
        return False


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _require_free(port: int) -> None:
    if _is_listening(port):
        raise BrokerError(
            f"port {port} is in use by another program (a broker takes its port and the next). "
            "Choose another: JOURNEY_BROKER_PORT=19092 journey broker start"
        )


def _process(settings: Settings) -> psutil.Process | None:
    """Our broker's process; None where it is gone, or its pid belongs to somebody else by now."""
    try:
        pid, created = (settings.home / "broker" / "pid").read_text().split()
        process = psutil.Process(int(pid))
        is_ours = process.create_time() == float(created) and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
    return process if is_ours else None


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    remedy = (
        "Install Java 17 or newer (Debian: apt install openjdk-17-jre-headless; macOS: brew install openjdk), or set "
        "JOURNEY_KAFKA_BOOTSTRAP_SERVERS to a cluster that you have"
    )
    if java is None or not Path(java).exists():
        raise BrokerError(f"Kafka needs Java, and there is no `java` on PATH nor in JAVA_HOME. {remedy}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version is None or int(version[1]) < 17:
        raise BrokerError(f"Kafka needs Java 17 or newer; {java} says: {said.strip() or 'nothing'}. {remedy}")
    return java


def _jars(progress: Progress) -> Path:
    """The folder of Kafka's jars, fetched once per content of the POM."""
    jars = user_cache_path("journey") / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if jars.exists():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(
            "Apache Kafka is fetched by Maven, and there is no `mvn` on PATH. Install it (Debian: apt install maven; "
            "macOS: brew install maven), or set JOURNEY_KAFKA_BOOTSTRAP_SERVERS to a cluster that you have"
        )
    progress("fetching Apache Kafka with Maven (44 MB, once)", 0, None)
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}/jars", "-DincludeScope=runtime"]
        done = subprocess.run([maven, "-q", "-B", "-f", str(POM), *goal], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerError(f"Maven could not fetch Apache Kafka:\n{(done.stdout + done.stderr)[-2000:]}")
        try:
            Path(folder, "jars").rename(jars)
        except OSError:
            if not jars.exists():  # else another process has fetched the same jars meanwhile
                raise
    return jars


def _prepare(home: Path, port: int, java: str, jars: Path) -> list[str]:
    """Write the configuration, format the storage once, and return the command that runs Kafka."""
    properties = SERVER_PROPERTIES.format(port=port, controller_port=port + 1, data=(home / "data").resolve())
    (home / "server.properties").write_text(properties)
    (home / "log4j2.properties").write_text(LOG4J)
    run = [java, "-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}"]
    run += ["-cp", f"{jars}/*"]
    if not (home / "data" / "meta.properties").exists():
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # With `=`: one id in 64 begins with a dash, and would be read as an option.
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", f"--cluster-id={cluster_id}", "-c"]
        done = subprocess.run(
            [*run, *tool, str(home / "server.properties")], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BrokerError(f"Kafka's storage under {home / 'data'} cannot be prepared:\n{done.stdout}{done.stderr}")
    return [*run, "kafka.Kafka", str(home / "server.properties")]


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
