"""Which files can be chosen from, and that nothing is read or masked twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cco_sidecar.repository import masking
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.rules import parse_rules
from cco_sidecar.repository.snapshot import Scanner, Snapshot
from cco_sidecar.services.context import candidates
from cco_sidecar.services.context.candidates import CandidateCache

SECRET = 'password = "kV7!pQ2xLm9#"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    for name, text in (("a.py", SECRET), ("b.py", "x = 1\n"), ("c.py", "y = 1\n" * 100), ("d.bin", "\0\1")):
        (root / name).write_text(text)
    return root


def scan(root: Path) -> Snapshot:
    return Scanner(root, root.parent / "scratch").scan(afresh=False)[0]


@pytest.fixture
def cache() -> CandidateCache:
    return CandidateCache(FileCache(2**20), 2**20)


def test_files_and_why_others_are_none(root: Path, cache: CandidateCache, monkeypatch: pytest.MonkeyPatch) -> None:
    files, problems = cache.of(scan(root))
    assert list(files) == ["a.py", "b.py", "c.py"] and problems == {"d.bin": "binary"}
    monkeypatch.setattr(candidates, "MAX_FILE_BYTES", 500)
    assert cache.of(scan(root)).problems == {"c.py": "too_large", "d.bin": "binary"}
    excluding = replace(scan(root), rules=parse_rules(b'exclude = ["b.*"]'))
    assert cache.of(excluding).problems == {"b.py": "excluded", "c.py": "too_large", "d.bin": "binary"}


def test_of_too_much_the_smaller_files_are_read(
    root: Path, cache: CandidateCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "empty.py").write_text("")
    monkeypatch.setattr(candidates, "_MAX_BYTES", 100)
    assert cache.of(scan(root)).problems == {"c.py": "too_large", "d.bin": "binary"}
    monkeypatch.setattr(candidates, "_MAX_FILES", 2)
    assert cache.of(scan(root)).problems.keys() == {"c.py", "d.bin", "empty.py"}


def test_only_what_changed_is_read_again(root: Path, cache: CandidateCache) -> None:
    before = cache.of(scan(root)).files
    (root / "b.py").write_text("x = 2\n")
    (root / "c.py").unlink()
    (root / "e.py").write_text("z = 1\n")
    after = cache.of(scan(root)).files
    assert list(after) == ["a.py", "b.py", "e.py"]
    assert after["a.py"] is before["a.py"] and after["b.py"].raw == b"x = 2\n"
    cache.clear()
    assert cache.of(scan(root)).files["a.py"] is not before["a.py"]


def test_another_project_has_its_own_files(root: Path, cache: CandidateCache, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_text("mine = 1\n")
    cache.of(scan(root))
    assert cache.of(scan(other)).files["a.py"].raw == b"mine = 1\n"
    assert cache.of(scan(root)).files["a.py"].raw == SECRET.encode()


def test_large_files_are_not_masked_ahead_and_slow_ones_are_the_last(
    root: Path, cache: CandidateCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked: list[str] = []
    monkeypatch.setattr(masking, "mask_file", lambda data, path: (masked.append(path), (data, []))[1])
    monkeypatch.setattr(candidates, "_AHEAD_BYTES", 100)
    cache.of(scan(root))
    while cache.mask_another():
        pass
    assert masked == ["a.py", "b.py"]
    cache.clear()
    monkeypatch.setattr(candidates, "_AHEAD_SECONDS", -1.0)
    cache.of(scan(root))
    assert cache.mask_another() and not cache.mask_another()
    assert masked == ["a.py", "b.py", "a.py"]


def test_files_are_masked_ahead_once(root: Path, cache: CandidateCache, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    mask_file = masking.mask_file
    monkeypatch.setattr(masking, "mask_file", lambda data, path: (masked.append(path), mask_file(data, path))[1])
    files = cache.of(scan(root)).files
    while cache.mask_another():
        pass
    assert masked == ["a.py", "b.py", "c.py"]
    assert b"kV7" not in files["a.py"].data
    cache.of(scan(root))
    assert not cache.mask_another()
    (root / "b.py").write_text("x = 2\n")
    cache.of(scan(root))
    while cache.mask_another():
        pass
    assert masked == ["a.py", "b.py", "c.py", "b.py"]
