"""Rows that are left in the outbox while the sidecar runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cco_sidecar.bus.base import Outgoing, Published
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.storage.event_stores import Announcement
from orchestra.v1.event_service_pb2 import Event


class Rows:
    def __init__(self, *numbers: int) -> None:
        self.left = list(numbers)
        self.full = False

    async def pending(self) -> list[Announcement]:
        return [announcement(number) for number in self.left]

    async def done(self, number: int) -> None:
        if self.full:
            raise SidecarError(Kind.INTERNAL, "STR_001", "cannot write the database")
        if number in self.left:
            self.left.remove(number)


class Bus:
    def __init__(self, *published: str) -> None:
        self.published = list(published)
        self.refused = ""

    async def publish_all(self, outgoing: Sequence[Outgoing]) -> list[Published]:
        if self.refused in [each.event.event_type for each in outgoing]:
            raise SidecarError(Kind.INVALID_REQUEST, "EVT_002", "the event is too large")
        self.published += [each.event.event_type for each in outgoing]
        return [Published(f"evt-{each.event.event_type}", Clock().timestamp(), []) for each in outgoing]

    async def is_published(self, project: str, event: Event) -> bool:
        return event.event_type in self.published


def announcement(number: int) -> Announcement:
    return Announcement(number, "p", Event(event_type=f"e{number}"))


def outbox(rows: Rows, bus: Bus) -> Outbox:
    return Outbox(rows, bus)  # type: ignore[arg-type]


async def test_a_row_that_nobody_hands_over_is_published_once() -> None:
    rows, bus = Rows(1), Bus()
    box = outbox(rows, bus)
    seen = await box.sweep(set())
    assert bus.published == [], "its caller may be about to hand it over"
    await box.sweep(seen)
    while rows.left:
        await asyncio.sleep(0)
    assert await box.publish(announcement(1)) == "", "the caller was slow"
    assert await box.publish(announcement(1)) == "evt-e1", "another change whose row got the same number"
    await box.close()
    assert bus.published == ["e1", "e1"]


async def test_a_row_that_could_not_be_deleted_is_deleted_later_without_its_event() -> None:
    rows, bus = Rows(1), Bus()
    box = outbox(rows, bus)
    rows.full = True
    assert await box.publish(announcement(1)) == "evt-e1"
    # The row is deleted in the background.
    await asyncio.sleep(0)
    await box.sweep(set())
    assert rows.left == [1]
    rows.full = False
    # Its event is no longer retained.
    bus.published.clear()
    await box.sweep(set())
    assert (rows.left, bus.published) == ([], [])
    await box.close()


async def test_a_row_whose_event_is_published_is_deleted() -> None:
    rows, bus = Rows(1), Bus("e1")
    box = outbox(rows, bus)
    await box.sweep(await box.sweep(set()))
    await box.close()
    assert (rows.left, bus.published) == ([], ["e1"])


async def test_an_event_that_the_bus_refuses_does_not_block_those_behind_it(caplog: pytest.LogCaptureFixture) -> None:
    rows, bus = Rows(1, 2, 3), Bus()
    bus.refused = "e2"
    box = outbox(rows, bus)
    await box.recover()
    await box.close()
    assert (bus.published, rows.left) == (["e1", "e3"], [])
    assert "e2 is not published: the event is too large" in caplog.text
