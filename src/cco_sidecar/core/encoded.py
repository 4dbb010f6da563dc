"""A serialised message whose bytes many readers share."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message


class Encoded:
    """``wire`` is a serialised ``message_type``. ``tail``, if given, holds the fields in ``own`` of one response.

    In protobuf, concatenation merges messages and the last value of a field wins, so ``wire + tail`` is the complete
    message. ``memo`` belongs to ``wire`` and caches what is derived from it, such as its JSON; so does ``framed``, for
    the gRPC server.
    """

    __slots__ = ("framed", "memo", "message_type", "own", "tail", "wire")

    def __init__(
        self,
        message_type: type[Message],
        wire: bytes,
        tail: Message | None = None,
        own: tuple[str, ...] = (),
        memo: dict[str, Any] | None = None,
    ) -> None:
        self.message_type = message_type
        self.wire = wire
        self.tail = tail
        self.own = own
        self.memo: dict[str, Any] = {} if memo is None else memo
        self.framed: bytes | None = None

    def SerializeToString(self) -> bytes:
        """Serialises the message. Named as in protobuf, so that an Encoded can replace its message."""
        return self.wire if self.tail is None else self.wire + self.tail.SerializeToString()

    def message(self) -> Message:
        return self.message_type.FromString(self.SerializeToString())


def varint(value: int) -> bytes:
    """Encodes a base-128 varint (protobuf encoding guide)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# Of most tags and lengths.
_SMALL = [varint(value) for value in range(4096)]


def framed(field_number: int, payload: bytes) -> bytes:
    """Encodes a length-delimited field: tag, length, payload."""
    size = len(payload)
    return _SMALL[field_number << 3 | 2] + (_SMALL[size] if size < len(_SMALL) else varint(size)) + payload
