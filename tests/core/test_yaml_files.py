"""A file that a user writes is refused with its line where it would cost memory or time, or mean something else."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from journey_core.errors import TaxonomyError
from journey_core.mapping import read_mapping
from journey_core.taxonomy import TAXONOMIES, load_taxonomy
from journey_core.yaml_files import DEEPEST, LARGEST_FILE, read_yaml

RETAIL = (TAXONOMIES / "retail.yaml").read_text()


def bomb(levels: int = 30) -> str:
    """Each level holds the one before it ten times: a billion laughs."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE = [
    (bomb(), 5, "50,000 values"),
    ("stages: &all\n  - need\n  - *all\n", 3, "contains itself"),
    ("a: 1\n" + "b: " + "[" * 10_000, 2, f"deeper than {DEEPEST} levels"),
    ("a: 1\nb: " + "{a: " * 10_000, 2, f"deeper than {DEEPEST} levels"),
    ("\n".join(" " * n + f"k{n}:" for n in range(500)), 41, f"deeper than {DEEPEST} levels"),
    ("a: 1\n? " + "k" * 900_000 + "\n: 1\n", 2, "a key of 900,000 characters"),
    ("a: [" + "1, " * 200_000 + "]\n", 1, "50,000 values"),
    ("a: &a {k: &b [1]}\nb: {<<: *a, <<: *a}\n", 2, "stands here twice"),
]


@pytest.mark.parametrize(("text", "line", "says"), HOSTILE)
@pytest.mark.parametrize("read", [lambda path: load_taxonomy(str(path)), read_mapping])
def test_a_file_that_would_grow_is_refused_with_its_line_at_once(tmp_path, text, line, says, read):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    begun = time.process_time()
    with pytest.raises(TaxonomyError):
        read(path)
    seconds = time.process_time() - begun
    tracemalloc.start()
    with pytest.raises(TaxonomyError) as refused:
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"{path}:{line}" in str(refused.value)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 500
    assert seconds < 1
    assert peak < 50 * LARGEST_FILE


def test_a_file_without_end_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("# " + "x" * LARGEST_FILE)
    with pytest.raises(TaxonomyError, match="larger than 1,048,576 bytes"):
        load_taxonomy(str(path))


def test_anchors_save_typing(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]\n")
    assert read_yaml(path)[1] == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": [{"x": 1, "y": 2}] * 2}


def test_scalars_mean_what_they_look_like(tmp_path):
    """YAML 1.1 would read a date, 45296, 8 and 750."""
    path = tmp_path / "mine.yaml"
    path.write_text("day: 2026-01-01\nclock: 12:34:56\ncode: 010\nratio: 12:30.5\ncount: 10\nshare: 0.5\nyes: true\n")
    assert list(read_yaml(path)[1].values()) == ["2026-01-01", "12:34:56", "010", "12:30.5", 10, 0.5, True]


@pytest.mark.parametrize("when", ["occurred_at > 2026-01-01", "event_type = 'x' or error_code <> 2026-10-05"])
def test_a_day_without_quotes_is_no_subtraction(tmp_path, when):
    """SQL would read 2024: the condition would hold for every event, or for none."""
    path = tmp_path / "mine.yaml"
    path.write_text(RETAIL.replace("days_since_order <= 30", when))
    with pytest.raises(TaxonomyError, match=r"mine.yaml:\d+, key rules.10.when: .*is a subtraction: write date '20"):
        load_taxonomy(str(path))


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("event_type like 'a' escape", "no SQL expression"),
        ("event_type like 'a!' escape '!'", "never ends with its escape"),
        ("is_return or (not '2026-01-01')", "works for no event"),
        ("case when 'E500' then true end", "works for no event"),
        ("regexp_matches(error_code, event_type)", "constants"),
        ("replace(error_code, 'a', event_type) = 'b'", "constants"),
        ("(" * 2000 + "true" + ")" * 2000, "nested too deeply"),
        ("true" + " and true" * 2000, "at most 10,000"),
        ("not " * 2000 + "true", "nested too deeply"),
        ("properties -> '$..*' = 1", "a path names keys"),
    ],
)
def test_an_expression_that_can_hold_for_no_event_is_refused_with_its_line(tmp_path, when, says):
    path = tmp_path / "mine.yaml"
    path.write_text(RETAIL.replace("days_since_order <= 30", when))
    with pytest.raises(TaxonomyError) as refused:
        load_taxonomy(str(path))
    assert f"{path}:" in str(refused.value)
    assert "key rules.10.when" in str(refused.value)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 1500
