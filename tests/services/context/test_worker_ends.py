"""A context worker whose sidecar ends."""

from __future__ import annotations

from multiprocessing import Pipe
from typing import Any

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
