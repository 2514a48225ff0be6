"""What an erasure asks before it begins, by which configuration it knows whose is what, and who may write meanwhile."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from journey_core.contract import Judged, judge, records_of
from journey_core.erasures import Erasures
from journey_core.errors import InputError, SupersededError
from journey_core.lake import Lake
from journey_core.models import contracts
from journey_core.release import publish_release
from journey_core.taxonomy import TAXONOMIES
from pipelines import land as landing
from pipelines.admit import withhold
from pipelines.build import build
from pipelines.compact import compact
from pipelines.erase import Touched, erase, export
from pipelines.fetch import Topic
from pipelines.settings import Settings
from tests.commands import journey
from tests.conftest import event
from tests.pipelines.test_erase import ANN, BOB, ON, RECORDS, landed, names_left, shop

__all__ = ["shop"]

COOKIE = {"anonymous_id": "second-cookie-of-ann"}
MORE = [
    json.dumps(made).encode()
    for made in (
        event("a7", "2026-01-03 10:00", who=ANN),
        event("a8", "2026-01-03 10:01", who=ANN | COOKIE),
        event("a9", "2026-01-03 10:02", who=COOKIE),
        event("b9", "2026-01-03 10:03", who=BOB),
    )
]


def judged_now() -> Judged:
    records = records_of(MORE, topic=ON.topic)
    return judge(records.set_column(3, "offset", [list(range(len(RECORDS), len(RECORDS) + len(MORE)))]))


def commit(settings: Settings, judged: Judged, snapshot=None) -> Judged:
    """As a landing commits what it has judged before."""
    lake = Lake(settings.lake)
    ends = {0: len(RECORDS) + len(MORE)}
    topic = Topic(ON.topic, 1, 1, {0: 0}, ends)
    snapshot = snapshot or lake.snapshot()
    return landing._commit(judged, lake, snapshot, {0: ON}, topic, {0: len(RECORDS)}, ends, settings)


def ids(rows: pa.Table) -> list[str]:
    return sorted(rows["event_id"].to_pylist())


def test_what_was_judged_before_an_erasure_is_judged_again_when_it_is_committed(shop):
    snapshot = Lake(shop.lake).snapshot()
    judged = judged_now()
    assert len(ids(judged.accepted)) == 4
    erase(shop, "ann-41")
    with pytest.raises(SupersededError, match="the next landing brings"):
        commit(shop, judged, snapshot)
    committed = commit(shop, judged)
    # The cookie alone was nobody's when ann was erased.
    assert ids(committed.accepted) == ["a9", "b9"]
    assert committed.rejected["reason"].to_pylist() == ["erased", "erased"]
    build(shop)
    assert names_left(shop.home, ("ann-41", "ann.lee@example.com")) == {}


def test_what_is_committed_while_they_are_sought_is_theirs_too(shop):
    """A cookie that is new is found as theirs, and so is what it did alone."""
    erased = erase(shop, "ann-41", consent=lambda _: commit(shop, judged_now()))
    assert erased.events == 7, "four of before, three of meanwhile"
    build(shop)
    assert names_left(shop.home, ("ann-41", "ann.lee@example.com", "second-cookie-of-ann")) == {}
    assert shop.open_warehouse().query("select event_id from staging.events where event_id = 'b9'").num_rows == 1


def test_who_commits_while_the_fingerprints_are_written_waits_for_them(shop, monkeypatch):
    waiting: list[Future[Judged]] = []
    write = Erasures.add
    with ThreadPoolExecutor(1) as pool:

        def add(*arguments):
            waiting.append(pool.submit(commit, shop, judged_now()))
            write(*arguments)

        monkeypatch.setattr(Erasures, "add", add)
        erase(shop, "ann-41")
        committed = waiting[0].result(timeout=60)
    assert ids(committed.accepted) == ["a9", "b9"]


def test_a_replay_that_was_on_its_way_brings_nobody_back(shop):
    """A record that the contract of then refused, and that of now would accept."""

    def judging(found: pa.Table) -> Judged:
        erase(shop, "ann-41")
        place = {name: found[name][:1] for name in ("topic", "generation", "partition", "offset")}
        value = records_of(MORE[:1], topic=ON.topic)
        return judge(pa.table({name: place.get(name, value[name]) for name in value.column_names}).cast(value.schema))

    replayed = Lake(shop.lake).replay(judging, partial(withhold, settings=shop))
    assert replayed.accepted == 0
    build(shop)
    assert names_left(shop.home) == {}


def test_a_compaction_between_changes_nothing(shop):
    landed(shop, MORE[3:], first=len(RECORDS))
    erase(shop, "ann-41", consent=lambda _: compact(shop))
    assert names_left(shop.home) == {}
    assert Lake(shop.lake).snapshot().next_offset(ON) == len(RECORDS) + 1


def test_a_tombstone_that_bears_an_erased_persons_key_is_withheld(shop):
    erase(shop, "ann-41")
    keys = [b"customer_id:ann-41", b"ann-41", b"email:ann.lee%40example.com", b"customer_id:bob-7"]
    records = records_of([None] * len(keys), topic=ON.topic)
    judged = judge(records.set_column(records.schema.get_field_index("key"), "key", [keys]))
    held = withhold(judged, shop).rejected.sort_by("offset").select(["key", "reason"]).to_pylist()
    assert [(row["key"], row["reason"]) for row in held] == [(None, "erased")] * 3 + [
        (b"customer_id:bob-7", "tombstone")
    ]


@pytest.fixture
def by_card(tmp_path) -> Path:
    """A shop whose loyalty card is as good as a customer number."""
    mine = yaml.safe_load((TAXONOMIES / "retail.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(mine | {"taxonomy": "mine", "identity": {"namespaces": {"loyalty_card": "strong"}}}))
    return path


CARDS = [
    json.dumps(made).encode()
    for made in (
        event("1", "2026-01-01 10:00", who={"customer_id": "ann-41", "loyalty_card": "card-0007"}),
        event("2", "2026-01-01 11:00", who={"loyalty_card": "card-0007"}),
        event("3", "2026-01-01 12:00", who={"customer_id": "bob-7", "loyalty_card": "card-0008"}),
    )
]


def test_an_erasure_knows_whose_is_what_by_the_last_builds_taxonomy(home, by_card, monkeypatch):
    settings = Settings(home=home)
    landed(settings, CARDS)
    build(settings, taxonomy=str(by_card))
    monkeypatch.setenv("JOURNEY_TAXONOMY", "retail")
    assert sum('"staging.events"' in line for line in export(Settings(home=home), "ann-41")) == 2
    by_retail = [line for line in export(Settings(home=home), "ann-41", taxonomy="retail") if "staging.events" in line]
    assert len(by_retail) == 1, "where a card names nobody"
    touched: list[Touched] = []
    erase(Settings(home=home), "ann-41", consent=touched.append)
    assert str(touched[0]) == (
        f"by the taxonomy {by_card}, they have 2 identifiers (1 customer_id, 1 loyalty_card) and 2 events. To erase "
        "them removes 2 records from the lake, changes 0 of others, rewrites 0 releases that name them, and "
        "builds again"
    )
    warehouse = settings.open_warehouse()
    assert warehouse.query("select event_id from staging.events")["event_id"].to_pylist() == ["3"]
    release = publish_release(warehouse, warehouse.last_build(), contracts(), settings.releases, None)
    assert release.manifest["taxonomy"] == "mine"


def test_another_taxonomy_has_to_be_said(home, by_card):
    settings = Settings(home=home)
    landed(settings, CARDS)
    build(settings, taxonomy=str(by_card))
    touched: list[Touched] = []
    erase(settings, "ann-41", taxonomy="retail", consent=touched.append)
    assert (touched[0].taxonomy, touched[0].events) == ("retail", 1)
    assert settings.open_warehouse().last_build().taxonomy == "mine", "what is built is another question"


def test_without_consent_nothing_is_touched(shop):
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in shop.home.rglob("*") if path.is_file()}

    before = files()
    refused = journey("erase", "--customer", "ann-41")
    assert refused.code == 2
    assert "by the taxonomy retail, they have" in refused.err
    assert "ann" not in refused.err.replace("cannot", "").replace(str(shop.home), ""), "a log may keep it"
    assert "add --yes" in refused.err
    assert files() == before

    def no(_: Touched) -> None:
        raise InputError("no")

    with pytest.raises(InputError):
        erase(shop, "ann-41", consent=no)
    assert files() == before
    assert journey("erase", "--customer", "ann-41", "--yes").code == 0
    assert names_left(shop.home) == {}
