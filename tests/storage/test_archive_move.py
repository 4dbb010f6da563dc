"""Moving a storage: all of it or nothing, even to another file system and through a link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.disks import Disk

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import DATABASE
from cco_sidecar.storage import archive


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    made = tmp_path / "storage"
    (made / "events").mkdir(parents=True)
    (made / DATABASE).write_bytes(b"records")
    (made / "events" / "segment.log").write_bytes(b"x" * 300_000)
    return made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", megabytes=1)
    if not made.mounted:
        pytest.skip("this user cannot mount a file system")
    yield made
    made.close()


def test_the_target_of_a_link_is_moved(storage: Path, tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "new" / "place"
    link.symlink_to(storage)
    assert archive.move(link, target) == target
    assert (target / DATABASE).read_bytes() == b"records" and not target.is_symlink() and not storage.exists()


def test_it_is_moved_to_another_file_system(storage: Path, disk: Disk) -> None:
    target = disk.path / "place"
    archive.move(storage, target)
    assert (target / "events" / "segment.log").stat().st_size == 300_000 and not storage.exists()


def test_a_full_disk_leaves_everything_as_it_was(storage: Path, disk: Disk) -> None:
    disk.fill(os.getpid())
    there = list(disk.path.iterdir())
    with pytest.raises(SettingsError, match="cannot move") as caught:
        archive.move(storage, disk.path / "place")
    assert len(str(caught.value)) < 500
    assert (storage / "events" / "segment.log").stat().st_size == 300_000
    assert list(disk.path.iterdir()) == there


def test_a_failed_move_says_why(storage: Path, tmp_path: Path) -> None:
    for source, target, says in (
        (tmp_path, tmp_path / "x", "is not a sidecar storage"),
        (storage, storage / "inside", "is inside"),
        (storage, tmp_path, "is not empty"),
    ):
        with pytest.raises(SettingsError, match=says):
            archive.move(source, target)
