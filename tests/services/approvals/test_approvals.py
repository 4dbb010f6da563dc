"""Questions to a person: asked by agents, answered once, over both transports."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tests.support.sidecars import (
    Deployment,
    call,
    events,
    fresh,
    open_records,
    publish,
    records_file,
    refused,
    serving,
    until,
)
from tests.support.spawned import Spawn
from tests.support.succession import Succession

from cco_sidecar.client.errors import error_of
from cco_sidecar.core.announcements import of_approval
from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import agent_service_pb2 as agent_pb
from orchestra.v1 import approval_service_pb2 as pb
from orchestra.v1.approval_service_pb2 import Approval
from orchestra.v1.approval_service_pb2_grpc import ApprovalServiceStub

ASKS = [{"do": "ask", "question": "May I delete the users table?"}]
WAITS = [{"do": "sleep", "seconds": 120}]


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    with serving(tmp_path_factory.mktemp("approvals"), root) as running:
        yield running


@pytest.fixture(scope="module")
def stub(grpc_channel: grpc.Channel) -> Any:
    return ApprovalServiceStub(grpc_channel)


def ask(sidecar: SidecarProcess, agent: Agent, question: str = "May I?", **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = call(sidecar, "POST", "/api/approvals", agent, json={"question": question, **more})
    return asked


def listed(sidecar: SidecarProcess, project: str, more: str = "", agent: Agent | None = None) -> list[dict[str, Any]]:
    """Newest first."""
    path = f"/api/approvals?project_id={project}{more}"
    found: list[dict[str, Any]] = call(sidecar, "GET", path, agent)["approvals"]
    return found


def found(sidecar: SidecarProcess, approval: dict[str, Any]) -> dict[str, Any]:
    now: dict[str, Any] = call(sidecar, "GET", f"/api/approvals/{approval['approval_id']}")
    return now


def answer_of(approval: dict[str, Any]) -> str:
    return f"/api/approvals/{approval['approval_id']}/answer"


def identity(agent: SpawnedAgent, project: str = "default") -> Agent:
    assert agent.token is not None
    return Agent(agent.id, "python-specialist", "issue-123", project, agent.token)


def code_of(problem: grpc.RpcError) -> tuple[str, str]:
    return problem.code().name, error_of(problem).code


class TestAsking:
    @pytest.mark.parametrize("transport", ["rest", "grpc"])
    @pytest.mark.parametrize("approved", [True, False])
    def test_an_agent_waits_for_its_answer_and_acts_on_it(
        self,
        sidecar: SidecarProcess,
        scripted_agent: Spawn,
        stub: Any,
        project: str,
        transport: str,
        approved: bool,
    ) -> None:
        agent = scripted_agent([*ASKS, {"do": "print", "text": "went on"}], project=project)
        waiting = agent.wait("needs_input")
        assert "May I delete the users table?" in waiting["reason"]
        page = call(sidecar, "GET", f"/api/agents?project_id={project}&status=needs_input")
        assert [each["agent_id"] for each in page["agents"]] == [agent.id]
        (approval,) = listed(sidecar, project, "&status=pending")
        assert approval["requested_by"] == agent.id and approval["issue_id"] == "issue-123"
        assert approval["question"] == "May I delete the users table?" and "answered_at" not in approval
        comment = "only on Mondays, ünd nicht am 1."
        if transport == "rest":
            body = {"approved": approved, "comment": comment}
            answered = call(sidecar, "POST", answer_of(approval), json=body)
        else:
            request = pb.AnswerApprovalRequest(approval_id=approval["approval_id"], approved=approved, comment=comment)
            stub.AnswerApproval(request, metadata=sidecar.operator.metadata)
            answered = found(sidecar, approval)
        status = "approved" if approved else "denied"
        assert (answered["status"], answered["comment"]) == (status, comment)
        assert answered["answered_at"] > answered["created_at"]
        ended = agent.wait()
        assert (ended["status"], ended["exit_code"]) == (("completed", 0) if approved else ("failed", 4))
        assert agent.logs() == [f"{status}: {comment}", *(["went on"] if approved else [])]
        assert not listed(sidecar, project, "&status=pending")
        assert listed(sidecar, project, f"&status={status}") == [answered]

    def test_a_question_and_its_answer_are_events(self, sidecar: SidecarProcess, project: str) -> None:
        agent = sidecar.agent(project=project)
        approval = ask(sidecar, agent, "May I — really?")
        call(sidecar, "POST", answer_of(approval), json={"approved": True, "comment": "yes"})
        requested, answered = events(sidecar, project)
        about = {"approval_id": approval["approval_id"], "issue_id": agent.issue, "agent_id": agent.id}
        assert (requested["event_type"], requested["publisher"]) == ("approval_requested", agent.id)
        assert requested["data"] == about | {"question": "May I — really?", "status": "pending", "comment": ""}
        assert (answered["event_type"], answered["publisher"]) == ("approval_answered", "operator")
        assert answered["data"] == about | {"question": "May I — really?", "status": "approved", "comment": "yes"}
        assert requested["correlation_id"] == answered["correlation_id"] == approval["approval_id"]

    def test_the_context_of_a_question_is_kept(self, sidecar: SidecarProcess, stub: Any, project: str) -> None:
        data = {"files": ["a", "b"], "risk": {"level": 3, "words": "höch"}, "none": None}
        agent = sidecar.agent(project=project)
        approval = ask(sidecar, agent, data=data)
        assert found(sidecar, approval)["data"] == data
        request = pb.GetApprovalRequest(approval_id=approval["approval_id"])
        assert stub.GetApproval(request, metadata=agent.metadata).approval.data["risk"]["words"] == "höch"

    def test_an_agent_with_few_rights_may_ask(self, sidecar: SidecarProcess, stub: Any, project: str) -> None:
        for agent_type in ("ui-ux-designer", "documentation-expert"):
            agent = sidecar.agent(agent_type, project=project)
            assert ask(sidecar, agent)["requested_by"] == agent.id
            over_grpc = stub.RequestApproval(pb.RequestApprovalRequest(question="And here?"), metadata=agent.metadata)
            assert over_grpc.approval.status == pb.APPROVAL_STATUS_PENDING

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"question": ""},
            {"question": "x" * 10_001},
            {"question": 5},
            {"question": "x", "data": "y"},
            {"question": "x", "issue_id": "../x"},
            {"question": "x", "requested_by": "operator"},
            {"question": "x", "status": "approved"},
        ],
    )
    def test_an_invalid_question_is_refused(self, sidecar: SidecarProcess, project: str, body: dict[str, Any]) -> None:
        refused(sidecar, 400, "REQ_001", "POST", "/api/approvals", sidecar.agent(project=project), json=body)
        assert not listed(sidecar, project) and not events(sidecar, project)

    def test_a_question_of_maximum_length(self, sidecar: SidecarProcess, project: str) -> None:
        question = "€\n" * 5000
        approval = ask(sidecar, sidecar.agent(project=project), question)
        answered = call(sidecar, "POST", answer_of(approval), json={"approved": False, "comment": "ж" * 10_000})
        assert answered["question"] == question and len(answered["comment"]) == 10_000
        assert len(events(sidecar, project)) == 2

    def test_with_two_questions_it_waits_for_both(
        self, sidecar: SidecarProcess, scripted_agent: Spawn, project: str
    ) -> None:
        agent = scripted_agent(WAITS, project=project)
        first, second = (ask(sidecar, identity(agent, project), text) for text in ("First?", "Second?"))
        agent.wait("needs_input")
        call(sidecar, "POST", answer_of(first), json={"approved": True})
        assert status_after(agent, "needs_input") == "needs_input"
        call(sidecar, "POST", answer_of(second), json={"approved": True})
        agent.wait("running")

    def test_a_heartbeat_does_not_end_the_wait(
        self, sidecar: SidecarProcess, scripted_agent: Spawn, project: str
    ) -> None:
        """For example, the heartbeat of a background thread."""
        agent = scripted_agent(WAITS, project=project)
        approval = ask(sidecar, identity(agent, project))
        agent.wait("needs_input")
        body = {"percent": 10, "message": "alive"}
        call(sidecar, "POST", f"/api/agents/{agent.id}/heartbeat", identity(agent, project), json=body)
        assert status_after(agent, "needs_input") == "needs_input"
        call(sidecar, "POST", answer_of(approval), json={"approved": True})
        agent.wait("running")


def status_after(agent: SpawnedAgent, status: str, seconds: float = 1.5) -> str:
    """Its status, watched for longer than the sidecar's own check interval."""
    until_then = time.monotonic() + seconds
    while (now := str(agent.get()["status"])) == status and time.monotonic() < until_then:
        time.sleep(0.05)
    return now


class TestAnswering:
    def test_an_answer_is_final(self, sidecar: SidecarProcess, stub: Any, project: str) -> None:
        approval = ask(sidecar, sidecar.agent(project=project))
        call(sidecar, "POST", answer_of(approval), json={"approved": False, "comment": "no"})
        for approved in (True, False):
            body = {"approved": approved, "comment": "well"}
            problem = refused(sidecar, 409, "APR_002", "POST", answer_of(approval), sidecar.operator, json=body)
            assert "denied" in problem["message"]
            with pytest.raises(grpc.RpcError) as caught:
                request = pb.AnswerApprovalRequest(approval_id=approval["approval_id"], approved=approved)
                stub.AnswerApproval(request, metadata=sidecar.operator.metadata)
            assert code_of(caught.value) == ("FAILED_PRECONDITION", "APR_002")
        now = found(sidecar, approval)
        assert (now["status"], now["comment"]) == ("denied", "no")
        assert len(events(sidecar, project, "approval_answered")) == 1

    def test_one_of_many_concurrent_answers_counts(self, sidecar: SidecarProcess, project: str) -> None:
        agent = sidecar.agent(project=project)
        operator = sidecar.operator
        for _ in range(3):
            approval = ask(sidecar, agent)

            def answer(number: int, path: str = answer_of(approval)) -> tuple[int, str]:
                body = {"approved": bool(number % 2), "comment": str(number)}
                answered = sidecar.request("POST", path, operator, json=body)
                return answered.status_code, str(answered.json().get("comment"))

            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(answer, range(8)))
            assert Counter(status for status, _ in answers) == {200: 1, 409: 7}
            now = found(sidecar, approval)
            assert (200, now["comment"]) in answers
            assert now["status"] == ("approved" if int(now["comment"]) % 2 else "denied")
            told = [event["data"] for event in events(sidecar, project, "approval_answered")]
            told = [data for data in told if data["approval_id"] == approval["approval_id"]]
            assert [(data["status"], data["comment"]) for data in told] == [(now["status"], now["comment"])]

    def test_an_unknown_question_has_no_answer(self, sidecar: SidecarProcess, stub: Any) -> None:
        refused(sidecar, 404, "APR_001", "GET", "/api/approvals/apr-0", sidecar.operator)
        body = {"approved": True}
        refused(sidecar, 404, "APR_001", "POST", "/api/approvals/apr-0/answer", sidecar.operator, json=body)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetApproval(pb.GetApprovalRequest(approval_id="apr-0"), metadata=sidecar.operator.metadata)
        assert code_of(caught.value) == ("NOT_FOUND", "APR_001")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"comment": "go on"},
            {"approved": None},
            {"approve": True},
            {"approved": "yes"},
            {"approved": 1},
            {"approved": True, "comment": "x" * 10_001},
        ],
    )
    def test_an_answer_without_yes_or_no_is_refused(
        self, sidecar: SidecarProcess, project: str, body: dict[str, Any]
    ) -> None:
        """It would become a final denial that nobody intended."""
        approval = ask(sidecar, sidecar.agent(project=project))
        refused(sidecar, 400, "REQ_001", "POST", answer_of(approval), sidecar.operator, json=body)
        assert found(sidecar, approval)["status"] == "pending"

    def test_only_the_operator_answers(self, sidecar: SidecarProcess, stub: Any, project: str) -> None:
        asker = sidecar.agent(project=project)
        approval = ask(sidecar, asker)
        others = [
            sidecar.agent(kind, project=project)
            for kind in ("chief-architect", "ui-ux-designer", "documentation-expert", "security-auditor")
        ]
        for agent in (asker, *others, sidecar.agent("chief-architect", project=fresh("project"))):
            body = {"approved": True}
            refused(sidecar, 403, "AUTH_003", "POST", answer_of(approval), agent, json=body)
            refused(sidecar, 403, "AUTH_003", "POST", "/api/approvals/apr-0/answer", agent, json=body)
            with pytest.raises(grpc.RpcError) as caught:
                request = pb.AnswerApprovalRequest(approval_id=approval["approval_id"], approved=True)
                stub.AnswerApproval(request, metadata=agent.metadata)
            assert code_of(caught.value) == ("PERMISSION_DENIED", "AUTH_003")
        assert sidecar.request("POST", answer_of(approval), json={"approved": True}).status_code == 401
        assert found(sidecar, approval)["status"] == "pending"

    @pytest.mark.parametrize("who", ["the agent itself", "another agent"])
    def test_an_event_is_not_an_answer(
        self, sidecar: SidecarProcess, scripted_agent: Spawn, project: str, who: str
    ) -> None:
        agent = scripted_agent(WAITS, project=project)
        approval = ask(sidecar, identity(agent, project))
        agent.wait("needs_input")
        liar = identity(agent, project) if who == "the agent itself" else sidecar.agent(project=project)
        answer = {
            "approval_id": approval["approval_id"],
            "agent_id": agent.id,
            "status": "approved",
            "comment": "by the operator",
        }
        publish(sidecar, project, "approval_answered", liar, **answer)
        body = {"topic": "coordination", "publisher": "operator", "data": answer}
        refused(sidecar, 403, "AUTH_003", "POST", "/api/events/approval_answered", liar, json=body)
        assert found(sidecar, approval)["status"] == "pending"
        assert status_after(agent, "needs_input") == "needs_input"
        call(sidecar, "POST", answer_of(approval), json={"approved": False})
        assert found(sidecar, approval)["status"] == "denied"

    def test_an_agent_cannot_make_another_one_wait(
        self, sidecar: SidecarProcess, scripted_agent: Spawn, project: str
    ) -> None:
        agent = scripted_agent(WAITS, project=project)
        liar = sidecar.agent(project=project)
        publish(sidecar, project, "approval_requested", liar, agent_id=agent.id, question="Shall it wait?")
        assert status_after(agent, "running") == "running"


class TestProjects:
    def test_another_projects_questions_are_hidden(self, sidecar: SidecarProcess, stub: Any) -> None:
        here, there = fresh("project"), fresh("project")
        theirs = ask(sidecar, sidecar.agent(project=there), "A secret of ours?")
        for kind in ("python-specialist", "chief-architect"):
            spy = sidecar.agent(kind, project=here)
            known = refused(sidecar, 404, "APR_001", "GET", f"/api/approvals/{theirs['approval_id']}", spy)
            unknown = refused(sidecar, 404, "APR_001", "GET", "/api/approvals/apr-0", spy)
            assert known["message"].replace(theirs["approval_id"], "apr-0") == unknown["message"]
            refused(sidecar, 404, "PRJ_001", "GET", f"/api/approvals?project_id={there}", spy)
            path = f"/api/approvals/{theirs['approval_id']}?project_id={there}"
            assert sidecar.request("GET", path, spy).status_code == 404
            assert call(sidecar, "GET", "/api/approvals", spy)["approvals"] == []
            body = {"question": "x", "project_id": there}
            refused(sidecar, 404, "PRJ_001", "POST", "/api/approvals", spy, json=body)
            for rpc, request in (
                (stub.GetApproval, pb.GetApprovalRequest(approval_id=theirs["approval_id"])),
                (stub.ListApprovals, pb.ListApprovalsRequest(project_id=there)),
                (stub.RequestApproval, pb.RequestApprovalRequest(question="x", project_id=there)),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    rpc(request, metadata=spy.metadata)
                assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert len(listed(sidecar, there)) == 1 and len(events(sidecar, there)) == 1
        assert not listed(sidecar, here) and not events(sidecar, here)

    def test_an_agent_asks_about_its_own_issue_only(self, sidecar: SidecarProcess, project: str) -> None:
        for kind in ("python-specialist", "chief-architect"):
            agent = sidecar.agent(kind, project=project)
            body = {"question": "x", "issue_id": "another"}
            refused(sidecar, 403, "AUTH_003", "POST", "/api/approvals", agent, json=body)
        assert not listed(sidecar, project)


class TestLists:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def asked(cls, sidecar: SidecarProcess) -> None:
        """Seven questions about two issues, every third answered."""
        cls.project = fresh("project")
        cls.ids = []
        for number in range(7):
            agent = sidecar.agent(issue=f"issue-{number % 2}", project=cls.project)
            approval = ask(sidecar, agent, f"Question {number}?")
            cls.ids.append(approval["approval_id"])
            if number % 3 == 0:
                call(sidecar, "POST", answer_of(approval), json={"approved": number == 3})

    project: str
    ids: list[str]

    def test_pages_are_newest_first_and_complete(self, sidecar: SidecarProcess, stub: Any) -> None:
        for limit in (1, 2, 7, 1000):
            cursor: str | None = ""
            seen: list[str] = []
            over_grpc: list[str] = []
            while cursor is not None:
                path = f"/api/approvals?project_id={self.project}&limit={limit}&cursor={cursor}"
                page = call(sidecar, "GET", path)
                assert 0 < len(page["approvals"]) <= limit
                seen += [each["approval_id"] for each in page["approvals"]]
                request = pb.ListApprovalsRequest(project_id=self.project, limit=limit, cursor=cursor)
                answer = stub.ListApprovals(request, metadata=sidecar.operator.metadata)
                over_grpc += [each.approval_id for each in answer.approvals]
                cursor = page["next_cursor"]
                assert answer.next_cursor == (cursor or "")
            assert seen == over_grpc == self.ids[::-1]

    def test_filter_by_status_and_issue(self, sidecar: SidecarProcess) -> None:
        def numbers(more: str) -> list[int]:
            return [self.ids.index(each["approval_id"]) for each in listed(sidecar, self.project, more)]

        assert numbers("&status=pending") == [5, 4, 2, 1]
        assert (numbers("&status=approved"), numbers("&status=denied")) == ([3], [6, 0])
        assert numbers("&issue_id=issue-1") == [5, 3, 1]
        assert numbers("&issue_id=issue-0&status=pending") == [4, 2]
        assert numbers("&issue_id=nothing") == []

    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=1001", "limit=-1", "limit=x", "cursor=x", "cursor=-1", "cursor=%C2%B2", "status=maybe"],
    )
    def test_an_invalid_page_is_refused(self, sidecar: SidecarProcess, query: str) -> None:
        refused(sidecar, 400, "REQ_001", "GET", f"/api/approvals?{query}", sidecar.operator)


class TestRestarts:
    @pytest.fixture
    def line(self, tmp_path: Path, root: Path) -> Iterator[Succession]:
        made = Succession(tmp_path, root)
        yield made
        made.close()

    def test_questions_and_answers_survive_kill_9(self, line: Succession) -> None:
        asker = line.sidecar.agent(project="p")
        kept = [ask(line.sidecar, asker, f"Question {number}?") for number in range(3)]
        kept[1] = call(line.sidecar, "POST", answer_of(kept[1]), json={"approved": True, "comment": "yes"})
        line.crash()
        line.open()
        assert listed(line.sidecar, "p") == kept[::-1]
        refused(
            line.sidecar, 409, "APR_002", "POST", answer_of(kept[1]), line.sidecar.operator, json={"approved": False}
        )
        answered = call(line.sidecar, "POST", answer_of(kept[0]), json={"approved": False})
        assert answered["status"] == "denied"

    def test_an_agent_waits_through_a_kill_9_of_the_sidecar(self, line: Succession) -> None:
        agent = line.spawn(ASKS)
        agent.wait("needs_input")
        line.crash()
        line.open()
        agent = line.now(agent)
        assert status_after(agent, "needs_input") == "needs_input"
        (approval,) = listed(line.sidecar, "default", "&status=pending")
        call(line.sidecar, "POST", answer_of(approval), json={"approved": True, "comment": "at last"})
        ended = agent.wait()
        assert (ended["status"], agent.logs()) == ("completed", ["approved: at last"])

    def test_a_record_from_before_the_question_does_not_hide_it(self, line: Succession) -> None:
        """The sidecar was killed after the question was stored and before the agent's new status was."""
        agent = line.spawn(ASKS)
        agent.wait("needs_input")
        line.crash()
        with open_records(line.storage) as database:
            (body,) = database.execute("SELECT body FROM agents").fetchone()
            record = agent_pb.Agent.FromString(body)
            record.status = agent_pb.AGENT_STATUS_RUNNING
            database.execute(
                "UPDATE agents SET body = ?, status = ?", (record.SerializeToString(), agent_pb.AGENT_STATUS_RUNNING)
            )
        database.close()
        line.open()
        assert line.now(agent).get()["status"] == "needs_input"

    def test_an_answered_agent_no_longer_waits_after_kill_9(self, line: Succession) -> None:
        agent = line.spawn([*ASKS, {"do": "sleep", "seconds": 600}])
        agent.wait("needs_input")
        line.crash()
        line.open()
        (approval,) = listed(line.sidecar, "default", "&status=pending")
        assert line.now(agent).get()["status"] == "needs_input"
        call(line.sidecar, "POST", answer_of(approval), json={"approved": True})
        assert line.now(agent).wait("running")["status"] == "running"

    def test_an_answer_is_stored_and_announced_after_kill_9_at_any_moment(self, deployment: Deployment) -> None:
        sidecar = deployment.start()
        for _ in range(3):
            asker = sidecar.agent(project="p")
            questions = [ask(sidecar, asker) for _ in range(4)]
            acknowledged: set[str] = set()
            operator = sidecar.operator

            def answer(
                each: dict[str, Any],
                sidecar: SidecarProcess = sidecar,
                operator: Agent = operator,
                acknowledged: set[str] = acknowledged,
            ) -> None:
                try:
                    done = sidecar.request("POST", answer_of(each), operator, json={"approved": True})
                except requests.RequestException:
                    return
                if done.status_code == 200:
                    acknowledged.add(each["approval_id"])

            threads = [threading.Thread(target=answer, args=(each,)) for each in questions]
            for thread in threads:
                thread.start()
            time.sleep(random.uniform(0, 0.03))
            deployment.kill()
            for thread in threads:
                thread.join(20)
            sidecar = deployment.start()
            known = {each["approval_id"] for each in questions if found(sidecar, each)["status"] == "approved"}
            assert acknowledged <= known
            told = {event["data"]["approval_id"] for event in events(sidecar, "p", "approval_answered")}
            assert {each["approval_id"] for each in questions} & told == known
            for each in questions:
                if each["approval_id"] not in known:
                    assert call(sidecar, "POST", answer_of(each), json={"approved": True})["status"] == "approved"

    @pytest.mark.parametrize("event_type", ["approval_requested", "approval_answered"])
    def test_what_was_announced_before_a_crash_is_not_announced_again(
        self, deployment: Deployment, event_type: str
    ) -> None:
        """The event was published, but the record did not say so yet."""
        sidecar = deployment.start()
        approval = ask(sidecar, sidecar.agent(project="p"))
        if event_type == "approval_answered":
            call(sidecar, "POST", answer_of(approval), json={"approved": True})
        until(lambda: not unpublished(sidecar.storage), "the outbox")
        deployment.kill()
        with open_records(sidecar.storage) as database:
            (body,) = database.execute("SELECT body FROM approvals").fetchone()
            event = of_approval(Approval.FromString(body), event_type).SerializeToString()
            database.execute("INSERT INTO outbox (project_id, event) VALUES ('p', ?)", (event,))
        database.close()
        sidecar = deployment.start()
        until(lambda: not unpublished(sidecar.storage), "the outbox")
        assert len(events(sidecar, "p", event_type)) == 1


def unpublished(storage: Path) -> list[Any]:
    database = sqlite3.connect(f"file:{records_file(storage)}?mode=ro", uri=True)
    try:
        return database.execute("SELECT number FROM outbox").fetchall()
    finally:
        database.close()
