"""Where a service of a user keeps its data."""

from __future__ import annotations

import os
from pathlib import Path

from cco_sidecar.core.settings import DATABASE, Settings


def is_temporary(path: Path) -> bool:
    """Whether most systems clear the path at reboot (file-hierarchy(7))."""
    return any(path.is_relative_to(top) for top in ("/tmp", "/var/tmp", "/dev/shm", "/run"))


def state_directory() -> Path:
    """Where a service of a user keeps its data (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "cco-sidecar"


def service_storage() -> Path:
    """The storage of ``cco daemon`` when none is configured: the state directory, or the place of earlier versions when
    only that has data."""
    former, place = Settings().storage, state_directory()
    has_data = (former / DATABASE).exists() and not (place / DATABASE).exists()
    return former if has_data else place
