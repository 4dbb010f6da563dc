"""Runs one worst case of `bench.fairness`: a sidecar, its callers, and the measurements of both."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import psutil

from cco_sidecar.testing.process import Agent, SidecarProcess

# Timeout of one answer. Calls that began in time are awaited, however long the server takes.
PATIENCE = 60.0
CONNECT_SECONDS = 5.0
_REST_SECONDS = 1.0
_SETTLE_SECONDS = 1.0
_LOOK_SECONDS = 0.05
_MEGABYTE = 2**20
# A server that uses more is killed, to protect whatever else runs on this machine.
_MAX_MEGABYTES = 12_000
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_OWN_CONNECTION = [*_UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]

Act = Callable[[], Awaitable[str]]


class Watch:
    """Samples the server's memory and descriptors continuously."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._before = self.most = self.last = 0.0
        self.descriptors = 0
        self.killed = False
        self.begin()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Growth is counted from this point."""
        self._before = self.most = self.last = self._megabytes()
        self.descriptors = self._process.num_fds()

    @property
    def growth(self) -> float:
        """The peak growth."""
        return self.most - self._before

    @property
    def left(self) -> float:
        """The growth that remained at the end."""
        return self.last - self._before

    def end(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with suppress(psutil.Error):
                self.last = self._megabytes()
                self.most = max(self.most, self.last)
                self.descriptors = max(self.descriptors, self._process.num_fds())
                if self.last > _MAX_MEGABYTES:
                    self.killed = True
                    self._process.kill()

    def _megabytes(self) -> float:
        return float(self._process.memory_info().rss) / _MEGABYTE


class Stage:
    """``answers`` counts the answers to the attack. A case prepares itself, then attacks inside ``attack()``."""

    def __init__(self, sidecar: SidecarProcess, watch: Watch, seconds: float) -> None:
        self.sidecar = sidecar
        self.seconds = seconds
        self.answers: Counter[str] = Counter()
        self.quiet_from = self.began = self.ended = 0.0
        self._watch = watch

    @property
    def over(self) -> bool:
        """The time is up: start nothing new."""
        return time.monotonic() >= self.began + self.seconds

    def say(self, answer: str) -> None:
        self.answers[answer] += 1

    @asynccontextmanager
    async def attack(self) -> AsyncIterator[None]:
        """Measures an idle period first, then the body of the block."""
        await asyncio.sleep(_REST_SECONDS)
        self.quiet_from = time.monotonic()
        await asyncio.sleep(self.seconds / 2)
        self._watch.begin()
        self.began = time.monotonic()
        try:
            yield
        finally:
            await asyncio.sleep(_SETTLE_SECONDS)
            self.ended = time.monotonic()

    async def until_over(self) -> None:
        await asyncio.sleep(max(0.0, self.began + self.seconds - time.monotonic()))

    async def agent(self, agent_type: str = "python-specialist", issue: str = "issue-1") -> Agent:
        """An ordinary agent: 60 calls a minute, and a burst of 10."""
        return await asyncio.to_thread(self.sidecar.agent, agent_type, issue)

    async def architect(self) -> Agent:
        """Has no rate limit; reads every issue of its project."""
        return await self.agent("chief-architect")

    async def volley(self, act: Act, count: int, at_once: int = 1) -> None:
        """Calls ``act`` ``count`` times, unless the time runs out first, and counts the answers."""
        left = count

        async def caller() -> None:
            nonlocal left
            while left > 0 and not self.over:
                left -= 1
                self.say(await act())

        await asyncio.gather(*(caller() for _ in range(min(at_once, count))))

    async def rest(self, request: bytes) -> str:
        """The status of one request on its own connection."""
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.sidecar.port)
                try:
                    writer.write(request)
                    return await status_of(reader)
                finally:
                    writer.close()
        except TimeoutError:
            return "no answer"
        except (OSError, EOFError):
            return "closed"

    def channel(self) -> grpc.aio.Channel:
        """A separate connection."""
        return grpc.aio.insecure_channel(self.sidecar.target, options=_OWN_CONNECTION)


def request_of(
    sidecar: SidecarProcess, method: str, path: str, agent: Agent | None, body: bytes = b"", length: int | None = None
) -> bytes:
    """The bytes of an HTTP request. ``length``: the announced length, if it differs from the body's."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{sidecar.port}"]
    lines += [f"{name}: {value}" for name, value in (agent.headers if agent else {}).items()]
    if body or length:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def status_of(reader: asyncio.StreamReader) -> str:
    """Reads one HTTP answer; returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    left = int(rest.split(b"\r\n")[0]) if rest else 0
    while left:
        part = await reader.read(min(left, 2**16))
        if not part:
            raise EOFError
        left -= len(part)
    return head[9:12].decode()


async def rpc(channel: grpc.aio.Channel, path: str, message: bytes, agent: Agent) -> str:
    """The status code of one unary call with a message that is already serialised."""
    call: Any = channel.unary_unary(path)
    try:
        await call(message, metadata=agent.metadata, timeout=PATIENCE)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"
