"""The asynchronous client: streams that are opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc

from cco_sidecar.client.aio_calls import AsyncCalls
from cco_sidecar.client.connection import Metadata
from cco_sidecar.client.errors import error_of, is_lost
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.retry import Backoff


async def resumed(client: AsyncCalls, opened: Callable[[Metadata], Any]) -> AsyncGenerator[Any, None]:
    """Yields the messages of a stream without end; opens it again if the connection is lost or the token has expired.

    ``opened(metadata)`` starts the call. Raises SidecarError if the server refuses it.
    """
    await client.connect()
    backoff = Backoff()
    while True:
        used = None
        try:
            metadata = await client.metadata()
            used = client.token
            stream = opened(metadata)
            try:
                async for message in stream:
                    backoff.succeeded()
                    yield message
            finally:
                stream.cancel()
        except grpc.RpcError as problem:
            error = error_of(problem)
            # Refreshing the token ends the streams that were opened with the previous one.
            if not is_lost(error) and not await client.exchanged(used):
                raise error from None
        except SidecarError as error:
            if not is_lost(error):
                raise
        await asyncio.sleep(backoff.failed())
