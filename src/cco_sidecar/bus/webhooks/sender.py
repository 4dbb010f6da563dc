"""Sends webhook requests, to allowed addresses only."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache, partial
from typing import Any, NamedTuple

import httpcore

from cco_sidecar.bus.webhooks.target import Target, checked, is_reachable
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.hosts import AllowedHosts, address_of

GONE = 410
_RETRY_LATER = (429, 503)
# An answer is read, so that its connection can be used again, for so long and so far. It is read in small pieces: tiny
# chunks, or interim responses without end (RFC 9110, section 15.2), would hold up everything else.
_READ_SECONDS = 1.0
_PIECE_BYTES = 2048
_MAX_ANSWER_BYTES = 128 * 1024
_IDLE_SECONDS = 30.0

# TimeoutException: a connection to one of several addresses.
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Outcome(NamedTuple):
    """``status`` is 0 without an answer. ``failure`` says why the request failed, without the URL; empty if it was
    accepted. ``retry_after`` is how many seconds the receiver asked to wait, if it did."""

    status: int
    failure: str = ""
    retry_after: float | None = None


class Sender:
    """The connections of one webhook: a slow receiver takes none from others. It follows no redirect and uses no proxy.

    The addresses of a name are checked when it is connected to, and one of those that were checked is used.
    """

    def __init__(self, hosts: AllowedHosts, resolve: Resolve | None = None) -> None:
        self._hosts = hosts
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=_tls(),
                # A request that waited for another's connection and is cancelled would keep it for ever.
                max_connections=None,
                keepalive_expiry=_IDLE_SECONDS,
                network_backend=_Guarded(hosts, resolve or _resolve, secure=scheme == "https"),
            )
            for scheme in ("https", "http")
        }

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Outcome:
        """Posts once; ``timeout`` is in seconds and covers everything."""
        try:
            target = checked(url, self._hosts)
            async with asyncio.timeout(timeout):
                return await self._post(target, headers, body, timeout)
        except SidecarError as problem:
            return Outcome(0, problem.message)
        except TimeoutError:
            return Outcome(0, f"no answer within {timeout:g} s")
        except _NotAllowedError as problem:
            return Outcome(0, str(problem))
        except _FAILURES as problem:
            return Outcome(0, _said(problem))

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes, timeout: float) -> Outcome:
        url = httpcore.URL(
            scheme=target.scheme, host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        # httpcore would not put an IPv6 address in brackets.
        sent = [("host", target.authority), *headers.items()]
        limits = {"timeout": {"connect": timeout}}
        pool = self._pools[target.scheme]
        async with pool.stream("POST", url, headers=sent, content=body, extensions=limits) as response:
            outcome = _outcome(response.status, response.headers)
            # The status decides. What comes after it only decides whether the connection can be used again.
            with suppress(*_FAILURES, TimeoutError):
                async with asyncio.timeout(_READ_SECONDS):
                    await _read(response)
            return outcome

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


async def _read(response: httpcore.Response) -> None:
    async with aclosing(response.aiter_stream()) as chunks:  # type: ignore[type-var]
        async for _ in chunks:
            pass


class _NotAllowedError(Exception):
    """A host with no address that may be connected to."""


class _Guarded(httpcore.AnyIOBackend):
    """Resolves a name, and connects to an address that was checked."""

    def __init__(self, hosts: AllowedHosts, resolve: Resolve, *, secure: bool) -> None:
        self._hosts = hosts
        self._resolve = resolve
        self._secure = secure

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = [host] if address_of(host) is not None else await self._resolve(host, port)
        usable = [each for each in found if self._is_reachable(each)]
        if not usable:
            kind = "listed or public" if self._secure else "listed; http reaches only those"
            raise _NotAllowedError(f"{host} has no address that is {kind} (events.webhook_hosts)")
        share = timeout / len(usable) if timeout is not None else None
        for each in usable[:-1]:
            with suppress(httpcore.NetworkError, httpcore.TimeoutException):
                return _Metered(await super().connect_tcp(each, port, share, local_address, socket_options))
        return _Metered(await super().connect_tcp(usable[-1], port, share, local_address, socket_options))

    def _is_reachable(self, text: str) -> bool:
        address = address_of(text.partition("%")[0])
        return address is not None and is_reachable(address, self._hosts, secure=self._secure)


class _Metered(httpcore.AsyncNetworkStream):
    """Reads in small pieces, and not without end."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._read = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._read > _MAX_ANSWER_BYTES:
            raise httpcore.ReadError("the answer is too long")
        data = await self._stream.read(min(max_bytes, _PIECE_BYTES), timeout)
        self._read += len(data)
        # What has arrived already is read without waiting.
        await asyncio.sleep(0)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._read = 0
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Metered(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@cache
def _tls() -> ssl.SSLContext:
    """With the system's certificate authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR."""
    return ssl.create_default_context()


# A lookup cannot be cancelled. So slow ones have threads of their own, and whoever asks for a name that is being looked
# up waits for the same answer.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="webhook names")
_lookups: dict[tuple[asyncio.AbstractEventLoop, str, int], asyncio.Future[list[Any]]] = {}


async def _resolve(host: str, port: int) -> list[str]:
    """Returns the addresses of a name. Raises OSError."""
    loop = asyncio.get_running_loop()
    key = (loop, host, port)
    if key not in _lookups:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        _lookups[key] = loop.run_in_executor(_threads, look_up)
        _lookups[key].add_done_callback(lambda done: (_lookups.pop(key), done.cancelled() or done.exception()))
    found = await asyncio.shield(_lookups[key])
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _outcome(status: int, headers: Iterable[tuple[bytes, bytes]]) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status)
    if 300 <= status < 400:
        return Outcome(status, f"HTTP {status}; redirects are not followed")
    after = next((value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"), "")
    return Outcome(status, f"HTTP {status}", _seconds(after) if status in _RETRY_LATER else None)


def _seconds(retry_after: str) -> float | None:
    """Returns the seconds of a Retry-After header (RFC 9110, section 10.2.3): a number, or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        moment = parsedate_to_datetime(retry_after)
        return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _said(problem: Exception) -> str:
    """Returns why there is no answer, without what a receiver could have chosen."""
    if isinstance(problem, socket.gaierror):
        return "the host is unknown"
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(problem, httpcore.ConnectError):
        return "cannot connect"
    return "the connection ended without a valid answer"
