"""What a sidecar makes of its runners' reports, with a clock that the test sets."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners import remote as remote_module
from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.remote import RemoteRun
from cco_sidecar.runners.remote_runner import RemoteRunner
from cco_sidecar.runners.run import Exit
from orchestra.v1 import runner_service_pb2 as pb

LOST_AFTER = 60.0


class World:
    """One runner, and the time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.time = 1000.0
        self.silent = 0.0
        self.hub = Hub(LOST_AFTER, lambda: self.silent, Clock(), lambda: self.time)
        self.orders: list[pb.AttendRunnerResponse] = []
        self._reading: list[asyncio.Task[None]] = []

    async def attend(self, name: str = "far", instance: str = "one", **offer: Any) -> RemoteRunner:
        request = pb.AttendRunnerRequest(runner_id=name, instance=instance, runner=pb.Runner(**offer))
        remote = self.hub.attend(request)

        async def read() -> None:
            async for order in remote.orders(pb.AttendRunnerResponse()):
                self.orders.append(order)

        self._reading.append(asyncio.create_task(read()))
        await self.turn()
        return remote

    async def turn(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def report(self, name: str = "far", instance: str = "one", **more: Any) -> pb.ReportRunnerResponse:
        request = pb.ReportRunnerRequest(runner_id=name, instance=instance, sidecar_id="s", **more)
        response = await self.hub.report(request)
        await self.turn()
        return response

    def run(self, agent_id: str = "a", attempt: int = 1, name: str = "far") -> RemoteRun:
        """A run that the runner was told to start."""
        run = self.hub.run_at(self.directory / agent_id / str(attempt), agent_id, attempt, name)
        run.prepare()
        run.mark_ordered()
        self.hub.runner(name).watch(run)
        return run

    async def over(self, run: RemoteRun) -> Exit | None:
        """How a run ended; None if it runs."""
        ended = asyncio.ensure_future(run.ended())
        await asyncio.wait({ended}, timeout=0.01)
        if ended.done():
            return ended.result()
        ended.cancel()
        return None

    def close(self) -> None:
        for each in self._reading:
            each.cancel()


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    made.close()


def at(agent_id: str = "a", attempt: int = 1, **more: Any) -> pb.RunAtRunner:
    return pb.RunAtRunner(agent_id=agent_id, attempt=attempt, **more)


def output(data: bytes, offset: int = 0, agent_id: str = "a") -> pb.RunOutput:
    return pb.RunOutput(agent_id=agent_id, attempt=1, offset=offset, data=data)


async def test_a_runner_without_a_free_slot_says_so(world: World) -> None:
    remote = await world.attend()
    await world.report()
    asked = asyncio.ensure_future(remote.ask(pb.AttendRunnerResponse(agent_id="a", attempt=1, launch=pb.LaunchRun())))
    await world.turn()
    (order,) = world.orders[1:]
    full = pb.RunnerAnswer(order_id=order.order_id, error_code="RUN_006", error_message="all 2 slots are taken")
    await world.report(answers=[full])
    with pytest.raises(SidecarError, match="all 2 slots are taken") as raised:
        await asked
    assert raised.value.code == "RUN_006"


async def test_output_is_stored_once_and_in_order(world: World) -> None:
    await world.attend()
    run = world.run()
    stored = await world.report(runs=[at(output_bytes=6)], outputs=[output(b"one\n")])
    assert stored.stored[0].output_bytes == 4
    # What was there already, what is new, and what comes too early.
    await world.report(runs=[at()], outputs=[output(b"one\ntwo\n"), output(b"four\n", 100)])
    assert run.output.read_bytes() == b"one\ntwo\n"


async def test_an_end_counts_once_all_output_is_here(world: World) -> None:
    await world.attend()
    run = world.run()
    end = pb.RunEnd(exit_code=3, known=True)
    await world.report(runs=[at(output_bytes=4, end=end)])
    assert await world.over(run) is None
    await world.report(runs=[at(output_bytes=4, end=end)], outputs=[output(b"one\n")])
    found = await world.over(run)
    assert found is not None and found.known and found.exit_code == 3


async def test_a_run_that_the_runner_does_not_know_is_over(world: World) -> None:
    await world.attend()
    run = world.run()
    await world.report()
    found = await world.over(run)
    assert found is not None and not found.known


async def test_one_that_is_being_started_need_not_be_known(world: World) -> None:
    remote = await world.attend()
    run = world.run()
    asking = asyncio.create_task(remote.ask(pb.AttendRunnerResponse(agent_id="a", attempt=1, launch=pb.LaunchRun())))
    await world.turn()
    await world.report()
    assert await world.over(run) is None
    (order,) = [each for each in world.orders if each.order_id]
    await world.report(runs=[at()], answers=[pb.RunnerAnswer(order_id=order.order_id, process_id=7)])
    assert (await asking).process_id == 7
    assert await world.over(run) is None


async def test_an_order_without_an_answer_is_sent_again(world: World) -> None:
    remote = await world.attend()
    asking = asyncio.create_task(remote.ask(pb.AttendRunnerResponse(agent_id="a", worktree=pb.AskWorktree())))
    await world.turn()
    world.orders.clear()
    await world.attend()
    # Before it has a lease, nothing could be started.
    assert [each.WhichOneof("order") for each in world.orders] == [None]
    await world.report()
    assert [each.WhichOneof("order") for each in world.orders] == [None, "worktree"]
    asking.cancel()


async def test_a_stop_and_a_token_are_told_again(world: World) -> None:
    await world.attend()
    run = world.run()
    run.stop(5.0)
    run.write_token("new")
    await world.turn()
    world.orders.clear()
    await world.attend()
    await world.report(runs=[at()])
    assert {each.WhichOneof("order") for each in world.orders[1:]} == {"stop", "renew"}


async def test_a_new_token_is_told_at_once(world: World) -> None:
    await world.attend()
    run = world.run()
    await world.report(runs=[at()])
    run.write_token("new")
    await world.turn()
    assert world.orders[-1].renew.jwt_token == "new" and run.token() == "new"


@pytest.mark.parametrize("ended", [True, False])
async def test_a_run_that_the_sidecar_does_not_know_is_ended(world: World, ended: bool) -> None:
    await world.attend()
    end = {"end": pb.RunEnd(known=True, exit_code=0)} if ended else {}
    await world.report(runs=[at("stranger", **end)])
    assert world.orders[-1].WhichOneof("order") == ("forget" if ended else "stop")


async def test_a_silent_runner_is_lost_and_what_it_says_later_does_not_count(world: World) -> None:
    remote = await world.attend()
    run = world.run()
    await world.report(runs=[at()])
    world.time += LOST_AFTER + 1
    found = await world.over(run)
    assert found is not None and not found.known
    for call in (world.report(runs=[at()]), world.attend()):
        with pytest.raises(SidecarError) as refused:
            await call
        assert refused.value.code == "RUN_002"
    # Another process of the runner may join, and knows nothing of the former.
    await world.attend(instance="two")
    await world.report(instance="two")
    assert remote.usable


async def test_a_lost_runner_answers_nothing(world: World) -> None:
    remote = await world.attend()
    asking = asyncio.create_task(remote.ask(pb.AttendRunnerResponse(agent_id="a", worktree=pb.AskWorktree())))
    await world.turn()
    world.time += LOST_AFTER + 1
    with pytest.raises(SidecarError) as failed:
        await asking
    assert failed.value.code == "RUN_004"


async def test_the_lease_is_no_longer_than_the_sidecars_own(world: World) -> None:
    await world.attend()
    assert (await world.report()).lease_seconds == LOST_AFTER
    world.silent = 15.0
    assert (await world.report()).lease_seconds == LOST_AFTER - 15
    world.silent = 100.0
    assert (await world.report()).lease_seconds == 0


async def test_another_process_says_nothing_about_what_the_former_one_started(world: World) -> None:
    """It may be on another machine, with other storage: the agents of the former end with its lease."""
    await world.attend()
    run = world.run()
    await world.report(runs=[at()])
    world.time += 15
    await world.attend(instance="two")
    await world.report(instance="two")
    assert await world.over(run) is None
    for _ in range(6):
        world.time += 9
        await world.report(instance="two")
    found = await world.over(run)
    assert found is not None and not found.known


async def test_one_that_leaves_is_gone_at_once(world: World) -> None:
    await world.attend()
    run = world.run()
    end = pb.RunEnd(known=False)
    await world.report(runs=[at(end=end)], leaving=True)
    found = await world.over(run)
    assert found is not None and not found.known
    assert world.hub.is_gone("far") and world.hub.listed() == []
    await world.attend(instance="two")
    assert not world.hub.is_gone("far")


async def test_one_that_does_not_end_what_it_is_told_to_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cco_sidecar.runners.remote._KILL_SECONDS", 0.0)
    monkeypatch.setattr(RemoteRun, "_is_current", lambda self: True)
    await world.attend()
    run = world.run()
    await world.report(runs=[at()])
    run.kill()
    assert await world.over(run) is None
    with pytest.raises(SidecarError) as refused:
        await world.report(runs=[at()])
    assert refused.value.code == "RUN_002"


async def test_a_full_disk_costs_no_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.attend()
    full, other = world.run("full"), world.run("other")

    def append(self: RemoteRun, offset: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RemoteRun, "append", lambda self, *part: append(self, *part) if self is full else None)
    end = pb.RunEnd(known=True, exit_code=0)
    response = await world.report(
        runs=[at("full"), at("other", end=end)], outputs=[output(b"x", agent_id="full"), output(b"", agent_id="other")]
    )
    assert response.lease_seconds == LOST_AFTER
    found = await world.over(other)
    assert found is not None and found.exit_code == 0


@pytest.mark.parametrize("ended_at", [1e300, -5.0])
async def test_an_end_at_no_possible_time_is_stored_at_one(world: World, ended_at: float) -> None:
    await world.attend()
    run = world.run()
    end = pb.RunEnd(known=True, signal="S" * 5000, ended_at=ended_at)
    await world.report(runs=[at(end=end)])
    found = await world.over(run)
    assert found is not None and found.ended_at is not None and 0 <= found.ended_at < 1e11
    assert found.signal is not None and len(found.signal) == 200


async def test_more_output_than_can_be_stored_does_not_hide_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cco_sidecar.runners.hub._MAX_OUTPUT_BYTES", 4)
    await world.attend()
    run = world.run()
    response = await world.report(
        runs=[at(output_bytes=10, end=pb.RunEnd(known=True, exit_code=0))], outputs=[output(b"123456")]
    )
    assert response.stored[0].output_bytes == 10
    assert await world.over(run) is not None


async def test_two_processes_do_not_share_a_name(world: World) -> None:
    await world.attend()
    await world.report()
    with pytest.raises(SidecarError) as refused:
        await world.attend(instance="two")
    assert refused.value.code == "RUN_001"
    # Unless the first has not been heard of for a while.
    world.time += 15
    await world.attend(instance="two")
    with pytest.raises(SidecarError) as late:
        await world.report()
    assert late.value.code == "RUN_003"


async def test_it_is_used_once_it_has_reported_since_it_connected(world: World) -> None:
    """Before that its agents have no lease."""
    called: list[int] = []
    world.hub.listen(lambda: called.append(1))
    remote = await world.attend()
    assert not remote.usable
    await world.report()
    assert remote.usable and called
    await world.attend()
    assert not remote.usable


async def test_one_runner_says_nothing_about_the_agents_of_another(world: World) -> None:
    await world.attend("far")
    await world.attend("near", "other")
    run = world.run("a", name="far")
    end = pb.RunEnd(known=True, exit_code=0)
    await world.report("near", "other", runs=[at("a", end=end, output_bytes=3)], outputs=[output(b"lie")])
    assert not run.output.exists() and await world.over(run) is None


async def test_slots_count_the_agents_of_all_sidecars(world: World) -> None:
    remote = await world.attend(capacity=3)
    world.run("a")
    await world.report(running=2, runs=[at("a")])
    assert remote.can_start and remote.running == 2
    world.run("b")
    assert not remote.can_start
    # One of another sidecar has ended.
    await world.report(running=2, runs=[at("a"), at("b")])
    assert remote.can_start


def ask_to_start(remote: RemoteRunner) -> asyncio.Task[pb.RunnerAnswer]:
    order = pb.AttendRunnerResponse(agent_id="a", attempt=1, launch=pb.LaunchRun())
    return asyncio.create_task(remote.ask(order))


def refusal(order: pb.AttendRunnerResponse) -> pb.RunnerAnswer:
    return pb.RunnerAnswer(order_id=order.order_id, error_code="RUN_006", error_message="all 1 slots are taken")


async def test_an_order_whose_answer_comes_with_the_first_report_is_not_sent_again(world: World) -> None:
    remote = await world.attend(capacity=1)
    await world.report()
    asked = ask_to_start(remote)
    await world.turn()
    (order,) = world.orders[1:]
    await world.attend(capacity=1)
    world.orders.clear()
    await world.report(answers=[refusal(order)])
    with pytest.raises(SidecarError):
        await asked
    assert world.orders == []


async def test_a_runner_that_refused_is_asked_again_after_another_report(world: World) -> None:
    called: list[None] = []
    world.hub.listen(lambda: called.append(None))
    remote = await world.attend(capacity=1)
    await world.report()
    asked = ask_to_start(remote)
    await world.turn()
    called.clear()
    await world.report(answers=[refusal(world.orders[-1])])
    with pytest.raises(SidecarError):
        await asked
    assert not remote.can_start and not called
    await world.report()
    assert remote.can_start and called


async def test_what_was_never_sent_was_surely_not_started(world: World) -> None:
    remote = await world.attend()
    asked = ask_to_start(remote)
    await world.turn()
    world.time += LOST_AFTER + 1
    with pytest.raises(SidecarError) as raised:
        await asked
    assert raised.value.code == "RUN_006"


async def test_what_was_not_answered_when_the_runner_left_was_surely_not_started(world: World) -> None:
    remote = await world.attend()
    await world.report()
    asked = ask_to_start(remote)
    await world.turn()
    assert world.orders[-1].HasField("launch")
    await world.report(leaving=True)
    with pytest.raises(SidecarError) as raised:
        await asked
    assert raised.value.code == "RUN_006"


async def test_attempts_that_nobody_here_knows_take_slots(world: World) -> None:
    remote = await world.attend(capacity=1)
    await world.report(running=1, runs=[at("stranger")])
    assert not remote.can_start


async def test_another_process_may_have_no_worktrees(world: World) -> None:
    remote = await world.attend()
    await world.report(lists_worktrees=True, worktrees=["a"])
    await world.report()
    assert remote.worktrees == ("a",)
    await world.report(lists_worktrees=True)
    assert remote.worktrees == ()
    await world.report(lists_worktrees=True, worktrees=["a"])
    world.time += 30
    await world.attend(instance="two")
    assert remote.worktrees == ()


async def test_a_report_that_its_runner_gave_up_is_stored_before_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.attend()
    run, go_on = world.run(), threading.Event()

    def slow(*arguments: Any) -> Any:
        if arguments[1] == "ab":
            go_on.wait(10)
        return open(*arguments)

    monkeypatch.setattr(remote_module, "open", slow, raising=False)
    report = {"runs": [at(output_bytes=4)], "outputs": [output(b"one\n")]}
    first = asyncio.ensure_future(world.report(**report))
    await asyncio.wait({first}, timeout=0.1)
    first.cancel()
    second = asyncio.ensure_future(world.report(**report))
    await asyncio.wait({second}, timeout=0.1)
    go_on.set()
    stored = await second
    assert run.output.read_bytes() == b"one\n" and stored.stored[0].output_bytes == 4
