"""One run of an agent at a runner: a copy of its output and of its end here, and the orders that change it there."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import orjson

from cco_sidecar.core.clock import uptime
from cco_sidecar.runners.run import EXIT_FILE, UNKNOWN, Exit, Run
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically
from orchestra.v1 import runner_service_pb2 as pb

# Written before the order to start is sent: from then on the attempt may have begun.
ORDERED_FILE = "ordered"
_LOOK_SECONDS = 1.0
_DAY_SECONDS = 86_400.0
_MOST_CHARACTERS = 200
# After the kill; then the runner does not do what it is told.
_KILL_SECONDS = 30.0


class Place(Protocol):
    """The runner of a run, as it is known here."""

    def post(self, order: pb.AttendRunnerResponse) -> None:
        """Sends an order that needs no answer, if the runner is connected. Thread-safe."""
        ...

    def give_up(self) -> None:
        """Trusts the runner no more."""
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
        # As the runner reported: its process, when, and the worktree.
        self.instance, self.listed_at, self.worktree = "", 0.0, ""
        # Why the end is not known.
        self.unknown_for = ""
        self._killed_at = 0.0
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
            # The runner may have been away when it was renewed.
            self._renewed = True
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
        here = self.stored
        if offset <= here < offset + len(data) and self.directory.is_dir():
            with open(self.output, "ab") as file:
                file.write(data[here - offset :])

    def finish(self, end: pb.RunEnd) -> None:
        """Stores how the run ended, once. Blocks. Raises OSError."""
        if self._report() is not None or not self.directory.is_dir():
            return
        known = {field.name: value for field, value in end.ListFields()} | {"known": end.known}
        known |= {name: str(known[name])[:_MOST_CHARACTERS] for name in ("signal", "limit") if name in known}
        if "ended_at" in known:
            # Its clock may be another.
            known["ended_at"] = min(max(0.0, known["ended_at"]), time.time() + _DAY_SECONDS)
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
            if self._killed_at and uptime() - self._killed_at > _KILL_SECONDS and self._is_current():
                self._killed_at = 0.0
                self._place.give_up()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._over.wait()
                    break
        report = self._report()
        if report is None:
            lost = self._place.is_lost()
            self.unknown_for = "its runner was lost" if lost else "its runner does not know how it ended"
        elif not report.known and report.stopped:
            self.unknown_for = "its runner was stopped"
        return report or UNKNOWN

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
        self._killed_at = self._killed_at or uptime()
        self.stop(0.0)

    def _is_current(self) -> bool:
        """Whether the runner says that the run is still there."""
        return uptime() - self.listed_at < _KILL_SECONDS

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

    def release(self) -> None:
        self._place.forget(self.key)

    def _order(self, **order: object) -> pb.AttendRunnerResponse:
        return pb.AttendRunnerResponse(agent_id=self._agent_id, attempt=self._attempt, **order)  # type: ignore[arg-type]
