"""No accepted event ends a build, whatever a taxonomy asks of it: random expressions over poisoned events.

`make test` tries some hundred expressions; `make test-laws` (`--full`) five thousand, with new seeds.
"""

from __future__ import annotations

import secrets
from random import Random

from journey_core.errors import TaxonomyError
from journey_core.expressions import parse_expression
from journey_core.taxonomy import EVENT_COLUMNS, TOUCHPOINT_COLUMNS, Taxonomy, load_taxonomy
from tests.conftest import build_tables, event
from tests.predicates import Grammar, poisoned_events

_KINDS = {"varchar": "text", "timestamptz": "time", "boolean": "boolean", "json": "json"}
#: Expressions of one taxonomy below.
_EACH = 125


def accepted(random: Random, columns: dict[str, str], count: int, *, boolean: bool = True) -> list[str]:
    """Random expressions that a taxonomy takes; the others are refused with a reason, never with a traceback."""
    grammar = Grammar(random, {name: _KINDS.get(kind, "number") for name, kind in columns.items()})
    found: list[str] = []
    while len(found) < count:
        text = grammar.boolean(random.choice([2, 3, 4])) if boolean else grammar.value(random.choice([1, 2, 3]))
        try:
            parse_expression(text, columns, boolean=boolean)
        except TaxonomyError:
            continue
        found.append(text)
    return found


def random_taxonomy(random: Random) -> Taxonomy:
    """Every key of a taxonomy that holds an expression, with random ones."""
    whens = iter(accepted(random, TOUCHPOINT_COLUMNS, 100))
    values = iter(accepted(random, TOUCHPOINT_COLUMNS, 24, boolean=False))
    (goal,) = accepted(random, EVENT_COLUMNS, 1)
    funnels = [
        {
            "funnel": f"f{number}",
            "entry": entry,
            "window": "30 days",
            "steps": [{"step": f"s{step}", "when": next(whens)} for step in range(1, 4)],
            "exclusions": [{"when": next(whens)}],
            "hold_constant": [next(values)] if number == 1 else [],
            "segments": [{"segment": f"g{number}_{place}", "value": next(values)} for place in range(3)],
        }
        for number, entry in enumerate(["best", "first", "every"])
    ]
    retail = load_taxonomy("retail").model_dump(by_alias=True, exclude={"funnels", "experience", "signals"})
    stage = retail["stages"][0]["stage"]
    for duration in ("idle_timeout", "post_goal_period"):
        del retail["journeys"][duration]
    del retail["sessions"], retail["identity"]
    return Taxonomy.model_validate(
        retail
        | {
            "journeys": {"goal": goal},
            "experience": {"guidance": next(whens), "desire": next(whens)},
            "funnels": funnels,
            "signals": [{"signal": f"x{n}", "reason": "friction", "when": next(whens)} for n in range(20)],
            "candidates": [{"candidate": f"c{n}", "value": next(values)} for n in range(10)],
            "rules": [{"stage": stage, "when": when} for when in whens],
        }
    )


def test_no_event_ends_a_build_whatever_its_taxonomy_asks(tmp_path, pytestconfig):
    is_full = pytestconfig.getoption("full")
    seeds = [secrets.randbits(32) for _ in range(5000 // _EACH)] if is_full else [1, 2]
    for seed in seeds:
        random = Random(seed)
        taxonomy = random_taxonomy(random)
        good = [event(f"g{n}", f"2026-01-0{n} 10:00", "order_completed") for n in range(1, 4)]
        known = [*good, *poisoned_events(random, 40)]
        try:
            build_tables(good, tmp_path / f"{seed}.duckdb", taxonomy)
            updated = build_tables(known, tmp_path / f"{seed}.duckdb", taxonomy)
            built = build_tables(known, tmp_path / f"{seed}-full.duckdb", taxonomy)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        assert updated.values("select count(*) from staging.events") == [(len(known),)]
        assert updated.everything() == built.everything(), f"seed {seed}"
