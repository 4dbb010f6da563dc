"""Signatures of webhook requests, as a receiver checks them."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from cco_sidecar.core.signatures import WebhookSignatureError, new_secret, secret_text, sign, verify_webhook

NOW = 1_800_000_000
BODY = b'{"n": 1}'


def signed(*keys: bytes, at: int = NOW) -> dict[str, str]:
    return sign(keys, "evt-1", at, BODY)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    key = new_secret()
    expected = base64.b64encode(hmac.digest(key, b"evt-1.1800000000." + BODY, hashlib.sha256)).decode()
    assert signed(key) == {
        "webhook-id": "evt-1",
        "webhook-timestamp": "1800000000",
        "webhook-signature": f"v1,{expected}",
    }
    # The headers of a request are written in any case.
    verify_webhook(secret_text(key), {name.title(): value for name, value in signed(key).items()}, BODY, now=NOW)


@pytest.mark.parametrize("away", [-299, 299])
def test_a_recent_request_of_either_secret_is_accepted(away: int) -> None:
    old, new = new_secret(), new_secret()
    for key in (old, new):
        verify_webhook(secret_text(key), signed(old, new), BODY, now=NOW + away)


@pytest.mark.parametrize("away", [-301, 301, 10**9])
def test_an_old_request_is_refused(away: int) -> None:
    key = new_secret()
    with pytest.raises(WebhookSignatureError, match="signed"):
        verify_webhook(secret_text(key), signed(key), BODY, now=NOW + away)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "evt-2"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": "1e9"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,\udcff"},
        {"webhook-id": "\udcff"},
        {"webhook-signature": "v2,x " * 100},
    ],
)
def test_what_was_not_signed_is_refused(change: dict[str, str]) -> None:
    key = new_secret()
    with pytest.raises(WebhookSignatureError):
        verify_webhook(secret_text(key), signed(key) | change, BODY, now=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!", "ü"])
def test_a_secret_that_is_empty_or_none_verifies_nothing(secret: str) -> None:
    """A variable that is not set must not let anybody in."""
    forged = signed(b"")
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(secret, forged, BODY, now=NOW)


def test_a_body_that_was_decoded_is_refused() -> None:
    key = new_secret()
    with pytest.raises(TypeError, match="bytes as they arrived"):
        verify_webhook(secret_text(key), signed(key), BODY.decode(), now=NOW)  # type: ignore[arg-type]
