"""One project does not wait for another."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.services.handover import engine


class Log:
    """A bus with one event in each project."""

    async def projects(self) -> list[str]:
        return ["stuck", "failing", "other"]

    async def read(self, project: str, after: int, limit: int) -> Any:
        event = SimpleNamespace(seq=1, event_id=f"{project}-1", event_type="x", text=lambda name: None)
        return SimpleNamespace(entries=[event][after:limit], head=1, trimmed=0)

    def listen(self, on_event: Any) -> None:
        self.on_event = on_event


class Positions(dict[str, int]):
    async def positions(self) -> dict[str, int]:
        return {"": 0}

    async def set_position(self, project: str, seq: int) -> None:
        self[project] = seq


async def test_a_project_that_waits_or_fails_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reacting:
        active = on = True

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def concerns(self, entry: Any) -> bool:
            return True

        async def react(self, project: str, entry: Any) -> None:
            if project == "stuck":
                await asyncio.Event().wait()
            if project == "failing":
                raise SidecarError(Kind.UNAVAILABLE, "STR_001", "no space left on device")

    monkeypatch.setattr(engine, "Reactions", Reacting)
    positions = Positions()
    unused: Any = None
    handover = engine.Handover(
        unused,
        supervision=unused,
        stores=SimpleNamespace(handover=positions),  # type: ignore[arg-type]
        bus=Log(),  # type: ignore[arg-type]
        recorder=unused,
        approvals=unused,
    )
    await handover.recover()
    assert positions == {"": 0}, "the rules act only once they are started"
    handover.start()
    async with asyncio.timeout(5):
        while "other" not in positions:
            await asyncio.sleep(0)
    assert positions == {"": 0, "other": 1}
    await handover.close()
