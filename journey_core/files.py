"""Files that a power cut leaves whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def swap(path: Path, text: str, mode: int | None = None) -> None:
    """Replace a file so that a reader, or a power cut, finds the old text or the new one, never a part.

    `mode` is who may read it; None leaves that to the umask.
    """
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text + "\n")
    if mode is not None:
        aside.chmod(mode)
    fsync(aside)
    aside.replace(path)
    fsync(path.parent)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Write a file of any size whole or not at all: an error leaves what was there. A pipe is written directly."""
    if path.exists() and not path.is_file():
        with path.open("wb") as pipe:
            yield pipe
        return
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with aside.open("wb") as file:
            yield file
        fsync(aside)
        aside.replace(path)
        fsync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Bring a file, or a folder's list of files, to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
