"""What a stream needs of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol


class Link(Protocol):
    """``window`` is what the client still takes on all streams, ``initial_window`` on a new one, in bytes. ``paused``:
    the socket takes no more for now."""

    loop: asyncio.AbstractEventLoop
    peer: str
    window: int
    initial_window: int
    max_frame: int
    paused: bool
    send: Callable[[bytes], None]

    def send_parts(self, parts: Sequence[bytes | memoryview]) -> None: ...

    def acknowledge(self, octets: int) -> None:
        """Lets the client send ``octets`` more on this connection."""
        ...
