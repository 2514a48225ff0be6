"""Funnels for tests: a taxonomy of one funnel, and a reference that tries every chain (docs/semantics.md, section 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from journey_core.taxonomy import Funnel, Taxonomy, load_taxonomy

NEVER = datetime.max.replace(tzinfo=UTC)
NOTHING = timedelta(0)


def one_funnel(steps: Sequence[str | tuple[str, str] | dict[str, Any]], **more: Any) -> Taxonomy:
    """The retail taxonomy with one funnel: each step is an event type, or (event type, within), or a step's keys."""
    made: list[dict[str, Any]] = []
    for number, step in enumerate(steps, start=1):
        pair = {"type": step[0], "within": step[1]} if isinstance(step, tuple) else step
        keys = {"type": pair} if isinstance(pair, str) else dict(pair)
        made.append({"step": f"s{number}", "when": f"event_type = '{keys.pop('type', None)}'"} | keys)
    funnel = {"funnel": "f", "steps": [{k: v for k, v in step.items() if v is not None} for step in made]}
    funnel |= {name: value for name, value in more.items() if value is not None}
    return load_taxonomy("retail").model_copy(update={"funnels": [Funnel.model_validate(funnel)]})


@dataclass(frozen=True)
class Touch:
    """One event of the reference's world. `kinds` are the event types that it counts as."""

    event_id: str
    kinds: str
    at: datetime
    sequence: int | None = None
    held: str | None = None
    is_own: bool = True


@dataclass(frozen=True)
class Attempt:
    """What the reference says of one attempt."""

    entered_at: datetime
    status: str
    furthest_step: int
    step_times: tuple[datetime | None, ...]
    ended_at: datetime | None


Chain = tuple[tuple[int, Touch], ...]


class Reference:
    """Every attempt of one customer, by trying every chain."""

    def __init__(self, touches: Sequence[Touch], funnel: Funnel, steps: Sequence[str], as_of: datetime) -> None:
        # The one order of a customer's events (law L3): among equals the first of them counts.
        ordered = sorted(
            touches, key=lambda touch: (touch.at, touch.sequence is None, touch.sequence or 0, touch.event_id)
        )
        self.touches = [touch for touch in ordered if touch.at <= as_of]
        self.funnel = funnel
        self.kinds = steps
        self.as_of = as_of
        self.required = [index for index, step in enumerate(funnel.steps) if not step.optional]
        self.optional = [index for index, step in enumerate(funnel.steps) if step.optional]
        self.is_any = funnel.order == "any"

    def attempts(self, exclusions: Sequence[tuple[str, int, int]] = ()) -> list[Attempt]:
        if self.funnel.entry != "every":
            return self._counted([self._attempt(entry, exclusions) for entry in self._entries()])
        # Two tickets of one customer are two attempts: each value that is held constant has its own, beside the others.
        lanes: dict[str | None, list[Attempt]] = {}
        for entry in self._entries():
            lane = entry.held if self.funnel.hold_constant else None
            lanes.setdefault(lane, []).append(self._attempt(entry, exclusions))
        return sorted(
            (attempt for lane in lanes.values() for attempt in self._counted(lane)), key=lambda a: a.entered_at
        )

    def _counted(self, found: list[Attempt]) -> list[Attempt]:
        """Of the attempts of all entries those that count."""
        if self.funnel.entry == "best":
            order = sorted(
                found, key=lambda a: (a.status != "excluded", self._depth(a.step_times), a.entered_at), reverse=True
            )
            ties = [a for a in order if self._rank(a) == self._rank(order[0])]
            return [min(ties, key=self._preference)] if ties else []
        found.sort(
            key=lambda a: (a.entered_at, a.status == "excluded", -self._depth(a.step_times), self._preference(a))
        )
        taken: list[Attempt] = []
        for attempt in found:
            if not taken or (
                self.funnel.entry == "every" and (ended := taken[-1].ended_at) and attempt.entered_at > ended
            ):
                taken.append(attempt)
        return taken

    def _rank(self, attempt: Attempt) -> Any:
        return attempt.status != "excluded", self._depth(attempt.step_times), attempt.entered_at

    def _preference(self, attempt: Attempt) -> Any:
        return self._earliest(attempt.step_times)

    def _depth(self, times: Sequence[datetime | None]) -> int:
        return sum(times[index] is not None for index in self.required)

    def _entries(self) -> Iterator[Touch]:
        entered = self.funnel.entered
        for touch in self.touches:
            takes = any(kind in touch.kinds for kind in self.kinds) if self.is_any else self.kinds[0] in touch.kinds
            if takes and (entered.from_ or touch.at) <= touch.at < (entered.until or NEVER):
                yield touch

    def _attempt(self, entry: Touch, exclusions: Sequence[tuple[str, int, int]]) -> Attempt:
        first = [i for i, kind in enumerate(self.kinds) if kind in entry.kinds] if self.is_any else [0]
        chains = [chain for index in first for chain in self._grow(((index, entry),))]
        best = min(chains, key=self._worth)
        times = self._times(best)
        until = max((self._open_until(chain) for chain in chains), default=None, key=lambda at: at or NOTHING_YET)
        is_complete = self._depth(times) == len(self.required)
        if excluded := self._excluded(best, times, is_complete, until, exclusions):
            times = tuple(at if at is not None and at <= excluded else None for at in times)
            status, ended = "excluded", excluded
        elif is_complete:
            status, ended = "converted", max(at for at in times if at)
        elif until is not None and until >= self.as_of:
            status, ended = "open", None
        else:
            status, ended = "dropped", until or self._last(times)
        numbers = [number for number, at in enumerate(times, start=1) if at]
        return Attempt(entry.at, status, len(numbers) if self.is_any else max(numbers), times, ended)

    def _last(self, times: Sequence[datetime | None]) -> datetime:
        taken = [at for at in times if at]
        return max(taken) if self.is_any else taken[-1]

    def _times(self, chain: Chain) -> tuple[datetime | None, ...]:
        taken = dict(chain)
        return tuple(taken[index].at if index in taken else None for index in range(len(self.kinds)))

    def _worth(self, chain: Chain) -> Any:
        """The deepest, then each required step as early as possible, then the optional ones."""
        times = self._times(chain)
        return -self._depth(times), self._earliest(times)

    def _earliest(self, times: Sequence[datetime | None]) -> Any:
        required = [times[index] or NEVER for index in self.required]
        optional = [times[index] or NEVER for index in self.optional]
        return (sorted(required), sorted(optional)) if self.is_any else (required, optional)

    def _grow(self, chain: Chain) -> Iterator[Chain]:
        yield chain
        for index in self._following(chain):
            for touch in self.touches:
                if self.kinds[index] in touch.kinds and self._may_follow(chain, index, touch):
                    yield from self._grow((*chain, (index, touch)))

    def _following(self, chain: Chain) -> Iterator[int]:
        taken = {index for index, _ in chain}
        for index in range(len(self.kinds)):
            skipped = range(chain[-1][0] + 1, index)
            if index not in taken and (
                self.is_any or (index > chain[-1][0] and all(self.funnel.steps[i].optional for i in skipped))
            ):
                yield index

    def _may_follow(self, chain: Chain, index: int, touch: Touch) -> bool:
        used = [earlier for _, earlier in chain]
        step, entry, last = self.funnel.steps[index], used[0], used[-1]
        since = max(NOTHING, touch.at - last.at)
        if touch in used or touch.at < max(earlier.at for earlier in used) - self.funnel.tie_tolerance:
            return False
        if self.funnel.hold_constant and (entry.held is None or touch.held != entry.held):
            return False
        if self.funnel.window is not None and touch.at - entry.at > self.funnel.window:
            return False
        latest = timedelta.max if step.within is None else step.within
        if not (step.not_before or NOTHING) <= since <= latest:
            return False
        for earlier in used:
            known = None not in (earlier.sequence, touch.sequence)
            if known and earlier.at >= touch.at and earlier.sequence > touch.sequence:  # type: ignore[operator]
                return False
        return self.funnel.order != "strict" or not self._broken((*chain, (index, touch)))

    def _broken(self, chain: Chain) -> bool:
        used = [touch for _, touch in chain]
        first, last = min(touch.at for touch in used), max(touch.at for touch in used)
        return any(other.is_own and other not in used and first < other.at < last for other in self.touches)

    def _open_until(self, chain: Chain) -> datetime | None:
        """The last instant at which a later event could take this chain on, such that it may still be completed."""
        used = [touch for _, touch in chain]
        taken = {index for index, _ in chain}
        found: list[datetime] = []
        if self.funnel.hold_constant and used[0].held is None:
            return None
        for index in self._following(chain):
            step = self.funnel.steps[index]
            rest = [self.funnel.steps[i].not_before or NOTHING for i in self.required if i not in taken | {index}]
            until = NEVER if step.within is None else used[-1].at + step.within
            if self.funnel.window is not None:
                until = min(until, used[0].at + self.funnel.window - sum(rest, NOTHING))
            if used[-1].at + (step.not_before or NOTHING) <= until:
                found.append(until)
        if not found:
            return None
        until = max(found)
        if self.funnel.order == "strict":
            first = min(touch.at for touch in used)
            breaks = [other.at for other in self.touches if other.is_own and other not in used and other.at > first]
            until = min([until, *breaks])
        return until

    def _excluded(
        self,
        chain: Chain,
        times: Sequence[datetime | None],
        is_complete: bool,
        open_until: datetime | None,
        exclusions: Sequence[tuple[str, int, int]],
    ) -> datetime | None:
        entered_at = chain[0][1].at
        newest = max(touch.at for _, touch in chain)
        window_end = entered_at + self.funnel.window if self.funnel.window is not None else open_until or newest
        found = []
        for kind, after, before in exclusions:
            start = entered_at if self.is_any else times[after] and max(times[after], entered_at)
            later = [] if self.is_any else [at for at in times[before:] if at is not None]
            end = later[0] if later else newest if is_complete else None
            found += [
                touch.at
                for touch in self.touches
                if kind in touch.kinds
                and start is not None
                and touch.at > start
                and (touch.at <= window_end if end is None else touch.at < end)
            ]
        return min(found, default=None)


NOTHING_YET = datetime.min.replace(tzinfo=UTC)
