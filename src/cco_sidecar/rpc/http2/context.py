"""The servicer context of a call that arrived over HTTP/2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cco_sidecar.core.encoded import Encoded
from cco_sidecar.rpc.http2.stream import Stream
from cco_sidecar.rpc.local import LocalContext


class StreamContext(LocalContext):
    """``encode`` serialises what is written."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.head.metadata, stream.connection.peer)
        self._stream = stream
        self.encode: Callable[[Any], bytes] | None = None

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Sends the response's headers."""
        self._stream.send_headers(initial_metadata or ())

    async def read(self) -> Any:
        return await self._stream.read()

    async def write(self, message: Any) -> None:
        await self._stream.write(message if self.encode is None else self.encode(message))

    def read_nowait(self) -> bytes | None:
        """Returns the next request if it has arrived."""
        return self._stream.read_nowait()

    @property
    def write_nowait(self) -> Callable[[Encoded], bool]:
        """Sends a response if nothing holds it up; otherwise returns False."""
        return self._stream.push
