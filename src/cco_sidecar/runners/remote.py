"""One run of an agent at a runner: a copy of its output and of its end here, and the orders that change it there."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import orjson

from cco_sidecar.runners.run import EXIT_FILE, UNKNOWN, Exit, Run
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically
from orchestra.v1 import runner_service_pb2 as pb

# Written before the order to start is sent: from then on the attempt may have begun.
ORDERED_FILE = "ordered"
_LOOK_SECONDS = 1.0


class Place(Protocol):
    """The runner of a run, as it is known here."""

    def post(self, order: pb.AttendRunnerResponse) -> None:
        """Sends an order that needs no answer, if the runner is connected. Thread-safe."""
        ...

    def watch(self, run: RemoteRun) -> None:
        """Follows what the runner reports about a run."""
        ...

    def is_lost(self) -> bool:
        """Whether the runner was silent for so long that its agents have ended."""
        ...

    def forget(self, key: tuple[str, int]) -> None:
        """The run's end is stored: no more is reported about it. Thread-safe."""
        ...


class RemoteRun(Run):
    """The local directory has the output, the token and the end, as that of a run on this machine."""

    def __init__(self, directory: Path, agent_id: str, attempt: int, place: Place) -> None:
        super().__init__(directory)
        self._agent_id, self._attempt = agent_id, attempt
        self._place = place
        self._stopping: float | None = None
        self._renewed = False
        # The project and the commit that its worktree starts from.
        self.base = ("", "")
        self._over = asyncio.Event()

    @property
    def key(self) -> tuple[str, int]:
        return self._agent_id, self._attempt

    def mark_ordered(self) -> None:
        """Notes on disk that the attempt may begin. Raises OSError."""
        write_atomically(self.directory / ORDERED_FILE, b"", mode=PRIVATE_FILE)

    @property
    def began_at(self) -> float | None:
        try:
            return (self.directory / ORDERED_FILE).stat().st_mtime
        except OSError:
            return None

    def adopt(self) -> bool:
        """Whether the run may still be there: only the runner knows."""
        waits = self.began_at is not None and self._report() is None
        if waits:
            self._place.watch(self)
        return waits

    # -- what the runner reports ---------------------------------------------------------------------------

    @property
    def stored(self) -> int:
        """The number of bytes of output that are here."""
        try:
            return self.output.stat().st_size
        except OSError:
            return 0

    def append(self, offset: int, data: bytes) -> None:
        """Adds a part of the output, unless one before it is missing. Blocks. Raises OSError."""
        new = data[self.stored - offset :] if offset < self.stored else data
        if new and offset <= self.stored and self.directory.is_dir():
            with open(self.output, "ab") as file:
                file.write(new)

    def finish(self, end: pb.RunEnd) -> None:
        """Stores how the run ended. Blocks. Raises OSError."""
        known = {field.name: value for field, value in end.ListFields()} | {"known": end.known}
        text = orjson.dumps(Exit(**known)._asdict())
        write_atomically(self.directory / EXIT_FILE, text, mode=PRIVATE_FILE)

    def set_over(self) -> None:
        """Ends the waiting for the end."""
        self._over.set()

    def pending(self) -> list[pb.AttendRunnerResponse]:
        """Returns what a runner that connects again may have missed."""
        orders = []
        if self._renewed:
            orders.append(self._order(renew=pb.RenewRun(jwt_token=self.token())))
        if self._stopping is not None:
            orders.append(self._order(stop=pb.StopRun(grace_seconds=self._stopping)))
        return orders

    # -- what the supervisor does --------------------------------------------------------------------------

    async def ended(self) -> Exit:
        while self.began_at is not None and self._report() is None and not self._place.is_lost():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._over.wait()
                    break
        return self._report() or UNKNOWN

    def keep_token(self, token: str) -> None:
        """Writes a token that the runner has, or gets with the order to start. Raises OSError."""
        super().write_token(token)

    def write_token(self, token: str) -> None:
        self.keep_token(token)
        self._renewed = True
        self._place.post(self._order(renew=pb.RenewRun(jwt_token=token)))

    def stop(self, grace: float) -> None:
        self._stopping = grace if self._stopping is None else min(grace, self._stopping)
        self._place.post(self._order(stop=pb.StopRun(grace_seconds=grace)))

    def kill(self) -> None:
        self.stop(0.0)

    def is_paused(self) -> bool:
        """Returns False: that is not reported."""
        return False

    def wake(self) -> bool:
        """Returns False: the runner does that."""
        return False

    def kill_leftovers(self) -> None:
        self.kill()

    def clean(self) -> None:
        super().clean()
        self._place.forget(self.key)

    def _order(self, **order: object) -> pb.AttendRunnerResponse:
        return pb.AttendRunnerResponse(agent_id=self._agent_id, attempt=self._attempt, **order)  # type: ignore[arg-type]
