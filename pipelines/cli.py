"""`journey <verb>`: parses, calls, prints one line. Data goes to stdout, talk to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from journey_core.errors import InputError
from journey_core.logs import Record, read_log
from journey_core.query import query_release
from journey_core.release import current_release
from pipelines import broker as local_broker
from pipelines.build import build as build_tables
from pipelines.check import check as check_tables
from pipelines.check import require_passed
from pipelines.compact import compact as compact_lake
from pipelines.demo import run_demo
from pipelines.door import require_consent, run, say, say_json, say_result, shown, talk
from pipelines.erase import erase as erase_person
from pipelines.erase import export as export_person
from pipelines.explain import explain_funnel
from pipelines.land import land as land_events
from pipelines.lean import leave_pandas_out
from pipelines.produce import Produced, send, write_jsonl
from pipelines.produce import produce as produce_log
from pipelines.publish import publish as publish_tables
from pipelines.replay import replay_rejected as replay
from pipelines.settings import Settings
from pipelines.simulate import simulate as simulate_shop
from pipelines.status import status as lake_status
from pipelines.tables import json_parts, rows_as_json, rows_as_text
from pipelines.verify import verify as verify_home

app = typer.Typer(
    help="Multi-channel customer events in; stage-labelled journeys and funnel-drop tables out.\n\n"
    "The path: simulate or produce → land → build → check → publish → query. Everything lies under JOURNEY_HOME "
    "(default ./.journey). `journey demo` runs all of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
broker = typer.Typer(help="A real local Apache Kafka, for laptops, demos and tests.", no_args_is_help=True)
app.add_typer(broker, name="broker")


def _version(asked: bool) -> None:
    if asked:
        say(f"journey {version('journey-pipeline')}")
        raise typer.Exit


@app.callback()
def journey(
    _: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")] = False,
) -> None: ...


NewLake = Annotated[
    bool, typer.Option("--new-lake", help="Begin a new lake although this home had one: it is lost for good.")
]
AnotherTaxonomy = Annotated[
    str | None, typer.Option("--taxonomy", help="Decides what is theirs. By default that of the last build.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@broker.command("start")
def broker_start(as_json: Json = False) -> None:
    """Start Apache Kafka and wait until it answers (fetched by Maven once; needs Java 17 or newer)."""
    with shown() as progress:
        status = local_broker.start(Settings(), progress)
    say_result(status, as_json)


@broker.command("stop")
def broker_stop(as_json: Json = False) -> None:
    """Stop the broker that `start` started; its topics stay on disk."""
    status = local_broker.stop(Settings())
    say_result(status, as_json, text="stopped: no broker of this home runs")


@broker.command("status")
def broker_status(as_json: Json = False) -> None:
    """Say whether a broker answers, and where. Exit 1 if none does."""
    status = local_broker.status(Settings())
    say_result(status, as_json)
    if not status.running:
        raise typer.Exit(1)


@app.command()
def simulate(
    customers: Annotated[int, typer.Option(min=1, help="How many people.")] = 1000,
    days: Annotated[
        int, typer.Option(min=14, max=3650, help="How many, from 2026-01-01; over 90 end on 2026-03-31.")
    ] = 90,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    out: Annotated[Path | None, typer.Option(help="Write a JSONL file instead of producing to Kafka.")] = None,
    as_json: Json = False,
) -> None:
    """Simulate a believable shop with planted causes of abandonment → Kafka, and a manifest of the truth.

    Example: journey simulate --customers 200 --out shop.jsonl
    """
    settings = Settings()
    manifest = settings.home / "simulation" / "manifest.json" if out is None else out.with_suffix(".manifest.json")
    with shown() as progress:
        progress("simulating", 0, None)
        simulation = simulate_shop(customers, days, seed)
        aside = manifest.with_name(f".{manifest.name}")
        with _file_errors(out or manifest):
            # First, where nothing is sent yet: a home that cannot be written must not leave records in Kafka.
            if out is None:
                aside.parent.mkdir(parents=True, exist_ok=True)
            aside.write_text(simulation.manifest.to_json() + "\n")
        if out is None:
            send(simulation.records, settings, total=len(simulation.records), progress=progress)
        else:
            with _file_errors(out):
                write_jsonl(simulation.records, out)
        with _file_errors(manifest):
            aside.replace(manifest)
    talk.print(f"manifest: {manifest}")
    say_result(simulation.manifest, as_json)


@app.command()
def produce(
    file: Annotated[Path, typer.Argument(help="A CSV, TSV, Parquet, JSONL or JSON log; text may be .gz or .zst.")],
    mapping: Annotated[Path, typer.Option(help="A shipped mapping's name, or a YAML file: field → SQL expression.")],
    out: Annotated[Path | None, typer.Option(help="Write a JSONL file instead of producing to Kafka.")] = None,
    as_json: Json = False,
) -> None:
    """Turn any log into canonical events, by a mapping → Kafka.

    A mapping is YAML. It has an SQL expression over the file's columns for each field of the event:

    \b
    mapping: shop
    timezone: Europe/Madrid          # of times without an offset; without it they are refused
    reader: {delimiter: ";", encoding: latin-1, date_order: dmy}
    where: status <> 'test'          # rows to keep
    each: {item: items}              # one event per member of a list
    fields:
      event_id: order_id || '-' || item_number
      event_type: "'product_added'"
      channel: "'web'"
      occurred_at: created_at        # or epoch_s(ts), epoch_ms(ts), epoch_us(ts)
      identifiers: {customer_id: user.id}
      properties: {product_id: item.sku, revenue: properties.revenue, page: "lookup(params, 'page')"}

    Text files are read as text: a value has the type that the mapping gives it. A row that becomes no valid event is
    written to OUT.rejected.jsonl (without --out: JOURNEY_HOME/rejected/) with its line and the reason; the others go
    on. Exit 1 where nothing is accepted. All of it: docs/recipes/mapping.md.

    Example: journey produce loans.parquet --mapping loan_application
    """
    settings = Settings()
    is_file = out is not None and (out.is_file() or not out.exists())
    rejected = out.with_suffix(".rejected.jsonl") if out and is_file else settings.rejected / f"{file.name}.jsonl"
    for written in (out, rejected):
        if written is not None and written.resolve() in (file.resolve(), mapping.resolve()):
            raise InputError(f"{written} would overwrite what it is made from. Give --out another name")
    log = read_log(file, mapping)
    with shown() as progress, _file_errors(out or rejected):
        if not is_file:
            rejected.parent.mkdir(parents=True, exist_ok=True)

        def deliver(records: Iterable[Record]) -> Produced:
            if out is not None:
                return write_jsonl(records, out)
            return send(records, settings, total=log.rows, progress=progress)

        produced = produce_log(log, rejected, deliver)
    say_result(produced, as_json)


@app.command()
def land(
    max_events: Annotated[int | None, typer.Option(min=1, help="Land at most so many records.")] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Only this topic; may be given several times.")] = None,
    accept_gap: Annotated[
        bool,
        typer.Option("--accept-gap", help="Go on behind records that Kafka has lost; lake.landing_gaps keeps account."),
    ] = False,
    new_lake: NewLake = False,
    as_json: Json = False,
) -> None:
    """Land Kafka's events in the lake, up to the end offsets seen at the start.

    Example: journey land --max-events 100000
    """
    with shown() as progress:
        landed = land_events(
            Settings(),
            topics=topic,
            max_events=max_events,
            accept_gap=accept_gap,
            new_lake=new_lake,
            progress=progress,
        )
    say_result(landed, as_json)


@app.command()
def status(
    max_lag: Annotated[int | None, typer.Option(min=0, help="Offsets that a partition may be behind.")] = None,
    as_json: Json = False,
) -> None:
    """Say how far the lake is behind Kafka, per partition. Exit 1 if more than --max-lag, or JOURNEY_MAX_LAG.

    Example: journey status --max-lag 100000
    """
    found = lake_status(Settings(), max_lag=max_lag)
    say_result(found, as_json)
    if found.is_behind:
        raise typer.Exit(1)


@app.command("replay-rejected")
def replay_rejected(as_json: Json = False) -> None:
    """Judge the rejected records again, after the contract has changed; what keeps it now becomes an event."""
    with shown() as progress:
        progress("replaying", 0, None)
        replayed = replay(Settings())
    say_result(replayed, as_json)


@app.command()
def compact(as_json: Json = False) -> None:
    """Rewrite the lake's many small files into few large ones, sorted by time; no row changes."""
    with shown() as progress:
        progress("compacting", 0, None)
        compacted = compact_lake(Settings())
    say_result(compacted, as_json)


@app.command()
def build(
    full: Annotated[
        bool, typer.Option("--full", help="Build everything anew, also in the place of a damaged warehouse.")
    ] = False,
    as_of: Annotated[str | None, typer.Option(help="Know nothing after this instant, as 2026-03-31T00:00:00Z.")] = None,
    events: Annotated[
        Path | None,
        typer.Option(help="Build from a file of events (JSON lines or array, .gz, .zst, Parquet), not the lake."),
    ] = None,
    taxonomy: Annotated[str | None, typer.Option(help="A shipped taxonomy's name, or a YAML file.")] = None,
    new_lake: NewLake = False,
    as_json: Json = False,
) -> None:
    """Build journeys and funnels from the lake (or straight from a file, with no broker).

    Example: journey build --events shop.jsonl --taxonomy retail
    """
    with shown() as progress:
        built = build_tables(
            Settings(),
            events=events,
            taxonomy=taxonomy,
            as_of=_instant(as_of),
            full=full,
            new_lake=new_lake,
            progress=progress,
            say=talk.print,
        )
        for warning in built.warnings:
            talk.print(f"warning: {warning}")
    say_result(built, as_json)


@app.command()
def verify(as_json: Json = False) -> None:
    """Compare every file of lake, warehouse and releases with its checksum. Exit 1 if one is damaged, with its remedy.

    Example: journey verify
    """
    with shown() as progress:
        verified = verify_home(Settings(), progress=progress)
    say_result(verified, as_json)
    if verified.damaged:
        raise typer.Exit(1)


@app.command()
def erase(
    customer: Annotated[str | None, typer.Option(help="Their customer_id.")] = None,
    identifier: Annotated[str | None, typer.Option(help="Any identifier of theirs, as email=ann@example.com.")] = None,
    taxonomy: AnotherTaxonomy = None,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking: for scripts.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a person: their whole component leaves the lake, the warehouse, every release and the identity history.

    Says first what it will touch, and by which taxonomy it knows what is theirs; then it asks.

    Example: journey erase --identifier email=ann@example.com
    """
    who = _who(customer, identifier)
    with ExitStack() as bars:
        bar = [bars.enter_context(shown())]

        def consent(touched: object) -> None:
            bars.close()  # a bar that is drawn would hide the question
            require_consent(f"{touched}. It cannot be undone.", yes=yes)
            bar[0] = bars.enter_context(shown())

        def progress(label: str, done: int, total: int | None) -> None:
            bar[0](label, done, total)

        erased = erase_person(Settings(), who, taxonomy=taxonomy, consent=consent, progress=progress)
    say_result(erased, as_json)


@app.command()
def export(
    customer: Annotated[str | None, typer.Option(help="Their customer_id.")] = None,
    identifier: Annotated[str | None, typer.Option(help="Any identifier of theirs, as email=ann@example.com.")] = None,
    taxonomy: AnotherTaxonomy = None,
) -> None:
    """Print what is held of a person, as JSON lines: events, journeys, identifiers, ...

    Example: journey export --customer ann > ann.jsonl
    """
    for line in export_person(Settings(), _who(customer, identifier), taxonomy=taxonomy):
        say_json(line)


def _who(customer: str | None, identifier: str | None) -> str:
    if (customer is None) == (identifier is None):
        raise InputError("say who: --customer ID, or --identifier NAMESPACE=VALUE")
    if identifier is not None and "=" not in identifier:
        raise InputError(f"--identifier {identifier}: write NAMESPACE=VALUE, as email=ann@example.com")
    return customer if customer is not None else str(identifier)


@app.command()
def check(as_json: Json = False) -> None:
    """Check every table's contract with Great Expectations. Exit 1 if one is broken."""
    with shown() as progress:
        result = check_tables(Settings(), progress=progress)
    say_result(result, as_json)
    require_passed(result)


@app.command()
def publish(
    accept_rejected: Annotated[
        bool, typer.Option("--accept-rejected", help="Publish even if most records are rejected.")
    ] = False,
    accept_shrinking: Annotated[
        bool,
        typer.Option(
            "--accept-shrinking", help="Publish even if most customers of the current release are lost: a new source."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish the checked build as an immutable release of plain Parquet.

    Exit 1 if most records are rejected, or most customers of the current release would be lost.
    """
    say_result(
        publish_tables(Settings(), accept_rejected=accept_rejected, accept_shrinking=accept_shrinking),
        as_json,
    )


# A query may begin with a comment, which looks like an option.
@app.command(context_settings={"ignore_unknown_options": True})
def query(
    sql: Annotated[str, typer.Argument(help='As "select * from marts.funnel_drops".')],
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as one array of objects.")] = False,
) -> None:
    """Query the current release, read-only.

    Example: journey query "select * from marts.funnel_drops where segment_by = 'all'"
    """
    settings = Settings()
    rows = query_release(current_release(settings.releases), sql, settings.query_limits)
    if as_json:
        say_json(json_parts(rows))
    else:
        say(rows_as_text(rows))


@app.command("explain-funnel")
def explain(
    funnel: Annotated[str, typer.Argument(help="The funnel's name in the taxonomy, as acquisition.")],
    customer: Annotated[
        str | None, typer.Option(help="Whose attempts; by default one whom the ways of counting disagree about.")
    ] = None,
    taxonomy: Annotated[str | None, typer.Option(help="A shipped taxonomy's name, or a YAML file.")] = None,
    as_json: Json = False,
) -> None:
    """Show one customer's attempts step by step, and what other products would say of the same funnel.

    The answer to "why do my numbers differ?". Example: journey explain-funnel checkout
    """
    with shown() as progress:
        progress("counting", 0, None)
        explanation = explain_funnel(Settings(), funnel, customer=customer, taxonomy=taxonomy)
    if as_json:
        parts = {
            name: json.loads(rows_as_json(getattr(explanation, name)))
            for name in ("steps", "reasons", "judged", "counts")
        }
        say_json(json.dumps({"funnel": explanation.funnel, "customer_id": explanation.customer_id} | parts, indent=1))
    else:
        say(str(explanation))


@app.command()
def demo() -> None:
    """Run all of it: broker, a simulated shop, both Airflow DAGs; print the funnel and three journeys."""
    with shown() as progress:
        report = run_demo(Settings(), progress, talk.print)
    say(report)


#: What a command leaves behind that somebody has stopped.
_STOPPED = {
    "simulate": "Records that Kafka has acknowledged stay there; the same command sends them all again",
    "produce": "Records that Kafka has acknowledged stay there; sent again, each event_id counts once",
    "land": "What was committed stays; the next landing goes on behind it",
    "build": "The tables of the build before stay",
    "check": "Nothing was written",
    "publish": "current.json names one whole release, old or new. Run: journey publish",
    "erase": "The erasure is not finished: they may still be in some files. Run the same command again to finish it",
    "demo": "Run: journey demo, to go on",
    "broker": "A broker that was started goes on. Run: journey broker status",
} | dict.fromkeys(("query", "export", "explain-funnel", "status"), "Nothing was changed")


def main() -> None:
    """The entry point: `run` says how a command ends."""
    leave_pandas_out()
    arguments = sys.argv[1:]
    verb = next((argument for argument in arguments if not argument.startswith("-")), "")
    goes_on = "What was committed stays; run the same command again to go on"
    # Once Great Expectations is imported, DuckDB's binding prints forty lines about its own leaks at a normal exit.
    os._exit(run(app, arguments, lambda: _STOPPED.get(verb, goes_on)))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text.upper())  # RFC 3339 allows `t` and `z`, Python does not
        instant = instant.astimezone(UTC) if instant.tzinfo else instant
    except (ValueError, OverflowError) as error:
        raise InputError(f"--as-of {text}: write an RFC 3339 time with an offset, as 2026-03-31T00:00:00Z") from error
    if instant.tzinfo is None:
        raise InputError(f"--as-of {text}: which time zone? Write an offset, as 2026-03-31T00:00:00Z")
    return instant


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error
