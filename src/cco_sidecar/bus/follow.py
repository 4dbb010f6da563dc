"""A reader that stays open until it is closed or the bus drains."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cco_sidecar.bus.base import Batch, Sink
from cco_sidecar.bus.reader import Reader
from cco_sidecar.bus.subscription import Slice


class Follow:
    """Implements Following. ``join`` opens the reader, ``read`` returns its next batch and whether it is the last,
    ``leave`` closes it."""

    def __init__(
        self,
        join: Callable[[], Awaitable[Reader]],
        read: Callable[[Reader], Awaitable[tuple[Batch, bool]]],
        leave: Callable[[Reader], None],
    ) -> None:
        self._join = join
        self._read = read
        self._leave = leave
        self._reader: Reader | None = None
        self._ended = False
        self.sink: Sink | None = None

    def __aiter__(self) -> Follow:
        return self

    async def __anext__(self) -> Batch:
        if self._ended:
            raise StopAsyncIteration
        if self._reader is None:
            self._reader = await self._join()
            self._reader.sink = self.sink
            return self._reader.batch(Slice((), self._reader.seq))
        batch, self._ended = await self._read(self._reader)
        return batch

    async def aclose(self) -> None:
        self._ended = True
        if self._reader is not None:
            self._leave(self._reader)
            self._reader = None
