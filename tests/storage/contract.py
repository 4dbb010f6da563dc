"""The contract of every backend of the Protocols in storage/base.py. A backend's test module imports these tests and
provides the fixture ``open_stores``, which opens the same database again, as another process would.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cco_sidecar.core.announcements import APPROVAL_ANSWERED, APPROVAL_REQUESTED, of_agent, of_approval, of_result
from cco_sidecar.storage.base import MAX_OUTCOMES, PAGE_BYTES, Revocation, SealedCredential, Stores
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_PENDING,
    AGENT_STATUS_RUNNING,
    AGENT_STATUS_STOPPED,
    Agent,
    SpawnAgentRequest,
)
from orchestra.v1.approval_service_pb2 import (
    APPROVAL_STATUS_APPROVED,
    APPROVAL_STATUS_DENIED,
    APPROVAL_STATUS_PENDING,
    Approval,
)
from orchestra.v1.result_service_pb2 import RESULT_STATUS_FAILED, RESULT_STATUS_SUCCESS, AgentResult, Result

OpenStores = Callable[[], Awaitable[Stores]]
# More than 32 bits, and more than a double represents exactly.
LATE = 2**61 + 1
_numbers = itertools.count(1)


@pytest.fixture
async def stores(open_stores: OpenStores) -> AsyncIterator[Stores]:
    yield await open_stores()


def result(
    issue: str = "i", agent_type: str = "python-specialist", status: int = RESULT_STATUS_SUCCESS, **more: object
) -> Result:
    return Result(
        id=f"res-{next(_numbers)}",
        agent_id="agent-1",
        agent_type=agent_type,
        issue_id=issue,
        project_id="p",
        result=AgentResult(status=status, **more),  # type: ignore[arg-type]
    )


async def add(stores: Stores, made: Result, session: str = "") -> int:
    return (await stores.results.add(made, session, of_result(made))).number


def agent(status: int = AGENT_STATUS_PENDING, **more: object) -> Agent:
    made = Agent(
        agent_id=f"agent-{next(_numbers)}", agent_type="python-specialist", issue_id="i", project_id="p", status=status
    )  # type: ignore[arg-type]
    made.MergeFrom(Agent(**more))  # type: ignore[arg-type]
    return made


def approval(**more: object) -> Approval:
    made = Approval(approval_id=f"apr-{next(_numbers)}", project_id="p", issue_id="i", status=APPROVAL_STATUS_PENDING)
    made.MergeFrom(Approval(**more))  # type: ignore[arg-type]
    return made


class TestResults:
    async def test_a_stored_agent_is_found(self, stores: Stores) -> None:
        made = result(decisions=["umlauts: äöü", "emoji: 🙂"])
        number = await add(stores, made)
        found = await stores.results.by_id("p", made.id)
        assert found is not None and found.result == made and found.number == number
        assert await stores.results.by_id("other", made.id) is None
        assert await stores.results.by_id("p", "res-0") is None

    async def test_numbers_increase(self, stores: Stores) -> None:
        numbers = [await add(stores, result()) for _ in range(5)]
        assert numbers == sorted(set(numbers))

    async def test_the_newest_of_an_issue_and_type(self, stores: Stores) -> None:
        old, new = result(), result()
        for each in (old, result(issue="j"), result(agent_type="go-specialist"), new, result(issue="j")):
            await add(stores, each)
        found = await stores.results.newest("p", "i", "python-specialist")
        assert found is not None and found.result == new
        assert await stores.results.newest("p", "k", "python-specialist") is None

    async def test_the_newest_of_a_run(self, stores: Stores) -> None:
        first, second = result(), result()
        await add(stores, first, "run-1")
        await add(stores, second, "run-1")
        await add(stores, result(), "run-2")
        assert await stores.results.newest_of("run-1") == second.id
        assert await stores.results.newest_of("run-3") == await stores.results.newest_of("") == ""

    async def test_pages_go_back_in_time(self, stores: Stores) -> None:
        made = [result(issue="i" if n % 2 else "j") for n in range(6)]
        for each in made:
            await add(stores, each)
        first = await stores.results.page("p", limit=4)
        rest = await stores.results.page("p", before=first[-1].number, limit=4)
        assert [each.result for each in (*first, *rest)] == made[::-1]
        assert [each.result for each in await stores.results.page("p", issue="j")] == made[4::-2]
        assert await stores.results.page("q") == []

    async def test_the_latest_of_each_issue_and_type(self, stores: Stores) -> None:
        made = [result(issue=issue, agent_type=kind) for issue, kind in ("ia", "ib", "ia", "ja")]
        for each in made:
            await add(stores, each)
        assert [each.result for each in await stores.results.page("p", latest=True)] == [made[3], made[2], made[1]]

    async def test_the_size_of_a_page_is_bounded(self, stores: Stores) -> None:
        for _ in range(4):
            await add(stores, result(artifacts={"text": "x" * (PAGE_BYTES // 3)}))
        assert len(await stores.results.page("p")) == 2
        await add(stores, result(artifacts={"text": "x" * (PAGE_BYTES + 1)}))
        assert len(await stores.results.page("p")) == 1

    async def test_outcomes_before_a_result(self, stores: Stores) -> None:
        for kind, status in (("a", RESULT_STATUS_SUCCESS), ("b", RESULT_STATUS_FAILED)):
            await add(stores, result(agent_type=kind, status=status))
        this = result(agent_type="c")
        await add(stores, this)
        await add(stores, result(agent_type="d"))
        found = await stores.results.outcomes("p", "i", before=this.id)
        assert found == [("b", RESULT_STATUS_FAILED), ("a", RESULT_STATUS_SUCCESS)]
        for _ in range(MAX_OUTCOMES + 5):
            await add(stores, result(agent_type="e"))
        last = result()
        await add(stores, last)
        assert len(await stores.results.outcomes("p", "i", before=last.id)) == MAX_OUTCOMES

    async def test_totals(self, stores: Stores) -> None:
        assert await stores.results.totals() == (0, 0, 0.0)
        await add(stores, result(metrics={"execution_time_ms": 100.0}))
        await add(stores, result(metrics={"execution_time_ms": 300.0}, status=RESULT_STATUS_FAILED))
        # Values that cannot be a duration are not counted.
        await add(stores, result(metrics={"execution_time_ms": -5.0}))
        await add(stores, result(metrics={"execution_time_ms": 1e300}))
        assert await stores.results.totals() == (3, 1, 200.0)

    async def test_bytes_of_a_project(self, open_stores: OpenStores) -> None:
        one, other = await open_stores(), await open_stores()
        assert await one.results.stored_bytes("p") == 0
        made = result()
        await add(one, made)
        assert await one.results.stored_bytes("p") == made.ByteSize()
        assert await other.results.stored_bytes("p") == made.ByteSize()
        assert await one.results.stored_bytes("q") == 0

    async def test_a_version_changes_with_each_result_of_its_issue(self, stores: Stores) -> None:
        async def versions() -> list[int]:
            return [await stores.results.version("p", issue) for issue in ("i", "j", "")]

        before = await versions()
        await add(stores, result())
        after = await versions()
        assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, False]
        assert await versions() == after

    async def test_many_concurrent_writes(self, stores: Stores) -> None:
        made = [result() for _ in range(200)]
        numbers = await asyncio.gather(*(add(stores, each) for each in made))
        assert len(set(numbers)) == 200
        assert len(await stores.results.page("p", limit=1000)) == 200

    async def test_a_key_is_used_once_in_each_run(self, open_stores: OpenStores) -> None:
        one = await open_stores()
        first, again = result(), result()
        number = (await one.results.add(first, "run-1", of_result(first), "k")).number
        for stores in (one, await open_stores()):
            assert await stores.results.add(again, "run-1", of_result(again), "k") == (number, first)
        assert await one.results.page("p") == [(number, first)]
        assert len(await one.outbox.pending()) == 1
        for session, key in (("run-1", "other"), ("run-2", "k"), ("", "k")):
            made = result()
            assert await one.results.add(made, session, of_result(made), key) != (number, first)
        assert len(await one.results.page("p")) == 4

    async def test_one_of_many_repetitions_at_once_is_stored(self, stores: Stores) -> None:
        made = [result() for _ in range(20)]
        done = await asyncio.gather(*(stores.results.add(each, "run", of_result(each), "k") for each in made))
        assert len({each.number for each in done}) == 1
        assert len(await stores.results.page("p")) == len(await stores.outbox.pending()) == 1

    async def test_the_size_of_a_repetition_does_not_count(self, stores: Stores) -> None:
        made = result(decisions=["x" * 1000])
        size = await stores.results.stored_bytes("p")
        for _ in range(3):
            await stores.results.add(made, "run", of_result(made), "k")
        assert await stores.results.stored_bytes("p") == size + made.ByteSize()

    async def test_a_failed_write_does_not_affect_others_in_its_batch(self, stores: Stores) -> None:
        twice = result()
        made = [result(), twice, result(), twice, result()]
        done = await asyncio.gather(*(add(stores, each) for each in made), return_exceptions=True)
        assert [isinstance(each, int) for each in done].count(True) == 4
        assert len(await stores.results.page("p")) == 4


class TestOutbox:
    async def test_a_change_and_its_event_are_stored_together(self, open_stores: OpenStores) -> None:
        one = await open_stores()
        made = result()
        added = await one.results.add(made, "", of_result(made))
        known = agent()
        await one.agents.add(known, SpawnAgentRequest(), created=1)
        saved = await one.agents.save(known, of_agent(known, "agent_spawned"))
        asked = approval()
        requested = await one.approvals.add(asked, of_approval(asked, APPROVAL_REQUESTED))
        asked.status = APPROVAL_STATUS_APPROVED
        answered = await one.approvals.answer(asked, of_approval(asked, APPROVAL_ANSWERED))
        wanted = [added.announcement, saved, requested, answered]
        assert await one.outbox.pending() == await (await open_stores()).outbox.pending() == wanted
        await one.outbox.done(added.announcement.number)
        await one.outbox.done(added.announcement.number)
        assert await one.outbox.pending() == wanted[1:]

    async def test_no_event_without_its_change(self, stores: Stores) -> None:
        made = result()
        await add(stores, made)
        with pytest.raises(Exception, match="cannot write the database"):
            await add(stores, made)
        asked = approval()
        assert await stores.approvals.add(asked, of_approval(asked, APPROVAL_REQUESTED), "cause") is not None
        again = approval()
        assert await stores.approvals.add(again, of_approval(again, APPROVAL_REQUESTED), "cause") is None
        assert len(await stores.outbox.pending()) == 2


class TestAgents:
    async def test_a_stored_agent_is_found(self, stores: Stores) -> None:
        made, request = agent(task="t"), SpawnAgentRequest(agent_type="python-specialist", task="t")
        number = await stores.agents.add(made, request, created=LATE)
        found = await stores.agents.by_id(made.agent_id)
        assert found == (number, made, request)
        assert await stores.agents.by_id("agent-0") is None

    async def test_a_cause_has_one_agent(self, stores: Stores) -> None:
        assert not await stores.agents.has_cause("c")
        request = SpawnAgentRequest()
        assert await stores.agents.add(agent(cause="c"), request, created=1) > 0
        assert await stores.agents.add(agent(cause="c"), request, created=1) == 0
        assert await stores.agents.has_cause("c")
        # An empty cause does not count.
        assert await stores.agents.add(agent(), request, created=1) > 0
        assert await stores.agents.add(agent(), request, created=1) > 0
        assert len(await stores.agents.page("p")) == 3

    async def test_a_cause_answered_concurrently_has_one_agent(self, open_stores: OpenStores) -> None:
        processes = [await open_stores() for _ in range(3)]
        adding = [
            each.agents.add(agent(cause="c"), SpawnAgentRequest(), created=1) for each in processes for _ in range(10)
        ]
        assert [bool(number) for number in await asyncio.gather(*adding)].count(True) == 1

    async def test_a_change_is_visible_at_once(self, open_stores: OpenStores) -> None:
        one, other = await open_stores(), await open_stores()
        made = agent()
        await one.agents.add(made, SpawnAgentRequest(), created=1)
        made.status = AGENT_STATUS_RUNNING
        assert await one.agents.save(made) is None
        found = await other.agents.by_id(made.agent_id)
        assert found is not None and found.agent == made

    async def test_unfinished_agents_in_order(self, stores: Stores) -> None:
        statuses = [AGENT_STATUS_PENDING, AGENT_STATUS_COMPLETED, AGENT_STATUS_RUNNING, AGENT_STATUS_FAILED]
        made = [agent(status) for status in statuses]
        for each in made:
            await stores.agents.add(each, SpawnAgentRequest(), created=1)
        assert [each.agent for each in await stores.agents.unfinished()] == [made[0], made[2]]

    async def test_pages_are_filtered(self, stores: Stores) -> None:
        made = [
            agent(),
            agent(project_id="q"),
            agent(issue_id="j"),
            agent(AGENT_STATUS_FAILED),
            agent(agent_type="go-specialist"),
        ]
        for each in made:
            await stores.agents.add(each, SpawnAgentRequest(), created=1)

        async def page(project: str | None = "p", **more: object) -> list[int]:
            return [made.index(each.agent) for each in await stores.agents.page(project, **more)]  # type: ignore[arg-type]

        assert await page(None) == [4, 3, 2, 1, 0]
        assert await page() == [4, 3, 2, 0]
        assert await page(issue="j") == [2]
        assert await page(status=AGENT_STATUS_FAILED) == [3]
        assert await page(agent_type="go-specialist") == [4]
        first = await stores.agents.page("p", limit=2)
        assert await page(before=first[-1].number) == [2, 0]

    async def test_totals(self, stores: Stores) -> None:
        for status in (
            AGENT_STATUS_COMPLETED,
            AGENT_STATUS_COMPLETED,
            AGENT_STATUS_FAILED,
            AGENT_STATUS_STOPPED,
            AGENT_STATUS_PENDING,
        ):
            await stores.agents.add(agent(status), SpawnAgentRequest(), created=1)
        assert await stores.agents.totals() == (2, 1, 1, 5)

    async def test_totals_by_type(self, stores: Stores) -> None:
        for cost in (0.5, 0.25):
            made = agent(AGENT_STATUS_COMPLETED)
            made.MergeFrom(Agent(usage={"input_tokens": 10, "output_tokens": 5, "cost_usd": cost}))
            await stores.agents.add(made, SpawnAgentRequest(), created=1)
        await stores.agents.add(agent(AGENT_STATUS_FAILED), SpawnAgentRequest(), created=1)
        await stores.agents.add(agent(AGENT_STATUS_FAILED, agent_type="zig-specialist"), SpawnAgentRequest(), created=1)
        kind = agent().agent_type
        assert sorted(await stores.agents.totals_by_type()) == [
            (kind, AGENT_STATUS_COMPLETED, 2, 30.0, 0.75),
            (kind, AGENT_STATUS_FAILED, 1, 0.0, 0.0),
            ("zig-specialist", AGENT_STATUS_FAILED, 1, 0.0, 0.0),
        ]

    async def test_spent_totals(self, stores: Stores) -> None:
        used = Agent(usage={"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.5})
        for tree, issue, created in (("root", "i", LATE), ("root", "j", LATE + 1), ("", "i", LATE + 2)):
            made = agent(tree=tree, issue_id=issue)
            made.MergeFrom(used)
            await stores.agents.add(made, SpawnAgentRequest(), created=created)
        assert await stores.agents.spent("p", issue="i") == (2, 30.0, 1.0)
        assert await stores.agents.spent("p", tree="root") == (2, 30.0, 1.0)
        # Agents that a person spawned do not count there.
        assert await stores.agents.spent("p", since=LATE - 1) == (2, 30.0, 1.0)
        assert await stores.agents.spent("p", since=LATE) == (1, 15.0, 0.5)
        assert await stores.agents.spent("q") == (0, 0.0, 0.0)


class TestHandover:
    async def test_positions(self, open_stores: OpenStores) -> None:
        one = await open_stores()
        assert await one.handover.positions() == {}
        await one.handover.set_position("p", 1)
        await one.handover.set_position("p", LATE)
        await one.handover.set_position("", 0)
        assert await (await open_stores()).handover.positions() == {"p": LATE, "": 0}


class TestApprovals:
    async def test_an_answer_is_final(self, open_stores: OpenStores) -> None:
        one, other = await open_stores(), await open_stores()
        made = approval(question="May I?")
        await one.approvals.add(made, of_approval(made, APPROVAL_REQUESTED))
        yes, no = Approval(), Approval()
        for answer, status in ((yes, APPROVAL_STATUS_APPROVED), (no, APPROVAL_STATUS_DENIED)):
            answer.CopyFrom(made)
            answer.status = status
        assert await one.approvals.answer(yes, of_approval(yes, APPROVAL_ANSWERED)) is not None
        assert await other.approvals.answer(no, of_approval(no, APPROVAL_ANSWERED)) is None
        assert await other.approvals.by_id(made.approval_id) == yes
        assert await one.approvals.by_id("apr-0") is None

    async def test_pages_are_filtered(self, stores: Stores) -> None:
        made = [approval(), approval(issue_id="j"), approval(project_id="q"), approval()]
        for each in made:
            await stores.approvals.add(each, of_approval(each, APPROVAL_REQUESTED))
        made[3].status = APPROVAL_STATUS_DENIED
        await stores.approvals.answer(made[3], of_approval(made[3], APPROVAL_ANSWERED))
        page = await stores.approvals.page("p")
        assert [each.approval for each in page] == [made[3], made[1], made[0]]
        assert [each.approval for each in await stores.approvals.page("p", before=page[0].number)] == [made[1], made[0]]
        assert [each.approval for each in await stores.approvals.page("p", status=APPROVAL_STATUS_DENIED)] == [made[3]]
        assert [each.approval for each in await stores.approvals.page("p", issue="j")] == [made[1]]
        assert len(await stores.approvals.page("p", limit=2)) == 2


class TestCredentials:
    async def test_a_credential_is_stored_replaced_and_deleted(self, open_stores: OpenStores) -> None:
        one = await open_stores()
        secret = bytes(range(256))
        first = SealedCredential("TOKEN", secret, LATE, LATE)
        assert await one.credentials.put(first) == first
        # The time of the first store stays.
        replaced = await one.credentials.put(SealedCredential("TOKEN", b"new", LATE + 5, LATE + 5))
        assert replaced == SealedCredential("TOKEN", b"new", LATE, LATE + 5)
        await one.credentials.put(SealedCredential("ANOTHER", b"x", 1, 1))
        other = await open_stores()
        assert await other.credentials.get("TOKEN") == replaced
        assert [each.name for each in await other.credentials.all()] == ["ANOTHER", "TOKEN"]
        assert await other.credentials.delete("TOKEN") and not await one.credentials.delete("TOKEN")
        assert await one.credentials.get("TOKEN") is None


class TestRevocations:
    async def test_another_process_sees_revocations(self, open_stores: OpenStores) -> None:
        one, other = await open_stores(), await open_stores()
        known, revision = other.revocations.load(0.0)
        assert known == []
        await one.revocations.revoke("jti", "a", 5.0, 100.0)
        await one.revocations.revoke("sub", "b", 6.5, 100.0)
        new, revision = await other.revocations.since(revision)
        assert sorted(new) == [Revocation("jti", "a", 5.0), Revocation("sub", "b", 6.5)]
        # A repeated revocation counts as new.
        await one.revocations.revoke("sub", "b", 7.5, 100.0)
        newer, after = await other.revocations.since(revision)
        assert Revocation("sub", "b", 7.5) in newer and after > revision

    async def test_expired_revocations_are_removed(self, open_stores: OpenStores) -> None:
        one = await open_stores()
        await one.revocations.revoke("jti", "old", 1.0, 10.0)
        await one.revocations.revoke("jti", "new", 1.0, 30.0)
        for _ in range(2):
            known, _ = (await open_stores()).revocations.load(20.0)
            assert known == [Revocation("jti", "new", 1.0)]

    async def test_concurrent_revocations_are_all_visible(self, open_stores: OpenStores) -> None:
        processes = [await open_stores() for _ in range(3)]
        _, revision = processes[0].revocations.load(0.0)
        await asyncio.gather(
            *(
                each.revocations.revoke("jti", f"{n}-{m}", 1.0, 9.0)
                for n, each in enumerate(processes)
                for m in range(30)
            )
        )
        new, _ = await processes[0].revocations.since(revision)
        assert len({each.value for each in new}) == 90
