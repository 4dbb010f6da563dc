"""Header blocks: decoded by hpack, with a memory of blocks that repeat; encoded as literals."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from hpack import Decoder
from hpack.exceptions import HPACKError
from hpack.table import HeaderTable

from cco_sidecar.rpc.http2.frames import ConnectionFault, ErrorCode
from cco_sidecar.rpc.limits import MAX_HEADER_BYTES

# Fields of HTTP and gRPC that are not metadata of the call.
_RESERVED = frozenset(("te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "content-length"))
# RFC 9113, section 8.2.2.
_OF_HTTP_1 = frozenset(("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"))
_PSEUDO = frozenset((":method", ":path", ":scheme", ":authority"))
# RFC 9113, section 8.2.1.
_LINE_ENDS = re.compile(rb"[\0\r\n]")
_REMEMBERED = 64
_REMEMBERED_BYTES = 1024

Metadata = tuple[tuple[str, str | bytes], ...]


class Malformed(Exception):
    """The request's headers break RFC 9113, section 8; only its stream ends."""


class RequestHead(NamedTuple):
    """A request's headers. ``fields``: those of HTTP and gRPC; ``metadata``: the rest, in order."""

    fields: dict[str, str]
    metadata: Metadata


class _Table(HeaderTable):
    """Tells when the dynamic table changes: then a block that was seen before means something else."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class HeaderDecoder:
    """Decodes the blocks of one connection.

    A client that makes the same call again sends the same few bytes, which are decoded once.
    """

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_BYTES)
        self._table = self._decoder.header_table = _Table()
        self._known: dict[bytes, RequestHead] = {}
        self._known_changes = 0

    def decode(self, block: bytes) -> RequestHead:
        """Raises ConnectionFault for a block that is not HPACK or too large, Malformed for one that is no request."""
        if self._known_changes == self._table.changes:
            known = self._known.get(block)
            if known is not None:
                return known
        before = self._table.changes
        try:
            pairs = self._decoder.decode(block, raw=True)
        except (HPACKError, UnicodeDecodeError) as problem:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"cannot decode headers: {problem}"[:200]) from None
        if block and block[0] & 0xE0 == 0x20:
            # A new size of the table (RFC 7541, section 6.3), which may have dropped entries.
            self._table.changes += 1
        decoded = _request_head(pairs)
        # A block that changes the table means something else the next time.
        if self._table.changes == before and len(block) <= _REMEMBERED_BYTES:
            if self._known_changes != before or len(self._known) >= _REMEMBERED:
                self._known.clear()
                self._known_changes = before
            self._known[block] = decoded
        return decoded


def _request_head(pairs: Iterable[tuple[bytes, bytes]]) -> RequestHead:
    fields: dict[str, str] = {}
    metadata: list[tuple[str, str | bytes]] = []
    regular = False
    try:
        for raw_name, raw_value in pairs:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            if name.startswith(":"):
                if regular or name in fields or name not in _PSEUDO:
                    raise Malformed(f"pseudo-header {name!r}")
                fields[name] = value
                continue
            regular = True
            if not name or name != name.lower() or name in _OF_HTTP_1 or _LINE_ENDS.search(raw_value):
                raise Malformed(f"header {name!r}")
            if name in _RESERVED:
                fields[name] = value
                if name == "te" and value != "trailers":
                    raise Malformed(f"te: {value!r}")
            elif name.endswith("-bin"):
                metadata += [(name, _from_base64(part)) for part in value.split(",")]
            else:
                metadata.append((name, value))
    except (UnicodeDecodeError, binascii.Error, ValueError) as problem:
        raise Malformed(str(problem)) from None
    if not fields.keys() >= {":method", ":path", ":scheme"} or not fields[":path"]:
        raise Malformed("a request needs :method, :path and :scheme")
    return RequestHead(fields, tuple(metadata))


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def encode(fields: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Encodes headers as literals without indexing and without Huffman codes (RFC 7541, section 6.2.2)."""
    out = []
    for name, value in fields:
        if isinstance(value, bytes):
            data = base64.b64encode(value).rstrip(b"=") if name.endswith("-bin") else value
        else:
            data = value.encode("latin-1", "replace")
        out.append(_literal(name) + _length(len(data)) + data)
    return b"".join(out)


@lru_cache(maxsize=256)
def _literal(name: str) -> bytes:
    key = name.encode("ascii")
    return b"\0" + _length(len(key)) + key


def _length(value: int) -> bytes:
    """An integer with a prefix of seven bits (RFC 7541, section 5.1)."""
    if value < 127:
        return bytes((value,))
    out, value = bytearray((127,)), value - 127
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def percent_encoded(message: str) -> str:
    """Encodes grpc-message (gRPC over HTTP/2, "Responses")."""
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in message.encode())
