"""A transport that writes less often, and does not wait for ever for a client that does not read."""

from __future__ import annotations

import asyncio
from typing import Any

# More than this is not held back.
MAX_BYTES = 64 * 1024
# How long a closed connection may stay without its client reading anything.
_LINGER_SECONDS = 15.0


class Corked:
    """A transport that joins what is written in one iteration of the event loop: the head and the body of a response.

    Closing waits for a client that reads, and not for one that does not.
    """

    __slots__ = ("_loop", "_parts", "_size", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_BYTES:
            # Now, so that the writer hears that the client does not read.
            self._flush()

    def write_now(self, data: bytes) -> None:
        """Writes without waiting for more."""
        if self._parts:
            self._parts.append(data)
            self._flush()
        elif not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()
        self._loop.call_later(_LINGER_SECONDS, self._give_up, self._unread())

    def _flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts and not self._transport.is_closing():
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def _unread(self) -> int:
        return self._transport.get_write_buffer_size()

    def _give_up(self, before: int) -> None:
        """Ends the connection if the client has read nothing since."""
        left = self._unread()
        if 0 < left < before:
            self._loop.call_later(_LINGER_SECONDS, self._give_up, left)
        elif left:
            self._transport.abort()
