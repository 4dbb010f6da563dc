"""Backup, restore and move of the storage. A backup can be taken while the sidecar runs."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from cco_sidecar import __version__
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import DATABASE
from cco_sidecar.storage.blueprints import DISABLED
from cco_sidecar.storage.files import PRIVATE_DIR, require_unused

MANIFEST = "manifest.json"
# Copied after the database: the event of a change is then in the copied outbox or in the copied log. In the other order
# it could be in neither.
_TREES = ("events", "results", "agents", "blueprints")
_FILES = ("signing-key.pem",)
# From an agent's run directory, only its output; everything else belongs to the running process.
_OF_RUNS = "output.log"


class Copied(NamedTuple):
    files: int
    bytes: int


def make(storage: Path, target: Path) -> Copied:
    """Writes a backup to ``target`` as a gzipped tar file, mode 0600, because it contains the signing key.

    Raises SettingsError.
    """
    if not (storage / DATABASE).exists():
        raise SettingsError(
            f"no records found in {storage}; fix: name the storage with CCO_SIDECAR_STORAGE. If its records are in "
            "PostgreSQL, stop the sidecar, then save them with pg_dump and copy the directory"
        )
    sums: dict[str, str] = {}
    total = 0
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as problem:
        raise SettingsError(f"cannot write {target}: {problem.strerror or problem}") from problem
    try:
        with open(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
            with tempfile.TemporaryDirectory(dir=target.parent) as directory:
                copy = Path(directory) / DATABASE
                _copy_database(storage / DATABASE, copy)
                total += _add(archive, DATABASE, copy.read_bytes(), sums)
            for path in _wanted(storage):
                try:
                    data = path.read_bytes()
                except FileNotFoundError:
                    # Deleted by trimming since it was listed.
                    continue
                total += _add(archive, path.relative_to(storage).as_posix(), data, sums)
            manifest = {
                "version": __version__,
                "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "files": sums,
            }
            _add(archive, MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2), {})
            archive.close()
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except sqlite3.Error as problem:
        raise SettingsError(f"cannot copy {storage / DATABASE}: {problem}") from problem
    except OSError as problem:
        raise SettingsError(f"cannot copy {problem.filename or target}: {problem.strerror or problem}") from problem
    finally:
        temporary.unlink(missing_ok=True)
    return Copied(len(sums), total)


def restore(source: Path, storage: Path, *, force: bool) -> Path | None:
    """Replaces the storage with a backup, after verifying every checksum.

    Returns where the previous storage was moved to, or None if there was none. Raises SettingsError; a damaged backup
    changes nothing.
    """
    require_unused(storage)
    former = None
    try:
        storage.parent.mkdir(parents=True, exist_ok=True)
        if storage.exists() and any(storage.iterdir()):
            if not force:
                raise SettingsError(f"{storage} is not empty; fix: --force moves it aside first")
            former = storage.with_name(f"{storage.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
        fresh = Path(tempfile.mkdtemp(prefix=f".{storage.name}.", dir=storage.parent))
    except OSError as problem:
        raise SettingsError(f"cannot write {storage}: {problem.strerror or problem}") from problem
    try:
        _unpack(source, fresh)
        if former is not None:
            storage.rename(former)
        elif storage.exists():
            storage.rmdir()
        fresh.rename(storage)
    except (OSError, tarfile.TarError, EOFError, zlib.error) as problem:
        raise SettingsError(f"cannot restore {source}: {problem}") from problem
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return former


def move(source: Path, target: Path) -> Path:
    """Moves a storage that no sidecar uses, and returns its new path.

    Raises SettingsError; the storage is unchanged if it could not be moved or copied.
    """
    # Move the directory that a link points to, not the link.
    source, target = source.resolve(), target.resolve()
    if not (source / DATABASE).exists():
        raise SettingsError(
            f"{source} has no {DATABASE}: it is not a sidecar storage, or its records are in PostgreSQL; then stop the "
            "sidecar and move the directory with mv"
        )
    if target.is_relative_to(source):
        raise SettingsError(f"{target} is inside {source}")
    if target.exists() and any(target.iterdir()):
        raise SettingsError(f"{target} is not empty")
    if any((source / "worktrees").glob("*/")):
        raise SettingsError(
            f"{source}/worktrees has worktrees of agents, which git tracks by path; fix: merge or discard them first "
            "(cco agent discard)"
        )
    require_unused(source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(source, target)
    except OSError as problem:
        raise SettingsError(
            f"cannot move {source} to {target}: {problem.strerror or problem}; the storage is unchanged"
        ) from problem
    return target


def _move(source: Path, target: Path) -> None:
    """Renames within a file system. Otherwise copies, and gives the copy its name only once it is complete.

    Raises OSError.
    """
    try:
        source.rename(target)
        return
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise
    copy = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("control"))
        copy.rename(target)
        os.sync()
    except shutil.Error as problem:
        # shutil.Error lists every file that failed; report the first.
        shutil.rmtree(copy, ignore_errors=True)
        raise OSError(errno.EIO, str(problem.args[0][0][2])) from problem
    except OSError:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    shutil.rmtree(source)


def _unpack(source: Path, target: Path) -> None:
    with tarfile.open(source, mode="r:gz") as archive:
        archive.extractall(target, filter="data")
    manifest = target / MANIFEST
    if not manifest.exists():
        raise SettingsError(f"{source} is not a sidecar backup, or is incomplete")
    try:
        sums = dict(orjson.loads(manifest.read_bytes())["files"])
    except (ValueError, KeyError, TypeError) as problem:
        raise SettingsError(f"{source} is not a sidecar backup: cannot read its {MANIFEST}") from problem
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} - {MANIFEST}
    if DATABASE not in sums or found != set(sums):
        raise SettingsError(f"{source} is damaged: its files do not match its {MANIFEST}")
    for name, expected in sums.items():
        path = target / name
        if not path.is_file() or _sum(path.read_bytes()) != expected:
            raise SettingsError(f"{source} is damaged: checksum mismatch for {name}")
    manifest.unlink()
    for path in (target, *target.rglob("*")):
        path.chmod(PRIVATE_DIR if path.is_dir() else 0o600)


def _copy_database(source: Path, target: Path) -> None:
    """Copies with SQLite's online backup, which is consistent during writes (sqlite.org/backup.html)."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def _wanted(storage: Path) -> Iterator[Path]:
    for tree in _TREES:
        for path in sorted((storage / tree).rglob("*")):
            if path.is_file() and not _temporary(path) and (tree != "agents" or path.name == _OF_RUNS):
                yield path
    for name in _FILES:
        if (storage / name).exists():
            yield storage / name


def _temporary(path: Path) -> bool:
    """Whether a file, or its directory, is one that is being written."""
    return path.parent.name.startswith(".") or (path.name.startswith(".") and path.name != DISABLED)


def _add(archive: tarfile.TarFile, name: str, data: bytes, sums: dict[str, str]) -> int:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(data))
    sums[name] = _sum(data)
    return len(data)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
