"""A runner: the sidecars that it is connected to, and what their agents find on this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from cco_sidecar import __version__
from cco_sidecar.client.connection import OPTIONS, claims_of
from cco_sidecar.client.discovery import channel_options, find, require_safe, rest_of
from cco_sidecar.client.errors import error_of
from cco_sidecar.client.tls import Tls
from cco_sidecar.core.background import Background
from cco_sidecar.core.converters import address
from cco_sidecar.core.errors import SettingsError, SidecarError, not_found, unavailable
from cco_sidecar.core.principal import RUN_AGENTS
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.retry import Backoff
from cco_sidecar.core.settings import Settings
from cco_sidecar.joined.attempts import SidecarAttempts, sidecars_with_runs
from cco_sidecar.joined.forwarder import Destination, Forwarder
from cco_sidecar.joined.order_inputs import OrderInputs
from cco_sidecar.joined.session import Session
from cco_sidecar.repository.layout import discover
from cco_sidecar.repository.mirrors import Mirrors
from cco_sidecar.runners.launch import Launcher
from cco_sidecar.runners.orphans import Orphans
from cco_sidecar.runners.remote_runner import NOT_STARTED
from cco_sidecar.runners.shim import become_subreaper
from cco_sidecar.runners.worktrees import Worktrees
from cco_sidecar.storage.files import PRIVATE_DIR, PRIVATE_FILE, open_storage, write_atomically
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.runner_service_pb2_grpc import RunnerServiceStub

log = logging.getLogger(__name__)

TOKEN_FILE = "runner-token"
_PORTS_FILE = "ports"
_ORPHANS_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
# A sidecar that is not there any more is asked for so long, for the sake of what ran for it.
_FORGET_SECONDS = 86_400.0


@dataclass(frozen=True)
class Joining:
    """``url``: REST of the sidecars or of their load balancer; ``grpc_target``: ``host:port``, empty for the next port;
    ``tags``, ``agent_types``, ``capacity``: what is offered; ``projects``: the IDs of those that are here, empty for
    all."""

    url: str
    grpc_target: str
    token: str
    tags: tuple[str, ...]
    agent_types: tuple[str, ...]
    capacity: int
    projects: tuple[str, ...]
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure: bool = False


class JoinedRunner:
    """Implements Server. It belongs to the event loop in which it is created."""

    def __init__(self, joining: Joining, settings: Settings) -> None:
        """Raises SettingsError with a one-line message."""
        self._lock = open_storage(settings.storage)
        self._settings = settings
        self._storage = settings.storage
        self._leases = settings.storage / "leases"
        self._leases.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        self._token = _newest(joining.token, _kept(self._storage))
        self.offer = pb.Runner(
            runner_id=str(claims_of(self._token)["sub"]),
            host=socket.gethostname(),
            version=__version__,
            tags=joining.tags,
            agent_types=joining.agent_types,
            project_ids=joining.projects,
            capacity=joining.capacity,
        )
        target = find(joining.url, _address(joining.grpc_target))
        require_safe(target, self._token, insecure=joining.insecure)
        options = [*OPTIONS, *channel_options(target), ("grpc.keepalive_time_ms", 5000)]
        tls = Tls(joining.ca_file, joining.cert_file, joining.key_file)
        self._rest, self._grpc = _forwarders(joining.url, target.address, tls)
        if target.secure:
            self._channel = grpc.aio.secure_channel(target.address, tls.credentials(), options)
        else:
            self._channel = grpc.aio.insecure_channel(target.address, options)
        self.stub = RunnerServiceStub(self._channel)
        self._sessions: dict[str, Session] = {}
        # The ID of the first sidecar, or why none takes the runner.
        self.joined: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._failing = ""
        self._warned: set[str] = set()
        self._background = Background()
        self._inputs = OrderInputs()
        self._projects = Projects(settings)
        self._mirrors = Mirrors(settings, self._projects, _secret)

    # -- Server ------------------------------------------------------------------------------------------

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token}"),)

    @property
    def running(self) -> int:
        return sum(session.attempts.running for session in self._sessions.values() if session.attempts is not None)

    def welcomed(self, welcome: pb.RunnerWelcome) -> None:
        self._keep(welcome.jwt_token)
        for each in welcome.warnings:
            self._warn(each)
        if not self.joined.done():
            self.joined.set_result(welcome.sidecar_id)

    def _warn(self, text: str) -> None:
        """Logs a warning once."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)

    def _keep(self, token: str) -> None:
        self._token = token
        try:
            write_atomically(self._storage / TOKEN_FILE, self._token.encode(), mode=PRIVATE_FILE)
        except OSError as problem:
            log.warning("cannot keep the new token of this runner: %s", problem)

    def heard_of(self, sidecar_ids: list[str]) -> None:
        for sidecar_id in sidecar_ids:
            if sidecar_id not in self._sessions:
                self._connect(sidecar_id)
        # One that is gone for good.
        for sidecar_id, session in list(self._sessions.items()):
            silent = time.monotonic() - session.heard
            if sidecar_id not in sidecar_ids and (silent > _FORGET_SECONDS or session.is_idle):
                del self._sessions[sidecar_id]
                self._background.start(session.close(keep_agents=False), f"leaving {sidecar_id}")

    # ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connects. Raises SettingsError."""
        become_subreaper()
        for problem in await asyncio.to_thread(self._without_worktrees):
            self._warn(problem)
        rest, own = await self._listen()
        self._settings = dataclasses.replace(self._settings, host="127.0.0.1", port=rest, grpc_port=own)
        found = [Session(self, each, self._attempts_for, self._leases) for each in sidecars_with_runs(self._storage)]
        for session in found:
            # Before a sidecar is connected: the agents of all others count, too.
            await session.prepare()
            self._sessions[session.sidecar_id] = session
        for session in found:
            session.start()
        self._background.start(self._discover(), "sidecars")
        self._background.start(self._reap(), "orphans")
        self._mirrors.start()

    def _without_worktrees(self) -> list[str]:
        """Says which projects cannot have worktrees. Blocks on files."""
        found = []
        places = self._projects.directories.items()
        for root in sorted({Path(path) for name, path in places if name not in self._projects.remotes}):
            if discover(root) is None:
                found.append(f"{root} is not a git repository; agents with a worktree cannot run here")
            elif not os.access(root, os.W_OK):
                found.append(f"{root} is not writable; agents with a worktree cannot run here")
        return found

    async def _listen(self) -> tuple[int, int]:
        """Listens on the ports of the last time, where agents that still run look for the sidecar. Raises
        SettingsError."""
        file = self._storage / _PORTS_FILE
        wanted = (self._settings.port, self._settings.real_grpc_port)
        if not wanted[0]:
            with suppress(OSError, ValueError):
                rest, own = map(int, file.read_text().split())
                wanted = (rest, own)
        for ports in (wanted, (0, 0)):
            try:
                found = await self._rest.start(ports[0]), await self._grpc.start(ports[1])
                await asyncio.to_thread(write_atomically, file, b"%d %d" % found, mode=PRIVATE_FILE)
                return found
            except OSError as problem:
                self._rest.close()
                if self._settings.port or sidecars_with_runs(self._storage):
                    raise SettingsError(
                        f"cannot listen on 127.0.0.1:{ports[0]} and {ports[1]} for the agents: "
                        f"{problem.strerror or problem}; choose other ports with --port, once no agent runs"
                    ) from problem
        raise SettingsError("cannot listen on 127.0.0.1 for the agents")

    async def _discover(self) -> None:
        """Asks who is there as long as no sidecar is connected that would tell."""
        backoff = Backoff()
        while True:
            if any(session.connected.is_set() for session in self._sessions.values()):
                backoff = Backoff()
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            try:
                await self._ask_who_is_there()
            except grpc.aio.AioRpcError as problem:
                self._not_joined(error_of(problem))
                await asyncio.sleep(backoff.failed())
            else:
                # Each is being connected to.
                await asyncio.sleep(_CONNECT_SECONDS)

    async def _ask_who_is_there(self) -> None:
        """Raises AioRpcError."""
        instance = secrets.token_hex(8)
        request = pb.AttendRunnerRequest(runner_id=self.offer.runner_id, instance=instance, runner=self.offer)
        answers: Any = self.stub.AttendRunner(request, metadata=self.metadata)
        async for answer in answers:
            self._keep(answer.welcome.jwt_token)
            self.heard_of(list(answer.welcome.sidecar_ids))

    def _not_joined(self, problem: SidecarError) -> None:
        """What is refused now will not be accepted later."""
        if problem.code.startswith(("AUTH_", "REQ_")) and not self.joined.done():
            self.joined.set_exception(problem)
        elif problem.message != self._failing:
            self._failing = problem.message
            log.warning("cannot reach a sidecar, retrying: %s", problem.message)

    async def stop(self, *, keep_agents: bool) -> None:
        """Ends the agents, unless the next process is to continue with them."""
        await asyncio.gather(*(session.close(keep_agents=keep_agents) for session in self._sessions.values()))
        await asyncio.gather(self._background.end(), self._mirrors.close())
        self._rest.close()
        self._grpc.close()
        await self._channel.close()
        os.close(self._lock)

    def _connect(self, sidecar_id: str) -> None:
        session = Session(self, sidecar_id, self._attempts_for, self._leases)
        self._sessions[sidecar_id] = session
        session.start()

    def _attempts_for(self, session: Session) -> SidecarAttempts:
        sidecar_id, settings, inputs = session.sidecar_id, self._settings, self._inputs
        worktrees = Worktrees(settings.storage, self._projects, settings.branch_prefix)
        lease = self._leases / sidecar_id
        launcher = Launcher(inputs, self._projects, inputs, inputs, inputs, settings, worktrees, lease=lease)
        return SidecarAttempts(
            *(launcher, self._storage, sidecar_id),
            read_commits=session.read_commits,
            is_busy=self._is_busy,
            require_slot=self._require_slot,
        )

    def _require_slot(self) -> None:
        """Raises SidecarError (RUN_006): sidecars know of each other's agents here only by the last report."""
        if self.running >= (self.offer.capacity or math.inf):
            raise unavailable(NOT_STARTED, f"all {self.offer.capacity} slots of {self.offer.runner_id} are taken")

    def _is_busy(self, agent_id: str) -> bool:
        """Whether an agent runs here, for any sidecar."""
        every = [session.attempts for session in self._sessions.values() if session.attempts is not None]
        return any(attempts.holds(agent_id) for attempts in every)

    async def _reap(self) -> None:
        orphans = Orphans()
        while True:
            await asyncio.sleep(_ORPHANS_SECONDS)
            await asyncio.to_thread(orphans.reap)


def _forwarders(url: str, grpc_address: str, tls: Tls) -> tuple[Forwarder, Forwarder]:
    """Returns those of REST and gRPC. Raises SettingsError."""
    rest_host, rest_port, secure = rest_of(url)
    host, _, port = grpc_address.rpartition(":")
    rest = Destination(rest_host, rest_port, tls.context("http/1.1") if secure else None)
    own = Destination(host.strip("[]"), int(port), tls.context("h2") if secure else None)
    return Forwarder(rest), Forwarder(own)


async def _secret(name: str) -> str:
    """Returns a variable of the environment: a runner has no vault. Raises SidecarError (CRD_001)."""
    if name not in os.environ:
        raise not_found("CRD_001", f"credential '{name}' not found: on a runner, set the variable {name}")
    return os.environ[name]


def _newest(given: str, kept: str) -> str:
    """Returns the token that is valid longer, of those for the same runner. Raises SettingsError."""
    token = given or kept
    if not token:
        raise SettingsError("--token is required: create one with 'cco runner token NAME' at a sidecar")
    claims, known = claims_of(token), claims_of(kept)
    if RUN_AGENTS not in claims.get("permissions", ()):
        raise SettingsError("--token: this is not the token of a runner; create one with 'cco runner token NAME'")
    is_newer = known.get("sub") == claims.get("sub") and known.get("exp", 0) > claims.get("exp", 0)
    if given and is_newer:
        log.info("the token of the last time is used: it is valid longer than the one given")
    return kept if is_newer else token


def _kept(storage: Path) -> str:
    """Returns the token of an earlier process; empty if there is none."""
    try:
        return (storage / TOKEN_FILE).read_text().strip()
    except OSError:
        return ""


def _address(grpc_target: str) -> str | None:
    """Raises SettingsError."""
    try:
        return address(grpc_target) if grpc_target else None
    except ValueError as problem:
        raise SettingsError(f"--grpc: {problem}") from None
