"""Calls the services in process, through the same chain as any other call, for one project."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message
from starlette.requests import Request

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.rpc.chain import Handlers, Send
from cco_sidecar.rpc.local import LocalCalls

M = TypeVar("M", bound=Message)


class Calls:
    """The operator's calls about sessions, blueprints and documents of a project. Raises SidecarError."""

    def __init__(self, handlers: Handlers, tokens: Tokens, project: str, root: Path) -> None:
        """``root``: the directory of the project."""
        self.root = root
        self._handlers = handlers
        self._tokens = tokens
        self._project = project

    async def call(self, rpc: str, request: Message, answer: type[M]) -> M:
        return await self._calls().call(rpc, self._of_project(request), answer)

    async def stream(self, rpc: str, request: Message, send: Send) -> None:
        await self._calls().stream(rpc, self._of_project(request), send)

    def _calls(self) -> LocalCalls:
        return LocalCalls(self._handlers, f"Bearer {self._tokens.mint_operator().token}")

    def _of_project(self, request: Any) -> Any:
        if "project_id" in request.DESCRIPTOR.fields_by_name:
            request.project_id = self._project
        return request


def calls_of(request: Request) -> Calls:
    """Returns what the capability of a request may call."""
    calls: Calls = request.state.calls
    return calls
