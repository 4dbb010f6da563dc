"""Passes: with one, a sidecar vouches for the caller of a call that it passes on to another sidecar.

A pass (RFC 7519) names the sidecar and the call that it is for, and who the caller is. The caller's token is not sent
along. So whoever listens on the address of a sidecar that is gone gets nothing that is of use anywhere else, and
cannot answer, because it cannot prove that it has the key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

import jwt

from cco_sidecar.auth.keys import SigningKey
from cco_sidecar.auth.tokens import ISSUER, SKEW_SECONDS
from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import invalid_token
from cco_sidecar.core.principal import Principal

# Not that of callers' tokens, so that neither is taken for the other.
AUDIENCE = "cco-sidecar-cluster"
TTL_SECONDS = 60
# The metadata of a call that another sidecar passed on, and of the answer to it.
HEADER = "x-cco-sidecar-pass"
PROOF = "x-cco-sidecar-proof"
_REQUIRED = ["sub", "to", "path", "jti", "iat", "exp"]


class Vouched(NamedTuple):
    """What a pass says. ``principal`` is None for a caller without a token; ``nonce``: what the answer has to prove."""

    sidecar_id: str
    principal: Principal | None
    nonce: str


class Passes:
    """Makes and checks passes with the key that all sidecars share. Not thread-safe."""

    def __init__(self, key: SigningKey, cluster: Cluster, clock: Clock) -> None:
        self._key = key
        self._cluster = cluster
        self._clock = clock
        self._proving = key.derive("answer")

    def make(self, to: str, path: str, principal: Principal | None) -> tuple[str, str]:
        """Returns a pass for a call of the sidecar ``to``, and the nonce in it."""
        now, nonce = int(self._clock.seconds()), secrets.token_hex(16)
        claims = {
            "sub": self._cluster.sidecar_id,
            "to": to,
            "path": path,
            "jti": nonce,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + TTL_SECONDS,
        }
        if principal is not None:
            # What is not set is not sent: a sidecar of an earlier version may not know it.
            caller = {name: value for name in Principal.__slots__ if (value := getattr(principal, name)) is not None}
            claims["issued"] = caller.pop("since")
            claims["caller"] = caller | {"permissions": sorted(principal.permissions)}
        return jwt.encode(claims, self._key.signing, algorithm=self._key.algorithm), nonce

    def check(self, given: str, path: str) -> Vouched:
        """Returns what a pass for a call of this sidecar says. Raises SidecarError (AUTH_001)."""
        try:
            claims = jwt.decode(
                given,
                self._key.verifying,
                algorithms=[self._key.algorithm],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            now, made, until = self._clock.seconds(), float(claims["iat"]), float(claims["exp"])
            if not made - SKEW_SECONDS <= now < until + SKEW_SECONDS or until - made > TTL_SECONDS:
                raise jwt.ExpiredSignatureError
            sender = str(claims["sub"])
            if claims["to"] != self._cluster.sidecar_id or claims["path"] != path or claims["aud"] != AUDIENCE:
                raise jwt.InvalidTokenError
            if sender == self._cluster.sidecar_id or self._cluster.find(sender) is None:
                raise jwt.InvalidTokenError
            caller = claims.get("caller")
            principal = None
            if caller is not None:
                known = {name: value for name, value in caller.items() if name in Principal.__slots__}
                own = {"permissions": frozenset(caller["permissions"]), "since": float(claims["issued"])}
                principal = Principal(**(known | own))
            return Vouched(sender, principal, str(claims["jti"]))
        except (jwt.InvalidTokenError, TypeError, ValueError, KeyError, AttributeError) as problem:
            raise invalid_token("invalid pass of another sidecar") from problem

    def proof(self, nonce: str) -> str:
        """Returns what only a sidecar with the key can answer to a call with this nonce."""
        return hmac.new(self._proving, f"cco-sidecar-answer/1\n{nonce}".encode(), hashlib.sha256).hexdigest()
