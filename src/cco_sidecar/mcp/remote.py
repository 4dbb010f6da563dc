"""How tools call the sidecar from a program of its own."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from google.protobuf.message import Message

from cco_sidecar.client import Client
from cco_sidecar.core.services import PACKAGE

M = TypeVar("M", bound=Message)


class RemoteCalls:
    """Calls a sidecar over gRPC."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, rpc: str, request: Message, answer: type[M]) -> M:
        found = await asyncio.to_thread(self._call, rpc, request, answer)
        assert isinstance(found, answer)
        return found

    def _call(self, rpc: str, request: Message, answer: type[M]) -> Any:
        method: Any = self._client.channel.unary_unary(
            f"/{PACKAGE}.{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return self._client.call(method, request)
