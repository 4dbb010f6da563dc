"""How a context worker ends: with its sidecar, or when a call takes too long."""

from __future__ import annotations

from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest

from cco_sidecar.repository.watch import NO_QUEUE
from cco_sidecar.services.context import workers
from cco_sidecar.services.context.worker import serve


class Interrupted:
    """A worker during whose work the sidecar ends."""

    def __init__(self, sidecar: Any) -> None:
        self._sidecar = sidecar

    def work(self) -> str:
        self._sidecar.close()
        return "an answer that nobody reads"


def test_it_ends_without_a_word_when_nobody_reads_its_answer() -> None:
    ours, theirs = Pipe()
    ours.send(("work", (), {}))
    worker: Any = Interrupted(ours)
    with theirs:
        serve(theirs, worker)


async def test_a_call_that_takes_too_long_ends_with_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = workers.Workers(NO_QUEUE, tmp_path / "storage", 2**20, [tmp_path])
    try:
        await pool.call(tmp_path, "wake")
        (stuck,) = [each for each in psutil.Process().children() if "context.worker" in " ".join(each.cmdline())]
        stuck.suspend()
        monkeypatch.setattr(workers, "_MOST_SECONDS", 0.1)
        monkeypatch.setattr(workers, "_END_SECONDS", 0.1)
        with pytest.raises(workers.WorkerLost, match="took longer than"):
            await pool.call(tmp_path, "wake")
        assert not stuck.is_running()
        monkeypatch.undo()
        await pool.call(tmp_path, "wake")
    finally:
        pool.close()
