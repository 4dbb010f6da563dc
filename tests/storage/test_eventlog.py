"""The log on disk: torn tails, damage, segments."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cco_sidecar.storage.eventlog.base import EventRecord, NewEvent
from cco_sidecar.storage.eventlog.log import SegmentLog


async def _write(directory: Path, records: list[EventRecord]) -> list[int]:
    log = SegmentLog(directory)
    await log.open("p")
    numbers = await log.append([NewEvent("p", record.micros, record.ttl, record.payload) for record in records])
    await log.close()
    return numbers


def write(directory: Path, records: list[EventRecord]) -> None:
    assert asyncio.run(_write(directory, records)) == [record.seq for record in records]


async def _read(directory: Path) -> list[EventRecord]:
    log = SegmentLog(directory)
    opened = await log.open("p")
    await log.close()
    return list(opened.records)


def read(directory: Path) -> list[EventRecord]:
    return asyncio.run(_read(directory))


def records(count: int, first: int = 1) -> list[EventRecord]:
    return [
        EventRecord("p", seq, 1_700_000_000_000_000 + seq, 60, b"payload %d" % seq)
        for seq in range(first, first + count)
    ]


def test_written_records_are_read(tmp_path: Path) -> None:
    write(tmp_path, records(10))
    write(tmp_path, records(5, 11))
    assert read(tmp_path) == records(15)
    assert len(list((tmp_path / "p").glob("*.log"))) == 2


@pytest.mark.parametrize("cut", [1, 5, 20, 33])
def test_a_torn_tail_loses_only_itself(tmp_path: Path, cut: int) -> None:
    write(tmp_path, records(10))
    (file,) = (tmp_path / "p").glob("*.log")
    file.write_bytes(file.read_bytes()[:-cut])
    assert read(tmp_path) == records(9)
    write(tmp_path, records(3, 10))
    assert read(tmp_path) == records(9) + records(3, 10)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(12, 400), value=st.integers(1, 255))
def test_damage_loses_one_record_at_most(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    directory = tmp_path_factory.mktemp("log")
    write(directory, records(10))
    (file,) = (directory / "p").glob("*.log")
    data = bytearray(file.read_bytes())
    data[min(at, len(data) - 1)] ^= value
    file.write_bytes(data)
    kept = read(directory)
    assert set(kept) <= set(records(10)) and len(kept) >= 9


async def test_trimmed_segments_are_deleted(tmp_path: Path) -> None:
    await _write(tmp_path, records(10))
    await _write(tmp_path, records(10, 11))
    log = SegmentLog(tmp_path)
    await log.open("p")
    log.trim("p", 10)
    await log.close()
    assert await _read(tmp_path) == records(10, 11)


async def test_numbers_of_a_failed_batch_are_not_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SegmentLog(tmp_path)
    await log.open("p")
    new = NewEvent("p", 1, 60, b"x")
    assert await log.append([new]) == [1]

    written: list[int] = []

    def full(descriptor: int, data: bytes) -> int:
        """Writes all of the first record, then fails: a disk fills up in the middle of a batch."""
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(real_write(descriptor, bytes(data)[: len(data) // 2]))
        return written[0]

    real_write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            await log.append([new, new])
    assert written and await log.append([new]) == [4]
    await log.close()
    assert [record.seq for record in await _read(tmp_path)] == [1, 4]


def first_format(directory: Path, first: int, count: int) -> None:
    """A segment of the first format."""
    data = b"CCOEVT1\n" + bytes.fromhex("0a0b0c0d")
    for record in records(count, first):
        body = struct.pack("<QQI", record.seq, record.micros, record.ttl) + record.payload
        data += struct.pack("<II", len(body), zlib.crc32(body)) + body
    directory.mkdir(exist_ok=True)
    (directory / f"{first:016d}.log").write_bytes(data)


async def test_segments_of_the_first_format_do_not_say_where_those_before_end(tmp_path: Path) -> None:
    for first in (1, 11, 21):
        first_format(tmp_path / "p", first, 10)
    log = SegmentLog(tmp_path, max_opened=1)
    opened = await log.open("p")
    assert (opened.epoch, opened.head, opened.trimmed) == ("0a0b0c0d", 30, 0)
    assert list(opened.records) == records(1, 30)
    assert await log.after("p", 3, 30, 100) == records(27, 4)
    assert await log.before("p", 15, 100) == records(4, 11)
    assert await log.before("p", 11, 3) == records(3, 8)
    old = records(1, 11)[0].micros

    def before_the_second(_: int, micros: int) -> bool:
        return micros <= old

    assert log.droppable("p", 0, before_the_second, 2**30) == 10
    assert log.droppable("p", 19, lambda *_: False, 2**30) == 10
    assert log.droppable("p", 20, lambda *_: False, 2**30) == 20
    assert log.droppable("p", 0, lambda *_: False, 10) == 20, "never the last"
    await log.close()


@pytest.mark.parametrize("max_opened", [1, 5, 10_000])
async def test_what_was_refused_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_opened: int) -> None:
    """Its bytes are still there, because the disk refused to remove them."""
    log = SegmentLog(tmp_path)
    await log.open("p")

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "I/O error")

    stored = []
    for count in range(1, 6):
        stored += await log.append([NewEvent("p", 1, 60, b"x" * count)] * count)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            patch.setattr(os, "ftruncate", broken)
            with pytest.raises(OSError, match="I/O error"):
                await log.append([NewEvent("p", 1, 60, b"refused")])
    stored += await log.append([NewEvent("p", 1, 60, b"x")])
    assert [record.seq for record in await log.after("p", 0, stored[-1], 100)] == stored
    await log.close()
    log = SegmentLog(tmp_path, max_opened=max_opened)
    opened = await log.open("p")
    assert [record.seq for record in opened.records] == stored[-max_opened:]
    assert [record.seq for record in await log.after("p", 0, stored[-1], 100)] == stored
    found: list[int] = []
    while records := await log.before("p", found[0] if found else stored[-1] + 1, 3):
        found[:0] = [record.seq for record in records]
    assert found == stored
    await log.close()


async def test_events_after_large_damage_are_read(tmp_path: Path) -> None:
    """Larger than what is read at once."""
    large = [EventRecord("p", seq, 1_700_000_000_000_000, 60, bytes([seq]) * 250_000) for seq in range(1, 13)]
    await _write(tmp_path, large)
    (file,) = (tmp_path / "p").glob("*.log")
    data = bytearray(file.read_bytes())
    data[600_000:2_200_000] = bytes(1_600_000)
    file.write_bytes(data)
    log = SegmentLog(tmp_path, max_opened=1)
    await log.open("p")
    assert await log.after("p", 0, 12, 100) == [*large[:2], *large[9:11], large[11]][:5]
    assert await log.after("p", 9, 12, 100) == large[9:]
    await log.close()
