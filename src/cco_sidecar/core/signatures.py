"""Signatures of webhook requests (Standard Webhooks 1.0.0, HMAC-SHA256)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Mapping

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"
_SCHEME = "v1,"
_PREFIX = "whsec_"
_SECRET_BYTES = 32
# Standard Webhooks 1.0.0: 24 to 64 bytes.
_LEAST_SECRET_BYTES = 24
TOLERANCE_SECONDS = 300


class WebhookSignatureError(ValueError):
    """A request whose signature is missing, wrong or too old."""


def new_secret() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """Returns a secret as it is handed out: ``whsec_`` and base64."""
    return _PREFIX + base64.b64encode(secret).decode()


def sign(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Returns the headers of a request, with one signature for each secret. ``timestamp`` is in Unix seconds."""
    signatures = (_SCHEME + base64.b64encode(_digest(key, message_id, str(timestamp), body)).decode() for key in keys)
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def verify_webhook(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> None:
    """Checks a request that a webhook received, before its body is parsed.

    ``headers`` may be written in any case. Raises WebhookSignatureError if no signature was made with ``secret`` over
    this body, or if it is older or newer than the tolerance; ValueError if the secret is not one.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError(f"body must be the bytes as they arrived, not {type(body).__name__}")
    key = _key(secret)
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not given.get(name)]
    if missing:
        raise WebhookSignatureError(f"the request lacks the header {missing[0]}")
    stamp = given[TIMESTAMP]
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
        raise WebhookSignatureError(f"{TIMESTAMP} is not a time in Unix seconds: {stamp[:40]!r}")
    away = abs((time.time() if now is None else now) - int(stamp))
    if away > tolerance_seconds:
        raise WebhookSignatureError(f"the request was signed {away:.0f} s away from now; {tolerance_seconds:g} allowed")
    expected = _SCHEME + base64.b64encode(_digest(key, given[ID], stamp, body)).decode()
    # Every signature is compared, so that the time says nothing about them.
    signatures = given[SIGNATURE].encode(errors="replace").split(b" ")
    if not sum(hmac.compare_digest(expected.encode(), each) for each in signatures):
        raise WebhookSignatureError("no signature was made with this secret over this body")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as problem:
        raise ValueError("the secret is not 'whsec_' and base64") from problem
    if len(key) < _LEAST_SECRET_BYTES:
        raise ValueError("the secret is empty or too short; is the variable that holds it set?")
    return key


def _digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.new(key, f"{message_id}.{timestamp}.".encode(errors="replace") + body, hashlib.sha256).digest()
