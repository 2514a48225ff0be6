"""A taxonomy: stages, rules, sessions, journeys, identity, funnels. YAML in, rows and predicates out.

Rows become the tables of schema `taxonomy` (`tables`); predicates become selects over them (`models`).
A new stage, rule or funnel is an edit of YAML: no table changes its shape.
"""

from __future__ import annotations

import hashlib
import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from iso4217 import Currency
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from journey_core.documents import Document, Duration, Mistake, parse_duration, read_document
from journey_core.errors import TaxonomyError
from journey_core.events import CHANNELS
from journey_core.expressions import parse_expression
from journey_core.identity import Identity, mistakes_of_identity
from journey_core.paths import SCHEMAS

_AT_ONCE, _MICROSECOND, _DAY = timedelta(0), timedelta(microseconds=1), timedelta(days=1)
#: Periods of entry → their length in months, days and nanoseconds: a local day has 23 to 25 hours.
_LENGTHS = {"day": (0, 1, 0), "week": (0, 7, 0), "month": (1, 0, 0)}
# `intermediate.funnel_paths` packs an instant and a predicate's number into 64 bits: five are left for the number.
_MOST_PREDICATES = 31

TAXONOMIES = SCHEMAS / "taxonomies"

#: What a predicate over one event may name: column → DuckDB type. The columns of `staging.events`.
EVENT_COLUMNS: dict[str, str] = {
    "event_type": "varchar", "channel": "varchar", "initiator": "varchar", "occurred_at": "timestamptz",
    "page_url": "varchar", "page_path": "varchar", "page_referrer": "varchar", "screen": "varchar",
    "campaign_source": "varchar", "campaign_medium": "varchar", "campaign_name": "varchar",
    "device": "varchar", "device_os": "varchar", "country": "varchar", "region": "varchar", "city": "varchar",
    "locale": "varchar", "product_id": "varchar", "order_id": "varchar", "revenue": "decimal(18, 4)",
    "currency": "varchar", "rating": "double", "error_code": "varchar", "support_topic": "varchar",
    "survey_kind": "varchar", "survey_score": "double", "properties": "json", "context": "json",
}  # fmt: skip
#: ... and over one event with its customer's history before it: also columns of `intermediate.touchpoint_history`.
TOUCHPOINT_COLUMNS: dict[str, str] = EVENT_COLUMNS | {
    "prior_orders": "bigint",
    "prior_goals": "bigint",
    "days_since_order": "double",
    "days_since_goal": "double",
    "days_since_delivery": "double",
    "is_repeated_order": "boolean",
    "is_return": "boolean",
}
_TOUCHPOINTS = (
    "select history.event_key, history.event_id, history.customer_id, history.event_order, history.sequence, "
    + ", ".join(f"{'events' if name in EVENT_COLUMNS else 'history'}.{name}" for name in TOUCHPOINT_COLUMNS)
    + " from staging.events as events"
    " inner join intermediate.touchpoint_history as history on events.event_key = history.event_key"
)

_ONLY_IN_EVENTS = EVENT_COLUMNS.keys() - {"event_type", "channel", "initiator", "occurred_at"}
_OF_HISTORY = TOUCHPOINT_COLUMNS.keys() - EVENT_COLUMNS.keys()
#: SQL: whether an event of `reached` that would meet the goal, or order, takes money back: what has its own name may.
_IS_RETURN = (
    "revenue < 0 and (meets_goal or event_type = 'order_completed')"
    " and event_type not in ('order_refunded', 'order_cancelled')"
)


def _expression(text: str, columns: dict[str, str], boolean: bool) -> str:
    try:
        return parse_expression(text, columns, boolean=boolean)
    except TaxonomyError as error:
        raise ValueError(str(error)) from error  # pydantic adds where it stands


def _known_zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError(f"unknown time zone `{name}`; write one as Europe/Madrid")
    return name


def _midnight(value: Any) -> Any:
    """`2026-01-01` is midnight UTC."""
    return f"{value}T00:00:00Z" if len(str(value)) == len("2026-01-01") else value


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
EventPredicate = Annotated[str, AfterValidator(partial(_expression, columns=EVENT_COLUMNS, boolean=True))]
Predicate = Annotated[str, AfterValidator(partial(_expression, columns=TOUCHPOINT_COLUMNS, boolean=True))]
Value = Annotated[str, AfterValidator(partial(_expression, columns=TOUCHPOINT_COLUMNS, boolean=False))]
TimeZone = Annotated[str, AfterValidator(_known_zone)]
Instant = Annotated[datetime, BeforeValidator(_midnight), AfterValidator(_utc)]


class Label(Document):
    """What people read: English and Spanish."""

    en: str
    es: str


class Stage(Document):
    """One stage; its place in the list is its order."""

    stage: Name
    moment: Literal["before", "purchase", "after"]
    phase: Literal["recognize", "request", "respond"]
    label: Label


class Rule(Document):
    """A touchpoint that matches `when` is of `stage`; the first match wins."""

    stage: Name
    when: Predicate


class Journeys(Document):
    """When a journey ends."""

    goal: EventPredicate
    idle_timeout: Duration = parse_duration("30 days")
    post_goal_period: Duration = parse_duration("30 days")


class Sessions(Document):
    """When a session ends."""

    timeout: Duration = parse_duration("30 minutes")
    channel_timeouts: dict[Literal["web", "email", "app", "social", "offline"], Duration] = {}
    max_length: Duration = parse_duration("24 hours")
    cut_at_campaign: bool = False
    cut_at_midnight: TimeZone | None = None  # the zone whose midnight it is


class Experience(Document):
    """What tells the connected-experience strategies apart: `guidance` to a choice, a `desire` that is known."""

    guidance: Predicate = (
        "event_type in ('quiz_completed', 'product_compared', 'recommendation_viewed', 'recommendation_clicked',"
        " 'advisor_contacted')"
    )
    desire: Predicate = "event_type in ('product_searched', 'order_repeated')"


class Signal(Document):
    """What in the events may stand behind a drop, and the reason that it is a sign of."""

    signal: Name
    reason: Literal["failure", "stated_reason", "friction", "commercial"]
    when: Predicate


#: What the name of a failure says: `payment_failed`, `Payment Failed`, `PaymentFailed`, `out_of_stock_shown`; in
#: Spanish, too. A word begins at a border or with a capital: `terror_viewed` is none.
_FAILURES = (
    "fail|error|declin|reject|denied|timeout|timed[ _-]?out|invalid|crash|exception|unavailable|out[ _-]of[ _-]stock"
    "|sold[ _-]?out|(card|payment)[ _-]?refus|rechazad|fall(o|ida|ido)\\b|denegad|caducad"
)
_CAPITALS = "Fail|Error|Declin|Reject|Denied|Timeout|TimedOut|Invalid|Crash|Exception|Unavailable|OutOfStock|Refused"
FAILURE_WORDS = f"(^|[^a-zA-Z])(?i:{_FAILURES})|(^|[a-z])({_CAPITALS})"


def usual_signals() -> list[Signal]:
    """What is looked for where a taxonomy names no signals of its own."""
    return [
        Signal(
            signal="failure",
            reason="failure",
            when=f"error_code is not null or regexp_matches(event_type, '{FAILURE_WORDS}')",
        ),
        Signal(
            signal="reason_given",
            reason="stated_reason",
            when="event_type in ('order_cancelled', 'subscription_cancelled')"
            " or (event_type = 'survey_answered' and survey_kind in ('exit', 'cancellation'))",
        ),
        Signal(signal="support_contacted", reason="stated_reason", when="event_type = 'support_contacted'"),
        Signal(signal="rage_clicked", reason="friction", when="event_type = 'rage_clicked'"),
        Signal(
            signal="shipping_costs",
            reason="commercial",
            # Shipping that costs a fifth of the price or more, where both are told.
            when="event_type = 'shipping_quoted'"
            " and cast(properties ->> '$.shipping' as double) >= 0.2 * cast(properties ->> '$.price' as double)",
        ),
        Signal(signal="price_shown", reason="commercial", when="event_type in ('price_shown', 'fee_shown')"),
        Signal(signal="coupon_refused", reason="commercial", when="event_type = 'coupon_refused'"),
    ]


# What drop_reasons may name beside the signals of a taxonomy.
_OTHER_SIGNS = (
    "no_evidence", "too_early", "channel_switch", "device_switch", "link_followed", "other_funnel",
    "no_touch_in_7_days",
)  # fmt: skip
#: Patterns of events that the models find by themselves: signal → reason.
PATTERNS = {"repeated_step": "friction", "back_and_forth": "friction", "slow_step": "friction"}
#: Reason, in the order of precedence → the strategy that addresses it (Siggelkow and Terwiesch, Connected Strategy,
#: 2019): make what is wanted work and be easy, offer what fits, do it without being asked, remind.
REASONS = {
    "failure": "respond_to_desire",
    "stated_reason": "curated_offering",
    "friction": "respond_to_desire",
    "commercial": "curated_offering",
    "hand_off_lost": "automatic_execution",
    "competing_path": "curated_offering",
    "silence": "coach_behavior",
    "unknown": None,
}


class Money(Document):
    """How amounts are written as text. `decimal`: the mark before the decimals, where a text alone does not tell."""

    decimal: Literal[".", ","] | None = None


class Step(Document):
    """One step of a funnel. `within` and `not_before`: how long after the previous matched step, inclusive."""

    step: Name
    when: Predicate
    within: Duration | None = None
    not_before: Duration | None = None
    optional: bool = False


class Segment(Document):
    """A way to split a funnel: `segment` is a column, or a name whose `value` is an expression."""

    segment: Name
    value: Value | None = None
    of: Name = "entry"  # entry | first | last | the name of a step


class Candidate(Document):
    """A property of the event that takes a step: each of its values is tried as a driver of leaving."""

    candidate: Name
    value: Value


#: What is tried wherever events tell it, beside a taxonomy's own candidates.
USUAL_CANDIDATES = ("device", "device_os", "country", "campaign_source", "campaign_medium", "campaign_name")


class Entered(Document):
    """Which entries count; completions after `until` count still."""

    from_: Annotated[Instant | None, Field(alias="from")] = None
    until: Instant | None = None


class Exclusion(Document):
    """What ends an attempt as `excluded`, strictly between two steps; without `between`, the first and the last."""

    when: Predicate
    between: tuple[Name, Name] | None = None


def _segment(value: Any) -> Any:
    return {"segment": value} if isinstance(value, str) else value


#: How other products count, where a funnel says nothing else: docs/decisions/0010-funnels.md has the sources.
PROFILES: dict[str, dict[str, str]] = {
    "clickhouse": {"order": "ordered", "entry": "best"},
    "mixpanel": {"order": "ordered", "entry": "first", "window": "7 days"},
    "amplitude": {"order": "ordered", "entry": "best", "window": "30 days"},
    "posthog": {"order": "ordered", "entry": "best", "window": "14 days"},
    "ga4": {"order": "ordered", "entry": "best"},
}


class Funnel(Document):
    """A funnel. Without `window` nothing times out. docs/semantics.md, section 6, says what each option means."""

    funnel: Name
    counting: Literal["clickhouse", "mixpanel", "amplitude", "posthog", "ga4"] | None = None
    order: Literal["ordered", "strict", "any"] = "ordered"
    entry: Literal["best", "first", "every"] = "best"
    window: Duration | None = None
    tie_tolerance: Duration = _AT_ONCE
    hold_constant: list[Value] = []
    steps: Annotated[list[Step], Field(min_length=1, max_length=60)]
    exclusions: list[Exclusion] = []
    segments: list[Annotated[Segment, BeforeValidator(_segment)]] = []
    entered: Entered = Entered()
    competes_with: list[Name] = []  # funnels whose entry is a reason to leave this one
    periods: list[Literal["day", "week", "month"]] = ["day", "week", "month"]  # of entry, in `timezone`
    changes_by: Literal["day", "week", "month"] = "week"  # the period in which a change is looked for
    timezone: TimeZone = "UTC"
    week_start: Literal["monday", "sunday"] = "monday"

    @model_validator(mode="before")
    @classmethod
    def _as_counted(cls, given: Any) -> Any:
        """What the profile says, where the funnel itself says nothing."""
        return PROFILES.get(str(given.get("counting")), {}) | given if isinstance(given, dict) else given

    def counted_as(self, profile: str) -> Funnel:
        """This funnel as another product counts it: its steps and exclusions, its window if it has one."""
        options: dict[str, Any] = dict(PROFILES[profile])
        if self.window is not None:
            options["window"] = self.window
        elif "window" in options:
            options["window"] = parse_duration(options["window"])
        return self.model_copy(update=options | {"funnel": profile, "counting": profile, "segments": []})

    @property
    def slots(self) -> list[int]:
        """Per step its place in the order of preference: the required steps first, then the optional ones; from 1."""
        ranked = sorted(range(len(self.steps)), key=lambda index: (self.steps[index].optional, index))
        return [ranked.index(index) + 1 for index in range(len(self.steps))]

    @property
    def has_times(self) -> bool:
        """Whether a step has to follow the one before it in some time; none at all (`0 seconds`) is one."""
        return any(step.within is not None for step in self.steps)

    @property
    def is_one_pass(self) -> bool:
        """Whether one pass over a customer's events finds the entry that counts, unless two of them tie."""
        conditions = [step.when for step in self.steps]
        return (
            self.order == "ordered"
            and self.entry != "every"
            and not (self.tie_tolerance or self.hold_constant or self.exclusions)
            # An earlier step before may serve where a later one would be too soon, or from an optional step too late.
            and not any(step.not_before or (step.optional and self.has_times) for step in self.steps)
            and len(set(conditions)) == len(conditions) <= _MOST_PREDICATES
        )

    @property
    def is_plain(self) -> bool:
        """Whether it finds the steps as well: nothing but their order and one window decides."""
        return self.is_one_pass and not (self.has_times or any(step.optional for step in self.steps))

    def required_place(self, when: str) -> int:
        """Of the required steps the first that has this condition, from 1; 0 where none has."""
        required = [step.when for step in self.steps if not step.optional]
        return required.index(when) + 1 if when in required else 0

    def can_be_left(self, place: int) -> bool:
        """Whether a required step follows the step at `place`, from 1; in any order, whether another one does."""
        return place < len(self.steps) if self.order == "any" else any(not step.optional for step in self.steps[place:])

    def successors(self) -> Iterator[tuple[int, int]]:
        """(step, a step that may be matched next), both from 1."""
        for place in range(1, len(self.steps) + 1):
            for later in range(1, len(self.steps) + 1):
                skipped = self.steps[place : later - 1]
                if later != place if self.order == "any" else later > place and all(step.optional for step in skipped):
                    yield place, later


class Taxonomy(Document):
    """Everything that a build needs to know beyond the events."""

    taxonomy: Name
    version: int
    stages: Annotated[list[Stage], Field(min_length=1)]
    rules: Annotated[list[Rule], Field(min_length=1)]
    journeys: Journeys
    sessions: Sessions = Sessions()
    identity: Identity = Identity()
    money: Money = Money()
    experience: Experience = Experience()
    signals: Annotated[list[Signal], Field(default_factory=usual_signals)]
    candidates: list[Candidate] = []
    funnels: list[Funnel] = []

    @property
    def fingerprint(self) -> str:
        """sha256 over everything that the taxonomy says: two equal answers mean equal tables."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    def tables(self, as_of: datetime | None) -> dict[str, pa.Table]:
        """The rows of schema `taxonomy`: table name → rows. Durations are exact, in microseconds."""
        return {name: pa.table(columns) for name, columns in self._columns(as_of).items()}

    def models(self) -> dict[str, str]:
        """The predicates as selects over touchpoints: table name in schema `taxonomy` → SQL.

        Each stands in a `try`: DuckDB casts on its own where types differ (`error_code = 500`), and a value that does
        not fit is then no match, never the end of a build.
        """
        rules = [f"when {_but_no_return(rule.when)} then '{rule.stage}'" for rule in self.rules]
        ranks = [
            f"when try({rule.when}) then {self._stage_order(rule.stage)}"
            for rule in self.rules
            if not _names(rule.when) & _OF_HISTORY
        ] or ["when false then 0"]
        steps = [
            f"case when {_of_first_telling(when)} then {number} end" for when, number in self._predicates().items()
        ]
        held = [
            f"struct_pack(funnel := '{funnel.funnel}', held := {_held(funnel)})"
            for funnel in self.funnels
            if funnel.hold_constant
        ]
        exclusions = [
            f"case when {_of_first_telling(exclusion.when)} then"
            f" struct_pack(funnel := '{funnel.funnel}', exclusion_order := {order}) end"
            for funnel in self.funnels
            for order, exclusion in enumerate(funnel.exclusions, start=1)
        ]
        signals = [f"case when try({signal.when}) then '{signal.signal}' end" for signal in self.signals]
        segments = [
            f"struct_pack(segment_by := '{name}', segment := try(cast({value} as varchar)))"
            for name, value in self._segment_values().items()
        ]
        candidates = [
            f"struct_pack(candidate := '{name}', value := try(cast({value} as varchar)))"
            for name, value in self._candidate_values().items()
        ]
        return {
            # What breaks a tie of law L3: what an event is by itself, whatever came before it.
            "event_ranks": (
                f"with reached as (select *, coalesce(try({self.journeys.goal}), false) as meets_goal"
                f" from staging.events) select event_key, coalesce({_IS_RETURN}, false) as is_return,"
                " meets_goal and not is_return as is_goal,"
                f" case {' '.join(ranks)} else 0 end as stage_rank from reached"
            ),
            "touchpoint_labels": (
                f"select event_key, customer_id, case {' '.join(rules)} else 'unlabelled' end as stage,"
                f" coalesce(try({self.experience.guidance}), false) as is_guidance,"
                f" coalesce(try({self.experience.desire}), false) as is_desire from ({_TOUCHPOINTS}) as touchpoints"
            ),
            # Which predicates are true of a touchpoint (`taxonomy.funnel_steps` has the steps that each stands for),
            # and all that the readers need to know of it.
            "step_matches": _unnested(
                "event_key, customer_id, event_order, occurred_at, sequence, initiator",
                steps,
                "integer",
                "match as predicate",
            ),
            # What must not change along a chain, where a funnel asks for it and no part of it is null.
            "held_values": _unnested(
                "event_key, customer_id",
                held,
                "funnel varchar, held varchar[]",
                "match.funnel, match.held",
                "where event_key in (select event_key from taxonomy.step_matches)",
                selecting="match.held is not null",
            ),
            "exclusion_matches": _unnested(
                "customer_id, event_order, occurred_at",
                exclusions,
                "funnel varchar, exclusion_order integer",
                "match.funnel, match.exclusion_order",
            ),
            "signal_matches": _unnested(
                "event_key, event_id, customer_id, event_order", signals, "varchar", "match as signal"
            ),
            "candidate_values": _unnested(
                "event_id, customer_id",
                candidates,
                "candidate varchar, value varchar",
                "match.candidate, match.value",
                "where event_id in (select unnest(event_ids) from marts.funnel_attempts)",
                selecting="match.value is not null",
            ),
            "segment_values": _unnested(
                "event_id, customer_id",
                segments,
                "segment_by varchar, segment varchar",
                "match.segment_by, match.segment",
                "where event_id in (select unnest(event_ids) from marts.funnel_attempts)",
            ),
        }

    def _stage_order(self, name: str) -> int:
        """A stage's place in the order of stages, from 1."""
        return [stage.stage for stage in self.stages].index(name) + 1

    def _predicates(self) -> dict[str, int]:
        """Each condition of a step, once however many steps share it → its number, from 1; one-pass funnels first."""
        funnels = sorted(self.funnels, key=lambda funnel: not funnel.is_one_pass)
        conditions = dict.fromkeys(step.when for funnel in funnels for step in funnel.steps)
        return {when: number for number, when in enumerate(conditions, start=1)}

    def _candidate_values(self) -> dict[str, str]:
        """Each property that may be a driver → the expression of its value."""
        return {name: name for name in USUAL_CANDIDATES} | {own.candidate: own.value for own in self.candidates}

    def _segment_values(self) -> dict[str, str]:
        """Each way to split → the expression of its value."""
        return {
            segment.segment: segment.value or segment.segment for funnel in self.funnels for segment in funnel.segments
        }

    def _columns(self, as_of: datetime | None) -> dict[str, dict[str, pa.Array]]:
        interval = pa.duration("us")
        utc = pa.timestamp("us", tz="UTC")
        predicates = self._predicates()
        funnel_steps = [
            (funnel, order, slot, step)
            for funnel in self.funnels
            for order, (slot, step) in enumerate(zip(funnel.slots, funnel.steps, strict=True), start=1)
        ]
        successors = [
            (funnel.funnel, place, later, funnel.steps[later - 1])
            for funnel in self.funnels
            for place, later in funnel.successors()
        ]
        exclusions = [
            (funnel, order, [step.step for step in funnel.steps], exclusion)
            for funnel in self.funnels
            for order, exclusion in enumerate(funnel.exclusions, start=1)
        ]
        periods = [
            (funnel, period)
            for funnel in self.funnels
            for period in _LENGTHS
            if period in (*funnel.periods, funnel.changes_by)
        ]
        funnel_segments = [(funnel, segment) for funnel in self.funnels for segment in funnel.segments]
        timeouts = {channel: self.sessions.channel_timeouts.get(channel, self.sessions.timeout) for channel in CHANNELS}
        return {
            "request": {
                "requested_as_of": pa.array([as_of], utc),
            },
            "journeys": {
                "idle_timeout": pa.array([self.journeys.idle_timeout], interval),
                "post_goal_period": pa.array([self.journeys.post_goal_period], interval),
            },
            "sessions": {
                "session_max_length": pa.array([self.sessions.max_length], interval),
                "cut_at_campaign": pa.array([self.sessions.cut_at_campaign], pa.bool_()),
                "midnight_of": pa.array([self.sessions.cut_at_midnight], pa.string()),
            },
            **self.identity.columns(),
            "money": {
                "decimal_mark": pa.array([self.money.decimal], pa.string()),
            },
            "currencies": {
                "currency": pa.array(sorted(currency.code for currency in Currency), pa.string()),
            },
            "session_timeouts": {
                "channel": pa.array(list(timeouts), pa.string()),
                "timeout": pa.array(list(timeouts.values()), interval),
            },
            "stages": {
                "stage_order": pa.array(range(1, len(self.stages) + 1), pa.int32()),
                "stage": pa.array([stage.stage for stage in self.stages], pa.string()),
                "moment": pa.array([stage.moment for stage in self.stages], pa.string()),
                "phase": pa.array([stage.phase for stage in self.stages], pa.string()),
                "label_en": pa.array([stage.label.en for stage in self.stages], pa.string()),
                "label_es": pa.array([stage.label.es for stage in self.stages], pa.string()),
            },
            "funnels": {
                "funnel": pa.array([funnel.funnel for funnel in self.funnels], pa.string()),
                "matching": pa.array([funnel.order for funnel in self.funnels], pa.string()),
                "entry": pa.array([funnel.entry for funnel in self.funnels], pa.string()),
                "funnel_window": pa.array([funnel.window for funnel in self.funnels], interval),
                "tie_tolerance": pa.array([funnel.tie_tolerance for funnel in self.funnels], interval),
                "entered_from": pa.array([funnel.entered.from_ for funnel in self.funnels], utc),
                "entered_until": pa.array([funnel.entered.until for funnel in self.funnels], utc),
                "steps": pa.array([len(funnel.steps) for funnel in self.funnels], pa.int32()),
                "is_one_pass": pa.array(
                    [
                        funnel.is_one_pass and all(predicates[step.when] <= _MOST_PREDICATES for step in funnel.steps)
                        for funnel in self.funnels
                    ],
                    pa.bool_(),
                ),
                "is_plain": pa.array([funnel.is_plain for funnel in self.funnels], pa.bool_()),
                "is_constant": pa.array([bool(funnel.hold_constant) for funnel in self.funnels], pa.bool_()),
                # Per predicate, from 1, which of the required steps it is; 0 where it is none.
                "steps_of": pa.array(
                    [[funnel.required_place(when) for when in predicates] for funnel in self.funnels],
                    pa.list_(pa.int64()),
                ),
                # Per step how long after the one before it, in microseconds; null where nothing is said of any.
                "times_between": pa.array(
                    [
                        [None if step.within is None else step.within // _MICROSECOND for step in funnel.steps]
                        if funnel.has_times
                        else None
                        for funnel in self.funnels
                    ],
                    pa.list_(pa.int64()),
                ),
                # Per step what it takes at least, in microseconds; 0 where it may be skipped.
                "least_times": pa.array(
                    [
                        [0 if step.optional else (step.not_before or _AT_ONCE) // _MICROSECOND for step in funnel.steps]
                        for funnel in self.funnels
                    ],
                    pa.list_(pa.int64()),
                ),
                "required_steps": pa.array(
                    [sum(not step.optional for step in funnel.steps) for funnel in self.funnels], pa.int32()
                ),
            },
            "funnel_steps": {
                "funnel": pa.array([funnel.funnel for funnel, *_ in funnel_steps], pa.string()),
                "step_order": pa.array([order for _, order, *_ in funnel_steps], pa.int32()),
                "step": pa.array([step.step for *_, step in funnel_steps], pa.string()),
                # What tables call it: in any order there is a first, second, third one taken, whichever it was.
                "label": pa.array(
                    [
                        f"{order} of {len(funnel.steps)}" if funnel.order == "any" else step.step
                        for funnel, order, _, step in funnel_steps
                    ],
                    pa.string(),
                ),
                "is_optional": pa.array([step.optional for *_, step in funnel_steps], pa.bool_()),
                # Nobody leaves after the last required step; in any order, after the last one taken.
                "can_be_left": pa.array([funnel.can_be_left(order) for funnel, order, *_ in funnel_steps], pa.bool_()),
                "slot": pa.array([slot for _, _, slot, _ in funnel_steps], pa.int32()),
                "predicate": pa.array([predicates[step.when] for *_, step in funnel_steps], pa.int32()),
            },
            "funnel_competitors": {
                "funnel": pa.array([f.funnel for f in self.funnels for _ in f.competes_with], pa.string()),
                "competes_with": pa.array([other for f in self.funnels for other in f.competes_with], pa.string()),
            },
            "funnel_periods": {
                "funnel": pa.array([funnel.funnel for funnel, _ in periods], pa.string()),
                "period": pa.array([period for _, period in periods], pa.string()),
                "period_length": pa.array([_LENGTHS[period] for _, period in periods], pa.month_day_nano_interval()),
                "is_watched": pa.array([funnel.changes_by == period for funnel, period in periods], pa.bool_()),
                "time_zone": pa.array([funnel.timezone for funnel, _ in periods], pa.string()),
                # How much later than on Monday its week would have to start to be one of a Monday.
                "week_shift": pa.array(
                    [_DAY if (f.week_start, period) == ("sunday", "week") else _AT_ONCE for f, period in periods],
                    interval,
                ),
            },
            "funnel_successors": {
                "funnel": pa.array([funnel for funnel, *_ in successors], pa.string()),
                "step_order": pa.array([place for _, place, *_ in successors], pa.int32()),
                "next_step_order": pa.array([later for _, _, later, _ in successors], pa.int32()),
                "within": pa.array([step.within for *_, step in successors], interval),
                "not_before": pa.array([step.not_before for *_, step in successors], interval),
            },
            "funnel_exclusions": {
                "funnel": pa.array([funnel.funnel for funnel, *_ in exclusions], pa.string()),
                "exclusion_order": pa.array([order for _, order, *_ in exclusions], pa.int32()),
                "after_step": pa.array([_place_of(steps, rule, 0) for _, _, steps, rule in exclusions], pa.int32()),
                "before_step": pa.array([_place_of(steps, rule, 1) for _, _, steps, rule in exclusions], pa.int32()),
            },
            "signals": {
                "signal": pa.array([*(signal.signal for signal in self.signals), *PATTERNS], pa.string()),
                "reason": pa.array([*(signal.reason for signal in self.signals), *PATTERNS.values()], pa.string()),
                # Where it has to lie to be evidence: after the last step, at the exit itself, or in the visit.
                "evidence": pa.array(
                    [
                        *("last" if signal.reason == "commercial" else "after" for signal in self.signals),
                        *("pattern" for _ in PATTERNS),
                    ],
                    pa.string(),
                ),
            },
            "failure_words": {"pattern": pa.array([FAILURE_WORDS], pa.string())},
            "reasons": {
                "reason_order": pa.array(range(1, len(REASONS) + 1), pa.int32()),
                "reason": pa.array(list(REASONS), pa.string()),
                "strategy": pa.array(list(REASONS.values()), pa.string()),
            },
            "funnel_segments": {
                "funnel": pa.array([funnel.funnel for funnel, _ in funnel_segments], pa.string()),
                "segment_by": pa.array([segment.segment for _, segment in funnel_segments], pa.string()),
                "attribution": pa.array([segment.of for _, segment in funnel_segments], pa.string()),
            },
        }


def load_taxonomy(name_or_file: str) -> Taxonomy:
    """A shipped taxonomy by name (`retail`), or any YAML file by path.

    Raises TaxonomyError naming file, line, key and what is allowed.
    """
    path = Path(name_or_file)
    if path.suffix not in (".yaml", ".yml"):
        path = TAXONOMIES / f"{name_or_file}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in TAXONOMIES.glob("*.yaml")))
        raise TaxonomyError(f"no taxonomy `{name_or_file}`: name one of {shipped}, or give the path of a YAML file")
    return read_document(path, Taxonomy, _mistakes)


def _mistakes(taxonomy: Taxonomy) -> Iterator[Mistake]:
    """What no single key can know: names that must exist, or must differ."""
    stages = [stage.stage for stage in taxonomy.stages]
    yield from _repeated(("stages",), "stage", stages)
    yield from _reserved(("stages",), "stage", stages, {"unlabelled"})
    for index, rule in enumerate(taxonomy.rules):
        if rule.stage not in stages:
            yield ("rules", index, "stage"), f"unknown stage `{rule.stage}`; known: {', '.join(stages)}"
    signals = [signal.signal for signal in taxonomy.signals]
    yield from _repeated(("signals",), "signal", signals)
    yield from _reserved(("signals",), "signal", signals, {*PATTERNS, *_OTHER_SIGNS})
    yield from _repeated(("candidates",), "candidate", [candidate.candidate for candidate in taxonomy.candidates])
    yield from _mistakes_of_funnels(taxonomy)
    yield from mistakes_of_identity(taxonomy.identity)


def _mistakes_of_funnels(taxonomy: Taxonomy) -> Iterator[Mistake]:
    funnels = [funnel.funnel for funnel in taxonomy.funnels]
    yield from _repeated(("funnels",), "funnel", funnels)
    meant: dict[str, str | None] = {}
    for index, funnel in enumerate(taxonomy.funnels):
        steps = [step.step for step in funnel.steps]
        yield from _repeated(("funnels", index, "steps"), "step", steps)
        for place, other in enumerate(funnel.competes_with):
            if other not in funnels or other == funnel.funnel:
                others = ", ".join(name for name in funnels if name != funnel.funnel) or "none"
                yield ("funnels", index, "competes_with", place), f"no other funnel `{other}`; others: {others}"
        yield from _reserved(("funnels", index, "steps"), "step", steps, {"entry", "first", "last"})
        yield from _mistakes_of_steps(("funnels", index), funnel)
        yield from _repeated(("funnels", index, "segments"), "segment", [part.segment for part in funnel.segments])
        for place, segment in enumerate(funnel.segments):
            where = ("funnels", index, "segments", place)
            if segment.segment == "all":
                yield where, "`all` names the whole funnel: give the segment another name"
            if meant.setdefault(segment.segment, segment.value) != segment.value:
                yield where, f"the segment `{segment.segment}` has another value in an earlier funnel; names differ"
            if segment.value is None and segment.segment not in TOUCHPOINT_COLUMNS:
                known = ", ".join(sorted(TOUCHPOINT_COLUMNS))
                yield where, f"unknown column `{segment.segment}`; known: {known}; or give it a `value`"
            if segment.of not in (allowed := ["entry", "first", "last", *steps]):
                yield where, f"`of: {segment.of}` is not allowed; allowed: {', '.join(allowed)}"


def _mistakes_of_steps(where: tuple[int | str, ...], funnel: Funnel) -> Iterator[Mistake]:
    first = funnel.steps[0]
    if first.optional:
        yield (*where, "steps", 0, "optional"), "the first step is never optional: it is the entry"
    for key in ("within", "not_before"):
        # In any order each step may follow another.
        if getattr(first, key) is not None and funnel.order != "any":
            yield (*where, "steps", 0, key), "the first step has no step before it"
    for index, step in enumerate(funnel.steps):
        if step.within is not None and step.not_before is not None and step.within < step.not_before:
            yield (*where, "steps", index, "within"), "nothing can come `within` a time that ends before `not_before`"
    yield from _mistakes_of_time(where, funnel)
    yield from _mistakes_of_exclusions(where, funnel)


def _mistakes_of_time(where: tuple[int | str, ...], funnel: Funnel) -> Iterator[Mistake]:
    """What could never happen, and what would take forever."""
    entered = funnel.entered
    if entered.from_ is not None and entered.until is not None and entered.from_ >= entered.until:
        yield (*where, "entered", "until"), "nobody can enter: `until` has to come after `from`"
    needed = sum((step.not_before or _AT_ONCE for step in funnel.steps if not step.optional), _AT_ONCE)
    if funnel.window is not None and needed > funnel.window:
        yield (*where, "window"), "nobody can convert: the steps' `not_before` take longer than the `window`"
    if funnel.order == "any" and len(funnel.steps) > 10 and any(s.within or s.not_before for s in funnel.steps):
        yield (*where, "steps"), "in any order, with times between steps, at most 10 of them"
    if sum(step.optional for step in funnel.steps) > 8:
        yield (*where, "steps"), "at most 8 optional steps: each of them doubles the ways through"


def _mistakes_of_exclusions(where: tuple[int | str, ...], funnel: Funnel) -> Iterator[Mistake]:
    steps = [step.step for step in funnel.steps]
    if funnel.exclusions and len(steps) < 2:
        yield (*where, "exclusions"), "a funnel of one step has nothing between its steps to exclude"
        return
    for index, exclusion in enumerate(funnel.exclusions):
        for name in exclusion.between or ():
            if name not in steps:
                yield (*where, "exclusions", index, "between"), f"no step `{name}`; steps: {', '.join(steps)}"
                return
        if exclusion.between is not None and funnel.order == "any":
            yield (*where, "exclusions", index, "between"), "in any order no step lies between others: leave it out"
            return
        if _place_of(steps, exclusion, 0) >= _place_of(steps, exclusion, 1):
            yield (*where, "exclusions", index, "between"), "the first step named must come before the second"


def _names(expression: str) -> set[str]:
    """The words of an expression, the columns that it names among them."""
    return set(re.findall(r"\w+", expression))


def _of_first_telling(when: str) -> str:
    """SQL: whether a touchpoint meets `when`. An order told again takes no step, unless `when` asks for such."""
    first = "" if "is_repeated_order" in _names(when) else " and not is_repeated_order"
    return f"{_but_no_return(when)}{first}"


def _but_no_return(when: str) -> str:
    """SQL: whether a touchpoint meets `when`. An order below 0 is none, unless `when` asks for such."""
    return f"try({when})" if "is_return" in _names(when) else f"try({when}) and not is_return"


def _held(funnel: Funnel) -> str:
    """SQL: what must not change along a chain, as one list; null where a part of it is null, which equals nothing."""
    values = [f"try(cast({value} as varchar))" for value in funnel.hold_constant]
    if not values:
        return "[]::varchar[]"
    return f"case when {' and '.join(f'{value} is not null' for value in values)} then [{', '.join(values)}] end"


def _place_of(steps: list[str], exclusion: Exclusion, end: int) -> int:
    """The step, from 1, after (`end` 0) or before (1) which an exclusion lies."""
    return steps.index((exclusion.between or (steps[0], steps[-1]))[end]) + 1


def _reserved(where: tuple[int | str, ...], noun: str, names: list[str], reserved: set[str]) -> Iterator[Mistake]:
    for index, name in enumerate(names):
        if name in reserved:
            yield (*where, index), f"`{name}` has a meaning of its own: give the {noun} another name"


def _repeated(where: tuple[int | str, ...], noun: str, names: list[str]) -> Iterator[Mistake]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield (*where, index), f"the {noun} `{name}` stands here twice; names differ"
        seen.add(name)


def _unnested(
    place: str, items: list[str], columns: str, selected: str, where: str = "", selecting: str = "match is not null"
) -> str:
    """One pass over the touchpoints, however many predicates. Most touchpoints match one at most: lists are slow."""
    if not items:
        items, where = ["null"], "where false"
    kind = f"struct({columns})" if " " in columns else columns
    first = f"coalesce({', '.join(items)})::{kind}"
    count = " + ".join(f"({item} is not null)::integer" for item in items)
    every = f"list_filter([{', '.join(items)}]::{kind}[], lambda match: match is not null)"
    # What the narrow table knows by itself need not be joined to the wide one.
    words = _names(f"{place} {every}")
    source = _TOUCHPOINTS if words & _ONLY_IN_EVENTS else "select * from intermediate.touchpoint_history"
    return (
        f"with looked_at as (select *, {first} as first_match, {count} as matches"
        f" from ({source}) as touchpoints {where}),\n"
        f"matched as (select {place}, unnest(case when matches = 1 then [first_match] else {every} end) as match"
        " from looked_at where first_match is not null)\n"
        f"select {place}, {selected} from matched where {selecting}"
    )
