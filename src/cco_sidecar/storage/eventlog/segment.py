"""The bytes of one segment of the event log.

A segment is a header and records. The header is ``CCOEVT2\\n`` and two copies of ``<4 bytes epoch, 8 bytes salt, u64
after, u32 crc32>``, of which one is enough. ``after`` is the newest acknowledged event when the segment was begun: what
an earlier segment holds beyond it was refused. A record is ``<u32 length, u32 crc32>`` and a body of ``<u64 seq, u64
microseconds, u32 ttl seconds>`` and a serialised ``orchestra.v1.Event``.

The checksum of a record also covers its length and the segment's random salt. So a damaged length is noticed, and bytes
within an event cannot pass for a record, whoever chose them. Segments of ``CCOEVT1`` had neither; they are still read.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

_MAGIC = b"CCOEVT2\n"
_MAGIC_1 = b"CCOEVT1\n"
_EPOCH_BYTES = 4
_SALT_BYTES = 8
_FIELDS = struct.Struct("<4s8sQ")
_CRC = struct.Struct("<I")
_COPY_BYTES = _FIELDS.size + _CRC.size
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_BODY = struct.Struct("<QQI")
_MAX_BODY = 4 * 2**20
# At most.
HEADER_BYTES = len(_MAGIC) + 2 * _COPY_BYTES


class Header(NamedTuple):
    """``epoch`` is hexadecimal. ``seed`` begins the records' checksums. ``size`` is in bytes. In the first format
    ``seed`` and ``after`` are None."""

    epoch: str
    seed: int | None
    after: int | None
    size: int


class Record(NamedTuple):
    """``ttl`` is in seconds, ``payload`` a serialised Event."""

    seq: int
    micros: int
    ttl: int
    payload: bytes


def new_header(epoch: str, after: int) -> tuple[bytes, Header]:
    """Returns the bytes of a header, with a salt of its own, and what they say."""
    salt = secrets.token_bytes(_SALT_BYTES)
    fields = _FIELDS.pack(bytes.fromhex(epoch), salt, after)
    copy = fields + _CRC.pack(zlib.crc32(_MAGIC + fields))
    data = _MAGIC + 2 * copy
    return data, Header(epoch, zlib.crc32(salt), after, len(data))


def read_header(data: bytes) -> Header | None:
    """Returns the header at the beginning of ``data``; None if it is missing or both of its copies are damaged."""
    size = len(_MAGIC) + 2 * _COPY_BYTES
    for begin in (len(_MAGIC), len(_MAGIC) + _COPY_BYTES):
        fields, crc = data[begin : begin + _FIELDS.size], data[begin + _FIELDS.size : begin + _COPY_BYTES]
        if len(crc) == _CRC.size and zlib.crc32(_MAGIC + fields) == _CRC.unpack(crc)[0]:
            epoch, salt, after = _FIELDS.unpack(fields)
            return Header(epoch.hex(), zlib.crc32(salt), after, size)
    size = len(_MAGIC_1) + _EPOCH_BYTES
    if data.startswith(_MAGIC_1) and len(data) >= size:
        return Header(data[len(_MAGIC_1) : size].hex(), None, None, size)
    return None


def encoded(header: Header, record: Record) -> bytes:
    body = _BODY.pack(record.seq, record.micros, record.ttl) + record.payload
    return _FRAME.pack(len(body), _checksum(header.seed, body)) + body


def scan(
    header: Header, data: bytes, damaged: Callable[[int, int], None], *, offset: int = 0, whole: bool = True
) -> Iterator[tuple[int, Record]]:
    """Yields the records in ``data`` whose checksums are right, each with the offset of what follows it.

    ``data`` begins with a record, or with one at ``offset``. It ends where the segment ends, unless ``whole`` is False:
    then an incomplete record at the end is left alone. ``damaged(begin, end)`` is called for bytes in between or at the
    end. After damage, every position is tried: a later record is still an event.
    """
    bad_from = -1
    while offset + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, offset)
        begin = offset + _FRAME.size
        if not whole and bad_from < 0 and len(data) - begin < length <= _MAX_BODY:
            return
        plausible = _BODY.size <= length <= min(_MAX_BODY, len(data) - begin)
        body = data[begin : begin + length] if plausible else b""
        if plausible and _checksum(header.seed, body) == crc:
            if bad_from >= 0:
                damaged(bad_from, offset)
                bad_from = -1
            seq, micros, ttl = _BODY.unpack_from(body)
            offset = begin + length
            yield offset, Record(seq, micros, ttl, body[_BODY.size :])
        else:
            bad_from = offset if bad_from < 0 else bad_from
            offset += 1
    if whole and (bad_from >= 0 or offset < len(data)):
        damaged(bad_from if bad_from >= 0 else offset, len(data))


def _checksum(seed: int | None, body: bytes) -> int:
    if seed is None:
        return zlib.crc32(body)
    return zlib.crc32(body, zlib.crc32(_LENGTH.pack(len(body)), seed))
