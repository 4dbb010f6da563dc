"""A sidecar whose wall clock a test moves.

The offset, in seconds, is in a small file. The sidecar reads it whenever it reads the clock, and so may any program
that a test starts, as if the whole machine's clock had moved.

    clocked.py FILE CONFIG STORAGE ROOT PORT GRPC_PORT     the sidecar itself; an empty CONFIG is none
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cco_sidecar.core.clock import Clock
from cco_sidecar.testing.process import SidecarProcess

_LINES = re.compile(r"Listening on http://127\.0\.0\.1:(\d+)\ngRPC on 127\.0\.0\.1:(\d+)\n")


def offset(file: Path) -> float:
    """Seconds by which the clock is ahead; 0 if it was never moved."""
    try:
        return float(file.read_text())
    except FileNotFoundError:
        return 0.0


class OffsetClock(Clock):
    """The sidecar's clock: the machine's, moved by the offset in the file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def micros(self) -> int:
        return super().micros() + int(offset(self._file) * 1e6)


class ClockControl:
    """Moves the clock from a test."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def move(self, *, minutes: float = 0.0, seconds: float = 0.0) -> None:
        """Forward, or back when negative. The file is replaced atomically."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(repr(offset(self.file) + minutes * 60 + seconds))
        fresh.replace(self.file)

    @property
    def now(self) -> float:
        return time.time() + offset(self.file)


def free_ports() -> tuple[int, int]:
    """Two ports that a sidecar can use again after a restart, because the kernel does not give them to clients."""
    while True:
        first = random.randrange(15_000, 31_000)
        try:
            with socket.create_server(("127.0.0.1", first)), socket.create_server(("127.0.0.1", first + 1)):
                return first, first + 1
        except OSError:
            continue


class ClockedSidecar(SidecarProcess):
    """A real sidecar on the clock of ``clock``; with the same ``ports`` its agents find it again."""

    def __init__(
        self,
        storage: Path,
        root: Path,
        clock: ClockControl,
        *,
        ports: tuple[int, int] = (0, 0),
        config: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.storage = storage
        self.root = root
        self.clock = clock
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
        # A file, because an unread pipe would block a sidecar that logs many errors.
        self.errors = storage.parent / f"{storage.name}.stderr"
        arguments = map(str, (clock.file, config or "", storage, root, *ports))
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                # Without its directory on the path, where modules have the names of libraries.
                [sys.executable, "-P", __file__, *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=clean | {"HOME": str(storage.parent)} | self.defaults_for(storage) | dict(environment or {}),
            )
        assert self.process.stdout is not None
        self.screen = ""
        while "Ready to coordinate" not in self.screen:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the sidecar did not start: {self._reap()}")
            self.screen += line
        found = _LINES.search(self.screen)
        assert found is not None, self.screen
        self.port, self.grpc_port = int(found[1]), int(found[2])

    def leave(self) -> str:
        """Ends the sidecar and leaves its agents to the next one; returns what was written to stderr."""
        self.process.send_signal(signal.SIGHUP)
        return self._reap()

    @property
    def complaints(self) -> str:
        """What it has written to stderr."""
        return self.errors.read_text()

    def _reap(self) -> str:
        self.process.communicate(timeout=30)
        return self.complaints


async def serve(file: Path, config: str, storage: str, root: str, port: str, grpc_port: str) -> None:
    from cco_sidecar.app import Sidecar
    from cco_sidecar.core import logs, sources

    flags = {"storage": storage, "project_root": root, "port": port, "grpc_port": grpc_port}
    chosen = sources.load(Path(config) if config else None, os.environ, flags)
    sidecar = Sidecar(chosen, OffsetClock(file))
    logs.set_up(chosen.storage / "logs", chosen.log_level)
    await sidecar.start()
    ended: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set_result, number)
    print(f"Listening on http://{chosen.host}:{sidecar.settings.port}")
    print(f"gRPC on {chosen.host}:{sidecar.settings.grpc_port}")
    print(f"Ready to coordinate {len(sidecar.types)} agents", flush=True)
    await sidecar.stop(keep_agents=await ended is signal.SIGHUP)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1]), *sys.argv[2:]))
