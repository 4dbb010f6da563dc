"""A response is written at once, and its writer hears of a client that does not read."""

from __future__ import annotations

from typing import Any

from cco_sidecar.gateway import corked as module


class Transport:
    """What was written, and how much of it is not read yet."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.unread = 0
        self.closed = self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unread


class Loop:
    def __init__(self) -> None:
        self.soon: list[Any] = []
        self.later: list[tuple[Any, ...]] = []

    def call_soon(self, call: Any) -> None:
        self.soon.append(call)

    def call_later(self, _: float, *call: Any) -> None:
        self.later.append(call)


def corked() -> tuple[module.Corked, Transport, Loop]:
    transport, loop = Transport(), Loop()
    made: Any = module.Corked
    return made(transport, loop), transport, loop


def test_what_is_written_together_goes_out_together() -> None:
    cork, transport, loop = corked()
    cork.write(b"head ")
    cork.write(b"body")
    assert transport.written == [] and len(loop.soon) == 1
    loop.soon.pop()()
    assert transport.written == [b"head body"]
    cork.write(b"next")
    loop.soon.pop()()
    assert transport.written == [b"head body", b"next"]


def test_much_goes_out_at_once() -> None:
    cork, transport, _ = corked()
    part = b"x" * (module.MAX_BYTES // 2 + 1)
    cork.write(part)
    cork.write(part)
    assert transport.written == [part + part]


def test_closing_writes_what_is_left_and_gives_up_on_a_client_that_reads_nothing() -> None:
    cork, transport, loop = corked()
    cork.write(b"last")
    transport.unread = 100
    cork.close()
    assert transport.written == [b"last"] and transport.closed
    for unread, aborted, waits in ((60, False, True), (60, True, False)):
        transport.unread = unread
        look, before = loop.later.pop()
        look(before)
        assert (transport.aborted, bool(loop.later)) == (aborted, waits)


def test_a_client_that_has_read_all_is_left_alone() -> None:
    cork, transport, loop = corked()
    cork.close()
    look, before = loop.later.pop()
    look(before)
    assert not transport.aborted and not loop.later
