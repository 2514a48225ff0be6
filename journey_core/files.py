"""Files that a power cut leaves whole."""

from __future__ import annotations

import os
from pathlib import Path


def swap(path: Path, text: str) -> None:
    """Replace a file so that a reader, or a power cut, finds the old text or the new one, never a part."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text + "\n")
    fsync(aside)
    aside.replace(path)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Bring a file, or a folder's list of files, to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
