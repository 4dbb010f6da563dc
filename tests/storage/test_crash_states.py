"""What the event log holds after a power failure at any moment, on a disk that forgets what was not synced.

CI tries some 500 states; `make crash-disk` ten thousand. A failure prints the seed that repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from tests.support.crashing_disk import FAULTS, Recorder, Recording

from cco_sidecar.storage.eventlog import log as log_module
from cco_sidecar.storage.eventlog.base import EventRecord, NewEvent
from cco_sidecar.storage.eventlog.log import SegmentLog

STATES = int(os.environ.get("STATES", "500"))
SEED = int(os.environ.get("SEED", "0"))
_STATES_OF_ONE_RUN = 50
PROJECTS = ("p", "q")


async def work(directory: Path, recording: Recording, choose: random.Random) -> dict[tuple[str, int], bytes]:
    """Publishes batches of any size to two projects, trims, and opens the log again; returns what was ever tried."""
    tried: dict[tuple[str, int], bytes] = {}
    for _ in range(choose.randint(1, 3)):
        log = SegmentLog(directory, segment_bytes=4000, max_opened=choose.choice((3, 10_000)))
        heads = {}
        for project in PROJECTS:
            opened = await log.open(project)
            heads[project] = opened.head
            for record in opened.records:
                recording.promise(("read", project, record.payload))
        for _ in range(choose.randint(1, 12)):
            batch = [
                NewEvent(choose.choice(PROJECTS), 1_700_000_000_000_000, 60, choose.randbytes(choose.randint(9, 1500)))
                for _ in range(choose.randint(1, 6))
            ]
            try:
                numbers = await log.append(batch)
            except OSError:
                for event in batch:
                    recording.promise(("refused", event.project, event.payload))
                continue
            for event, number in zip(batch, numbers, strict=True):
                assert number > heads[event.project]
                heads[event.project] = number
                tried[event.project, number] = event.payload
                recording.promise(("acknowledged", event.project, number))
            if choose.random() < 0.2:
                project = choose.choice(PROJECTS)
                upto = choose.randint(0, heads[project])
                recording.promise(("trimmed", project, upto))
                log.trim(project, upto)
        await log.close()
    return tried


async def found_in(directory: Path) -> dict[tuple[str, int], EventRecord]:
    log = SegmentLog(directory)
    found = {}
    for project in PROJECTS:
        records = (await log.open(project)).records
        assert [record.seq for record in records] == sorted({record.seq for record in records})
        found |= {(project, record.seq): record for record in records}
    await log.close()
    return found


@pytest.mark.parametrize("faults", [False, True], ids=["sound disk", "failing disk"])
def test_nothing_acknowledged_is_lost_and_nothing_else_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: bool
) -> None:
    for run in range(max(1, STATES // _STATES_OF_ONE_RUN // 2)):
        seed = SEED + run
        choose = random.Random(seed)
        directory = tmp_path / f"run-{run}"
        directory.mkdir()
        recording = Recording(directory)
        at = choose.sample(range(5, 60), 4) if faults else []
        recorder = Recorder(recording, {number: choose.choice(FAULTS) for number in at})
        with monkeypatch.context() as patch:
            patch.setattr(log_module, "os", recorder)
            for name in ("sync_directory", "make_directory", "remove"):
                patch.setattr(log_module, name, getattr(recorder, name))
            tried = asyncio.run(work(directory, recording, choose))
        for after, into, where in recording.crashes(seed, choose, _STATES_OF_ONE_RUN, tmp_path / f"states-{run}"):
            _check(recording, after, tried, asyncio.run(found_in(into)), where)


def _check(
    recording: Recording,
    after: int,
    tried: dict[tuple[str, int], bytes],
    found: dict[tuple[str, int], EventRecord],
    where: str,
) -> None:
    trimmed = dict.fromkeys(PROJECTS, 0)
    for _, promise in recording.promises:
        if promise[0] == "trimmed":
            trimmed[promise[1]] = max(trimmed[promise[1]], promise[2])
    refused: dict[str, set[bytes]] = {project: set() for project in PROJECTS}
    gone: set[tuple[str, bytes]] = set()
    for kind, project, what in recording.kept(after):
        if kind == "acknowledged":
            # The project's next write has removed or disowned what was refused before.
            gone |= {(project, payload) for payload in refused[project]}
            if what > trimmed[project]:
                assert (project, what) in found, f"{where}: event {what} of '{project}' was acknowledged and is lost"
            record = found.get((project, what))
            assert record is None or record.payload == tried[project, what], f"{where}: event {what} has other content"
        elif kind == "refused":
            refused[project].add(what)
        else:
            # A disk that refused to remove it kept it over a restart: then it is an event.
            refused[project].discard(what)
    for key, record in found.items():
        assert (key[0], record.payload) not in gone, f"{where}: event {key} was refused and is there"
