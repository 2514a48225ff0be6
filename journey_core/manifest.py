"""A release's manifest, read: which tables and files there are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

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
    return read_manifest(path, f"Move {path} away, then run: journey publish") if path.exists() else None
