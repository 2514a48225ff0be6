"""A real disk without room: a tmpfs that only one tree of processes sees, mounted without root."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

JOURNEY = str(Path(sys.executable).with_name("journey"))

# The disk goes with the processes: what is to be looked at afterwards is copied while it is there.
_SCRIPT = """
home=$1 size=$2 kept=$3 filled=$4; shift 4
mkdir -p "$home" "$kept" && mount -t tmpfs -o size="$size" disk "$home" || exit 77
[ -z "$filled" ] || cp -a "$filled/." "$home" || exit 78
"$@" >"$kept/full" 2>&1; echo $? >"$kept/full.code"
mount -o remount,size=2g "$home"
"$@" >"$kept/after" 2>&1; echo $? >"$kept/after.code"
cp -a "$home" "$kept/home"
"""


@dataclass(frozen=True)
class OnDisk:
    """What a command said and how it ended while the disk was small, and when it had room again."""

    full: str
    full_code: int
    after: str
    after_code: int
    home: Path


def on_small_disk(
    size: int, kept: Path, environment: Mapping[str, str], *arguments: str, filled: Path | None = None
) -> OnDisk:
    """Run `journey *arguments` with JOURNEY_HOME on a disk of `size` bytes, then again with room.

    The home is empty at first, or a copy of `filled`. What is on the disk at the end lies in `kept/home` afterwards.
    """
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _SCRIPT, "sh"]
    done = subprocess.run(
        [*unshare, environment["JOURNEY_HOME"], str(size), str(kept), str(filled or ""), JOURNEY, *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"this kernel lets nobody but root mount a disk: {done.stderr}")
    assert done.returncode == 0, done.stderr
    said = [(kept / name).read_text() for name in ("full", "after")]
    codes = [int((kept / f"{name}.code").read_text()) for name in ("full", "after")]
    return OnDisk(said[0], codes[0], said[1], codes[1], kept / "home")
