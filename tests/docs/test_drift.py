"""What is printed is generated, and what is generated is current."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCES = runpy.run_path(str(ROOT / "docs" / "generate.py"))["references"]()


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.name)
def test_a_reference_is_current(path):
    assert path.read_text(encoding="utf-8") == REFERENCES[path], "run: make docs"


def test_no_registry_and_no_machines_path_is_committed():
    lock = (ROOT / "requirements.lock").read_text()
    assert "http://" not in lock
    assert "https://" not in lock
    assert re.search(r"^duckdb==2\.0\.0 \\\n    --hash=sha256:", lock, re.MULTILINE)


def test_make_prints_help_for_every_target():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    for target in phony:
        assert re.search(rf"^{target}:.*## \S", makefile, re.MULTILINE), target


def test_links_of_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
