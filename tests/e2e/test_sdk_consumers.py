"""Durable consumers with both clients of the Python SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.clients import both, each, settled
from tests.support.sidecars import fresh, port_options, publish

from cco_sidecar.client import AsyncClient, Client, ConflictError, NotFoundError
from cco_sidecar.testing.process import Agent, SidecarProcess


def connected(kind: Any, sidecar: SidecarProcess, agent: Agent) -> Any:
    return kind(sidecar.url, token=agent.token, grpc_target=sidecar.target)


async def close(client: Client | AsyncClient) -> None:
    await settled(client.close())


@both
async def test_deliveries_are_acknowledged_rejected_and_extended(sidecar: SidecarProcess, kind: Any) -> None:
    agent = sidecar.agent(project=fresh("p"))
    client = connected(kind, sidecar, agent)
    made = await settled(client.consumers.create("c", event_types=["task"], since="0", max_deliveries=2))
    assert (made.settings.ack_wait_seconds, made.created_by) == (30, agent.id)
    ids = [publish(sidecar, agent.project, "task", agent, n=n) for n in range(3)]
    first, second, third = await settled(client.consumers.pull("c", timeout=5))
    assert [delivery.event.event_id for delivery in (first, second, third)] == ids
    assert await settled(first.ack()) and await settled(first.ack())
    assert await settled(second.extend())
    assert await settled(second.nack("no", dead_letter=True))
    assert await settled(third.nack("later", delay_seconds=0))
    assert not await settled(third.extend())
    (again,) = await settled(client.consumers.pull("c", timeout=5))
    assert (again.event.data["n"], again.attempt) == (2, 2)
    assert await settled(again.ack())
    (letter,) = (await settled(client.consumers.dead_letters("c"))).dead_letters
    assert (letter.event.event_id, letter.reason) == (ids[1], "no")
    assert (await settled(client.consumers.dead_letter(letter.dead_letter_id))).event == letter.event
    assert await settled(client.consumers.replay("c", [letter.dead_letter_id])) == 1
    (replayed,) = await settled(client.consumers.pull("c", timeout=5))
    assert await settled(replayed.ack())
    with pytest.raises(NotFoundError, match="may have been replayed"):
        await settled(client.consumers.delete_dead_letter(letter.dead_letter_id))
    await close(client)


@both
async def test_consumers_are_listed_reset_and_deleted(sidecar: SidecarProcess, kind: Any) -> None:
    agent = sidecar.agent(project=fresh("p"))
    client = connected(kind, sidecar, agent)
    await settled(client.consumers.create("b"))
    await settled(client.consumers.create("a"))
    assert [found.name for found in await settled(client.consumers.list())] == ["a", "b"]
    with pytest.raises(ConflictError, match="exists with other settings"):
        await settled(client.consumers.create("a", shared=True))
    event_id = publish(sidecar, agent.project, "x", agent)
    assert (await settled(client.consumers.get("a"))).lag == 1
    assert (await settled(client.consumers.reset("a", since="$"))).cursor == event_id
    assert await settled(client.consumers.delete("a")) == 0
    with pytest.raises(NotFoundError, match="consumer 'a' not found"):
        await settled(client.consumers.get("a"))
    await close(client)


@both
async def test_a_stream_continues_after_a_restart_and_repeats_nothing_that_was_settled(
    tmp_path: Path, repository: Path, kind: Any
) -> None:
    ports = port_options()
    sidecar = SidecarProcess(tmp_path / "storage", repository, *ports)
    agent = sidecar.agent()
    client = connected(kind, sidecar, agent)
    await settled(client.consumers.create("c", event_types=["task"]))
    publish(sidecar, agent.project, "task", agent, n=1)
    got = []
    async for delivery in each(client.consumers.consume("c", max_in_flight=1)):
        got.append((delivery.event.data["n"], delivery.attempt))
        assert await settled(delivery.ack())
        if len(got) == 1:
            sidecar.kill()
            sidecar = SidecarProcess(tmp_path / "storage", repository, *ports)
            publish(sidecar, agent.project, "task", agent, n=2)
        else:
            break
    assert got == [(1, 1), (2, 1)]
    await close(client)
    assert sidecar.stop() == ""
