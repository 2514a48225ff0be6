"""Who is who, from ten million links: `make bench-identity`, or `python -m benchmarks.identity --links 10000000`.

Customers with five identifiers each (four links around the strong one), one in a thousand of them said to be the same
as the next one; one identifier in a hundred in a chain of five hundred devices. Ours runs the models as shipped, from
links to named customers, conflicts and all; beside it a union-find in Python, which knows components alone. Both read
the same database file, and must find as many of them, of the same sizes. Each in a process of its own; only ratios mean
something.
"""

from __future__ import annotations

import argparse
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from benchmarks.apart import apart, create_taxonomy, run_one
from journey_core.models import shipped_models
from journey_core.taxonomy import load_taxonomy

_MODELS = ("intermediate.identity_subjects", "intermediate.identity_candidates", "intermediate.identity_components",
           "intermediate.customers")  # fmt: skip


def generate(database: Path, links: int) -> None:
    """Identifiers by number and by key, of which kind each is, and the links between them."""
    identifiers = links // 4 * 5
    instant = "timestamptz '2026-01-01 00:00:00Z'"
    place = f"struct_pack(occurred_at := {instant}, is_unnumbered := true, number := 0::bigint, event_id := 'e')"
    with duckdb.connect(str(database)) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("create schema intermediate")
        create_taxonomy(connection, load_taxonomy("retail"))
        connection.execute("create temp macro is_chain(i) as i // 500 % 100 = 7")
        connection.execute(
            f"""
            create table numbers as
            -- A customer's other identifiers around the strong one; of a chain, each with the next.
            select case when is_chain(i) then i - 1 else i // 5 * 5 end as one, i as other, 31 as tier
            from range({identifiers}) as numbers(i)
            where case when is_chain(i) then i % 500 > 0 else i % 5 > 0 end
            union all
            select i as one, i + 5 as other, 0 as tier
            from range({identifiers} - 5) as numbers(i)
            where i % 5000 = 0;

            create table intermediate.identity_links as
            select md5_number(one::varchar) as from_key, md5_number(other::varchar) as to_key, tier,
                {place} as first_place
            from numbers;

            create table intermediate.identity_merges as
            select from_key, to_key from intermediate.identity_links where tier = 0;

            create table intermediate.identifiers as
            with named as (
                select md5_number(i::varchar) as identifier_key, md5(i::varchar) as identifier,
                    case
                        when is_chain(i) or i % 5 > 1 then 'anonymous_id'
                        when i % 5 = 1 then 'email'
                        else 'customer_id'
                    end as namespace
                from range({identifiers}) as numbers(i)
            )
            select named.*, known.class, known.strength, 1::bigint as events, {instant} as first_seen_at,
                {instant} as last_seen_at, 'e' as first_event_id, 0::bigint as strong_identifiers,
                null::varchar as refusal
            from named inner join taxonomy.namespaces as known using (namespace);
            """
        )


def ours(database: Path) -> list[list[int]]:
    config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": "16GB"}
    with duckdb.connect(str(database), config=config) as connection:
        models = {model.name: model for model in shipped_models()}
        for name in _MODELS:
            connection.execute(f"create table {name} as {models[name].sql}")
        sizes = "select count(*) as size from intermediate.customers group by component_key"
        found = connection.execute(f"select size, count(*) from ({sizes}) group by size order by size").fetchall()
    return [list(row) for row in found]


def union_find(database: Path) -> list[list[int]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        (count,) = connection.execute("select count(*) from intermediate.identifiers").fetchall()[0]
        links = connection.execute("select one, other from numbers").to_arrow_table()
    parents = array("q", range(count))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    for one, other in zip(links["one"].to_pylist(), links["other"].to_pylist(), strict=True):
        parents[root(one)] = root(other)
    sizes = Counter(Counter(map(root, range(count))).values())
    return [list(row) for row in sorted(sizes.items())]


WAYS: dict[str, Callable[[Path], list[list[int]]]] = {"ours": ours, "union-find": union_find}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=1_000_000, help="how many links (default: %(default)s)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        run_one(lambda: WAYS[asked.one[0]](Path(asked.one[1])))
        return
    shown = Table("", "seconds", "of ours", "peak GB", "components")
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "identity.duckdb"
        generate(database, asked.links)
        runs = {way: apart("benchmarks.identity", way, str(database)) for way in WAYS}
    for way, run in runs.items():
        components = sum(count for _, count in run.found)
        shown.add_row(
            way, f"{run.seconds:.1f}", f"{run.seconds / runs['ours'].seconds:.2f}", f"{run.peak:.2f}",
            f"{components:,}" if run.found == runs["ours"].found else f"NO: {components:,} of other sizes",
        )  # fmt: skip
    Console().print(f"{asked.links:,} links", shown)


if __name__ == "__main__":
    main()
