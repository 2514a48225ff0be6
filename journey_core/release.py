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
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from journey_core.checksums import sha256_of
from journey_core.damage import first_line
from journey_core.errors import DamagedError, NotBuiltError, StorageError
from journey_core.files import fsync, swap
from journey_core.manifest import current_manifest, faults, manifests, read_current, read_manifest
from journey_core.models import Contract, quoted
from journey_core.modes import PRIVATE, also_let_read, let_read, of_folders, of_home, share
from journey_core.privacy import Person, redacted
from journey_core.warehouse import Build, Warehouse, last_build

# Where a release is written before it has its name.
_PUBLISHING, _ERASING = ".publishing-", ".erasing-"
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
        with TemporaryDirectory(dir=root.parent, prefix=_PUBLISHING) as aside:
            manifest = before or _place(warehouse, build, tables, root, name, data_docs, Path(aside), mode)
            catalog = _write_catalog(Path(aside), Release(root, manifest))
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


def erase_from_releases(root: Path, person: Person) -> int:
    """Write every release that names a person again without them, under a new name; returns how many.

    A published path is never written again, and the old ones are deleted: readers of a manifest read anew.
    Aggregates stay as they were counted, but for rows that bear a name. Data Docs that name the person are left out.
    """
    for prefix in (_PUBLISHING, _ERASING, QUERYING):
        for left in root.parent.glob(f"{prefix}*"):
            shutil.rmtree(left)  # by a run that was killed
    current = read_current(root)
    changed = 0
    remedy = "It cannot be written again without them. Delete its folder, then run the same command again"
    # All of them first: nothing is rewritten where one cannot be.
    readable = {
        old: read_manifest(old / "manifest.json", remedy) for old in sorted(root.glob("*")) if not old.is_file()
    }
    for old, manifest in readable.items():
        name = f"{manifest['release']}.erased"
        while (root / name).exists():
            name += ".erased"
        with TemporaryDirectory(dir=root.parent, prefix=_ERASING) as aside:
            try:
                if not _write_without(person, old, manifest, Path(aside) / name, name):
                    continue
            except duckdb.Error as error:
                require_whole(Release(root, read_manifest(old / "manifest.json", remedy)), remedy)
                raise StorageError(
                    f"release {old.name} cannot be written again: {first_line(error)}. Free some space, then run the "
                    "same command again"
                ) from error
            mode = S_IMODE((old / "manifest.json").stat().st_mode)
            let_read(Path(aside) / name, mode)
            written = json.loads((Path(aside) / name / "manifest.json").read_text())
            (Path(aside) / name).rename(root / name)
            if current is not None and current["release"] == manifest["release"]:
                catalog = _write_catalog(Path(aside), Release(root, written))
                swap(root / "current.json", json.dumps(written, indent=1), mode)
                catalog.chmod(mode)
                catalog.replace(root / "catalog.duckdb")
        shutil.rmtree(old)
        changed += 1
    return changed


def _write_without(person: Person, old: Path, manifest: dict[str, Any], folder: Path, name: str) -> bool:
    """Write a release without a person into `folder`. False where it does not name them: then it can stay."""
    folder.mkdir()
    is_named = False
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("set variable anywhere = $1", [person.anywhere()])
        connection.execute("set variable names = $1::varchar[]", [sorted(person.names)])
        connection.execute("set variable events = $1::varchar[]", [sorted(person.event_ids)])
        pairs = [f"{namespace}\x1f{identifier}" for namespace, identifier in sorted(person.identifiers)]
        connection.execute("set variable pairs = $1::varchar[]", [pairs])
        for table, entry in manifest["tables"].items():
            (folder / table).mkdir()
            for file in entry["files"]:
                target = folder / table / Path(file["path"]).name
                before = f"read_parquet('{_quoted(old.parent / file['path'])}')"
                columns = dict(row[:2] for row in connection.execute(f"describe from {before}").fetchall())
                kept = f"select * replace ({_redacted(columns)}) from {before} where not ({_is_theirs(columns)})"
                connection.execute(f"copy ({kept}) to '{_quoted(target)}' (format parquet, compression zstd)")
                fsync(target)
                after = f"read_parquet('{_quoted(target)}')"
                ((entry["rows"], differ),) = connection.execute(
                    f"select (select count(*) from {after}), exists(from {before} except all from {after})"
                ).fetchall()
                is_named = is_named or differ
                file |= {
                    "path": f"{name}/{table}/{target.name}",
                    "bytes": target.stat().st_size,
                    "sha256": sha256_of(target),
                }
    docs = old / "data_docs"
    if docs.exists() and not _names(docs, person):
        shutil.copytree(docs, folder / "data_docs")
    elif docs.exists():
        is_named = True
    swap(folder / "manifest.json", json.dumps(manifest | {"release": name}, indent=1))
    return is_named


def _redacted(columns: Mapping[str, str]) -> str:
    """SQL: every text without the person's names."""
    return ", ".join(
        f"{redacted(f'{quoted(name)}::varchar')}::{kind} as {quoted(name)}"
        for name, kind in columns.items()
        if kind in ("VARCHAR", "JSON")
    )


def _is_theirs(columns: Mapping[str, str]) -> str:
    """SQL: whether a row is the person's, by the columns that say whose it is."""
    terms = ["false"]
    names, events, pairs = (f"(select unnest(getvariable('{name}')))" for name in ("names", "events", "pairs"))
    terms += [f"coalesce({name} in {names}, false)" for name in ("customer_id", "value_of") if name in columns]
    if "event_id" in columns:
        terms.append(f"event_id in {events}")
    for prefix in ("", "other_"):
        if f"{prefix}identifier" in columns:
            terms.append(f"{prefix}namespace || chr(31) || {prefix}identifier in {pairs}")
    return " or ".join(terms)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _names(folder: Path, person: Person) -> bool:
    """Whether a text file below `folder` names a person."""
    pattern = re.compile(person.anywhere())
    files = (path for path in folder.rglob("*") if path.is_file())
    return any(pattern.search(path.read_text(encoding="utf-8", errors="replace")) for path in files)


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


def _write_catalog(folder: Path, release: Release) -> Path:
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
