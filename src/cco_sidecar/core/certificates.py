"""Certificates (X.509), as far as the sidecar looks into them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def expiry(cert: Path) -> datetime:
    """Returns when the first certificate of a file expires, in UTC. Raises OSError, ValueError."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(cert.read_bytes())
    return found.not_valid_after_utc.astimezone(UTC)
