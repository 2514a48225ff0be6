"""Kafka → lake, side by side in one run on this machine: `make bench-landing`, or `python -m benchmarks.landing`.

A broker of its own, one topic of two partitions, filled once with realistic events of about 550 bytes (zstd, as our
producer sends them). Each competitor runs in a process of its own, one after the other, `--rounds` times; the best
round counts, as noise only ever adds. Peak memory is the largest resident set, children included. Every lander must
have landed the same event ids. Machines differ and are noisy: only the ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from journey_core.events import EVENT
from journey_core.lake import Lake
from pipelines import broker, fetch
from pipelines.land import land
from pipelines.lean import leave_pandas_out
from pipelines.produce import create_topics
from pipelines.settings import Settings
from tests.kafka import two_free_ports

TOPIC = "events.web.v1"
PAGES = ("page_viewed", "product_viewed", "product_added", "checkout_started")


def fill(settings: Settings, count: int, poison: float = 0.0, topic: str = TOPIC, padding: int = 0) -> float:
    """Send `count` events, each with so many bytes of text more; returns their average size in bytes."""
    from confluent_kafka import Producer  # noqa: PLC0415 - only the parent needs it

    chance = random.Random(1)  # noqa: S311
    create_topics(settings, [topic])
    producer = Producer({**settings.librdkafka, "compression.type": "zstd", "linger.ms": 50, "batch.size": 256 * 1024})
    size = 0
    for number in range(count):
        value = one_event(chance, number, chance.randbytes(padding // 2).hex())
        size += len(value)
        if chance.random() < poison:
            cut = value[: chance.randrange(1, len(value))]
            value = chance.choice((cut, b"", None, value.replace(b'"web"', b'"fax"'), b"\xff" + value))
        while True:
            try:
                producer.produce(topic, value, key=b"%d" % (number % 100_000), partition=number % 2)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return size / count


def one_event(chance: random.Random, number: int, text: str = "") -> bytes:
    """A web event as a browser's SDK writes it."""
    context = {
        "session_id": f"s-{chance.getrandbits(48):012x}",
        "page": {
            "url": f"https://shop.example/products/{chance.randrange(5000)}",
            "referrer": "https://search.example/",
        },
        "device": {"type": chance.choice(("mobile", "desktop")), "os": "iOS", "browser": "Safari"},
        "geo": {"country": "ES", "city": "Málaga"},
    }
    properties = {"product_id": f"p{chance.randrange(5000)}", "revenue": "59.90", "currency": "EUR", "n": 1}
    made = {
        "event_id": f"{chance.getrandbits(96):024x}{number:08x}",
        "event_type": chance.choice(PAGES),
        "channel": "web",
        "occurred_at": f"2026-01-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:07.{number % 1000:03}Z",
        "sequence": number,
        "identifiers": {"anonymous_id": f"c-{chance.getrandbits(64):016x}", "customer_id": f"u{number % 100_000}"},
        "context": context,
        "properties": properties | ({"text": text} if text else {}),
    }
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()


def ours(settings: Settings, topic: str) -> int:
    return land(settings, topics=[topic]).records


def naive(settings: Settings, topic: str) -> int:
    """What one writes first: poll, pydantic per record, rows of dictionaries, pyarrow; no offsets, no second table."""
    with fetch.connect(settings) as client:
        found = client.describe(topic)
        whole = settings.model_copy(update={"land_batch_records": 50_000})
        total = 0
        for number, batch in enumerate(fetch.fetch(client, found, 0, dict(found.begins), whole)):
            rows = []
            for value in batch.records["value"].to_pylist():
                try:
                    rows.append(EVENT.validate_json(value or b"").model_dump(mode="json"))
                except ValueError:
                    rows.append({"event_id": None})
            for row in rows:
                for name in ("identifiers", "context", "properties"):
                    row[name] = json.dumps(row.get(name))
            settings.home.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), settings.home / f"{number}.parquet", compression="zstd")
            total += len(rows)
        return total


def ceiling(settings: Settings, topic: str) -> int:
    """The client alone: every record comes into Python, and nothing is done with it."""
    with fetch.connect(settings) as client:
        found = client.describe(topic)
        left = sum(found.ends.values()) - sum(found.begins.values())
        client.start(topic, found.begins, -1)
        total = 0
        while total < left:
            total += client.drain(10_000)
        return total


COMPETITORS = {
    "kafka-python alone (ceiling)": (ceiling, "kafka-python"),
    "journey land, kafka-python": (ours, "kafka-python"),
    "naive lander, kafka-python": (naive, "kafka-python"),
    "confluent-kafka alone (ceiling)": (ceiling, "confluent"),
    "journey land, confluent": (ours, "confluent"),
}


def event_ids(home: Path) -> tuple[int, int]:
    """How many event ids, and a number that tells one set of them from another."""
    files = [str(file) for file in home.glob("*.parquet")] or Lake(home / "lake").snapshot().files("events")
    with duckdb.connect() as connection:
        (found,) = connection.execute(
            f"select count(event_id), bit_xor(hash(event_id))::varchar from read_parquet({files})"
        ).fetchall()
    return found


def run_one(name: str, servers: str, topic: str, home: Path) -> None:
    leave_pandas_out()  # as `journey` does
    run, client = COMPETITORS[name]
    settings = Settings(home=home, kafka_client=client, kafka_bootstrap_servers=servers)
    largest = [0]
    threading.Thread(target=watch_memory, args=[largest], daemon=True).start()
    began, used = time.perf_counter(), time.process_time()
    records = run(settings, topic)
    seconds, busy = time.perf_counter() - began, time.process_time() - used
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy += children.ru_utime + children.ru_stime
    peak = largest[0] / 1024**2
    print(json.dumps({"records": records, "seconds": seconds, "cpu": busy, "peak": peak}))


def watch_memory(largest: list[int]) -> None:
    """Largest resident set so far, children included. The system's own figure begins with the parent's at the fork."""
    me = psutil.Process()
    while True:
        with suppress(psutil.Error):
            largest[0] = max(largest[0], sum(each.memory_info().rss for each in (me, *me.children())))
        time.sleep(0.1)


def measure(name: str, servers: str, topic: str, home: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.landing", "--one", name, servers, topic, str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and not done.stdout:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[0])
    if COMPETITORS[name][0] is not ceiling:
        found["ids"] = event_ids(home)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--poison", type=float, default=0.01, help="share of broken records in a second topic")
    parser.add_argument("--padding", type=int, default=0, help="bytes of text that each event has more, at most 900000")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, servers, topic, home = asked.one
        run_one(name, servers, topic, Path(home))
        return
    console = Console()
    with tempfile.TemporaryDirectory(prefix="journey-bench-") as folder:
        root = Path(folder)
        settings = Settings(home=root, broker_port=two_free_ports(), kafka_bootstrap_servers=None)
        broker.start(settings)
        try:
            size = fill(settings, asked.events, padding=asked.padding)
            fill(settings, asked.events, asked.poison, "events.poison.v1", asked.padding)
            compare(console, settings, asked, root, size)
        finally:
            broker.stop(settings)


def compare(console: Console, settings: Settings, asked: argparse.Namespace, root: Path, size: float) -> None:
    servers = ",".join(settings.bootstrap_servers)
    runs = [(name, TOPIC) for name in COMPETITORS]
    runs += [(name, "events.poison.v1") for name, (run, _) in COMPETITORS.items() if run is ours]
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for number in range(asked.rounds):
        for key in runs:
            name, topic = key
            found = measure(name, servers, topic, root / f"{number}-{runs.index(key)}")
            if key not in best or found["seconds"] < best[key]["seconds"]:
                best[key] = found
    landed = {found["ids"] for (_, topic), found in best.items() if topic == TOPIC and "ids" in found}
    table = Table(title=f"{asked.events:,} events of {size:.0f} bytes, best of {asked.rounds} rounds")
    for column in ("", "events/s", "of its client's ceiling", "CPU µs/event", "peak MB"):
        table.add_column(column, justify="left" if not column else "right")
    for (name, topic), found in best.items():
        client = COMPETITORS[name][1]
        top = next(best[other, TOPIC] for other, (run, of) in COMPETITORS.items() if run is ceiling and of == client)
        rate, limit = found["records"] / found["seconds"], top["records"] / top["seconds"]
        label = name if topic == TOPIC else f"{name}, {asked.poison:.0%} poison"
        table.add_row(
            label,
            f"{rate:,.0f}",
            f"{rate / limit:.2f}",
            f"{found['cpu'] / found['records'] * 1e6:.1f}",
            f"{found['peak']:,.0f}",
        )
    console.print(table)
    console.print(f"every lander has landed the same event ids: {'yes' if len(landed) == 1 else 'NO'}")
    if len(landed) != 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
