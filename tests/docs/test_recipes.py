"""The recipes run: their input, by their mapping, gives their output."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from journey_core.logs import Rejected, read_log
from journey_core.taxonomy import load_taxonomy

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
PAGE = (RECIPES / "mapping.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```(csv|jsonl)\n(.*?)```\n\n```yaml\n(.*?)```\n\n```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("kind", "log", "mapping", "events"), EXAMPLES, ids=lambda value: value[:5])
def test_an_example_of_a_mapping_gives_what_the_page_says(tmp_path, kind, log, mapping, events):
    path, file = tmp_path / f"log.{kind}", tmp_path / "map.yaml"
    path.write_text(log)
    file.write_text(mapping)
    rejected: list[Rejected] = []
    found = [json.loads(record.value) for record in read_log(path, file).records(rejected.append)]
    assert found == [json.loads(line) for line in events.splitlines()]
    assert [row.line for row in rejected] == ([3] if kind == "csv" else [])


def test_the_page_has_its_examples():
    assert [kind for kind, *_ in EXAMPLES] == ["csv", "jsonl"]


def test_the_taxonomy_of_the_page_loads_and_names_every_key(tmp_path):
    page = (RECIPES / "taxonomy.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "bookshop.yaml").write_text(written, encoding="utf-8")
    taxonomy = load_taxonomy(str(tmp_path / "bookshop.yaml"))
    for document in (taxonomy, taxonomy.identity, taxonomy.sessions, taxonomy.funnels[0]):
        for name, field in type(document).model_fields.items():
            if name not in ("experience", "counting", "tie_tolerance"):
                assert f"{field.alias or name}:" in written, name
