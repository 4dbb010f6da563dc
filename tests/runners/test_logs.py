"""The end of a log, read without reading its beginning."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cco_sidecar.runners import logs
from cco_sidecar.runners.shim import Output
from orchestra.v1.agent_service_pb2 import LogLine


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several megabytes of lines of both streams, as a shim writes them; some are so long that they are stored in
    parts.
    """
    path = tmp_path_factory.mktemp("log") / "output.log"
    output = Output(str(path), 0, [])
    lengths = random.Random(7)
    for number in range(3000):
        long = 200_000 if number % 500 == 499 else lengths.randrange(1500)
        output.add(("stdout", "stderr")[number % 3 == 0], f"{number} {'x' * long}\n".encode())
    output.close()
    return path


@pytest.mark.parametrize("count", [0, 1, 2, 7, 250, 501, 2999, 3000, 9000])
def test_the_last_lines_equal_the_end_of_a_full_read(log: Path, count: int) -> None:
    every = [line for batch in logs.batches(logs.LogReader(log)) for line in batch]
    assert len(every) == 3000
    start = logs.tail_offset(log, count)
    tail = [line for batch in logs.batches(logs.LogReader(log, start), count) for line in batch]
    assert tail == every[max(0, 3000 - count) :]


def test_little_is_read_for_a_few_lines(log: Path) -> None:
    assert logs.tail_offset(log, 10) > log.stat().st_size - 2**20
    assert logs.tail_offset(log.with_name("not there"), 10) == 0


def test_a_line_that_no_message_can_hold_is_continued(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "log"), 0, [])
    long = "".join(map(str, range(900_000)))
    written = f"{long}\nnext\n".encode()
    for start in range(0, len(written), 2**16):
        output.add("stdout", written[start : start + 2**16])
    output.close()
    found = list(logs.batches(logs.LogReader(tmp_path / "log")))
    assert max(batch_size(batch) for batch in found) < 4 * 2**20
    *pieces, last = [line.text for batch in found for line in batch]
    assert ("".join(pieces), last) == (long, "next")

    (last_piece,) = [line.text for batch in logs.batches(logs.LogReader(tmp_path / "log"), 1) for line in batch]
    assert last_piece == "next"


def batch_size(batch: list[LogLine]) -> int:
    return sum(line.ByteSize() for line in batch)


STAMP = b"2026-01-01T00:00:00.000000Z stdout "


def test_what_no_shim_wrote_is_skipped_to_the_end_of_its_line(tmp_path: Path) -> None:
    """A runner that somebody else controls can report anything."""
    log = tmp_path / "log"
    log.write_bytes(STAMP + b"F one\n" + STAMP + b"F " + b"x" * 2**25)
    reader = logs.LogReader(log)
    assert [line.text for line in reader.read()] == ["one"]
    assert held(reader) < 8 * 2**20
    with log.open("ab") as file:
        file.write(b"y" * 100 + b"\n" + STAMP + b"F two\n")
    assert [line.text for line in reader.read()] == ["two"]


def test_parts_without_an_end_are_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes((STAMP + b"P " + b"x" * 2**20 + b"\n") * 100 + STAMP + b"F end\n")
    found = [len(line.text) for line in logs.LogReader(log).read()]
    assert len(found) == 2 and max(found) < 70 * 2**20
    assert sum(found) == 100 * 2**20 + len("end")


def held(reader: logs.LogReader) -> int:
    return len(reader._rest)
