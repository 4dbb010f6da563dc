# Written by scripts/unasync.py from aio_calls.py; change that file.
"""The part of the synchronous client that its call groups use."""

from __future__ import annotations

from typing import Protocol, TypeVar

import grpc

from cco_sidecar.client.connection import Identity, Metadata

Q = TypeVar("Q")
A = TypeVar("A")


class Calls(Protocol):
    """``identity`` is the caller; ``token`` is sent with each call."""

    identity: Identity

    @property
    def channel(self) -> grpc.Channel: ...

    @property
    def token(self) -> str: ...

    def connect(self) -> None: ...

    def metadata(self) -> Metadata: ...

    def exchanged(self, used: str | None) -> bool: ...

    def call(self, method: grpc.UnaryUnaryMultiCallable[Q, A], request: Q, timeout: float | None = None) -> A: ...
