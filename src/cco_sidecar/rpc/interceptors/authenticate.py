"""Identifies the caller by its token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc.aio

from cco_sidecar.auth.passes import HEADER, Passes
from cco_sidecar.auth.policy import require_token
from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core.errors import SidecarError, invalid_token
from cco_sidecar.rpc.call import Call, from_loopback, metadata_value
from cco_sidecar.rpc.interceptors.base import Before


class Authenticate(Before):
    def __init__(self, tokens: Tokens, hosts: Iterable[str] = (), passes: Passes | None = None) -> None:
        """``hosts`` are names of this machine other than those of the loopback; ``passes``: those of other sidecars."""
        self._tokens = tokens
        self._passes = passes
        self._hosts = frozenset(hosts)

    def before(self, call: Call, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        given = metadata_value(context, HEADER) if self._passes is not None else None
        if self._passes is not None and given is not None:
            call.via, principal, call.nonce = self._passes.check(given, call.policy.path)
            if principal is not None:
                self._tokens.require_unrevoked(principal)
                call.principal = principal
                return
        header = metadata_value(context, "authorization")
        optional = call.policy.rules.open and call.policy.open_to(loopback=from_loopback(context, self._hosts))
        if header is None and optional:
            return
        scheme, _, token = (header or "").partition(" ")
        try:
            if header is not None and scheme.lower() != "bearer":
                raise invalid_token("the Authorization header must be 'Bearer <JWT>'")
            call.principal = self._tokens.verify(require_token(token.strip()))
            call.token = token.strip()
        except SidecarError:
            if not optional:
                raise
