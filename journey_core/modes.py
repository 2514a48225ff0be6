"""Who may read what is written: its owner alone, and of releases whoever a mode lets read."""

from __future__ import annotations

from pathlib import Path
from stat import S_IMODE

#: Of a file: its owner reads and writes, nobody else does anything.
PRIVATE = 0o600


def of_folders(mode: int) -> int:
    """The mode of folders whose files have `mode`: who may read may also pass through."""
    return mode | (mode & 0o444) >> 2


def of_home(mode: int) -> int:
    """The mode of a home whose releases have `mode`: who may read those may pass through, and list nothing."""
    return 0o700 | (mode & 0o044) >> 2


def let_read(folder: Path, mode: int) -> None:
    """Give a new folder and all in it the mode; nobody may write its Parquet files any more."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(of_folders(mode))
        else:
            path.chmod(mode & 0o444 if path.suffix == ".parquet" else mode)


def also_let_read(path: Path, mode: int) -> None:
    """Add the mode's permissions to what is there already; it takes none away."""
    has = S_IMODE(path.stat().st_mode)
    if mode & ~has:
        path.chmod(has | mode)


def share(root: Path, release: str, mode: int) -> None:
    """Let whoever `mode` lets read come from the home down to a release that is there already."""
    also_let_read(root.parent, of_home(mode))
    also_let_read(root, of_folders(mode))
    for path in (root / release, *(root / release).rglob("*")):
        if path.is_dir():
            also_let_read(path, of_folders(mode))
        else:
            also_let_read(path, mode & 0o444)
    for name in ("current.json", "catalog.duckdb"):
        if (root / name).exists():
            also_let_read(root / name, mode)
