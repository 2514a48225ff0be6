"""The event contract, version 1: one pydantic model per channel, told apart by `channel`.

This file is the only place where the contract is written. `schemas/events/<channel>.v1.json` is generated from it
(`make docs`), and `contract.py` judges every Kafka record with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

Channel = Literal["web", "email", "app", "social", "offline"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

# RFC 3339 with an offset; `t` and `z` may be lower-case (its section 5.6). Go and Java producers send nanoseconds:
# accepted, and cut to microseconds.
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
# The same for JSON Schema, whose readers know no calendar.
_DATE, _HOUR = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", "([01][0-9]|2[0-3])"
_WRITTEN = rf"^{_DATE}[Tt]{_HOUR}:[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,9}})?([Zz]|[+-]{_HOUR}:[0-5][0-9])$"
# The last second of a UTC day is where a leap second is inserted: 60 stands for it in RFC 3339, section 5.7.
_LEAP_SECOND = re.compile(r"(.{10}[Tt]\d\d:\d\d:)60(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)")

# What identifies a person most strongly stands first: it keys the Kafka record and names the customer.
IDENTIFIER_CLASSES: dict[str, tuple[str, ...]] = {
    "strong": ("customer_id",),
    "contact": ("email", "phone"),
    "device": ("anonymous_id", "device_id", "social_handle"),
}
STRENGTH: tuple[str, ...] = tuple(name for names in IDENTIFIER_CLASSES.values() for name in names)

INT64 = {"ge": -(2**63), "le": 2**63 - 1}


def _is_rfc_3339(value: Any) -> Any:
    if not isinstance(value, str) or RFC_3339.fullmatch(value) is None:
        raise PydanticCustomError("rfc_3339", "must be an RFC 3339 time with an offset, as 2026-01-31T18:05:00+01:00")
    if (leap := _LEAP_SECOND.fullmatch(value)) is not None and _ends_a_utc_day(f"{leap[1]}59{leap[2]}".upper()):
        raise PydanticCustomError(
            "leap_second",
            "is a leap second, which no clock of the tables has: send second 59, or 00 of the next minute",
        )
    return value.upper()


def _ends_a_utc_day(second: str) -> bool:
    """Whether an RFC 3339 time lies in the last minute of a UTC day; False where it is no time at all."""
    try:
        instant = datetime.fromisoformat(second).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return (instant.hour, instant.minute) == (23, 59)


def _is_in_the_calendar(value: datetime) -> datetime:
    """An offset can carry a time out of the calendar that every reader knows, years 1 to 9999 in UTC."""
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("out_of_calendar", "must lie in the years 1 to 9999, in UTC") from error


Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_is_rfc_3339, json_schema_input_type=str),
    AfterValidator(_is_in_the_calendar),
    Field(
        description="RFC 3339 with an offset; stored as UTC microseconds.",
        json_schema_extra={"pattern": _WRITTEN},
    ),
]
Text = Annotated[str, Field(strict=True)]


class Part(BaseModel):
    """A part of an event. Unknown fields are kept, so that a producer may send more than we know today."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Page(Part):
    """The web page on which the event happened."""

    url: Text | None = None
    path: Text | None = None
    title: Text | None = None
    referrer: Text | None = None


class Campaign(Part):
    """The campaign that brought the customer, as in UTM parameters."""

    source: Text | None = None
    medium: Text | None = None
    name: Text | None = None
    term: Text | None = None
    content: Text | None = None


class Device(Part):
    """The device that sent the event."""

    type: Text | None = None
    os: Text | None = None
    browser: Text | None = None
    app_version: Text | None = None


class Geo(Part):
    """Where the customer was, as far as the producer knows."""

    country: Text | None = None
    region: Text | None = None
    city: Text | None = None
    latitude: float | None = None
    longitude: float | None = None


class Consent(Part):
    """What the customer agreed to at the time of the event."""

    analytics: bool | None = None
    personalisation: bool | None = None


class Context(Part):
    """The circumstances of an event."""

    session_id: Text | None = None
    page: Page | None = None
    screen: Text | None = None
    campaign: Campaign | None = None
    device: Device | None = None
    geo: Geo | None = None
    locale: Text | None = None
    consent: Consent | None = None


@dataclass(frozen=True)
class Requirement:
    """One of the paths `any_of` must hold something: in every event of a channel, or just in those of `event_type`."""

    any_of: tuple[str, ...]
    why: str
    event_type: str | None = None


#: What a channel asks for beyond what every event has. Data, not code: the columnar check is derived from it too.
REQUIREMENTS: dict[Channel, Requirement] = {
    "web": Requirement(("context.page.url",), "a page_viewed says which page", "page_viewed"),
    "email": Requirement(
        ("properties.message_id", "properties.campaign_id"), "an e-mail event names its message_id or campaign_id"
    ),
    "app": Requirement(("context.screen",), "a screen_viewed says which screen", "screen_viewed"),
    "social": Requirement(("properties.network",), "a social event names its network"),
    "offline": Requirement(("properties.location",), "an offline event names its location"),
}


class BaseEvent(Part):
    """What every event has, whatever its channel."""

    event_id: Annotated[
        str,
        Field(
            strict=True,
            min_length=1,
            max_length=200,
            description="Unique per event, chosen by the producer; a retry re-sends the same id.",
        ),
    ]
    event_type: Annotated[
        str,
        Field(
            strict=True,
            min_length=1,
            max_length=200,
            description="What happened: object, then past verb, as `order_completed`.",
        ),
    ]
    occurred_at: Instant
    sent_at: Instant | None = None
    received_at: Instant | None = None
    sequence: (
        Annotated[
            int, Field(strict=True, description="The producer's own order, to break ties of `occurred_at`.", **INT64)
        ]
        | None
    ) = None
    initiator: Literal["customer", "company"] = "customer"
    identifiers: Annotated[
        dict[Text, Text], Field(min_length=1, description='Namespace to identifier, as {"anonymous_id": "c-1"}.')
    ]
    context: Context | None = None
    properties: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _meets_its_channels_requirement(self) -> Self:
        requirement = REQUIREMENTS[self.channel]  # type: ignore[attr-defined]  # every channel's model has it
        if requirement.event_type not in (None, self.event_type) or any(map(self._holds, requirement.any_of)):
            return self
        raise PydanticCustomError(
            "required_by_channel",
            "{field} is required: {why}",
            {"field": requirement.any_of[0], "why": requirement.why},
        )

    def _holds(self, path: str) -> bool:
        value: Any = self
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
        return value not in (None, "")


class WebEvent(BaseEvent):
    """An event on a web page, topic `events.web.v1`."""

    channel: Literal["web"]


class EmailEvent(BaseEvent):
    """An e-mail event, topic `events.email.v1`."""

    channel: Literal["email"]


class AppEvent(BaseEvent):
    """An event in a mobile app, topic `events.app.v1`."""

    channel: Literal["app"]


class SocialEvent(BaseEvent):
    """An event on a social network, topic `events.social.v1`."""

    channel: Literal["social"]


class OfflineEvent(BaseEvent):
    """An event in a store, a call centre or the field, topic `events.offline.v1`."""

    channel: Literal["offline"]


EVENT_MODELS: dict[Channel, type[BaseEvent]] = {
    "web": WebEvent,
    "email": EmailEvent,
    "app": AppEvent,
    "social": SocialEvent,
    "offline": OfflineEvent,
}
Event = Annotated[WebEvent | EmailEvent | AppEvent | SocialEvent | OfflineEvent, Field(discriminator="channel")]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def topic_of(channel: str) -> str:
    """The Kafka topic of a channel: `web` → `events.web.v1`."""
    return f"events.{channel}.v1"


def event_key(identifiers: dict[str, str]) -> str:
    """The Kafka record key: the strongest identifier present, so that one person's events keep one partition."""
    ranked = sorted(identifiers, key=lambda name: (STRENGTH.index(name) if name in STRENGTH else len(STRENGTH), name))
    return f"{ranked[0]}:{identifiers[ranked[0]]}"


def json_schema(channel: Channel) -> dict[str, Any]:
    """The JSON Schema of one channel's events, as written to `schemas/events/<channel>.v1.json`."""
    schema = EVENT_MODELS[channel].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": topic_of(channel)} | schema
