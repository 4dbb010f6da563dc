"""``/mcp``: asks for a token, and loads the SDK with the first request, which takes a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cco_sidecar.auth.policy import require_token
from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core.errors import SidecarError, not_found
from cco_sidecar.rpc.chain import Handlers

if TYPE_CHECKING:
    from cco_sidecar.mcp.http import McpApp

_BEARER = "bearer "


class McpEndpoint:
    """The tools, with the permissions of the request's token."""

    path = "/mcp"

    def __init__(self, handlers: Handlers, tokens: Tokens) -> None:
        self._handlers = handlers
        self._tokens = tokens
        self._app: McpApp | None = None
        self._loading = asyncio.Lock()

    def require_caller(self, headers: Mapping[str, str]) -> None:
        """Raises SidecarError: AUTH_001, AUTH_002 without a valid token, REQ_002 without the extra."""
        given = headers.get("authorization", "")
        bearer = given.lower().startswith(_BEARER)
        self._tokens.verify(require_token(given[len(_BEARER) :].strip() if bearer else None))
        if find_spec("mcp") is None:
            raise _not_installed()

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        async with self._loading:
            if self._app is None:
                self._app = await asyncio.to_thread(_load, self._handlers, self.path)
        await self._app(scope, receive, send)


def _load(handlers: Handlers, path: str) -> McpApp:
    from cco_sidecar.mcp.http import McpApp

    return McpApp(handlers, path)


def _not_installed() -> SidecarError:
    return not_found("REQ_002", "the tools for MCP are not installed; fix: pip install 'cco-sidecar[mcp]'")
