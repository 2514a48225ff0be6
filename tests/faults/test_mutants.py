"""Bugs seeded into the lander: the fault suite finds each of them. At full size only: `make test-faults`.

Each mutant is a copy of the tree with one line changed. A mutant that survives is a gap in the suite.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = "tests/faults/test_kills.py"
STREAMS = "tests/faults/test_streams.py"
LANDING = "tests/integration/test_landing.py"
LAW = "tests/properties/test_columnar_law.py"

#: What is wrong → (file, the line, the line with the bug, the tests that should find it, and which of them).
MUTANTS = {
    "offsets are committed before the rows": (
        "journey_core/lake.py",
        "                    self._append(snapshot.tables[name], missing, versions | dict(marks))\n",
        "                    self._append(snapshot.tables[name], rows.slice(0, 0), versions | dict(marks))\n"
        "                    self._append(snapshot.tables[name], missing, versions | dict(marks))\n",
        KILLS,
        "kill_at_every_point",
    ),
    "rows are committed without their offsets": (
        "journey_core/lake.py",
        "commit_properties=CommitProperties(app_transactions=transactions),",
        "commit_properties=CommitProperties(),",
        LANDING,
        "offsets_and_rows or lands_once",
    ),
    "no conflict check": (
        "journey_core/lake.py",
        "self._append(snapshot.tables[name], missing, versions | dict(marks))",
        "self._append(DeltaTable(snapshot.tables[name].table_uri), missing, versions | dict(marks))",
        KILLS,
        "one_of_two_landers",
    ),
    "a conflict is swallowed": (
        "journey_core/lake.py",
        'raise _superseded([name for name in versions if "#" not in name] or [self.root.name]) from error',
        "return",
        LANDING,
        "second_lander",
    ),
    "a half commit is not repaired": (
        "journey_core/lake.py",
        "return min(self.held(partition).values())",
        "return max(self.held(partition).values())",
        KILLS,
        "kill_at_every_point",
    ),
    "a repair doubles what one table holds": (
        "journey_core/lake.py",
        "missing = _not_in(rows, [file for table in LANDED for file in snapshot.files(table)])",
        "missing = rows",
        KILLS,
        "kill_at_every_point",
    ),
    "events commit first and rejects are forgotten": (
        "journey_core/lake.py",
        'for name, rows in (("rejected_events", judged.rejected), ("events", judged.accepted)):',
        'for name, rows in (("events", judged.accepted), ("events", judged.accepted)):',
        STREAMS,
        "poison",
    ),
    "landing begins at the latest offset": (
        "pipelines/land.py",
        "starts = {number: snapshot.start(partition) for number, partition in partitions.items()}",
        "starts = {number: topic.ends[number] for number in partitions}",
        LANDING,
        "lands_once",
    ),
    "an end too early": (
        "pipelines/fetch.py",
        "ahead = {n: min(at, topic.ends[n]) for",
        "ahead = {n: min(at + 1, topic.ends[n]) for",
        LANDING,
        "bounded_run",
    ),
    "a bad batch is skipped": (
        "pipelines/land.py",
        "        for batch in batches:\n",
        "        for batch in batches:\n            if b'\\xff' in b''.join(v or b'' for v in batch.records['value'].to_pylist()):\n"
        "                continue\n",
        STREAMS,
        "poison",
    ),
    "of several batches in one commit only the last is written": (
        "pipelines/land.py",
        "settle([part.screened for part in parts], settings)",
        "settle([parts[-1].screened], settings)",
        LANDING,
        "several_batches",
    ),
    "several batches in one commit end where the first one does": (
        "pipelines/land.py",
        "for part in parts for n, end in part.ends.items()}",
        "for part in parts[:1] for n, end in part.ends.items()}",
        LANDING,
        "several_batches",
    ),
    "uncommitted records are read": (
        "pipelines/fetch.py",
        '"isolation_level": "read_committed",',
        '"isolation_level": "read_uncommitted",',
        STREAMS,
        "transaction",
    ),
    "a topic ends where its count does": (
        "pipelines/reader.py",
        "if (position := consumer.position(kafka, timeout_ms=1000)) is not None",
        "if (position := max((o + 1 for p, o in zip(partitions, offsets) if p == kafka.partition), default=0))",
        STREAMS,
        "transaction",
    ),
    "a deleted range is skipped silently": (
        "pipelines/land.py",
        "snapshot.start(Partition(topic.name, number, generation))) < begin",
        "snapshot.start(Partition(topic.name, number, generation))) > begin",
        STREAMS,
        "retention or first_landing",
    ),
    "a recreated topic is not noticed": (
        "journey_core/lake.py",
        'return self._version("landing_gaps", f"{topic}#id:{mark}")',
        "return 0",
        STREAMS,
        "recreated",
    ),
    "the generation is forgotten": (
        "pipelines/land.py",
        "partitions = {number: Partition(name, number, generation) for number in topic.ends}",
        "partitions = {number: Partition(name, number) for number in topic.ends}",
        STREAMS,
        "recreated",
    ),
    "a value is cut": (
        "pipelines/fetch.py",
        '"value": _strings(packed.value, count),',
        '"value": pc.binary_slice(_strings(packed.value, count), 0, 1000),',
        STREAMS,
        "poison",
    ),
    "a tombstone becomes an empty value": (
        "pipelines/fetch.py",
        '"value": _strings(packed.value, count),',
        '"value": pc.fill_null(_strings(packed.value, count), b""),',
        STREAMS,
        "poison",
    ),
    "what a process of its own has read ahead is dropped": (
        "pipelines/fetch.py",
        "self._left = Polled(polled.records[most:], polled.positions)",
        "self._left = None",
        LANDING,
        "bounded_run",
    ),
    "a replay forgets to take records out": (
        "journey_core/lake.py",
        '                    self._rewrite(partial(_delete, rows=judged.accepted), "rejected_events")\n',
        "",
        STREAMS,
        "replayed",
    ),
    "the lander keeps its own clock for events": (
        "pipelines/admit.py",
        "        future_tolerance=settings.future_tolerance,\n",
        "        future_tolerance=settings.future_tolerance * 1000,\n",
        STREAMS,
        "clocks",
    ),
    "the lander keeps its own clock for events looked at twice": (
        "pipelines/admit.py",
        "screened, future_tolerance=settings.future_tolerance,",
        "screened, future_tolerance=settings.future_tolerance * 1000,",
        STREAMS,
        "clocks",
    ),
    "the columnar check trusts lengths of numbers": (
        "journey_core/columnar.py",
        "'{_NO_NUMBER}') and {_as_written(name)}",
        "'{_NO_NUMBER}')",
        LAW,
        "hides_no_field",
    ),
    "the columnar check forgets repeated keys": (
        "journey_core/columnar.py",
        "({repeated}) is not true",
        "true",
        LAW,
        "repeated_key",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_still_finds_its_line(name):
    file, right, *_ = MUTANTS[name]
    assert (ROOT / file).read_text().count(right) == 1, f"{file} no longer has the line that this mutant changes"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_seeded_bug_is_found(name, tmp_path, kafka):
    file, right, wrong, tests, which = MUTANTS[name]
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".venv", ".git", ".*cache", ".journey", ".hypothesis"))
    (tree / file).write_text((ROOT / file).read_text().replace(right, wrong))
    environment = os.environ | {"PYTHONPATH": str(tree), "JOURNEY_TEST_KAFKA": ",".join(kafka.bootstrap_servers)}
    # A mutant that lands for ever is found as well.
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=120", tests]
    command += ["-k", f"({which}) and not confluent"]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    imported = subprocess.run(
        [sys.executable, "-c", "import journey_core, pipelines; print(journey_core.__file__, pipelines.__file__)"],
        cwd=tree, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert imported.stdout.count(str(tree)) == 2, "the mutant was not what ran"
    assert done.returncode == 1, f"{name}: survived\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
