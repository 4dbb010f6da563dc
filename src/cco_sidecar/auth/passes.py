"""Passes: short-lived tokens (RFC 7519) with which one sidecar vouches for a call that it passes on to another."""

from __future__ import annotations

import jwt

from cco_sidecar.auth.keys import SigningKey
from cco_sidecar.auth.tokens import ISSUER, SKEW_SECONDS
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import invalid_token

# Not that of callers' tokens, so that neither is taken for the other.
AUDIENCE = "cco-sidecar-cluster"
TTL_SECONDS = 60
_RENEW_SECONDS = 20
# The metadata of a call that another sidecar passed on.
HEADER = "x-cco-sidecar-pass"


class Passes:
    """Makes and checks passes with the key that all sidecars share. Not thread-safe."""

    def __init__(self, key: SigningKey, sidecar_id: str, clock: Clock) -> None:
        self._key = key
        self._sidecar_id = sidecar_id
        self._clock = clock
        self._made = ""
        self._made_at = 0.0

    def own(self) -> str:
        """Returns a pass of this sidecar that is valid for a while."""
        now = self._clock.seconds()
        if not self._made or not 0 <= now - self._made_at < _RENEW_SECONDS:
            claims = {
                "sub": self._sidecar_id,
                "iss": ISSUER,
                "aud": AUDIENCE,
                "iat": int(now),
                "exp": int(now) + TTL_SECONDS,
            }
            self._made = jwt.encode(claims, self._key.signing, algorithm=self._key.algorithm)
            self._made_at = now
        return self._made

    def check(self, given: str) -> str:
        """Returns the ID of the sidecar that vouches. Raises SidecarError (AUTH_001)."""
        try:
            claims = jwt.decode(
                given,
                self._key.verifying,
                algorithms=[self._key.algorithm],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["sub", "exp", "iat"], "verify_exp": False, "verify_iat": False},
            )
            now = self._clock.seconds()
            if not float(claims["iat"]) - SKEW_SECONDS <= now < float(claims["exp"]) + SKEW_SECONDS:
                raise jwt.ExpiredSignatureError
        except (jwt.InvalidTokenError, TypeError, ValueError) as problem:
            raise invalid_token("invalid pass of another sidecar; check that the clocks of both agree") from problem
        return str(claims["sub"])
