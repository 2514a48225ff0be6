"""Funnels for tests: a taxonomy of one funnel, and a reference that tries everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from journey_core.taxonomy import Funnel, Step, Taxonomy, load_taxonomy


def one_funnel(steps: Sequence[str | tuple[str, str]], *, window: str | None = None, **more: Any) -> Taxonomy:
    """The retail taxonomy with one funnel: each step is an event type, or (event type, within)."""
    made = []
    for number, step in enumerate(steps, start=1):
        event_type, within = (step, None) if isinstance(step, str) else step
        made.append({"step": f"s{number}", "when": f"event_type = '{event_type}'", "within": within})
    funnel = {"funnel": "f", "window": window, "steps": made} | more
    funnel = {name: value for name, value in funnel.items() if value is not None}
    funnel["steps"] = [{k: v for k, v in step.items() if v is not None} for step in made]
    return load_taxonomy("retail").model_copy(update={"funnels": [Funnel.model_validate(funnel)]})


@dataclass(frozen=True)
class Attempt:
    """What the reference says of one customer's best attempt."""

    furthest_step: int
    entered_at: datetime
    step_times: tuple[datetime, ...]
    status: str


@dataclass(frozen=True)
class Touch:
    """One event of the reference's world."""

    event_id: str
    event_type: str
    at: datetime
    sequence: int | None = None


def reference(touches: Sequence[Touch], funnel: Funnel, as_of: datetime) -> Attempt | None:
    """The best attempt, by trying every chain: SEMANTICS section 6, `ordered` and `best`."""
    steps = funnel.steps
    best: tuple[Any, Attempt] | None = None
    for entry in (touch for touch in touches if _takes(touch, steps[0])):
        chains = _chains([entry], touches, funnel)
        deepest = max(len(chain) for chain in chains)
        times = min(tuple(touch.at for touch in chain) for chain in chains if len(chain) == deepest)
        if deepest == len(steps):
            status = "converted"
        elif any(_may_go_on(chain, funnel, as_of) for chain in chains):
            status = "open"
        else:
            status = "dropped"
        attempt = Attempt(deepest, entry.at, times, status)
        rank = (deepest, entry.at)
        if best is None or rank > best[0]:
            best = (rank, attempt)
    return best[1] if best else None


def _takes(touch: Touch, step: Step) -> bool:
    return f"event_type = '{touch.event_type}'" == step.when


def _chains(chain: list[Touch], touches: Sequence[Touch], funnel: Funnel) -> list[list[Touch]]:
    """The chain itself and every longer one."""
    found = [chain]
    if len(chain) == len(funnel.steps):
        return found
    step = funnel.steps[len(chain)]
    for touch in touches:
        if touch in chain or not _takes(touch, step) or touch.at < chain[-1].at:
            continue
        if step.within is not None and touch.at - chain[-1].at > step.within:
            continue
        if funnel.window is not None and touch.at - chain[0].at > funnel.window:
            continue
        if any(
            earlier.at == touch.at
            and earlier.sequence is not None
            and touch.sequence is not None
            and earlier.sequence > touch.sequence
            for earlier in chain
        ):
            continue
        found += _chains([*chain, touch], touches, funnel)
    return found


def _may_go_on(chain: list[Touch], funnel: Funnel, as_of: datetime) -> bool:
    """Whether a later event, up to and including the last instant, could take the chain's next step."""
    if len(chain) == len(funnel.steps):
        return False
    forever = timedelta(days=100_000)
    within = funnel.steps[len(chain)].within
    return as_of <= min(chain[-1].at + (within or forever), chain[0].at + (funnel.window or forever))
