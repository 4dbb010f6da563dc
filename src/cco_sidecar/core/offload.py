"""Runs Python work on large messages in a thread, so that the event loop keeps serving calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from cco_sidecar.core.bounds import OFFLOAD_BYTES

T = TypeVar("T")
# One thread only: with more, the event loop would compete with each of them for the GIL.
_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="codec")


async def beside_the_loop(work: Callable[..., T], *arguments: Any, size: int, **named: Any) -> T:
    """Runs ``work`` in a thread if ``size``, in bytes, is large; otherwise runs it directly."""
    if size < OFFLOAD_BYTES:
        return work(*arguments, **named)
    return await asyncio.get_running_loop().run_in_executor(_pool, partial(work, *arguments, **named))
