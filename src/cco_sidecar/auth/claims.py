"""Reads what a token says, and why it cannot be read."""

from __future__ import annotations

from typing import Any

import jwt


def issued_at(claims: dict[str, Any]) -> float:
    """Returns when a token was issued, in Unix seconds. Raises ValueError, TypeError."""
    return max(float(claims["iat"]), float(claims.get("nbf", 0)))


def reason_of(problem: Exception) -> str:
    """Describes the problem without quoting any part of the token."""
    if isinstance(problem, jwt.MissingRequiredClaimError):
        return f"missing claim '{problem.claim}'"
    if isinstance(problem, jwt.InvalidSignatureError):
        return "the signature does not match this sidecar's key"
    if isinstance(problem, jwt.InvalidAlgorithmError):
        return "unexpected signing algorithm"
    if isinstance(problem, jwt.InvalidAudienceError | jwt.InvalidIssuerError):
        return "it was issued for another service"
    return "it cannot be decoded"
