"""Files are either complete or absent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cco_sidecar.storage.files import PRIVATE_FILE, write_once


def test_of_concurrent_first_writers_one_wins(tmp_path: Path) -> None:
    contents = [bytes([number]) * 1000 for number in range(16)]
    path = tmp_path / "key"

    def write(content: bytes) -> bytes:
        write_once(path, content, mode=PRIVATE_FILE)
        return path.read_bytes()

    with ThreadPoolExecutor(16) as pool:
        seen = set(pool.map(write, contents))
    assert len(seen) == 1 and seen < set(contents), "every writer reads back the winner's content"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
    assert path.stat().st_mode & 0o777 == PRIVATE_FILE
