"""Published releases: plain Parquet that nobody changes any more, and one manifest that says which is current.

    releases/
    ├── current.json              the manifest: files, rows, checksums, offsets, configuration, as_of
    ├── catalog.duckdb            views marts.* over the current release's files
    └── <release>/<table>/*.parquet, data_docs/, manifest.json

A release is written aside, then renamed into place; `current.json` is swapped by write, fsync, rename. A path that was
ever published is never written again, so a reader that holds a manifest reads one build, whatever happens meanwhile.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from journey_core.checksums import sha256_of
from journey_core.errors import DamagedError, NotBuiltError, StorageError
from journey_core.files import fsync, swap
from journey_core.manifest import current_manifest, faults, manifests, read_current
from journey_core.models import Contract, quoted
from journey_core.modes import PRIVATE, also_let_read, let_read, of_folders, of_home, share
from journey_core.warehouse import Build, Warehouse, last_build

# Where a release is written before it has its name.
PUBLISHING = ".publishing-"
_REMEDY = (
    "Run: journey verify, which names every damaged file, then journey build && journey check && journey publish, "
    "which writes the release again"
)
#: Where a query spills.
QUERYING = ".querying-"


@dataclass(frozen=True)
class Release:
    """One published release. `tables` is table name → its files relative to `root`; `is_new` where just written."""

    root: Path
    manifest: dict[str, Any]
    is_new: bool = True

    @property
    def name(self) -> str:
        """The release's id, which is also its folder's name."""
        return str(self.manifest["release"])

    @property
    def is_of_a_lake(self) -> bool:
        """Whether it was built from a lake: only a lake's identity names tables and their versions."""
        return "@" in self.manifest["source"]

    def files(self, table: str) -> list[Path]:
        """The Parquet files of `marts.<table>`, absolute."""
        return [(self.root / file["path"]).resolve() for file in self.manifest["tables"][table]["files"]]

    def __str__(self) -> str:
        what = "published" if self.is_new else "unchanged: published before as"
        rows = sum(table["rows"] for table in self.manifest["tables"].values())
        return f"{what} {self.name}: {len(self.manifest['tables'])} tables, {rows:,} rows → {self.root / self.name}"


def publish_release(
    warehouse: Warehouse,
    build: Build,
    tables: Sequence[Contract],
    root: Path,
    data_docs: Path | None,
    keep: int = 10,
    mode: int = PRIVATE,
) -> Release:
    """Write `build`'s tables as an immutable release and make it current. The same build again changes nothing, unless
    the release is damaged: then it is written again, under its name.

    `mode` is who may read it, as of a file (0o600, 0o640, 0o644). Keeps the newest `keep` releases. Raises StorageError
    where the disk refuses; the previous release stays current.
    """
    as_of = f"{build.as_of:%Y%m%dT%H%M%SZ}" if build.as_of else "empty"
    name = f"{as_of}-{build.build_id}"
    before = _placed(root, name)
    if before is not None and before == current_manifest(root) and is_catalog_of(Release(root, before)):
        share(root, name, mode)
        return Release(root, before, is_new=False)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=root.parent, prefix=PUBLISHING) as aside:
            manifest = before or _place(warehouse, build, tables, root, name, data_docs, Path(aside), mode)
            catalog = write_catalog(Path(aside), Release(root, manifest))
            also_let_read(root.parent, of_home(mode))
            also_let_read(root, of_folders(mode))
            swap(root / "current.json", json.dumps(manifest, indent=1), mode)
            catalog.chmod(mode)
            catalog.replace(root / "catalog.duckdb")
        _forget(root, name, keep)
    except (OSError, duckdb.IOException) as error:
        raise StorageError(
            f"release {name} cannot be written under {root}: {error}. Readers keep the release that current.json names"
        ) from error
    return Release(root, manifest)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def published(root: Path) -> Release | None:
    """The current release; None where nothing is published."""
    manifest = read_current(root)
    return None if manifest is None else Release(root, manifest, is_new=False)


def newest(root: Path) -> Release | None:
    """The current release; where `current.json` is damaged or gone, the newest that lies there, if any does."""
    for manifest in [current_manifest(root), *reversed(manifests(root).values())]:
        if manifest is not None:
            return Release(root, manifest, is_new=False)
    return None


def current_release(root: Path) -> Release:
    """The current release. Raises NotBuiltError where nothing is published."""
    release = published(root)
    if release is None:
        raise NotBuiltError(f"{root} holds no release yet. Run: journey publish")
    return release


def require_whole(release: Release, remedy: str = _REMEDY) -> None:
    """Raises DamagedError where a file is not what the manifest says."""
    for path, fault in faults(release.root, release.manifest):
        if fault:
            raise damaged_release(release, f"{path} {fault}", remedy)


def damaged_release(release: Release, why: str, remedy: str = _REMEDY) -> DamagedError:
    return DamagedError(f"release {release.name} is damaged: {why}. {remedy}")


def create_views(connection: duckdb.DuckDBPyConnection, schema: str, release: Release) -> None:
    connection.execute(f"create schema {schema}")
    for table in release.manifest["tables"]:
        files = ", ".join("'" + str(file).replace("'", "''") + "'" for file in release.files(table))
        connection.execute(f"create view {schema}.{table} as from read_parquet([{files}])")


def _place(
    warehouse: Warehouse,
    build: Build,
    tables: Sequence[Contract],
    root: Path,
    name: str,
    data_docs: Path | None,
    aside: Path,
    mode: int,
) -> dict[str, Any]:
    """Write the release aside and rename it into place, which a damaged one of its name leaves."""
    folder = aside / name
    folder.mkdir()
    manifest = _write(warehouse, build, tables, folder, name)
    if data_docs is not None:
        shutil.copytree(data_docs, folder / "data_docs")
    let_read(folder, mode)
    if (root / name).exists() and _placed(root, name) is None:
        (root / name).rename(aside / "damaged")
    try:
        folder.rename(root / name)
    except OSError:
        if (placed := _placed(root, name)) is None:  # else another publisher of the same build was faster
            raise
        return placed
    return manifest


def _placed(root: Path, name: str) -> dict[str, Any] | None:
    """The manifest of a release that lies in its place, whole; None where it does not."""
    manifest = manifests(root).get(root / name)
    return None if manifest is None or any(fault for _, fault in faults(root, manifest)) else manifest


def is_catalog_of(release: Release) -> bool:
    """Whether `catalog.duckdb` opens, and its views are those of the release."""
    catalog = release.root / "catalog.duckdb"
    try:
        with duckdb.connect() as connection:
            connection.execute(f"attach '{_quoted(catalog)}' as catalog (read_only)")
            views = connection.execute(
                "select view_name from duckdb_views() where database_name = 'catalog' and contains(sql, $1)",
                [f"{release.name}/"],
            ).fetchall()
    except duckdb.Error:
        return False
    return {name for (name,) in views} == set(release.manifest["tables"])


def _write(warehouse: Warehouse, build: Build, tables: Sequence[Contract], folder: Path, name: str) -> dict[str, Any]:
    written: dict[str, Any] = {}
    with warehouse.connect() as connection:
        if last_build(connection).build_id != build.build_id:
            raise NotBuiltError(f"{build.build_id} was built over meanwhile: nothing is published. Run: journey check")
        for contract in tables:
            table = contract.table.removeprefix("marts.")
            (folder / table).mkdir()
            path = folder / table / f"{table}.parquet"
            target = str(path).replace("'", "''")
            # In the order of the grain: the same build gives the same bytes, and readers can prune.
            order = f"order by {', '.join(map(quoted, contract.grain))}" if contract.grain else ""
            # Parquet has no integers of 128 bits, and DuckDB would round them to doubles: a uuid is as wide.
            keys = [quoted(name) for name, column in contract.columns.items() if column.type == "uhugeint"]
            replaced = f"replace ({', '.join(f'{key}::uuid as {key}' for key in keys)})" if keys else ""
            rows = f"select * {replaced} from {contract.table} {order}"
            connection.execute(f"copy ({rows}) to '{target}' (format parquet, compression zstd)")
            fsync(path)
            written[table] = {
                "rows": build.rows[contract.table],
                "files": [
                    {
                        "path": f"{name}/{table}/{path.name}",
                        "bytes": path.stat().st_size,
                        "sha256": sha256_of(path),
                    }
                ],
            }
    manifest = {
        "release": name,
        "build_id": build.build_id,
        "build_order": build.build_order,
        "as_of": build.as_of.isoformat() if build.as_of else None,
        "taxonomy": build.taxonomy,
        "taxonomy_sha256": build.taxonomy_fingerprint,
        "models_sha256": build.models_fingerprint,
        "source": build.source,
        "offsets": build.offsets,
        "tables": written,
    }
    swap(folder / "manifest.json", json.dumps(manifest, indent=1))
    return manifest


def write_catalog(folder: Path, release: Release) -> Path:
    """A database of views over explicit files, in a format that DuckDB 1.0 and later open."""
    catalog = folder / "catalog.duckdb"
    with duckdb.connect() as connection:
        quoted = str(catalog).replace("'", "''")
        connection.execute(f"attach '{quoted}' as catalog (storage_version 'v1.0.0')")
        connection.execute("use catalog")
        create_views(connection, "marts", release)
        connection.execute("use memory")
        connection.execute("detach catalog")
    return catalog


def _forget(root: Path, current: str, keep: int) -> None:
    folders = [folder for folder, manifest in manifests(root).items() if manifest is not None]
    for folder in [path for path in folders if path.name != current][: max(0, len(folders) - keep)]:
        shutil.rmtree(folder)
