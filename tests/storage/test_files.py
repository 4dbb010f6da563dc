"""Files that are whole or not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cco_sidecar.storage.files import PRIVATE_FILE, write_once


def test_of_those_that_write_a_file_for_the_first_time_one_wins_and_stays(tmp_path: Path) -> None:
    contents = [bytes([number]) * 1000 for number in range(16)]
    path = tmp_path / "key"

    def write(content: bytes) -> bytes:
        write_once(path, content, mode=PRIVATE_FILE)
        return path.read_bytes()

    with ThreadPoolExecutor(16) as pool:
        seen = set(pool.map(write, contents))
    assert len(seen) == 1 and seen < set(contents), "what the first one reads back holds for everybody"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
    assert path.stat().st_mode & 0o777 == PRIVATE_FILE
