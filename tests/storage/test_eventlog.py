"""The log on disk: torn tails, damage, segments."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cco_sidecar.storage.eventlog import EventLog, Record


def write(directory: Path, records: list[Record]) -> None:
    log = EventLog(directory)
    log.open("p")
    done = threading.Event()
    problems: list[OSError | None] = []
    log.append(records, lambda problem: (problems.append(problem), done.set()))  # type: ignore[func-returns-value]
    assert done.wait(10)
    log.close()
    assert problems == [None]


def read(directory: Path) -> list[Record]:
    log = EventLog(directory)
    _, _, records = log.open("p")
    log.close()
    return records


def records(count: int, first: int = 1) -> list[Record]:
    return [
        Record("p", seq, 1_700_000_000_000_000 + seq, 60, b"payload %d" % seq) for seq in range(first, first + count)
    ]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, records(10))
    write(tmp_path, records(5, 11))
    assert read(tmp_path) == records(15)
    assert len(list((tmp_path / "p").glob("*.log"))) == 2


@pytest.mark.parametrize("cut", [1, 5, 20, 33])
def test_a_torn_tail_loses_only_itself(tmp_path: Path, cut: int) -> None:
    write(tmp_path, records(10))
    (file,) = (tmp_path / "p").glob("*.log")
    file.write_bytes(file.read_bytes()[:-cut])
    assert read(tmp_path) == records(9)
    write(tmp_path, records(3, 20))
    assert read(tmp_path) == records(9) + records(3, 20)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(12, 400), value=st.integers(1, 255))
def test_damage_loses_one_record_at_most(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    directory = tmp_path_factory.mktemp("log")
    write(directory, records(10))
    (file,) = (directory / "p").glob("*.log")
    data = bytearray(file.read_bytes())
    data[min(at, len(data) - 1)] ^= value
    file.write_bytes(data)
    kept = read(directory)
    assert set(kept) <= set(records(10)) and len(kept) >= 9


def test_trimmed_segments_are_deleted(tmp_path: Path) -> None:
    write(tmp_path, records(10))
    write(tmp_path, records(10, 11))
    log = EventLog(tmp_path)
    log.open("p")
    log.trim("p", 10)
    log.close()
    assert read(tmp_path) == records(10, 11)
