"""Checksums of the lake's files, so that `journey verify` can tell whether each is still as it was written.

delta-rs keeps a file's name and size, not its contents. Here every file gets a line when its commit is on the disk:
`{"path": "events/part-0.parquet", "bytes": 1234, "sha256": "..."}`. A process that dies between the two leaves a file
without a line: such a file is whole, or its commit would not be there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from journey_core.files import swap

_NAME = "checksums.jsonl"


@dataclass(frozen=True)
class Checksum:
    """A file of the lake as it was written; `path` is relative to the lake's folder."""

    path: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, root: Path, path: Path) -> Checksum:
        """The checksum of a file as it is now. Raises OSError where it cannot be read."""
        return cls(path.relative_to(root).as_posix(), path.stat().st_size, sha256_of(path))


def sha256_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record(root: Path, paths: Iterable[Path]) -> None:
    """Append the checksums of these files. Several processes may do so at once: each appends by one write."""
    lines = "".join(json.dumps(asdict(Checksum.of(root, path))) + "\n" for path in paths)
    descriptor = os.open(root / _NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        # In front, as a process that died may have left a part of a line.
        os.write(descriptor, b"\n" + lines.encode())
    finally:
        os.close(descriptor)


def recorded(root: Path) -> dict[str, Checksum]:
    """Path → what was recorded of it last."""
    try:
        lines = (root / _NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        try:
            entry = Checksum(**json.loads(line))
        except (ValueError, TypeError):
            continue  # a part of a line: its file counts as one without a checksum
        found[entry.path] = entry
    return found


def forget_gone(root: Path) -> None:
    """Drop the lines of files that are no more. The caller holds the lake's lock alone."""
    kept = [entry for entry in recorded(root).values() if (root / entry.path).exists()]
    swap(root / _NAME, "\n".join(json.dumps(asdict(entry)) for entry in kept))
