"""The bytes of a segment: what is damaged is never read as an event."""

from __future__ import annotations

import os
import random
import struct
import zlib

import pytest

from cco_sidecar.storage.eventlog import segment
from cco_sidecar.storage.eventlog.segment import Record


def written(payloads: list[bytes], epoch: str = "01020304") -> tuple[bytes, list[Record]]:
    data, header = segment.new_header(epoch, 0)
    records = [Record(seq, 1_700_000_000_000_000 + seq, 60, payload) for seq, payload in enumerate(payloads, 1)]
    return data + b"".join(segment.encoded(header, record) for record in records), records


def read(data: bytes) -> tuple[list[Record], list[tuple[int, int]]]:
    """The records, and the damaged ranges."""
    header = segment.read_header(data)
    damaged: list[tuple[int, int]] = []
    if header is None:
        return [], [(0, len(data))]
    found = segment.scan(header, data, lambda begin, end: damaged.append((begin, end)), offset=header.size)
    return [record for _, record in found], damaged


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# A long run takes a log of 64 kB: `make crash-disk`.
SIZE = int(os.environ.get("FLIP_BYTES", "1500"))


def test_no_flipped_bit_is_read_as_true() -> None:
    random.seed(7)
    data, records = written([random.randbytes(random.randint(0, 200)) for _ in range(max(1, SIZE // 128))])
    assert read(data) == (records, [])
    header_bits = 8 * len(segment.new_header("01020304", 7)[0])
    for bit in range(8 * len(data)):
        kept, damaged = read(flipped(data, bit))
        # One of the two copies of the header is enough.
        missing = 0 if bit < header_bits else 1
        assert len(kept) == len(records) - missing and set(kept) <= set(records), f"bit {bit}"
        assert bool(damaged) == bool(missing), f"bit {bit} is not reported"


def test_an_epoch_is_never_read_wrong() -> None:
    data, _ = written([b"x"])
    size = len(segment.new_header("01020304", 7)[0])
    for bit in range(8 * size):
        header = segment.read_header(flipped(data, bit))
        assert header is not None and (header.epoch, header.after) == ("01020304", 0)
    both = flipped(flipped(data, 8 * 8), 8 * (8 + (size - 8) // 2))
    assert segment.read_header(both) is None


@pytest.mark.parametrize("damage", ["header of the record", "its length", "nothing"])
def test_bytes_within_an_event_are_no_record(damage: str) -> None:
    """An agent chooses what its events hold, and may put there what looks like a record of another."""
    forged = Record(99, 1_700_000_000_000_000, 60, b"forged")
    body = struct.pack("<QQI", forged.seq, forged.micros, forged.ttl) + forged.payload
    first_format = struct.pack("<II", len(body), zlib.crc32(body)) + body
    own_header = segment.encoded(segment.new_header("01020304", 7)[1], forged)
    data, records = written([b"before", b"..." + first_format + own_header + b"...", b"after"])
    at = data.index(b"before") + len(b"before")
    changed = bytearray(data)
    if damage == "header of the record":
        changed[at + 4 : at + 8] = bytes(4)
    elif damage == "its length":
        changed[at : at + 4] = b"\xff\xff\0\0"
    kept, damaged = read(bytes(changed))
    assert forged not in kept
    assert kept == (records if damage == "nothing" else [records[0], records[2]])
    assert bool(damaged) == (damage != "nothing")


def test_the_first_format_is_still_read() -> None:
    record = Record(5, 1_700_000_000_000_000, 60, b"old")
    body = struct.pack("<QQI", record.seq, record.micros, record.ttl) + record.payload
    data = b"CCOEVT1\n" + bytes.fromhex("0a0b0c0d") + struct.pack("<II", len(body), zlib.crc32(body)) + body
    header = segment.read_header(data)
    assert header is not None and header.epoch == "0a0b0c0d"
    assert read(data) == ([record], [])


@pytest.mark.parametrize("cut", [0, 5, 8, 31, 32, 55])
def test_an_incomplete_header_is_no_header(cut: int) -> None:
    data, _ = written([])
    assert len(data) == 56
    header = segment.read_header(data[:cut])
    # The first copy is complete after 32 bytes.
    assert (header is not None) == (cut >= 32)
