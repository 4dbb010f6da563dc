"""Metadata of records: what their users want to say of them."""

from __future__ import annotations

from collections.abc import Iterable

from cco_sidecar.core.errors import invalid_request

_MAX_KEY = 64
_MAX_METADATA = 4096


def check_metadata(metadata: Iterable[tuple[str, str]]) -> None:
    """Raises SidecarError (REQ_001)."""
    for key, value in metadata:
        if not key or len(key) > _MAX_KEY or len(value) > _MAX_METADATA or "\0" in value:
            raise invalid_request(
                f"metadata.{key[:_MAX_KEY]}: expected a key of 1 to {_MAX_KEY} characters, and a value of at most "
                f"{_MAX_METADATA}",
                field="metadata",
            )
