"""How tools call the sidecar from a program of its own."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from google.protobuf.message import Message

from cco_sidecar.client import AsyncClient
from cco_sidecar.core.services import PACKAGE

M = TypeVar("M", bound=Message)


class RemoteCalls:
    """Calls a sidecar over gRPC. A call that is cancelled ends there too."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def call(self, rpc: str, request: Message, answer: type[M]) -> M:
        method: Any = self._client.channel.unary_unary(
            f"/{PACKAGE}.{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        # In a task of its own: gRPC replaces the exception of a cancelled call, by which anyio knows what it cancelled.
        calling = asyncio.ensure_future(self._client.call(method, request))
        try:
            await asyncio.wait({calling})
        finally:
            calling.cancel()
        found = calling.result()
        assert isinstance(found, answer)
        return found
