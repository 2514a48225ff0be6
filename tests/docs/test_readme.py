"""README shows what a new user sees: its queries run on the shop that the demo simulates, and print what it says."""

from __future__ import annotations

import json
import re
import runpy
from functools import partial
from pathlib import Path

import pytest

from journey_core.models import contracts
from journey_core.query import query_release
from journey_core.release import publish_release
from pipelines.simulate import simulate
from pipelines.tables import rows_as_text
from tests.conftest import build_tables

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r'```console\n\$ journey query "(.*?)"\n(.*?)\n```', README, re.DOTALL)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The shop that the demo simulates."""
    values = [record.value for record in simulate().records]
    return build_tables(values, tmp_path_factory.mktemp("shop") / "shop.duckdb")


def test_what_readme_prints_is_what_comes_out(tables, tmp_path):
    release = publish_release(tables.warehouse, tables.build, contracts(), tmp_path / "releases", None)
    assert len(SHOWN) >= 3
    for sql, printed in SHOWN:
        assert rows_as_text(query_release(release, sql)) == printed, sql


def test_every_analysis_runs_on_a_release_and_prints_what_the_documents_say(tables, tmp_path):
    release = publish_release(tables.warehouse, tables.build, contracts(), tmp_path / "releases", None)
    written = runpy.run_path(str(ROOT / "docs" / "generate.py"))["analyses"](partial(query_release, release))
    assert written.count("```sql") >= 10
    assert (ROOT / "docs" / "analyses.md").read_text(encoding="utf-8") == written, "run: make docs"


def test_readmes_picture_tells_the_same_story(tables):
    reached = tables.values(
        "select customers_reached from marts.funnel_drops where funnel = 'checkout' and segment_by = 'all' order by step_order"
    )
    assert "  →  ".join(str(n) for (n,) in reached) in re.sub(r" +→ +", "  →  ", README)


def test_readmes_example_event_keeps_the_contract(build_world):
    line = re.search(r"echo '(\{.*\})' > events.jsonl", README)[1]
    assert build_world([json.loads(line)]).values("select count(*) from marts.touchpoints") == [(1,)]


def test_every_setting_and_command_in_readme_exists():
    reference = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in re.findall(r"JOURNEY_\w+", README):
        assert name in reference
    for verb in re.findall(r"^journey (\w+(?: start| stop)?)", README, re.MULTILINE):
        assert f"## journey {verb}" in reference
