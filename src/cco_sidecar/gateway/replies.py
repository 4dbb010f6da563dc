"""Response bodies: JSON, compressed once for many readers, and the documented error body."""

from __future__ import annotations

import asyncio
import struct
import zlib
from datetime import UTC, datetime
from typing import Any

import orjson
from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.cloudevents import cloud_event_of
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.gateway.routes import Route

GZIP_FROM_BYTES = 1024
# From this size on, compressing would block the event loop for milliseconds. zlib releases the GIL.
_OFFLOAD_BYTES = 64 * 1024
LEVEL = 1
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def json_body(route: Route, response: Message | Encoded) -> bytes:
    if route.response_body and isinstance(response, Message):
        return codec.to_json(getattr(response, route.response_body))
    return codec.to_json(response)


def cloud_events(response: Message | Encoded) -> tuple[str, bytes]:
    """Returns where a list of events continues, and its events as a batch of CloudEvents."""
    message: Any = response.message() if isinstance(response, Encoded) else response
    return message.next_cursor, orjson.dumps([cloud_event_of(event) for event in message.events])


def work_of(response: Message | Encoded) -> int:
    """Returns the number of bytes that are still to be converted to JSON."""
    if isinstance(response, Encoded):
        return 0 if "json" in response.memo else len(response.wire)
    return response.ByteSize()


def error_body(error: SidecarError, request_id: str) -> bytes:
    """Returns the documented error body as JSON."""
    return orjson.dumps(error_value(error, request_id))


def error_value(error: SidecarError, request_id: str) -> dict[str, Any]:
    return {
        "error": error.kind.slug,
        "message": error.message,
        "code": error.code,
        "details": error.details,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "request_id": request_id,
    }


async def gzipped(body: bytes, response: Message | Encoded | None = None, level: int = LEVEL) -> bytes:
    """Compresses a body with gzip (RFC 1952).

    The shared part of an Encoded is compressed once. Its tail is appended as further DEFLATE blocks (RFC 1951), and the
    checksum is continued.
    """
    if isinstance(response, Encoded) and response.tail is not None and "json" in response.memo:
        cut = len(response.memo["json"]) - 1
        head = response.memo.get("gzip")
        if head is None:
            head = response.memo["gzip"] = await _off_loop(_deflate, body[:cut], zlib.Z_SYNC_FLUSH)
        tail = _deflate(body[cut:], zlib.Z_FINISH)
        checksum = zlib.crc32(body[cut:], head[1])
        return b"".join((_GZIP_HEADER, head[0], tail[0], struct.pack("<II", checksum, len(body) & 0xFFFFFFFF)))
    whole = await _off_loop(_deflate, body, zlib.Z_FINISH, level)
    return b"".join((_GZIP_HEADER, whole[0], struct.pack("<II", whole[1], len(body) & 0xFFFFFFFF)))


async def _off_loop(work: Any, body: bytes, flush: int, level: int = LEVEL) -> tuple[bytes, int]:
    if len(body) < _OFFLOAD_BYTES:
        return work(body, flush, level)  # type: ignore[no-any-return]
    return await asyncio.to_thread(work, body, flush, level)


def _deflate(body: bytes, flush: int, level: int = LEVEL) -> tuple[bytes, int]:
    """Returns the raw DEFLATE blocks of a body, and its CRC-32."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush(flush), zlib.crc32(body)
