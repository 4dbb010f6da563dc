"""The part of the asynchronous client that its call groups use."""

from __future__ import annotations

from typing import Protocol, TypeVar

import grpc
import grpc.aio

from cco_sidecar.client.connection import Identity, Metadata

Q = TypeVar("Q")
A = TypeVar("A")


class AsyncCalls(Protocol):
    """``identity`` is the caller; ``token`` is sent with each call."""

    identity: Identity

    @property
    def channel(self) -> grpc.aio.Channel: ...

    @property
    def token(self) -> str: ...

    async def connect(self) -> None: ...

    async def metadata(self) -> Metadata: ...

    async def exchanged(self, used: str | None) -> bool: ...

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q, timeout: float | None = None
    ) -> A: ...
