"""Whether every file of a home is still as it was written, and what to do where one is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from journey_core.checksums import Checksum, recorded
from journey_core.damage import first_line
from journey_core.errors import JourneyError, NotBuiltError
from journey_core.lake import TABLES
from journey_core.manifest import faults, manifests
from journey_core.release import Release, is_catalog_of
from journey_core.warehouse import Warehouse

RESTORE = (
    "Restore it from a backup; or land everything that Kafka still holds into a new home: JOURNEY_HOME=... journey land"
)
REBUILD = "Run: journey build --full"
PUBLISH = "Run: journey build && journey check && journey publish"


@dataclass(frozen=True)
class Finding:
    """One file: sound, or what is wrong with it (`fault`) and what mends it (`remedy`)."""

    path: Path
    fault: str | None = None
    remedy: str | None = None
    is_recorded: bool = True  # whether a checksum was there to compare with

    def __str__(self) -> str:
        return f"{self.path} {self.fault}. {self.remedy}" if self.fault else f"{self.path} is as it was written"


def verify_lake(root: Path) -> Iterator[Finding]:
    """Each data file and log file of the lake, against its checksum; a file without one is read as a whole."""
    known = recorded(root)
    for name in TABLES if root.exists() else ():
        log = root / name / "_delta_log"
        try:
            table = DeltaTable(str(root / name))
            files = [root / name / unquote(path) for path in _data_files(table)]
        # delta-rs panics at some damaged checkpoints: that error is no Exception.
        except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
            yield Finding(log, f"is no log of a table ({first_line(error)})", RESTORE)
            continue
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            yield Finding(log, f"is no log of a table ({first_line(error)})", RESTORE)
            continue
        logs = {path for path in log.iterdir() if _version(path) is not None}
        # Without its newest commits a table looks like an older one. What lies before a checkpoint may go.
        newer = (root / path for path in known if path.startswith(f"{name}/_delta_log/"))
        logs |= {path for path in newer if (_version(path) or 0) > table.version()}
        for path in [*sorted(logs), *files]:
            yield _compared(root, path, known)
    erased = root / "erased.json"
    if erased.exists():
        yield _parsed(erased, "Restore it from a backup: without it a landing lets erased people in again")


def _version(log_file: Path) -> int | None:
    number = log_file.name.split(".")[0]
    return int(number) if number.isdigit() else None


def _data_files(table: DeltaTable) -> list[str]:
    return list(pa.table(table.get_add_actions())["path"].to_pylist())


def _compared(root: Path, path: Path, known: dict[str, Checksum]) -> Finding:
    entry = known.get(path.relative_to(root).as_posix())
    try:
        if entry is None:
            if path.suffix == ".parquet" and "_delta_log" not in path.parts:
                for batch in pq.ParquetFile(path).iter_batches():
                    batch.validate(full=True)
            return Finding(path, is_recorded=False)
        if Checksum.of(root, path) != entry:
            return Finding(path, "is not as it was written", RESTORE)
    except FileNotFoundError:
        return Finding(path, "is missing", RESTORE)
    except (OSError, pa.ArrowException) as error:
        return Finding(path, f"cannot be read ({first_line(error)})", RESTORE)
    return Finding(path)


def _parsed(path: Path, remedy: str) -> Finding:
    try:
        is_object = isinstance(json.loads(path.read_text()), dict)
    except (OSError, ValueError) as error:
        return Finding(path, f"cannot be read ({first_line(error)})", remedy)
    return Finding(path) if is_object else Finding(path, "is no JSON object", remedy)


def verify_warehouse(warehouse: Warehouse) -> Iterator[Finding]:
    """The warehouse: DuckDB keeps a checksum of every block, and compares it when the block is read."""
    if not warehouse.path.exists():
        return
    try:
        warehouse.read_all()
    except NotBuiltError:
        yield Finding(warehouse.path, "holds no build", REBUILD)
    except JourneyError as error:
        yield Finding(warehouse.path, f"is damaged ({first_line(error)})", REBUILD)
    else:
        yield Finding(warehouse.path)


def verify_releases(root: Path) -> Iterator[Finding]:
    """Each file of each release that is kept, against its manifest; the current manifest; the catalog."""
    current = root / "current.json"
    found = _parsed(current, PUBLISH) if current.exists() or (root / "catalog.duckdb").exists() else None
    if found is not None:
        yield found
    name = json.loads(current.read_text()).get("release") if found is not None and found.fault is None else None
    for folder, manifest in manifests(root).items():
        is_current = folder.name == name
        remedy = PUBLISH if is_current else f"Nothing can write it again. Remove it: rm -r {folder}"
        if manifest is None:
            yield Finding(folder / "manifest.json", "is no manifest", remedy)
            continue
        yield Finding(folder / "manifest.json")
        yield from (Finding(path, fault, remedy if fault else None) for path, fault in faults(root, manifest))
        if is_current and not is_catalog_of(Release(root, manifest)):
            yield Finding(root / "catalog.duckdb", "does not open, or shows another release", PUBLISH)
    if name is not None and not (root / name / "manifest.json").exists():
        yield Finding(root / name, "is gone, and current.json names it", PUBLISH)
