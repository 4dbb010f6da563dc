"""Work that blocks the event loop is logged."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from cco_sidecar.core import loop_watch
from cco_sidecar.core.metrics import Histogram


@pytest.mark.parametrize(("seconds", "lines"), [(loop_watch.HELD_SECONDS + 0.1, 1), (0.01, 0)])
async def test_work_that_blocks_the_loop_is_logged(
    seconds: float, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    lag = Histogram()
    watching = asyncio.create_task(loop_watch.watch(lag))
    with caplog.at_level(logging.INFO, loop_watch.__name__):
        await asyncio.sleep(0)
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass
        # Until the watch has checked.
        await asyncio.sleep(3 * loop_watch.BEAT_SECONDS)
    watching.cancel()
    assert sum("the event loop was blocked" in record.message for record in caplog.records) == lines
    assert sum(lag.counts) > 0 and (sum(lag.counts[8:]) == 1) == bool(lines)
