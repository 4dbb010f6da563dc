"""Python work on large messages, beside the event loop: the interpreter switches between the two, and calls go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from cco_sidecar.core.bounds import OFFLOAD_BYTES

T = TypeVar("T")
# One thread: with more of them the loop would wait for each in turn.
_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="codec")


async def beside_the_loop(work: Callable[..., T], *arguments: Any, size: int, **named: Any) -> T:
    """``size``: bytes that the work is about; what is small is done at once."""
    if size < OFFLOAD_BYTES:
        return work(*arguments, **named)
    return await asyncio.get_running_loop().run_in_executor(_pool, partial(work, *arguments, **named))
