"""The ID of a sidecar."""

from __future__ import annotations

import secrets
from pathlib import Path

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.ids import is_id
from cco_sidecar.storage.files import PRIVATE_FILE, write_once

FILE = "sidecar-id"


def sidecar_id_of(storage: Path) -> str:
    """Returns the ID of the sidecar that has a storage directory; makes one at its first start. Raises
    SettingsError."""
    path = storage / FILE
    try:
        if not path.exists():
            write_once(path, f"sidecar-{secrets.token_hex(6)}\n".encode(), mode=PRIVATE_FILE)
        found = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"cannot use {path}: {problem}") from problem
    if not is_id(found):
        raise SettingsError(f"{path} holds no ID of a sidecar; fix: delete it")
    return found
