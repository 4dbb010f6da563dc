"""The server's side of the context workers: started on demand, restarted if they are killed."""

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

# The maximum number of worker processes, and of projects that are read at the same time.
_MOST = 2
_END_SECONDS = 2.0
# A call that takes longer is ended with the worker. Contexts of 50,000 files take seconds.
_MOST_SECONDS = 120
# Not with `-m`: pickled classes must have the same module name on both sides.
_START = "from cco_sidecar.services.context.worker import main; main()"
_ENVIRONMENT = frozenset(
    ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHASHSEED")
)


class WorkerLost(Exception):
    """The worker ended during a call and again during the retry, or while it was being closed."""


class _Worker:
    """A worker process, and the thread that waits for its answers."""

    def __init__(self, queue: int, storage: Path, text_bytes: int, projects: Sequence[Path]) -> None:
        self._queue = queue
        self._arguments = (queue, storage, text_bytes, *projects)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="context")
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._closing = False
        self._starting = threading.Lock()

    def start(self) -> None:
        """Starts the process, in the background."""
        self._thread.submit(self._call, "wake", (), {})

    async def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Calls a method of the worker. Raises what the worker raised, or WorkerLost."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(self._call, method, arguments, named))

    def _call(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        for attempt in (1, 2):
            try:
                connection = self._connection or self._start()
                connection.send((method, arguments, named))
                if not connection.poll(_MOST_SECONDS):
                    self._end()
                    raise WorkerLost(f"the context worker took longer than {_MOST_SECONDS} s")
                succeeded, value = connection.recv()
            except (EOFError, OSError) as problem:
                code = self._end()
                if self._closing or attempt == 2:
                    raise WorkerLost(f"the context worker ended (exit {code})") from problem
                log.warning("the context worker ended (exit %s); restarting it", code)
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
                # The worker reads untrusted files, so it gets no secrets.
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
        """Kills the process without waiting for the current call."""
        with self._starting:
            self._closing = True
            if self._process is not None:
                self._process.send_signal(signal.SIGKILL)
        self._thread.shutdown(cancel_futures=True)
        self._end()


class Workers:
    """A fixed set of workers. A project is always read by the same one, which caches what it read."""

    def __init__(self, queue: int, storage: Path, text_bytes: int, projects: Sequence[Path]) -> None:
        self._workers = [_Worker(queue, storage, text_bytes // _MOST, projects) for _ in range(_MOST)]
        self._next = itertools.cycle(self._workers)
        self._of: dict[Path, _Worker] = {}

    async def call(self, root: Path, method: str, *arguments: Any, **named: Any) -> Any:
        """Calls a method of the worker of a project's ``root``. Raises what the worker raised, or WorkerLost."""
        return await self._worker(root).call(method, *arguments, **named)

    def start(self, root: Path) -> None:
        """Starts the worker of a project before its first call."""
        self._worker(root).start()

    def _worker(self, root: Path) -> _Worker:
        worker = self._of.get(root)
        if worker is None:
            worker = self._of[root] = next(self._next)
        return worker

    def forget(self, root: Path) -> None:
        """Releases the assignment of a directory to a worker."""
        self._of.pop(root, None)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
