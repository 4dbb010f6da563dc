"""The end of a log, read without reading its beginning."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cco_sidecar.runners import logs
from cco_sidecar.runners.shim import Output


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
