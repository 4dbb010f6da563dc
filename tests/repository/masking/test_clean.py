"""What is known of files over restarts: which hold no secret, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cco_sidecar.repository import masking
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.masking import CleanFiles, clean
from cco_sidecar.repository.snapshot import Scanner
from cco_sidecar.services.context.candidates import CandidateCache

SECRET = b'password = "kV7!pQ2xLm9#"\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "clean-files"


def remember(place: Path, *contents: bytes) -> None:
    known = CleanFiles(place)
    for data in contents:
        known.add(data, "a.py")
    known.save()


def test_the_next_process_knows(place: Path) -> None:
    remember(place, b"x = 1\n", b"y = 1\n")
    remember(place, b"y = 1\n", b"z = 1\n")
    known = CleanFiles(place)
    assert [known.holds(data, "b.py") for data in (b"x = 1\n", b"y = 1\n", b"z = 1\n", b"other\n")] == [True] * 3 + [
        False
    ]
    assert place.read_bytes().count(b"\n") == 1 and len(place.read_bytes()) == 72 + 3 * 16


def test_a_file_whose_values_are_not_quoted_is_another(place: Path) -> None:
    remember(place, b"x = 1\n")
    assert not CleanFiles(place).holds(b"x = 1\n", "settings.ini")


@pytest.mark.parametrize("data", [b"", b"sha256:", b"sha256:other rules\n" + b"0" * 16])
def test_a_file_of_other_rules_is_begun_anew(place: Path, data: bytes) -> None:
    place.write_bytes(data)
    known = CleanFiles(place)
    assert not known.holds(b"x = 1\n", "a.py")
    known.add(b"x = 1\n", "a.py")
    known.save()
    assert CleanFiles(place).holds(b"x = 1\n", "a.py")


def test_a_file_that_was_cut_is_begun_anew(place: Path) -> None:
    remember(place, b"x = 1\n", b"y = 1\n")
    place.write_bytes(place.read_bytes()[:-5])
    assert not CleanFiles(place).holds(b"x = 1\n", "a.py")
    remember(place, b"z = 1\n")
    assert CleanFiles(place).holds(b"z = 1\n", "a.py")


def test_it_does_not_grow_without_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean, "_MOST", 10)
    for number in range(50):
        remember(place, f"x = {number}\n".encode())
    assert len(place.read_bytes()) <= 72 + 11 * 16
    assert CleanFiles(place).holds(b"x = 49\n", "a.py")


def test_the_rules_are_those_that_the_process_has_loaded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = CleanFiles(place)
    monkeypatch.setattr(clean, "_rules", lambda: b"sha256:of an upgrade\n")
    known.add(b"x = 1\n", "a.py")
    known.save()
    assert not CleanFiles(place).holds(b"x = 1\n", "a.py")


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    remember(tmp_path / "missing" / "clean-files", b"x = 1\n")


def test_a_restarted_process_masks_only_what_may_hold_a_secret(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "a.py").write_bytes(SECRET)
    (root / "b.py").write_bytes(b"x = 1\n")
    masked: list[str] = []
    mask_file = masking.mask_file
    monkeypatch.setattr(masking, "mask_file", lambda data, path: (masked.append(path), mask_file(data, path))[1])
    for _ in range(2):
        candidates = CandidateCache(FileCache(2**20), 2**20, CleanFiles(place))
        files = candidates.of(Scanner(root, tmp_path / "scratch").scan(afresh=False)[0]).files
        while candidates.mask_another():
            pass
        assert b"kV7" not in files["a.py"].data and files["b.py"].data == b"x = 1\n"
    assert masked == ["a.py", "b.py", "a.py"]
