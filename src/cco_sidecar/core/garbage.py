"""Python's garbage collector, set for a server."""

from __future__ import annotations

import gc

# Calls create few reference cycles, so collect less often than by Python's default.
_THRESHOLD = 20_000


def freeze() -> None:
    """Called once all is set up: objects created so far exist until the end, and are never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
