"""A person leaves the releases that are kept: a release that names them is written again, under a new name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from journey_core.checksums import sha256_of
from journey_core.damage import first_line
from journey_core.errors import StorageError
from journey_core.files import fsync, swap
from journey_core.manifest import read_current, read_manifest
from journey_core.models import quoted
from journey_core.modes import let_read
from journey_core.privacy import Person, text_of
from journey_core.release import PUBLISHING, QUERYING, Release, require_whole, write_catalog
from journey_core.shapes import teach

_ERASING = ".erasing-"
_REMEDY = "It cannot be written again without them. Delete its folder, then run the same command again"


def releases_naming(root: Path, person: Person) -> list[Path]:
    """The folders of the releases that name a person. Raises DamagedError where one cannot be read."""
    with _knowing(person) as connection:
        return [folder for folder, manifest in _readable(root).items() if _names(connection, root, manifest)]


def erase_from_releases(root: Path, person: Person) -> int:
    """Write every release that names a person again without them, under a new name; returns how many.

    A published path is never written again, and the old ones are deleted: readers of a manifest read anew.
    Aggregates stay as they were counted, but for rows that bear a name. Data Docs that name the person are left out.
    """
    for prefix in (PUBLISHING, _ERASING, QUERYING):
        for left in root.parent.glob(f"{prefix}*"):
            shutil.rmtree(left)  # by a run that was killed
    current = read_current(root)
    manifests = _readable(root)
    named = releases_naming(root, person)
    for old in named:
        manifest = manifests[old]
        is_current = current is not None and current["release"] == manifest["release"]
        name = f"{manifest['release']}.erased"
        while (root / name).exists():
            name += ".erased"
        with TemporaryDirectory(dir=root.parent, prefix=_ERASING) as aside:
            with _reading(root, manifest):
                _write_without(person, old, manifest, Path(aside) / name, name)
            mode = S_IMODE((old / "manifest.json").stat().st_mode)
            let_read(Path(aside) / name, mode)
            written = json.loads((Path(aside) / name / "manifest.json").read_text())
            (Path(aside) / name).rename(root / name)
            if is_current:
                catalog = write_catalog(Path(aside), Release(root, written))
                swap(root / "current.json", json.dumps(written, indent=1), mode)
                catalog.chmod(mode)
                catalog.replace(root / "catalog.duckdb")
        shutil.rmtree(old)
    return len(named)


def _readable(root: Path) -> dict[Path, dict[str, Any]]:
    """Each release's folder → its manifest: all of them first, as nothing is rewritten where one cannot be."""
    read_current(root)
    return {
        folder: read_manifest(folder / "manifest.json", _REMEDY)
        for folder in sorted(root.glob("*"))
        if not folder.is_file()
    }


@contextmanager
def _reading(root: Path, manifest: dict[str, Any]) -> Iterator[None]:
    """Raises DamagedError where DuckDB fails because a file is damaged, StorageError where it fails otherwise."""
    try:
        yield
    except duckdb.Error as error:
        require_whole(Release(root, read_manifest(root / manifest["release"] / "manifest.json", _REMEDY)), _REMEDY)
        raise StorageError(
            f"release {manifest['release']} cannot be written again: {first_line(error)}. Free some space, then run "
            "the same command again"
        ) from error


@contextmanager
def _knowing(person: Person) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        teach(connection, person.patterns())
        connection.execute("set variable names = $1::varchar[]", [sorted(person.names)])
        connection.execute("set variable events = $1::varchar[]", [sorted(person.event_ids)])
        pairs = [f"{namespace}\x1f{identifier}" for namespace, identifier in sorted(person.identifiers)]
        connection.execute("set variable pairs = $1::varchar[]", [pairs])
        yield connection


def _names(connection: duckdb.DuckDBPyConnection, root: Path, manifest: dict[str, Any]) -> bool:
    """Whether a release names the person that `connection` knows."""
    for entry in manifest["tables"].values():
        for file in entry["files"]:
            with _reading(root, manifest):
                rows = _rows(root / file["path"])
                columns = _columns(connection, rows)
                ((found,),) = connection.execute(
                    f"select exists(from {rows} where {_is_theirs(columns)} or {_is_named(columns)})"
                ).fetchall()
            if found:
                return True
    return _docs_name(connection, root / manifest["release"] / "data_docs")


def _write_without(person: Person, old: Path, manifest: dict[str, Any], folder: Path, name: str) -> None:
    """Write a release without a person into `folder`."""
    folder.mkdir()
    with _knowing(person) as connection:
        for table, entry in manifest["tables"].items():
            (folder / table).mkdir()
            for file in entry["files"]:
                target = folder / table / Path(file["path"]).name
                before = _rows(old.parent / file["path"])
                columns = _columns(connection, before)
                others = f"(from {before} where not ({_is_theirs(columns)}))"
                redacted = ", ".join(
                    f"{_redacted(column, columns[column])} as {quoted(column)}"
                    for column in _named_columns(connection, others, columns)
                )
                kept = f"select * {f'replace ({redacted})' if redacted else ''} from {others}"
                connection.execute(f"copy ({kept}) to '{_quoted(target)}' (format parquet, compression zstd)")
                fsync(target)
                ((entry["rows"],),) = connection.execute(f"select count(*) from {_rows(target)}").fetchall()
                file |= {
                    "path": f"{name}/{table}/{target.name}",
                    "bytes": target.stat().st_size,
                    "sha256": sha256_of(target),
                }
        docs = old / "data_docs"
        if docs.exists() and not _docs_name(connection, docs):
            shutil.copytree(docs, folder / "data_docs")
    swap(folder / "manifest.json", json.dumps(manifest | {"release": name}, indent=1))


def _columns(connection: duckdb.DuckDBPyConnection, rows: str) -> dict[str, str]:
    return dict(row[:2] for row in connection.execute(f"describe from {rows}").fetchall())


def _is_named(columns: Mapping[str, str]) -> str:
    """SQL: whether any text of a row names the person."""
    texts = [text for column, kind in columns.items() if (text := _as_text(column, kind))]
    return f"is_named(concat_ws(chr(10), {', '.join(texts)}))" if texts else "false"


def _named_columns(connection: duckdb.DuckDBPyConnection, rows: str, columns: Mapping[str, str]) -> list[str]:
    """The columns of which a text names the person: few, and each replacement costs, however few rows there are."""
    named = f"(from {rows} where {_is_named(columns)})"
    ((is_any,),) = connection.execute(f"select exists(from {named})").fetchall()
    if not is_any:
        return []
    texts = {column: text for column, kind in columns.items() if (text := _as_text(column, kind))}
    terms = ", ".join(f"coalesce(bool_or(is_named({text})), false)" for text in texts.values())
    (found,) = connection.execute(f"select {terms} from {named}").fetchall()
    return [column for column, is_found in zip(texts, found, strict=True) if is_found]


def _as_text(column: str, kind: str) -> str:
    """SQL: what a column holds of texts, as one; empty where it holds none."""
    if kind in ("VARCHAR", "JSON"):
        return f"{quoted(column)}::varchar"
    if kind == "VARCHAR[]":
        return f"array_to_string({quoted(column)}, chr(10))"
    return ""


def _redacted(column: str, kind: str) -> str:
    """SQL: the texts of a column without the person's names; empty where it holds none."""
    if kind == "VARCHAR[]":
        return f"list_transform({quoted(column)}, lambda text: without_names(text))"
    if kind == "JSON":
        return f"json_without_names({quoted(column)}::varchar)::json"
    return f"without_names({quoted(column)})" if kind == "VARCHAR" else ""


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


def _docs_name(connection: duckdb.DuckDBPyConnection, folder: Path) -> bool:
    """Whether a file below `folder` names the person, its own name included."""
    for path in folder.rglob("*") if folder.exists() else ():
        if path.is_file():
            sql = f"select is_named($2) or is_named({text_of('bytes')}) from (select $1::blob as bytes)"
            ((found,),) = connection.execute(sql, [path.read_bytes(), str(path.relative_to(folder))]).fetchall()
            if found:
                return True
    return False


def _rows(path: Path) -> str:
    return f"read_parquet('{_quoted(path)}')"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
