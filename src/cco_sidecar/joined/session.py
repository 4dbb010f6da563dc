"""The connection with one sidecar: orders come in a stream, and a report goes out at least every second."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio

from cco_sidecar.client.errors import error_of
from cco_sidecar.cluster.lease_file import LeaseFile
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import uptime
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.retry import Backoff
from cco_sidecar.joined.attempts import REPORT_BYTES, SidecarAttempts
from cco_sidecar.runners.remote_runner import GIVEN_UP
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.runner_service_pb2_grpc import RunnerServiceStub

log = logging.getLogger(__name__)

_REPORT_SECONDS = 1.0
# How soon new output is reported.
_LOOK_SECONDS = 0.1
_CALL_SECONDS = 10.0
_LEAST_BYTES = 16 * 2**10
# The token is renewed with the connection.
_CONNECTION_SECONDS = 12 * 3600.0
# For the last output and commits, when the runner ends.
_LAST_SECONDS = 10.0


class Server(Protocol):
    """What the sessions share: the connection to the sidecars, and this runner."""

    offer: pb.Runner

    @property
    def stub(self) -> RunnerServiceStub: ...

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def running(self) -> int:
        """The attempts that run here, for all sidecars."""
        ...

    def welcomed(self, welcome: pb.RunnerWelcome) -> None:
        """Notes that a sidecar is connected, and a new token."""
        ...

    def heard_of(self, sidecar_ids: list[str]) -> None:
        """Connects to these sidecars too."""
        ...


class Session:
    """``sidecar_id``: the sidecar, which the runner may reach through another."""

    def __init__(
        self, server: Server, sidecar_id: str, attempts_for: Callable[[Session], SidecarAttempts], leases: Path
    ) -> None:
        """``attempts_for``: makes those of a sidecar; ``leases``: the directory of the files that say until when agents
        may run."""
        self.sidecar_id = sidecar_id
        self._server = server
        self._attempts_for = attempts_for
        self._leases = leases
        self._instance = secrets.token_hex(8)
        self.attempts: SidecarAttempts | None = None
        self._lease: LeaseFile | None = None
        self._background = Background()
        self._giving_up = asyncio.Lock()
        self._reporting = asyncio.Lock()
        self._most_bytes = REPORT_BYTES
        self.connected = asyncio.Event()
        self.heard = time.monotonic()
        self._failing = ""

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs here for the sidecar."""
        return self.attempts is None or self.attempts.is_empty

    async def prepare(self) -> None:
        """Finds the attempts that an earlier process left here."""
        if self.attempts is None:
            attempts = await asyncio.to_thread(self._attempts_for, self)
            attempts.recover()
            self.attempts = attempts

    def start(self) -> None:
        self._background.start(self._attend(), f"orders of {self.sidecar_id}")
        self._background.start(self._report(), f"reports to {self.sidecar_id}")

    async def close(self, *, keep_agents: bool) -> None:
        """Ends the attempts of the sidecar, and tells it, unless the next process is to continue with them."""
        if self.attempts is not None:
            if not keep_agents:
                await self.attempts.end_all()
                await self._hand_over(self.attempts)
            await self.attempts.close()
        await self._background.end()

    async def _hand_over(self, attempts: SidecarAttempts) -> None:
        """Waits until the sidecar has everything, the commits of worktrees too, and says that the runner leaves."""
        if not self.connected.is_set():
            return
        with suppress(TimeoutError, SidecarError):
            async with asyncio.timeout(_LAST_SECONDS):
                if not attempts.is_empty:
                    await attempts.emptied.wait()
        with suppress(SidecarError):
            await self._report_once(attempts, leaving=True)

    async def _attend(self) -> None:
        backoff = Backoff()
        while True:
            instance = self._instance
            request = pb.AttendRunnerRequest(
                runner_id=self._server.offer.runner_id,
                sidecar_id=self.sidecar_id,
                instance=instance,
                runner=self._server.offer,
            )
            try:
                await self.prepare()
                async with asyncio.timeout(_CONNECTION_SECONDS):
                    orders: Any = self._server.stub.AttendRunner(request, metadata=self._server.metadata)
                    async for order in orders:
                        if instance != self._instance:
                            # It was told before the agents were given up.
                            break
                        if order.HasField("welcome"):
                            backoff = Backoff()
                            self._begin(order.welcome)
                        elif self.attempts is not None:
                            self.attempts.take(order)
            except TimeoutError:
                continue
            except grpc.aio.AioRpcError as problem:
                await self._failed(error_of(problem), instance)
            except Exception:
                # Whatever it is: a runner that is not connected loses its agents.
                log.exception("an order could not be read")
            self.connected.clear()
            await asyncio.sleep(backoff.failed())

    def _begin(self, welcome: pb.RunnerWelcome) -> None:
        self.heard = time.monotonic()
        self._lease = LeaseFile(self._leases / self.sidecar_id, welcome.lost_after_seconds)
        assert self.attempts is not None
        self.attempts.welcomed(welcome.lost_after_seconds)
        self._server.welcomed(welcome)
        self._server.heard_of(list(welcome.sidecar_ids))
        if self._failing:
            log.warning("connected to %s again", self.sidecar_id)
        self._failing = ""
        self.connected.set()
        log.info("connected", extra={"sidecar_id": self.sidecar_id})

    async def _report(self) -> None:
        while True:
            await self.connected.wait()
            assert self.attempts is not None
            instance = self._instance
            try:
                await self._report_once(self.attempts)
                await self._wait(self.attempts)
            except SidecarError as problem:
                await self._failed(problem, instance)
                await asyncio.sleep(_REPORT_SECONDS)
            except Exception:
                # Whatever it is: a runner that does not report loses its agents.
                log.exception("a report failed")
                await asyncio.sleep(_REPORT_SECONDS)

    async def _wait(self, attempts: SidecarAttempts) -> None:
        """Returns when there is something to report, or it is time to."""
        until = time.monotonic() + _REPORT_SECONDS
        while time.monotonic() < until and not await asyncio.to_thread(lambda: attempts.has_news):
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await attempts.news.wait()
                    break

    async def _report_once(self, attempts: SidecarAttempts, *, leaving: bool = False) -> None:
        """Raises SidecarError."""
        async with self._reporting:
            await self._tell(attempts, leaving=leaving)

    async def _tell(self, attempts: SidecarAttempts, *, leaving: bool) -> None:
        began = uptime()
        request = pb.ReportRunnerRequest(
            runner_id=self._server.offer.runner_id,
            sidecar_id=self.sidecar_id,
            instance=self._instance,
            running=self._server.running,
            leaving=leaving,
        )
        attempts.news.clear()
        await asyncio.to_thread(attempts.report, request, self._most_bytes)
        try:
            call: Any = self._server.stub.ReportRunner(request, metadata=self._server.metadata, timeout=_CALL_SECONDS)
            response: pb.ReportRunnerResponse = await call
        except grpc.aio.AioRpcError as problem:
            # The lease must not wait for a slow connection.
            self._most_bytes = max(_LEAST_BYTES, self._most_bytes // 4)
            raise error_of(problem) from None
        self._most_bytes = min(REPORT_BYTES, 2 * self._most_bytes)
        assert self._lease is not None
        self._lease.renew(began, response.lease_seconds)
        self.heard = time.monotonic()
        attempts.leased.set()
        attempts.reported(request, response)
        self._server.heard_of(list(response.sidecar_ids))

    async def read_commits(self, agent: Agent, have: Sequence[str]) -> bytes:
        """Returns the pack of what an agent's worktree needs beyond ``have``. Raises SidecarError."""
        request = pb.ReadCommitsRequest(
            runner_id=self._server.offer.runner_id,
            sidecar_id=self.sidecar_id,
            agent_id=agent.agent_id,
            attempt=agent.attempt,
            have_commits=have,
        )
        parts: Any = self._server.stub.ReadCommits(request, metadata=self._server.metadata)
        try:
            return b"".join([part.pack async for part in parts])
        except grpc.aio.AioRpcError as problem:
            raise error_of(problem) from None

    async def _failed(self, problem: SidecarError, instance: str) -> None:
        """``instance``: as which the call was made."""
        if problem.code == GIVEN_UP and self.attempts is not None:
            async with self._giving_up:
                # Several calls may be told.
                if instance == self._instance:
                    log.error("%s gave up on this runner; its agents are stopped", self.sidecar_id)
                    await self.attempts.give_up()
                    self._instance = secrets.token_hex(8)
        elif problem.message != self._failing:
            log.warning("cannot reach %s, retrying: %s", self.sidecar_id, problem.message)
            self._failing = problem.message
