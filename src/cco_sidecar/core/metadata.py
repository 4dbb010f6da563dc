"""Metadata of records: what their users want to say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping

from cco_sidecar.core.errors import invalid_request

_MAX_KEY = 64
_MAX_METADATA = 4096
_MAX_ENTRIES = 50


def merge_metadata(metadata: MutableMapping[str, str], changes: Mapping[str, str]) -> None:
    """Changes metadata in place; an empty value removes its key. Raises SidecarError (REQ_001)."""
    for key, value in changes.items():
        if value:
            metadata[key] = value
        else:
            metadata.pop(key, None)
    if len(metadata) > _MAX_ENTRIES:
        raise invalid_request(
            f"metadata: it would have {len(metadata)} entries; at most {_MAX_ENTRIES}", field="metadata"
        )


def check_metadata(metadata: Iterable[tuple[str, str]]) -> None:
    """Checks what a request has. Raises SidecarError (REQ_001)."""
    for key, value in metadata:
        if not key or len(key) > _MAX_KEY or len(value) > _MAX_METADATA or "\0" in value:
            raise invalid_request(
                f"metadata.{key[:_MAX_KEY]}: expected a key of 1 to {_MAX_KEY} characters, and a value of at most "
                f"{_MAX_METADATA}",
                field="metadata",
            )
