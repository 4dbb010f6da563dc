"""The state of a call as it passes the interceptor chain."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

import grpc.aio

from cco_sidecar.auth.policy import MethodPolicy
from cco_sidecar.core.hosts import is_loopback, without_port
from cco_sidecar.core.principal import ANONYMOUS, Principal
from cco_sidecar.core.tracing import TraceContext


class Call:
    """One RPC. ``metadata`` is sent as trailing metadata, or as HTTP headers over REST."""

    __slots__ = (
        *("metadata", "nonce", "parent", "policy", "principal"),
        *("request_id", "started", "token", "trace", "via"),
    )

    def __init__(self, policy: MethodPolicy, request_id: str) -> None:
        self.policy = policy
        self.request_id = request_id
        self.principal: Principal = ANONYMOUS
        self.token = ""
        # The sidecar that passed the call on, and what it wants to be proved; empty if the caller called this one.
        self.via = self.nonce = ""
        # The span that made the call, and the call's own.
        self.parent: TraceContext | None = None
        self.trace: TraceContext | None = None
        self.started = time.perf_counter()
        self.metadata: list[tuple[str, str]] = [("x-request-id", request_id)]


current: ContextVar[Call] = ContextVar("call")


# Headers that show a request came through a proxy (RFC 7239, and those that common proxies add).
PROXY_HEADERS = frozenset(
    (
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-server",
        "x-real-ip",
        "via",
        "cf-connecting-ip",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-host",
    )
)
# The Host of an HTTP request. No gRPC client can send metadata with this name.
HOST = ":authority"


def from_loopback(context: grpc.aio.ServicerContext[Any, Any], hosts: frozenset[str] = frozenset()) -> bool:
    """Reports whether the caller is on this machine, uses no proxy, and addresses this machine by one of its names.

    The name check stops DNS rebinding: a web page whose name points here still sends its own name. ``hosts`` are
    accepted names other than those of the loopback.
    """
    peer = context.peer()
    if not peer.startswith(("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")):
        return False
    metadata = context.invocation_metadata() or ()
    if any(key in PROXY_HEADERS or key.startswith("x-forwarded-") for key, _ in metadata):
        return False
    host = metadata_value(context, HOST)
    return host is None or is_loopback(without_port(host)) or without_port(host) in hosts


def metadata_value(context: grpc.aio.ServicerContext[Any, Any], name: str) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None
