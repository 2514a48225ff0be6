"""A release's manifest, read: which tables and files there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from journey_core.checksums import sha256_of
from journey_core.errors import DamagedError


@dataclass(frozen=True)
class _File:
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Table:
    rows: int
    files: list[_File]


@dataclass(frozen=True)
class _Manifest:
    """What its readers need; a manifest holds more."""

    release: str
    build_id: str
    tables: dict[str, _Table]


_MANIFEST = TypeAdapter(_Manifest)


def read_manifest(path: Path, remedy: str) -> dict[str, Any]:
    """The manifest at `path`. Raises DamagedError, which names `remedy`, where it is missing or something else."""
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        _MANIFEST.validate_python(manifest)
    except (OSError, ValueError) as error:  # a ValidationError of pydantic is a ValueError
        said = str(error) if isinstance(error, OSError) else "it does not say which tables and files there are"
        raise DamagedError(f"{path} is no manifest: {said}. {remedy}") from error
    return manifest


def read_current(root: Path) -> dict[str, Any] | None:
    """The manifest of the current release below `root`; None where nothing is published."""
    path = root / "current.json"
    remedy = "Run: journey build && journey check && journey publish, which writes it again"
    return read_manifest(path, remedy) if path.exists() else None


def current_manifest(root: Path) -> dict[str, Any] | None:
    """As `read_current`; None also where `current.json` is damaged."""
    return _readable(root / "current.json")


def manifests(root: Path) -> dict[Path, dict[str, Any] | None]:
    """Each folder of a release, oldest first → its manifest; None where that cannot be read."""
    folders = sorted((path for path in root.glob("*") if path.is_dir()), key=lambda path: path.stat().st_mtime)
    return {folder: _readable(folder / "manifest.json") for folder in folders}


def _readable(path: Path) -> dict[str, Any] | None:
    try:
        return read_manifest(path, "")
    except DamagedError:
        return None


def faults(root: Path, manifest: dict[str, Any]) -> Iterator[tuple[Path, str | None]]:
    """Each file of a release, and what is wrong with it: None where it is as it was written."""
    for table in manifest["tables"].values():
        for file in table["files"]:
            path = root / file["path"]
            if not path.is_file():
                yield path, "is missing"
            elif path.stat().st_size != file["bytes"] or sha256_of(path) != file["sha256"]:
                yield path, "is not as it was written"
            else:
                yield path, None
