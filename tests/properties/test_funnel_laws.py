"""Funnels against a reference that tries every chain, in every combination of options."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from journey_core.contract import judge, records_of
from journey_core.taxonomy import Exclusion, Funnel, Signal, load_taxonomy
from journey_core.warehouse import Source, Warehouse
from tests.conftest import event
from tests.funnels import Reference, Touch
from tests.properties.test_incremental import differences

#: Two hundred worlds (`--full`) take longer than a test usually may.
pytestmark = pytest.mark.timeout(7200)
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = (None, "2 minutes", "4 minutes", "8 minutes")


def random_funnel(chance: random.Random, number: int, most_steps: int = 4) -> Funnel:
    """One funnel of some steps; each option is on as often as not."""

    def maybe(options: Any, share: float = 0.5) -> Any:
        return chance.choice(options) if chance.random() < share else None

    if chance.random() < 0.25:
        return one_pass_funnel(chance, f"f{number}", chance.sample("abc", chance.randint(1, 3)))
    order = chance.choice(("ordered", "strict", "any"))
    kinds = [chance.choice("abc") for _ in range(chance.randint(1, most_steps))]
    steps: list[dict[str, Any]] = []
    for index, kind in enumerate(kinds):
        step = {"step": f"s{index + 1}", "when": f"event_type like '%{kind}%'"}
        if index or order == "any":
            not_before = maybe(("1 minute", "2 minutes"), 0.2)
            within = maybe(("0 seconds", "2 minutes", "3 minutes"), 0.35)
            step |= {"not_before": None if within == "0 seconds" else not_before, "within": within}
        if index:
            step["optional"] = chance.random() < 0.25
        steps.append({key: value for key, value in step.items() if value is not None})
    exclusions = []
    for _ in range(chance.choice((0, 0, 1, 2)) if len(steps) > 1 else 0):
        first = chance.randrange(len(steps) - 1)
        second = chance.randrange(first + 1, len(steps))
        between = {"between": [f"s{first + 1}", f"s{second + 1}"]} if order != "any" and chance.random() < 0.7 else {}
        exclusions.append({"when": f"event_type like '%{chance.choice('xa')}%'"} | between)
    made: dict[str, Any] = {
        "funnel": f"f{number}",
        "order": order,
        "entry": chance.choice(("best", "first", "every")),
        "steps": steps,
        "exclusions": exclusions,
        "window": maybe(MINUTES[1:]),
        "tie_tolerance": maybe(("1 minute", "2 minutes"), 0.3),
        "hold_constant": maybe((["properties ->> '$.plan'"],), 0.3),
        "entered": maybe(({"from": START + timedelta(minutes=1), "until": START + timedelta(minutes=6)},), 0.2),
    }
    return Funnel.model_validate({key: value for key, value in made.items() if value is not None})


def one_pass_funnel(chance: random.Random, name: str, kinds: list[str]) -> Funnel:
    """Order, window, and times between steps or optional ones: one pass finds the entry that counts, unless events tie."""
    made: dict[str, Any] = {
        "funnel": name,
        "entry": chance.choice(("best", "first")),
        "steps": [{"step": f"s{place}", "when": f"event_type like '%{kind}%'"} for place, kind in enumerate(kinds, 1)],
        "window": chance.choice((None, "2 minutes", "4 minutes", "8 minutes")),
        "entered": chance.choice(({}, {"from": START + timedelta(minutes=1), "until": START + timedelta(minutes=6)})),
    }
    more = chance.choice(
        ({}, {"within": "0 seconds"}, {"within": "2 minutes"}, {"within": "3 minutes"}, {"optional": True})
    )
    made["steps"][1:] = [step | more if chance.random() < 0.5 else step for step in made["steps"][1:]]
    funnel = Funnel.model_validate({key: value for key, value in made.items() if value})
    assert funnel.is_one_pass
    return funnel


def random_touches(chance: random.Random, person: int) -> list[Touch]:
    return [
        Touch(
            f"{person:02}-{number}",
            chance.choice(("a", "b", "c", "ab", "bc", "abc", "x", "z")),
            START + timedelta(minutes=chance.randint(0, 9)),
            chance.choice((None, None, 1, 2)),
            chance.choice(("p", "p", "q", None)),
            chance.random() < 0.8,
        )
        for number in range(chance.randint(1, 7))
    ]


def crowded_touches(chance: random.Random, person: int) -> list[Touch]:
    """Some ten events of two instants or three, of few kinds."""
    instants = [START + timedelta(minutes=chance.randint(0, 4)) for _ in range(chance.randint(1, 3))]
    kinds = chance.sample(("a", "b", "c", "ab", "bc", "x"), chance.randint(1, 4))
    numbers = chance.choice(((None, 1, 2), tuple(range(8)), (None, *range(8)), (None,)))
    return [
        Touch(
            f"{person:02}-{number:02}",
            chance.choice(kinds),
            chance.choice(instants),
            chance.choice(numbers),
            chance.choice(("p", "p", "p", "q", None)),
            chance.random() < 0.8,
        )
        for number in range(chance.randint(5, 12))
    ]


def as_event(touch: Touch, person: int) -> dict[str, Any]:
    more: dict[str, Any] = {"properties": {"plan": touch.held}} if touch.held else {}
    if touch.sequence is not None:
        more["sequence"] = touch.sequence
    if not touch.is_own:
        more["initiator"] = "company"
    return event(
        touch.event_id, f"{touch.at:%Y-%m-%d %H:%M}", touch.kinds, who={"customer_id": f"p{person:02}"}, **more
    )


def in_order(funnel: Funnel, times: Any) -> Any:
    """In any order it is no matter which step took which event, as long as as many are taken as early."""
    if funnel.order != "any":
        return list(times)
    return [
        sorted(at for at, step in zip(times, funnel.steps, strict=True) if at and step.optional is optional)
        for optional in (False, True)
    ]


@pytest.fixture
def worlds(request: pytest.FixtureRequest) -> int:
    """How many worlds: 30 people through 16 funnels each."""
    if request.config.getoption("--full"):
        return 200
    return 2 if request.config.getoption("--hypothesis-profile") == "fast" else 8


def test_funnels_agree_with_a_reference_that_tries_everything(build_world, worlds):
    for seed in range(worlds):
        chance = random.Random(seed)
        funnels = [random_funnel(chance, number) for number in range(16)]
        people = {person: random_touches(chance, person) for person in range(30)}
        agree(build_world, funnels, people, START + timedelta(minutes=chance.randint(4, 16)), f"seed {seed}")


def test_crowded_instants_agree_with_the_reference_too(build_world, worlds):
    """A log with days only: more events of an instant take a step than there are steps, numbered or not."""
    for seed in range(worlds):
        chance = random.Random(seed)
        funnels = [random_funnel(chance, number, most_steps=3) for number in range(12)]
        people = {person: crowded_touches(chance, person) for person in range(20)}
        agree(build_world, funnels, people, START + timedelta(minutes=chance.randint(4, 16)), f"seed {seed}")


def agree(build_world, funnels, people, as_of, where):
    """Each attempt as the reference has it."""
    taxonomy = load_taxonomy("retail").model_copy(update={"funnels": funnels})
    events = [as_event(touch, person) for person, touches in people.items() for touch in touches]
    tables = build_world(events, taxonomy, as_of=as_of)
    found = defaultdict(list)
    for row in tables.rows("select * from marts.funnel_attempts order by funnel, customer_id, attempt"):
        found[row["funnel"], row["customer_id"]].append(row)
    for funnel in funnels:
        kinds = [step.when.split("%")[1] for step in funnel.steps]
        names = [step.step for step in funnel.steps]
        exclusions = [
            (rule.when.split("%")[1], *(names.index(name) for name in rule.between or (names[0], names[-1])))
            for rule in funnel.exclusions
        ]
        for person, touches in people.items():
            expected = [
                (a.entered_at, a.status, a.furthest_step, in_order(funnel, a.step_times), a.ended_at)
                for a in Reference(touches, funnel, kinds, as_of).attempts(exclusions)
            ]
            got = [
                (
                    row["entered_at"],
                    row["status"],
                    row["furthest_step"],
                    in_order(funnel, row["step_times"]),
                    row["ended_at"],
                )
                for row in found[funnel.funnel, f"p{person:02}"]
            ]
            if funnel.entry == "every" and funnel.hold_constant:
                # Beside each other they may enter at one instant: which is the first of them is no matter.
                got, expected = sorted(got, key=repr), sorted(expected, key=repr)
            assert got == expected, f"{where}: {funnel!r}\n{touches}\nas of {as_of}"


def test_one_pass_finds_what_trying_every_chain_finds(build_world, worlds):
    """A funnel of one pass and the same one with an exclusion that no event meets, which is matched chain by chain."""
    paths = 0
    for seed in range(worlds):
        chance = random.Random(seed)
        # Up to five steps are one fold's, more another's.
        kinds = [chance.sample("abcdefg", chance.randint(2, 7)) for _ in range(6)]
        passed = [one_pass_funnel(chance, f"passed{number}", steps) for number, steps in enumerate(kinds)]
        excluding = [Exclusion(when="event_type = 'never'")]
        tried = [
            funnel.model_copy(update={"funnel": funnel.funnel.replace("passed", "tried"), "exclusions": excluding})
            for funnel in passed
        ]
        taxonomy = load_taxonomy("retail").model_copy(update={"funnels": passed + tried})
        events = [
            event(
                f"{person}-{number}",
                f"{START + timedelta(seconds=chance.randint(0, 600)):%Y-%m-%d %H:%M:%S}",
                chance.choice("abcdefg") if person % 2 else chance.choice(("a", "b", "c", "bd", "ce", "fg")),
                who={"customer_id": f"p{person}"},
            )
            for person in range(40)
            for number in range(chance.randint(1, 40))
        ]
        tables = build_world(events, taxonomy, as_of=START + timedelta(seconds=chance.randint(0, 1200)))
        paths += tables.values("select count(*) from intermediate.funnel_paths where not is_tied")[0][0]
        for table in ("intermediate.funnel_entries", "marts.funnel_attempts"):
            columns = "* exclude (funnel)" if table.startswith("marts") else "customer_id, entry_order, step_times"
            found = {
                kind: tables.values(
                    f"select replace(funnel, '{kind}', ''), {columns} from {table} as rows"
                    f" semi join marts.funnel_attempts as counted on rows.funnel = counted.funnel"
                    " and rows.customer_id = counted.customer_id and rows.entered_at = counted.entered_at"
                    f" where funnel like '{kind}%' order by all"
                )
                for kind in ("passed", "tried")
            }
            assert found["passed"] == found["tried"], f"seed {seed}: {passed}"
    assert paths > 0


def test_random_funnels_built_in_parts_equal_a_full_build(worlds, tmp_path):
    """Law L6 with every option: three batches, shared devices, an `as_of` that moves, other threads."""
    for seed in range(worlds):
        chance = random.Random(seed)
        signal = Signal(signal="z", reason=chance.choice(("failure", "commercial")), when="event_type like '%z%'")
        funnels = [random_funnel(chance, number) for number in range(8)]
        taxonomy = load_taxonomy("retail").model_copy(update={"funnels": funnels, "signals": [signal]})
        events = [as_event(touch, person) for person in range(8) for touch in random_touches(chance, person)]
        for one in events:
            if chance.random() < 0.6:
                device = {"anonymous_id": chance.choice("kl")}
                one["identifiers"] = one["identifiers"] | device if chance.random() < 0.5 else device
        chance.shuffle(events)
        cuts = sorted(chance.sample(range(1, len(events)), 2))
        updated = Warehouse(tmp_path / f"{seed}-updated.duckdb", threads=1)
        for part, cut in enumerate([*cuts, len(events)]):
            as_of = chance.choice((None, START + timedelta(minutes=chance.randint(0, 14)), START + timedelta(days=8)))
            updated.build(source(events[:cut]), taxonomy, as_of=as_of)
            fresh = Warehouse(tmp_path / f"{seed}-{part}.duckdb", threads=4)
            fresh.build(source(events[:cut]), taxonomy, as_of=as_of)
            assert differences(updated.path, fresh.path) == {}, f"seed {seed}, part {part}"


def source(events: list[Any]) -> Source:
    values = [json.dumps(one).encode() for one in events]
    judged = judge(records_of(values, topic="t"))
    return Source(hashlib.sha256(b"\n".join(values)).hexdigest(), judged.accepted, judged.rejected)
