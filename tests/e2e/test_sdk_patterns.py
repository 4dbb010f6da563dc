"""How agents work together by events, with both clients of the Python SDK."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.clients import both, settled, until
from tests.support.sidecars import fresh, port_options, publish

from cco_sidecar.client import (
    AsyncClient,
    CircuitOpenError,
    Client,
    Event,
    NotAcceptedError,
    NotEnoughEventsError,
    NotFoundError,
    aio_patterns,
    sync_patterns,
)
from cco_sidecar.testing.process import Agent, SidecarProcess


class Team:
    """Several agents of one project; ``client`` is that of the first, of the kind under test."""

    def __init__(self, sidecar: SidecarProcess, kind: Any) -> None:
        self.sidecar = sidecar
        self.project = fresh("p")
        self.agents = [sidecar.agent("chief-architect", project=self.project) for _ in range(3)]
        self.client = kind(token=self.agents[0].token, grpc_target=sidecar.target)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def publish(self, event_type: str, agent: Agent | None = None, **data: Any) -> str:
        return publish(self.sidecar, self.project, event_type, agent or self.agents[1], **data)

    def replies(self, request_type: str, reply: Any, agent: Agent | None = None) -> None:
        """Another agent answers each request with ``reply(request)``, or not at all if that is None."""
        ready = threading.Event()

        def work() -> None:
            with Client(token=(agent or self.agents[1]).token, grpc_target=self.sidecar.target) as client:
                since = self.publish("ready", agent)
                ready.set()
                while not self._stop.is_set():
                    page = client.events.wait(request_type, since=since, timeout=0.2)
                    since = page.next_cursor or since
                    for event in page.events:
                        answer = reply(event)
                        if answer is not None:
                            client.patterns.reply(event, "answered", answer)

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()
        assert ready.wait(10)

    async def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 10)
        await settled(self.client.close())


@contextlib.asynccontextmanager
async def team(sidecar: SidecarProcess, kind: Any) -> AsyncIterator[Team]:
    made = Team(sidecar, kind)
    try:
        yield made
    finally:
        await made.close()


async def call(method: Any, *arguments: Any, **options: Any) -> Any:
    """A call that may wait: the synchronous client's in a thread."""
    if asyncio.iscoroutinefunction(method):
        return await method(*arguments, **options)
    return await asyncio.to_thread(method, *arguments, **options)


@both
async def test_a_request_gets_its_own_reply(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        t.replies("question", lambda event: {"twice": 2 * event.data["n"]})
        ask = t.client.patterns.request
        replies = await asyncio.gather(*(call(ask, "question", {"n": n}, timeout=20) for n in range(8)))
        assert [reply.data["twice"] for reply in replies] == [2 * n for n in range(8)]
        assert replies[0].publisher == t.agents[1].id and replies[0].correlation_id
        with pytest.raises(NotEnoughEventsError, match=r"0 of 1 replies to 'question' within 0\.2 s") as late:
            await call(ask, "question", {"n": 1}, reply_type="other", timeout=0.2)
        assert late.value.events == [] and isinstance(late.value, TimeoutError)


@both
async def test_items_are_scattered_and_their_replies_gathered_in_order(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        for agent in t.agents[1:]:
            # Both answer everything; the first answer counts.
            t.replies("part", lambda event: {"square": event.data["n"] ** 2} if event.data["n"] != 13 else None, agent)
        scatter = t.client.patterns.scatter
        for count in (1, 5, 13):
            replies = await call(scatter, "part", [{"n": n} for n in range(count)], reply_type="answered", timeout=20)
            assert [reply.data["square"] for reply in replies] == [n**2 for n in range(count)]
        with pytest.raises(NotEnoughEventsError, match="14 of 15 replies") as some:
            await call(scatter, "part", [{"n": n} for n in range(15)], timeout=2)
        assert [event.data["square"] for event in some.value.events] == [n**2 for n in range(15) if n != 13]


@both
async def test_waiting_for_any_and_for_all(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        start = t.publish("start")
        first = t.publish("tests_failing", issue_id="i")
        t.publish("tests_passing", issue_id="other")
        t.publish("tests_failing", issue_id="i")
        last = t.publish("tests_passing", issue_id="i")
        patterns, types = t.client.patterns, ["tests_passing", "tests_failing"]
        assert (await call(patterns.wait_any, types, filter="issue_id:i", since=start)).event_id == first
        found = await call(patterns.wait_all, types, filter="issue_id:i", since="0")
        assert {name: event.event_id for name, event in found.items()} == {
            "tests_failing": first,
            "tests_passing": last,
        }
        with pytest.raises(NotEnoughEventsError, match=r"no event of type never within 0\.1 s") as some:
            await call(patterns.wait_all, ["start", "never"], since="0", timeout=0.1)
        assert [event.event_id for event in some.value.events] == [start]
        with pytest.raises(NotEnoughEventsError):
            await call(patterns.wait_any, types, timeout=0.1)
        later = asyncio.ensure_future(call(patterns.wait_any, ["later"], since=last, timeout=20))
        await asyncio.to_thread(t.publish, "later")
        assert (await later).event_type == "later"


@both
async def test_nothing_that_comes_between_two_polls_is_missed(
    sidecar: SidecarProcess, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with team(sidecar, kind) as t:
        module = aio_patterns if kind is AsyncClient else sync_patterns
        monkeypatch.setattr(module, "_MAX_POLL_SECONDS", 0.0)
        waiting = module._Waiting(t.client.events, ["x"], "", "$", 20, "")
        first = asyncio.ensure_future(call(waiting.next))
        found = []
        while not first.done():
            found.append(await asyncio.to_thread(t.publish, "x"))
        assert (await first).event_id in found
        rest = [await call(waiting.next) for _ in range(len(found) - found.index((await first).event_id) - 1)]
        assert [event.event_id for event in rest] == found[found.index((await first).event_id) + 1 :]


@both
async def test_collecting_distinct_events(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        for n in (1, 1, 2, 2, 3):
            t.publish("vote", n=n)
        collect = t.client.patterns.collect
        for count, distinct, numbers in ((3, "", [1, 1, 2]), (3, "n", [1, 2, 3])):
            found = await call(collect, count, ["vote"], distinct=distinct, since="0")
            assert [event.data["n"] for event in found] == numbers
        with pytest.raises(NotEnoughEventsError, match="1 of 2 events of type vote") as some:
            await call(collect, 2, ["vote"], distinct="publisher", since="0", timeout=0.1)
        assert len(some.value.events) == 1


@both
async def test_phases_wait_for_all_agents(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        patterns = t.client.patterns
        for agent in t.agents[1:]:
            t.publish("phase_complete", agent, phase="design")
            t.publish("phase_complete", agent, phase="design")
            t.publish("phase_complete", agent, phase="tests")
        with pytest.raises(NotEnoughEventsError):
            await call(patterns.wait_phase, "design", 3, timeout=0.1)
        await settled(patterns.finish_phase("design", {"note": "mine"}))
        done = await call(patterns.wait_phase, "design", 3)
        assert {event.publisher for event in done} == {agent.id for agent in t.agents}
        assert done[-1].data == {"phase": "design", "note": "mine"}
        assert len(await call(patterns.wait_phase, "tests", 2, filter="publisher:chief*")) == 2


@both
async def test_a_request_is_refined_until_a_reply_is_accepted(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        t.replies("review", lambda event: {"approved": event.data["draft"] == 3, "draft": event.data["draft"]})
        asynchronous = kind is AsyncClient

        def better(reply: Event) -> Any:
            return {"draft": reply.data["draft"] + 1}

        async def better_later(reply: Event) -> Any:
            return better(reply)

        options: dict[str, Any] = {
            "accepted": lambda reply: reply.data["approved"],
            "revise": better_later if asynchronous else better,
            "timeout": 20,
        }
        refine = t.client.patterns.refine
        assert (await call(refine, "review", {"draft": 0}, **options)).data["draft"] == 3
        with pytest.raises(NotAcceptedError, match="no reply to 'review' was accepted in 2 rounds") as caught:
            await call(refine, "review", {"draft": 10}, rounds=2, **options)
        assert [reply.data["draft"] for reply in caught.value.replies] == [10, 11]


@both
async def test_a_circuit_opens_for_all_and_closes_after_a_success(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:

        async def attempt(circuit: Any, fails: str = "") -> Any:
            def work() -> str:
                if fails:
                    raise ValueError(fails)
                return "done"

            async def later() -> str:
                return work()

            return await call(circuit.call, later if kind is AsyncClient else work)

        one = t.client.patterns.circuit("deploy", max_failures=2, open_seconds=60)
        other = kind(token=t.agents[1].token, grpc_target=sidecar.target)
        two = other.patterns.circuit("deploy", max_failures=2, open_seconds=60)
        assert await attempt(one) == "done"
        with pytest.raises(ValueError, match="first"):
            await attempt(one, "first")
        assert await attempt(two) == "done", "one failure of two"
        for n, circuit in enumerate((one, two)):
            with pytest.raises(ValueError, match="again"):
                await attempt(circuit, f"again {n}")
        for circuit in (one, two):
            with pytest.raises(
                CircuitOpenError, match="'deploy' is open after 2 failures, the last: again 1"
            ) as refused:
                await attempt(circuit)
            assert 0 < refused.value.retry_after_seconds <= 60
        # The time is up: of those who come at once, one may try.
        eager = [c.patterns.circuit("deploy", max_failures=2, open_seconds=0.001) for c in (t.client, other)]
        with pytest.raises(ValueError, match="still"):
            await attempt(eager[0], "still")
        with pytest.raises(CircuitOpenError):
            await attempt(one)
        await call(eager[0].enter)
        patient = other.patterns.circuit("deploy", open_seconds=60)
        with pytest.raises(CircuitOpenError, match="is trying after 3 failures"):
            await attempt(patient)
        await call(eager[0].succeeded)
        assert await attempt(one) == "done"
        assert await attempt(t.client.patterns.circuit("other")) == "done"
        await settled(other.close())


@both
async def test_what_is_not_allowed_is_said_at_once(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        with pytest.raises(NotFoundError, match="project 'another' not found"):
            await call(t.client.patterns.request, "x", project_id="another", timeout=5)


@both
async def test_no_failure_is_lost_when_many_fail_at_once(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        operator = kind(token=sidecar.operator.token, grpc_target=sidecar.target)
        circuits = [operator.patterns.circuit("busy", max_failures=1000, project_id=t.project) for _ in range(24)]
        await asyncio.gather(*(call(circuit.failed, "x") for circuit in circuits))
        page = await settled(t.client.events.list(topic="circuit.busy", limit=1))
        assert page.events[-1].data["failures"] == 24
        await settled(operator.close())


@both
async def test_a_circuit_whose_state_has_expired_counts_again(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        data = {"state": "open", "failures": 9}
        await settled(t.client.events.publish("circuit_changed", data, topic="circuit.old", ttl_seconds=1))
        circuit = t.client.patterns.circuit("old", max_failures=1)
        with pytest.raises(CircuitOpenError):
            await call(circuit.enter)
        listed = ["circuit_changed"]
        while listed:
            listed = (await settled(t.client.events.list(topic="circuit.old"))).events
        await call(circuit.enter)
        await call(circuit.failed, "again")
        with pytest.raises(CircuitOpenError, match="after 1 failures"):
            await call(circuit.enter)
        for state in ({}, {"state": "odd"}, {"state": "open", "failures": "x"}):
            await settled(t.client.events.publish("circuit_changed", state, topic="circuit.odd"))
            await call(t.client.patterns.circuit("odd").enter)


@both
async def test_a_success_that_comes_too_late_closes_nothing(sidecar: SidecarProcess, kind: Any) -> None:
    async with team(sidecar, kind) as t:
        slow, other = (t.client.patterns.circuit("late", max_failures=1) for _ in range(2))
        await call(slow.enter)
        await call(other.failed, "x")
        await call(slow.succeeded)
        with pytest.raises(CircuitOpenError):
            await call(other.enter)
        for seconds in (float("nan"), float("inf"), -1, 1e300):
            with pytest.raises(ValueError, match="open_seconds must be"):
                t.client.patterns.circuit("x", open_seconds=seconds)
        assert await call(t.client.patterns.scatter, "x", []) == []


@both
async def test_waiting_survives_a_restart(tmp_path: Path, repository: Path, kind: Any) -> None:
    ports = port_options()
    first = SidecarProcess(tmp_path / "storage", repository, *ports)
    operator = first.operator
    client = kind(token=operator.token, grpc_target=first.target)
    publish(first, "default", "one", operator)
    waiting = asyncio.ensure_future(call(client.patterns.wait_all, ["one", "two"], since="0", timeout=60))
    await until(lambda: first.request("GET", "/status", operator).json()["events"]["active_subscriptions"] > 0)
    await asyncio.to_thread(first.kill)
    second = await asyncio.to_thread(SidecarProcess, tmp_path / "storage", repository, *ports)
    publish(second, "default", "two", operator)
    assert sorted(await waiting) == ["one", "two"]
    await settled(client.close())
    second.kill()
