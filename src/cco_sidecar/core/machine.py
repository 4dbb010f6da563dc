"""The machine that this process runs on."""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """Identifies the current boot of the machine (random(4)); empty if the system does not provide it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
