"""`journey simulate`: a believable shop's customers, with planted causes of abandonment that a manifest records.

The same seed gives the same bytes. Nothing here is random but the seed's own generator; no clock is read.

What is believable about it: cookies that log in later, several devices per person, one tablet that a family shares,
e-mails that the company sends, social and store touches, repeat purchases; late, duplicate, conflicting and malformed
records at a few per cent. What is planted, each in its own time window:

- `payment_outage`: payments fail, whoever pays; most give up.
- `mobile_checkout_loop`: on a phone, the checkout sends people back to the basket until they give up.
- `shipping_price_shock`: in one country shipping costs a quarter of the basket; most leave when they see it.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from journey_core.events import event_key, topic_of
from journey_core.logs import Record

_SEASON_START = datetime(2026, 1, 1, tzinfo=UTC)
_LATEST_END = datetime(2026, 4, 1, tzinfo=UTC)
COUNTRIES = {"ES": 0.4, "PT": 0.25, "FR": 0.2, "DE": 0.15}
CATEGORIES = ("lamp", "chair", "desk", "rug", "shelf", "mirror")
NETWORKS = ("instagram", "tiktok", "pinterest")
TOPICS_OF_SUPPORT = ("delivery", "assembly", "return", "warranty")

DUPLICATE_SHARE = 0.02
LATE_SHARE = 0.03
MALFORMED_SHARE = 0.01
CONFLICT_SHARE = 0.001


@dataclass(frozen=True)
class PlantedCause:
    """One cause of abandonment: where and when it acts, on which funnel step, and whom it cost the order."""

    cause: str
    funnel: str
    last_step: str  # the last step that those who drop by it have reached
    event_type: str  # its trace in the events
    segment_by: str
    segment: str
    starts_at: str
    ends_at: str
    customers: list[str] = field(default_factory=list)

    def acts_at(self, instant: datetime, segment: str) -> bool:
        """Whether it acts on a checkout of `segment` at `instant`."""
        starts, ends = datetime.fromisoformat(self.starts_at), datetime.fromisoformat(self.ends_at)
        return starts <= instant < ends and self.segment in ("all", segment)


@dataclass
class Manifest:
    """What a simulation has put into its records: the truth that tables can be compared with."""

    customers: int
    days: int
    seed: int
    records: int = 0
    events: int = 0
    duplicates: int = 0
    conflicts: int = 0
    late: int = 0
    malformed: dict[str, int] = field(default_factory=dict)
    events_by_channel: dict[str, int] = field(default_factory=dict)
    events_by_type: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    revenue: str = "0.00"
    people: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    shared_device: dict[str, Any] = field(default_factory=dict)
    planted_causes: list[PlantedCause] = field(default_factory=list)

    def __str__(self) -> str:
        malformed = sum(self.malformed.values())
        return (
            f"simulated {self.customers:,} customers over {self.days} days (seed {self.seed}): {self.records:,} records"
            f" = {self.events:,} events + {self.duplicates:,} duplicates + {self.conflicts:,} conflicts + "
            f"{malformed:,} malformed; {self.orders:,} orders"
        )

    def to_json(self) -> str:
        """The manifest as JSON, the same bytes for the same simulation."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


@dataclass
class Person:
    """One customer, as the simulator alone knows them."""

    number: int
    customer_id: str
    email: str
    country: str
    desktop_cookie: str
    phone_cookie: str
    app_device: str | None
    social_handle: str | None
    phone_share: float
    keenness: float
    reads_email: bool
    uses_tablet: bool
    orders: int = 0


@dataclass(frozen=True)
class Simulation:
    """The records in the order in which they reach Kafka, and the manifest."""

    records: list[Record]
    manifest: Manifest


def starts_at(days: int) -> datetime:
    """When a simulation of `days` begins: 2026-01-01 UTC, or earlier where it would last longer than to 2026-03-31.

    A landing rejects events of the future.
    """
    return min(_SEASON_START, _LATEST_END - timedelta(days=days))


def simulate(customers: int = 1000, days: int = 90, seed: int = 7, *, causes: bool = True) -> Simulation:
    """Simulate a shop. Events lie in [`starts_at(days)`, + days) UTC; at the defaults some 60,000 records.

    Without `causes` nothing is planted: whatever then looks like one is chance.
    """
    return _Shop(customers, days, seed, causes).open()


class _Shop:
    def __init__(self, customers: int, days: int, seed: int, causes: bool) -> None:
        self.random = random.Random(seed)
        self.days = days
        self.start = starts_at(days)
        self.end = self.start + timedelta(days=days)
        self.events: list[dict[str, Any]] = []
        planted = _planted(days)
        if not causes:
            planted = [replace(cause, ends_at=cause.starts_at) for cause in planted]
        self.manifest = Manifest(customers, days, seed, planted_causes=planted if causes else [])
        self.causes = {cause.cause: cause for cause in planted}
        self.people = [self._person(number) for number in range(customers)]
        self.tablet = "tablet-family-1"
        self.family = [person.customer_id for person in self.people if person.uses_tablet]

    def open(self) -> Simulation:
        for person in self.people:
            self._live(person)
        self._newsletters()
        self.events = [event for event in self.events if event["at"] < self.end]
        self._number()
        self._count()
        return Simulation(list(self._deliver()), self.manifest)

    # People ---------------------------------------------------------------------------------------------------------

    def _person(self, number: int) -> Person:
        chance = self.random.random
        customer_id = f"cust-{number:05d}"
        return Person(
            number=number,
            customer_id=customer_id,
            email=f"person{number:05d}@example.com",
            country=self.random.choices(list(COUNTRIES), list(COUNTRIES.values()))[0],
            desktop_cookie=f"cookie-d-{number:05d}",
            phone_cookie=f"cookie-m-{number:05d}",
            app_device=f"install-{number:05d}" if chance() < 0.35 else None,
            social_handle=f"@person{number:05d}" if chance() < 0.3 else None,
            phone_share=self.random.choice((0.1, 0.5, 0.9)),
            keenness=self.random.betavariate(2, 3),
            reads_email=chance() < 0.5,
            uses_tablet=number in (3, 4),
        )

    def _live(self, person: Person) -> None:
        """A person's visits: some come once, some come back all season."""
        at = self.start + timedelta(days=self.random.uniform(0, self.days * 0.8))
        for _ in range(1 + min(8, int(self.random.expovariate(0.45)))):
            if at >= self.end:
                break
            last = self._visit(person, at)
            at = last + timedelta(days=self.random.choice((0.5, 2, 5, 12, 25)) * self.random.uniform(0.5, 1.5))
        if person.uses_tablet:
            self._evening_on_the_tablet(person)

    def _identify(self, person: Person, device: str, *, logged_in: bool) -> dict[str, str]:
        if device == "app":
            identifiers = {"device_id": person.app_device or ""}
        else:
            identifiers = {"anonymous_id": person.phone_cookie if device == "mobile" else person.desktop_cookie}
        return identifiers | ({"customer_id": person.customer_id} if logged_in else {})

    def _evening_on_the_tablet(self, person: Person) -> None:
        """The family's tablet: somebody browses, then logs in; the next evening it is somebody else."""
        evening = self.start + timedelta(days=10 + person.number % 2, hours=20)
        for minute, logged_in in ((0, False), (3, False), (6, True), (9, True), (12, False)):
            identifiers = {"anonymous_id": self.tablet} | ({"customer_id": person.customer_id} if logged_in else {})
            at = evening + timedelta(minutes=minute)
            self._say(at, "web", "product_viewed", identifiers, person, "tablet", product_id="lamp-1")

    # Visits ---------------------------------------------------------------------------------------------------------

    def _visit(self, person: Person, at: datetime) -> datetime:
        """One visit, from arrival to order or exit. Returns when it ended."""
        chance = self.random.random
        device = "mobile" if chance() < person.phone_share else "desktop"
        if person.app_device and device == "mobile" and chance() < 0.6:
            device = "app"
        logged_in = person.orders > 0 and chance() < 0.5
        at = self._arrive(person, at, device, logged_in)
        product = f"{self.random.choice(CATEGORIES)}-{self.random.randint(1, 20)}"
        for _ in range(self.random.randint(1, 4)):
            at = self._pause(at, 90)
            self._act(person, at, device, "product_viewed", logged_in, product_id=product)
        if chance() < 0.08:
            at = self._pause(at, 3 * 24 * 3600)
            self._say(at, "offline", "store_visited", {"email": person.email}, person, None, location="Calle Mayor 1")
        if chance() > 0.35 + 0.5 * person.keenness:
            return at
        price = self.random.randint(20, 200)
        at = self._pause(at, 60)
        self._act(person, at, device, "product_added", logged_in, product_id=product, price=f"{price}.00")
        if chance() > 0.7:
            return at
        return self._check_out(person, self._pause(at, 120), device, price)

    def _arrive(self, person: Person, at: datetime, device: str, logged_in: bool) -> datetime:
        how = self.random.random()
        if how < 0.15 and person.social_handle:
            handle = {"social_handle": person.social_handle, "email": person.email}
            self._say(at, "social", "post_engaged", handle, person, None, network=self.random.choice(NETWORKS))
            at = self._pause(at, 1800)
        elif how < 0.4:
            network = self.random.choice(NETWORKS)
            self._act(person, at, device, "ad_clicked", logged_in, network=network)
            at = self._pause(at, 20)
        self._act(person, at, device, "screen_viewed" if device == "app" else "page_viewed", logged_in)
        if self.random.random() < 0.4:
            at = self._pause(at, 30)
            query = self.random.choice(CATEGORIES)
            self._act(person, at, device, "product_searched", logged_in, query=query)
        return at

    def _check_out(self, person: Person, at: datetime, device: str, price: int) -> datetime:
        """From checkout to order. Everybody who checks out has to log in: here cookies become customers."""
        kind = "mobile" if device == "app" else device
        loop = self.causes["mobile_checkout_loop"]
        shock = self.causes["shipping_price_shock"]
        outage = self.causes["payment_outage"]
        self._act(person, at, device, "checkout_started", True)
        if device == "mobile" and loop.acts_at(at, kind) and self.random.random() < 0.85:
            for _ in range(3):
                at = self._pause(at, 25)
                self._act(person, at, device, "product_removed", True)
                at = self._pause(at, 25)
                self._act(person, at, device, "checkout_started", True)
            return self._give_up(loop, person, at)
        at = self._pause(at, 45)
        is_shocking = shock.acts_at(at, person.country)
        shipping = max(5, price // 4) if is_shocking else 5
        self._act(person, at, device, "shipping_quoted", True, shipping=f"{shipping}.00", price=f"{price}.00")
        if is_shocking and self.random.random() < 0.8:
            return self._give_up(shock, person, at)
        if self.random.random() < 0.08:
            return at
        at = self._pause(at, 60)
        self._act(person, at, device, "payment_submitted", True)
        if outage.acts_at(at, kind) and self.random.random() < 0.9:
            for _ in range(self.random.randint(1, 3)):
                at = self._pause(at, 20)
                self._act(person, at, device, "payment_failed", True, error_code="gateway_timeout")
            return self._give_up(outage, person, at)
        at = self._pause(at, 15)
        if self.random.random() < 0.02:
            return at
        if self.random.random() < 0.03:
            # A card that is declined is no reason to leave here: people take another one.
            self._act(person, at, device, "payment_failed", True, error_code="card_declined")
            at = self._pause(at, 40)
            self._act(person, at, device, "payment_submitted", True)
            at = self._pause(at, 15)
        return self._order(person, at, device, price)

    def _give_up(self, cause: PlantedCause, person: Person, at: datetime) -> datetime:
        if at < self.end and person.customer_id not in cause.customers:
            cause.customers.append(person.customer_id)
        return at

    def _order(self, person: Person, at: datetime, device: str, price: int) -> datetime:
        person.orders += 1
        order = f"order-{person.number:05d}-{person.orders}"
        self._act(person, at, device, "order_completed", True, order_id=order, revenue=f"{price}.00", currency="EUR")
        both = {"customer_id": person.customer_id, "email": person.email}
        self._say(at + timedelta(minutes=2), "email", "email_delivered", both, person, None, company=True,
                  message_id=f"confirm-{order}")  # fmt: skip
        delivered = at + timedelta(days=self.random.uniform(2, 5))
        self._say(delivered, "offline", "order_delivered", {"customer_id": person.customer_id}, person, None,
                  company=True, location="home", order_id=order)  # fmt: skip
        if self.random.random() < 0.12:
            self._say(delivered + timedelta(days=1), "offline", "support_contacted", {"email": person.email}, person,
                      None, location="call centre", support_topic=self.random.choice(TOPICS_OF_SUPPORT))  # fmt: skip
        if self.random.random() < 0.25:
            score = self.random.choice((3, 6, 7, 8, 9, 9, 10, 10))
            self._say(delivered + timedelta(days=2), "email", "survey_answered", {"email": person.email}, person, None,
                      message_id=f"survey-{order}", survey={"kind": "nps", "score": score})  # fmt: skip
        if self.random.random() < 0.15:
            logged_in = {"customer_id": person.customer_id, "anonymous_id": person.desktop_cookie}
            self._say(delivered + timedelta(days=3), "web", "review_submitted", logged_in, person, "desktop", rating=5)
        return at

    def _newsletters(self) -> None:
        """Every second week the company writes to its readers, who order some time; some open it, some click."""
        for issue in range(1, self.days // 14 + 1):
            sent = self.start + timedelta(days=14 * issue, hours=8)
            for person in self.people:
                if not person.orders or not person.reads_email:
                    continue
                message = f"news-{issue}-{person.number:05d}"
                to = {"email": person.email}
                self._say(sent, "email", "email_delivered", to, person, None, company=True, message_id=message)
                if self.random.random() < 0.3:
                    opened = self._pause(sent, 6 * 3600)
                    self._say(opened, "email", "email_opened", to, person, None, message_id=message)
                    if self.random.random() < 0.2:
                        clicked = self._pause(opened, 60)
                        both = to | {"anonymous_id": person.desktop_cookie}
                        self._say(clicked, "email", "email_link_clicked", both, person, None, message_id=message)

    # Events ---------------------------------------------------------------------------------------------------------

    def _pause(self, at: datetime, seconds: float) -> datetime:
        return at + timedelta(seconds=max(1.0, self.random.expovariate(1 / seconds)))

    def _act(self, person: Person, at: datetime, device: str, event_type: str, logged_in: bool, **more: Any) -> None:
        channel = "app" if device == "app" else "web"
        identifiers = self._identify(person, device, logged_in=logged_in)
        self._say(at, channel, event_type, identifiers, person, "mobile" if device == "app" else device, **more)

    def _say(
        self,
        at: datetime,
        channel: str,
        event_type: str,
        identifiers: dict[str, str],
        person: Person,
        device: str | None,
        *,
        company: bool = False,
        **properties: Any,
    ) -> None:
        path = f"/{event_type.split('_', 1)[0]}"
        context: dict[str, Any] = {"geo": {"country": person.country}}
        if device is not None:
            context["device"] = {"type": device}
        if channel == "web":
            context["page"] = {"url": f"https://shop.example{path}", "path": path}
        if channel == "app":
            context["screen"] = path.strip("/")
        self.events.append(
            {
                "at": at,
                "event_type": event_type,
                "channel": channel,
                "initiator": "company" if company else "customer",
                "identifiers": identifiers,
                "context": context,
                "properties": properties,
            }
        )

    def _number(self) -> None:
        """Ids and times as a producer writes them; the id is a hash, so that its order says nothing."""
        self.events.sort(key=lambda event: (event["at"], event["channel"], json.dumps(event["identifiers"])))
        for number, event in enumerate(self.events):
            at = event.pop("at")
            named = f"{self.manifest.seed}/{self.manifest.customers}/{self.days}/{number}"
            event["event_id"] = hashlib.sha256(named.encode()).hexdigest()[:24]
            event["occurred_at"] = at.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def _count(self) -> None:
        manifest = self.manifest
        orders = [event for event in self.events if event["event_type"] == "order_completed"]
        manifest.events = len(self.events)
        manifest.events_by_channel = dict(Counter(event["channel"] for event in self.events))
        manifest.events_by_type = dict(Counter(event["event_type"] for event in self.events))
        manifest.orders = len(orders)
        manifest.revenue = f"{sum(int(event['properties']['revenue'][:-3]) for event in orders)}.00"
        manifest.shared_device = {"namespace": "anonymous_id", "identifier": self.tablet, "customers": self.family}
        for event in self.events:
            if "customer_id" in event["identifiers"]:
                known = manifest.people.setdefault(event["identifiers"]["customer_id"], {})
                for namespace, identifier in event["identifiers"].items():
                    if identifier != self.tablet and identifier not in known.setdefault(namespace, []):
                        known[namespace].append(identifier)

    # Delivery -------------------------------------------------------------------------------------------------------

    def _deliver(self) -> Iterator[Record]:
        """The records in order of arrival: late ones far behind, duplicates again later, malformed ones in between."""
        arrivals: list[tuple[float, Record]] = []
        for position, event in enumerate(self.events):
            lateness = 0.0
            if self.random.random() < LATE_SHARE:
                lateness = self.random.uniform(0.05, 0.5) * len(self.events)
                self.manifest.late += 1
            arrived = self.events[min(len(self.events) - 1, int(position + lateness))]["occurred_at"]
            event["received_at"] = arrived
            record = _record(event)
            arrivals.append((position + lateness, record))
            if self.random.random() < DUPLICATE_SHARE:
                arrivals.append((position + lateness + self.random.uniform(1, 5000), record))
                self.manifest.duplicates += 1
            if self.random.random() < CONFLICT_SHARE:
                # The same id with other words, received later: the contract keeps the first.
                changed = event | {"received_at": "2026-12-31T00:00:00Z", "schema_revision": 2}
                arrivals.append((position + lateness + self.random.uniform(1, 5000), _record(changed)))
                self.manifest.conflicts += 1
            if self.random.random() < MALFORMED_SHARE:
                reason, broken = self._break(event)
                arrivals.append((position + 0.5, broken))
                self.manifest.malformed[reason] = self.manifest.malformed.get(reason, 0) + 1
        arrivals.sort(key=lambda arrival: arrival[0])
        self.manifest.records = len(arrivals)
        return (record for _, record in arrivals)

    def _break(self, event: dict[str, Any]) -> tuple[str, Record]:
        """A record that the contract must reject, and the reason that it must name."""
        broken = event | {"event_id": f"broken-{event['event_id']}"}
        reason = self.random.choice(
            ("invalid_json", "missing_field", "invalid_value", "unknown_channel", "occurred_in_future")
        )
        if reason == "missing_field":
            broken = {name: value for name, value in broken.items() if name != "occurred_at"}
        elif reason == "invalid_value":
            broken["identifiers"] = {}
        elif reason == "unknown_channel":
            broken["channel"] = "fax"
        elif reason == "occurred_in_future":
            broken["occurred_at"] = "2999-01-01T00:00:00Z"
        text = json.dumps(broken)
        value = text[: len(text) // 2] if reason == "invalid_json" else text
        return reason, Record(topic_of(event["channel"]), None, value.encode())


def _record(event: dict[str, Any]) -> Record:
    return Record(
        topic_of(event["channel"]),
        event_key(event["identifiers"]).encode(),
        json.dumps(event, sort_keys=True, separators=(",", ":")).encode(),
    )


def _planted(days: int) -> list[PlantedCause]:
    """Three causes, each at its own time of the season, none at the same time as another."""

    start = starts_at(days)

    def window(first: float, last: float) -> dict[str, Any]:
        return {
            "starts_at": (start + timedelta(days=round(days * first))).isoformat(),
            "ends_at": (start + timedelta(days=round(days * last))).isoformat(),
        }

    return [
        PlantedCause(
            "mobile_checkout_loop", "checkout", "checkout", "product_removed", "device", "mobile", **window(0.2, 0.35)
        ),
        PlantedCause("payment_outage", "checkout", "payment", "payment_failed", "all", "all", **window(0.45, 0.52)),
        PlantedCause(
            "shipping_price_shock", "checkout", "shipping", "shipping_quoted", "country", "PT", **window(0.6, 0.8)
        ),
    ]
