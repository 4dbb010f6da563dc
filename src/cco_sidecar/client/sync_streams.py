# Written by scripts/unasync.py from aio_streams.py; change that file.
"""The synchronous client: streams that are opened again."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import grpc

from cco_sidecar.client.connection import Metadata
from cco_sidecar.client.errors import error_of, is_lost
from cco_sidecar.client.sync_calls import Calls
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.retry import Backoff


def resumed(client: Calls, opened: Callable[[Metadata], Any]) -> Generator[Any, None, None]:
    """Yields the messages of a stream without end; opens it again if the connection is lost or the token has expired.

    ``opened(metadata)`` starts the call. Raises SidecarError if the server refuses it.
    """
    client.connect()
    backoff = Backoff()
    while True:
        used = None
        try:
            metadata = client.metadata()
            used = client.token
            stream = opened(metadata)
            try:
                for message in stream:
                    backoff.succeeded()
                    yield message
            finally:
                stream.cancel()
        except grpc.RpcError as problem:
            error = error_of(problem)
            # Refreshing the token ends the streams that were opened with the previous one.
            if not is_lost(error) and not client.exchanged(used):
                raise error from None
        except SidecarError as error:
            if not is_lost(error):
                raise
        time.sleep(backoff.failed())
