"""Commands that read do not write: who asks for a person, or publishes, changes nothing that was built."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from journey_core.checks import CheckResult
from journey_core.errors import InputError, NotBuiltError, RefusedError
from journey_core.lake import Gap, Lake
from journey_core.query import query_release
from journey_core.release import current_release
from journey_core.taxonomy import TAXONOMIES
from pipelines import publish as module
from pipelines.build import build
from pipelines.erase import erase, export
from pipelines.publish import publish
from pipelines.settings import Settings
from tests.conftest import event
from tests.pipelines.test_erase import landed, names_left

PEOPLE = [event(f"e{n}", f"2026-01-0{n} 10:00", who={"customer_id": f"user-{n}"}) for n in range(1, 6)]


@pytest.fixture
def settings(home, monkeypatch) -> Settings:
    """A home whose checks always hold: what they say is another story."""
    monkeypatch.setattr(module, "read_result", lambda root, build_id: CheckResult(build_id, 0, [], str(root)))
    monkeypatch.setattr(CheckResult, "data_docs", None)
    return Settings(home=home)


def written(path: Path, events) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in events))
    return path


@pytest.fixture
def file(tmp_path) -> Path:
    return written(tmp_path / "events.jsonl", PEOPLE)


def digests(home: Path) -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(home.rglob("*")) if path.is_file()}


def customers(settings) -> list[str]:
    rows = settings.open_warehouse().query("select distinct customer_id from marts.touchpoints order by 1")
    return rows["customer_id"].to_pylist()


def test_every_row_that_is_held_comes_whole(settings, tmp_path):
    """`funnel_attempts` has a column `held`, as the row itself was once called."""
    path = tmp_path / "viewed.jsonl"
    path.write_text(json.dumps(event("1", "2026-01-01 10:00", "product_viewed", who={"customer_id": "user-1"})))
    build(settings, events=path)
    rows = [
        line["row"] for line in map(json.loads, export(settings, "user-1")) if line["table"] == "marts.funnel_attempts"
    ]
    assert [(row["funnel"], row["customer_id"], row["entry_event_id"]) for row in rows] == [
        ("acquisition", "user-1", "1")
    ]


def test_who_asks_what_is_held_of_a_build_from_a_file_changes_nothing(settings, file):
    build(settings, events=file)
    publish(settings)
    before = digests(settings.home)
    lines = [json.loads(line) for line in export(settings, "user-1")]
    assert [line["row"]["event_id"] for line in lines if line["table"] == "staging.events"] == ["e1"]
    with pytest.raises(InputError, match="nobody is known as carl"):
        list(export(settings, "carl"))
    assert digests(settings.home) == before
    assert publish(settings).is_new is False


def test_what_is_held_is_read_as_of_now_with_the_taxonomy_of_the_last_build(settings, tmp_path):
    """The last build looks back, by a taxonomy of its own; the lake knows more, and the command line another one."""
    landed(settings, [json.dumps(one).encode() for one in PEOPLE[:1]])
    mine = tmp_path / "mine.yaml"
    mine.write_text((TAXONOMIES / "retail.yaml").read_text().replace("taxonomy: retail", "taxonomy: mine", 1))
    build(settings, taxonomy=str(mine), as_of=datetime(2026, 1, 1, 12, tzinfo=UTC))
    late = event("late", "2026-01-04 10:00", who={"customer_id": "user-1"})
    landed(settings, [json.dumps(late).encode()], first=1)
    before = digests(settings.home)
    held = [json.loads(line)["row"] for line in export(settings, "user-1") if '"staging.events"' in line]
    assert sorted(row["event_id"] for row in held) == ["e1", "late"]
    assert digests(settings.home) == before
    mine.unlink()
    with pytest.raises(InputError, match=r"mine\.yaml` has changed since the last build, or is gone"):
        list(export(settings, "user-1"))
    assert digests(settings.home) == before


def test_who_asks_an_empty_home_leaves_it_empty(settings):
    with pytest.raises(NotBuiltError, match="nothing is built yet"):
        list(export(settings, "user-1"))
    assert not settings.home.exists()


def test_an_erasure_builds_again_what_was_built_last(settings, tmp_path):
    landed(settings, [json.dumps(one).encode() for one in PEOPLE])
    mine = tmp_path / "mine.yaml"
    mine.write_text((TAXONOMIES / "retail.yaml").read_text().replace("taxonomy: retail", "taxonomy: mine", 1))
    as_of = datetime(2026, 1, 4, 12, tzinfo=UTC)
    build(settings, taxonomy=str(mine), as_of=as_of)
    erase(settings, "user-5")  # whom the last build does not know yet
    erase(settings, "user-1")
    last = settings.open_warehouse().last_build()
    assert (last.taxonomy, last.as_of) == ("mine", as_of)
    assert customers(settings) == ["user-2", "user-3", "user-4"]


def test_somebody_in_a_file_is_erased_from_all_that_is_ours(settings, file):
    build(settings, events=file)
    publish(settings)
    erased = erase(settings, "user-1")
    assert f"We do not change {file}, which may still name this person" in str(erased)
    assert customers(settings) == ["user-2", "user-3", "user-4", "user-5"]
    assert names_left(settings.home, ("user-1",)) == {}
    release = current_release(settings.releases)
    assert query_release(release, "from marts.touchpoints where customer_id = 'user-1'").num_rows == 0
    # The file still names them: what is built from it leaves them out.
    build(settings, events=file, full=True)
    assert customers(settings) == ["user-2", "user-3", "user-4", "user-5"]


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_file_that_is_no_more_what_it_was_takes_the_warehouse_with_it(settings, file, change):
    """Nothing else could take a person out of it; the releases are rewritten."""
    build(settings, events=file)
    publish(settings)
    file.unlink() if change == "gone" else written(file, PEOPLE[:3])
    assert "Run: journey build" in str(erase(settings, "user-1"))
    assert names_left(settings.home, ("user-1",)) == {}
    assert current_release(settings.releases).manifest["tables"]["touchpoints"]["rows"] == 4
    with pytest.raises(NotBuiltError):
        settings.open_warehouse().last_build()


def test_an_empty_build_replaces_no_release(settings, file):
    build(settings, events=file)
    good = publish(settings)
    build(settings, events=written(file, [event("n", "2026-01-01 10:00", who={"email": "N/A"})]))  # it names nobody
    with pytest.raises(RefusedError, match=r"5 of the 5 customers of release .* are not in this build"):
        publish(settings)
    assert current_release(settings.releases).name == good.name
    assert publish(settings, accept_shrinking=True).is_new


@pytest.mark.parametrize(("kept", "is_published"), [(2, False), (3, True)])
def test_a_release_may_lose_some_customers_not_most(settings, file, kept, is_published):
    build(settings, events=file)
    publish(settings)
    build(settings, events=written(file, PEOPLE[:kept]))
    if is_published:
        assert publish(settings).is_new
    else:
        with pytest.raises(RefusedError):
            publish(settings)


def test_customers_who_turn_out_to_be_one_are_not_lost(settings, file):
    build(settings, events=file)
    publish(settings)
    merges = [
        event(f"m{n}", "2026-02-01 10:00", "identity_merged", who={"customer_id": "user-1"},
              properties={"with": {"customer_id": f"user-{n}"}})
        for n in range(2, 6)
    ]  # fmt: skip
    build(settings, events=written(file, PEOPLE + merges))
    assert publish(settings).is_new
    assert customers(settings) == ["user-1"]


def test_who_was_erased_is_no_loss(settings, file):
    build(settings, events=file)
    publish(settings)
    for n in range(1, 5):
        erase(settings, f"user-{n}")
    assert publish(settings).is_new
    assert customers(settings) == ["user-5"]


def test_a_gap_that_somebody_accepted_explains_a_loss(settings, file):
    build(settings, events=file)
    publish(settings)
    lake = Lake(settings.lake)
    gap = Gap("events.web.v1", 0, 0, 0, 7, "retention")
    lake.accept((gap,), lake.snapshot(), {}, {}, datetime.now(UTC))
    build(settings)
    assert publish(settings).is_new


@pytest.mark.parametrize(("broken", "is_published"), [(5, True), (6, False)])
def test_a_build_of_which_most_records_are_rejected_is_not_published(settings, file, broken, is_published):
    build(settings, events=written(file, PEOPLE + [{"event_id": f"x{n}"} for n in range(broken)]))
    if is_published:
        assert publish(settings).is_new
        return
    with pytest.raises(RefusedError, match=r"6 of 11 records are rejected, most of them as `missing_field`"):
        publish(settings)
    assert publish(settings, accept_rejected=True).is_new


def test_another_tolerance_is_another_source(settings, file):
    """The same file, judged in another way: no unchanged build."""
    skewed = PEOPLE[0] | {"sent_at": "2026-01-01T10:00:00Z", "received_at": "2026-01-01T10:01:00Z"}
    written(file, [skewed])
    build(settings, events=file)
    assert build(settings, events=file).is_new is False
    assert build(settings.model_copy(update={"clock_tolerance": timedelta(0)}), events=file).is_new


def test_the_last_person_of_a_file_can_be_erased_too(settings, file):
    """What is left of the file is no event: nothing can be built from it, and nothing may stay of what was."""
    build(settings, events=written(file, PEOPLE[:1]))
    publish(settings)
    erase(settings, "user-1")
    assert names_left(settings.home, ("user-1",)) == {}


def test_an_empty_lake_is_no_news_for_a_build_from_a_file(settings, file):
    first = build(settings, events=file)
    with pytest.raises(InputError, match=f"the lake is empty.*journey build --events {file}"):
        build(settings)
    assert settings.open_warehouse().last_build().build_id == first.build_id


def test_who_was_erased_stays_erased_by_the_taxonomy_of_the_build(settings, tmp_path):
    """Another taxonomy than that of the settings says that `user_id` is strong, and whose national numbers are meant."""
    taxonomy = tmp_path / "es.yaml"
    retail = (TAXONOMIES / "retail.yaml").read_text()
    of_spain = "identity: {default_region: ES, namespaces: {user_id: strong}}"
    taxonomy.write_text(re.sub("^identity: .*$", of_spain, retail, flags=re.MULTILINE))
    path = tmp_path / "calls.jsonl"
    made = [
        event("1", "2026-01-01 10:00", who={"user_id": "k1", "phone": "600 111 222"}),
        event("2", "2026-01-01 10:00", who={"user_id": "k2", "phone": "600 333 444"}),
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in made))
    build(settings, events=path, taxonomy=str(taxonomy))
    assert any("k1" in line for line in export(settings, "phone=600 111 222")), "as producers write it"
    erase(settings, "phone=+34600111222")
    assert customers(settings) == ["user_id:k2"]
