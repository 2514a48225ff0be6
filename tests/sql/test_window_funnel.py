"""ClickHouse's own cases of `windowFunnel`: those that our options can express must agree."""

from __future__ import annotations

import json

import pytest

from journey_core.taxonomy import Funnel, load_taxonomy
from tests.conftest import SHARED_DATA, event

CASES = SHARED_DATA / "vectors" / "clickhouse_window_funnel.json"
#: Modes of ClickHouse's own, which are nothing that other products call strict; and one event for several steps.
OTHERS = {"strict_order", "strict_deduplication", "allow_reentry"}
ONE_EVENT_MANY_STEPS = "same_event_3_steps_default"


def predicate(step) -> str:
    if "all" in step:
        return " and ".join(predicate(part) for part in step["all"])
    field = f"properties ->> '$.{step['field'].split('.')[1]}'" if "." in step["field"] else "event_type"
    if step["op"] == "is null":
        return f"{field} is null"
    if step["op"] != "=":
        return f"cast({field} as bigint) {step['op']} {step['value']}"
    return f"{field} = '{step['value']}'"


@pytest.mark.skipif(not CASES.exists(), reason="the vectors are not committed")
def test_the_cases_that_our_options_express_agree(build_world):
    cases = [
        case
        for case in json.loads(CASES.read_text())["cases"]
        if not OTHERS & set(case["params"]["modes"]) and not case["id"].endswith(ONE_EVENT_MANY_STEPS)
    ]
    assert len(cases) == 24
    funnels, events = [], [event("z", "2030-01-01 00:00", who={"customer_id": "last"})]
    for number, case in enumerate(cases):
        later = {"not_before": "1 microsecond"} if "strict_increase" in case["params"]["modes"] else {}
        steps = [
            {"step": f"s{index}", "when": predicate(step)} | (later if index else {})
            for index, step in enumerate(case["params"]["steps"])
        ]
        window = f"{case['params']['window_seconds']} seconds"
        funnels.append(Funnel.model_validate({"funnel": f"f{number}", "window": window, "steps": steps}))
        for place, row in enumerate(case["events"]):
            properties = {key: value for key, value in row.get("props", {}).items() if value is not None}
            events.append(
                event(
                    f"{number}-{place}",
                    row["timestamp"],
                    row["event"],
                    who={"customer_id": f"{number}/{row['user']}"},
                    properties=properties,
                )
            )
    tables = build_world(events, load_taxonomy("retail").model_copy(update={"funnels": funnels}))
    found = {
        (funnel, customer): step
        for funnel, customer, step in tables.values(
            "select funnel, customer_id, furthest_step from marts.funnel_attempts"
        )
    }
    for number, case in enumerate(cases):
        got = {user: found.get((f"f{number}", f"{number}/{user}"), 0) for user in case["expected"]}
        assert got == case["expected"], case["id"]
