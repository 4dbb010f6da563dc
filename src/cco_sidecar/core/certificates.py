"""Certificates (X.509) and their keys, as server and client use them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cco_sidecar.core.errors import SettingsError


def load(context: ssl.SSLContext, cert: Path | str, key: Path | str) -> None:
    """Loads a certificate and its key, in PEM format. Raises SettingsError that says what is wrong with them."""
    try:
        # An encrypted key must not ask for its password on the terminal.
        context.load_cert_chain(cert, key, password=_no_password)
    except ValueError as problem:
        text = f"{key} is encrypted; store it without a password, readable only by this user"
        raise SettingsError(text) from problem
    except ssl.SSLError as problem:
        if problem.reason == "KEY_VALUES_MISMATCH":
            text = f"{key} is not the key of the certificate in {cert}"
        else:
            text = f"expected a certificate in {cert} and its key in {key}, in PEM format"
        raise SettingsError(text) from problem
    except OSError as problem:
        raise SettingsError(f"cannot read {cert} and {key}: {problem}") from problem


def expiry(cert: Path) -> datetime:
    """Returns when the first certificate of a file expires, in UTC. Raises OSError, ValueError."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(cert.read_bytes())
    return found.not_valid_after_utc.astimezone(UTC)


def _no_password() -> str:
    raise ValueError("encrypted")
