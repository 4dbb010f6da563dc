"""Lets in only those who have the capability of a project, and only from this machine.

The clients of the original send no token. So the address that they are given has a secret: ``/k/<secret>`` before the
path, or where a client takes only a host and a port, ``k:<secret>@`` before the host (RFC 7617).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cco_sidecar.core.hosts import is_loopback, without_port
from cco_sidecar.storage.capabilities import Capabilities

# Bytes of bodies that are on their way, in all.
_MAX_UNFINISHED = 64 * 2**20
_PREFIX = "/k/"
_USER = "k"


class Access:
    """Wraps the application of a port. In the state of a request, ``calls`` is what it may call, ``base`` its address,
    and ``allowed`` says whether its capability is still valid."""

    def __init__(
        self,
        app: ASGIApp,
        capabilities: Capabilities,
        calls_of: Callable[[str], Any],
        *,
        origins: frozenset[str],
        max_bytes: int,
    ) -> None:
        self._app = app
        self._capabilities = capabilities
        self._calls_of = calls_of
        self._origins = origins
        self._max_bytes = max_bytes
        self._unfinished = _Bytes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is not None:
            await self._refuse(scope, receive, send, *refused)
            return
        inner = dict(scope)
        secret = self._secret(inner, headers)
        project = self._capabilities.project_of(secret) if secret else None
        if project is None:
            text = "the address has no valid secret: 'cco compat env' prints the addresses to use"
            await self._refuse(scope, receive, send, 401, text)
            return
        base = f"http://{headers.get('host', '')}{_PREFIX}{secret}"
        allowed = partial(self._allows, secret, project)
        state = {"calls": self._calls_of(project), "base": base, "allowed": allowed}
        inner["state"] = {**inner.get("state", {}), **state}
        limited = _Limited(receive, self._max_bytes, self._unfinished)
        try:
            await self._app(inner, limited, send)
        finally:
            self._unfinished.count -= limited.received

    def _allows(self, secret: str, project: str) -> bool:
        return self._capabilities.project_of(secret) == project

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Stops pages of other sites, and names that only point here (DNS rebinding)."""
        host = headers.get("host", "").rpartition("@")[2]
        name = without_port(host)
        if not is_loopback(name):
            return 403, f"the Host must be a name of this machine, not '{name[:200]}'"
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and origin.partition("://")[2] != host:
            return 403, f"a page of {origin[:200]} may not connect; allow it with sidecar.cors_origins"
        length = headers.get("content-length", "0")
        if scope["type"] == "http" and length.isdigit() and int(length) > self._max_bytes:
            return 413, f"the body is larger than {self._max_bytes} bytes"
        return None

    def _secret(self, scope: MutableMapping[str, Any], headers: Mapping[str, str]) -> str:
        """Returns the secret, and takes it out of the path."""
        # The server of the API leaves out what it does not use.
        path = scope["path"] = unquote(scope["raw_path"].decode("latin-1"))
        scope.setdefault("root_path", "")
        if path.startswith(_PREFIX):
            secret, slash, rest = path.removeprefix(_PREFIX).partition("/")
            scope["path"] = (slash + rest).rstrip("/") or "/"
            scope["raw_path"] = scope["path"].encode()
            return secret
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                user, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return ""
            return secret if user == _USER else ""
        return ""

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": text[:120]})
            return
        await JSONResponse({"detail": text}, status)(scope, receive, send)


class _Bytes:
    """How many bytes of bodies are in memory."""

    count = 0


class _Limited:
    """Limits the body of a request, and what all of them have in memory. Raises HTTPException."""

    def __init__(self, receive: Receive, most: int, all_of_them: _Bytes) -> None:
        self._receive = receive
        self._most = most
        self._all = all_of_them
        self.received = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        size = len(message.get("body", b""))
        self.received += size
        self._all.count += size
        if self.received > self._most:
            raise HTTPException(413, f"the body is larger than {self._most} bytes")
        if self._all.count > _MAX_UNFINISHED:
            raise HTTPException(503, "too much is uploaded at once; try again", {"retry-after": "1"})
        return message
