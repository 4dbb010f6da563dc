"""What the chain knows of the call that it carries."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

import grpc.aio

from cco_sidecar.auth.policy import MethodPolicy
from cco_sidecar.core.principal import ANONYMOUS, Principal


class Call:
    """One RPC. ``metadata`` goes out as trailing metadata, and as HTTP headers over REST."""

    __slots__ = ("metadata", "policy", "principal", "request_id", "started", "token")

    def __init__(self, policy: MethodPolicy, request_id: str) -> None:
        self.policy = policy
        self.request_id = request_id
        self.principal: Principal = ANONYMOUS
        self.token = ""
        self.started = time.perf_counter()
        self.metadata: list[tuple[str, str]] = [("x-request-id", request_id)]


current: ContextVar[Call] = ContextVar("call")


def from_loopback(context: grpc.aio.ServicerContext[Any, Any]) -> bool:
    """True for a caller on this machine that no proxy speaks for."""
    peer = context.peer()
    if not peer.startswith(("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")):
        return False
    return all(key != "x-forwarded-for" and key != "forwarded" for key, _ in context.invocation_metadata() or ())


def metadata_value(context: grpc.aio.ServicerContext[Any, Any], name: str) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None
