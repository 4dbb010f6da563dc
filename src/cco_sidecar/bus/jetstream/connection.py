"""The connection to NATS. It is opened once, and connects again for as long as the sidecar runs."""

from __future__ import annotations

import asyncio
import logging
import ssl

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import ServiceUnavailableError

from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.core.hosts import without_user
from cco_sidecar.core.settings import Settings

log = logging.getLogger(__name__)

# What a call raises that NATS does not answer, or refuses: JetStream's errors are among the first, timeouts among the
# second.
FAILURES = (nats.errors.Error, OSError)

_CONNECT_SECONDS = 15.0
_OLDEST = (2, 12)
# How long one request to JetStream may take; a new leader is usually elected within.
REQUEST_SECONDS = 4.0
_PAUSE_SECONDS = 0.2
# What may wait for a server that is away.
_PENDING_BYTES = 64 * 2**20


class Connection:
    """``client`` and ``jetstream`` can be used once it is open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.client = Client()
        self.jetstream: JetStreamContext = self.client.jetstream(timeout=REQUEST_SECONDS)
        # Why it is not connected, without repetitions.
        self._problems: list[str] = []
        self._limit: asyncio.Timeout | None = None
        # It was opened and is not to be closed.
        self._used = False

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    @property
    def server(self) -> str:
        """The server that it is connected to."""
        place = self.client.connected_url
        return f"NATS {self._version} at {place.hostname}:{place.port}" if place else "NATS"

    @property
    def _version(self) -> str:
        version = self.client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    @property
    def clustered(self) -> bool:
        """Reports whether the server is one of several."""
        return bool(self.client._server_info.get("cluster"))

    async def open(self) -> None:
        """Raises SidecarError (STR_002)."""
        settings = self._settings
        servers = (settings.bus_url or "").split(",")
        try:
            async with asyncio.timeout(_CONNECT_SECONDS) as self._limit:
                await self.client.connect(
                    servers=servers,
                    name="cco-sidecar",
                    error_cb=self._note,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._reconnected,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    connect_timeout=2,
                    ping_interval=10,
                    pending_size=_PENDING_BYTES,
                    tls=self._tls(servers),
                    user_credentials=str(settings.bus_credentials) if settings.bus_credentials else None,
                )
                await self._answers()
                self._check_version()
        except FAILURES as problem:
            await self.client.close()
            shown = ", ".join(without_user(each) for each in servers)
            why = "; ".join(self._problems) or str(problem) or "no answer"
            raise internal(
                "STR_002", f"NATS with JetStream is not reachable at {shown} ({why}); check --bus-url"
            ) from problem
        self._used = True

    def _check_version(self) -> None:
        """Raises SidecarError (STR_002)."""
        version = self.client.connected_server_version
        if (version.major, version.minor) < _OLDEST:
            needed = ".".join(map(str, _OLDEST))
            raise internal("STR_002", f"NATS {self._version} is too old; {needed} or newer is needed (atomic batches)")

    async def _answers(self) -> None:
        """Waits until JetStream answers: the servers of a cluster elect a leader first. The first request also
        subscribes to the answers; the order of later ones must not depend on that."""
        while True:
            try:
                await self.jetstream.account_info()
                return
            except (nats.errors.TimeoutError, ServiceUnavailableError) as problem:
                await self._note(problem)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        self._used = False
        await self.client.close()

    def _tls(self, servers: list[str]) -> ssl.SSLContext | None:
        settings = self._settings
        if not settings.bus_tls_ca and not settings.bus_tls_cert and not servers[0].startswith("tls:"):
            return None
        context = ssl.create_default_context(cafile=settings.bus_tls_ca)
        if settings.bus_tls_cert:
            context.load_cert_chain(settings.bus_tls_cert, settings.bus_tls_key)
        return context

    async def _note(self, problem: Exception) -> None:
        text = str(problem) or type(problem).__name__
        if text not in self._problems:
            self._problems.append(text)
        refused = isinstance(problem, ssl.SSLError) or "authorization" in text.lower()
        if refused and not self._used and self._limit is not None:
            # The next attempt would end like this one.
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def _disconnected(self) -> None:
        if self._used:
            log.warning("the connection to NATS is lost%s", f" ({'; '.join(self._problems)})" if self._problems else "")

    async def _reconnected(self) -> None:
        self._problems.clear()
        log.warning("connected to NATS again")


def away(problem: BaseException) -> SidecarError:
    """The error of a call that JetStream did not answer."""
    error = internal("STR_002", f"stored events could not be read ({problem or 'NATS does not answer'})")
    error.__cause__ = problem
    return error
