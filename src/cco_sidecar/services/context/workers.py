"""The server's side of the workers: started when they are needed, started again when they were killed."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cco_sidecar.repository.watch import NO_QUEUE

log = logging.getLogger(__name__)

# As many as there are projects that are read at the same time, at most.
_MOST = 2
_END_SECONDS = 2.0
# Not as `-m`: its classes are to have the same names on both sides.
_START = "from cco_sidecar.services.context.worker import main; main()"
_ENVIRONMENT = frozenset(
    ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHASHSEED")
)


class WorkerLost(Exception):
    """It ended in the middle of a call, twice."""


class _Worker:
    """A process, and the thread that waits for its answers."""

    def __init__(self, queue: int, storage: Path, text_bytes: int, projects: Sequence[Path]) -> None:
        self._queue = queue
        self._arguments = (queue, storage, text_bytes, *projects)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="context")
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._closing = False
        self._starting = threading.Lock()

    async def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Raises what the worker raised, or WorkerLost."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(self._call, method, arguments, named))

    def _call(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        for attempt in (1, 2):
            try:
                connection = self._connection or self._start()
                connection.send((method, arguments, named))
                succeeded, value = connection.recv()
            except (EOFError, OSError) as problem:
                code = self._end()
                if self._closing or attempt == 2:
                    raise WorkerLost(f"the context worker ended (exit {code})") from problem
                log.warning("the context worker ended (exit %s); it is started again", code)
                continue
            if succeeded:
                return value
            raise value
        raise AssertionError

    def _start(self) -> Connection:
        queue = self._queue
        ours, theirs = socket.socketpair()
        with theirs, self._starting:
            if self._closing:
                ours.close()
                raise EOFError
            passed = (theirs.fileno(), *([queue] if queue != NO_QUEUE else []))
            words = (theirs.fileno(), *self._arguments)
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=passed,
                # It reads files that nobody trusts: it gets no secret.
                env={name: text for name, text in os.environ.items() if name in _ENVIRONMENT},
            )
        self._connection = Connection(ours.detach())
        return self._connection

    def _end(self) -> int | None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is None:
            return None
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process = None

    def close(self) -> None:
        """What it is doing is not waited for."""
        with self._starting:
            self._closing = True
            if self._process is not None:
                self._process.send_signal(signal.SIGKILL)
        self._thread.shutdown(cancel_futures=True)
        self._end()


class Workers:
    """A project is always read by the same one, which remembers what it read."""

    def __init__(self, queue: int, storage: Path, text_bytes: int, projects: Sequence[Path]) -> None:
        self._workers = [_Worker(queue, storage, text_bytes // _MOST, projects) for _ in range(_MOST)]
        self._next = itertools.cycle(self._workers)
        self._of: dict[Path, _Worker] = {}

    async def call(self, root: Path, method: str, *arguments: Any, **named: Any) -> Any:
        """``root``: the project that it is about. Raises what the worker raises, or WorkerLost."""
        worker = self._of.get(root)
        if worker is None:
            worker = self._of[root] = next(self._next)
        return await worker.call(method, *arguments, **named)

    def forget(self, root: Path) -> None:
        self._of.pop(root, None)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
