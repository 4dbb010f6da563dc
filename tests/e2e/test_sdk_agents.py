"""Agents, approvals and credentials with both clients of the SDK; and the token file of an agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.support.clients import adopt_environment, both, each, settled
from tests.support.sidecars import fresh, small_repository

from cco_sidecar.client import AsyncClient, Client, SidecarError
from cco_sidecar.core import codec
from cco_sidecar.core.errors import Kind
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import agent_service_pb2 as pb
from orchestra.v1.approval_service_pb2 import APPROVAL_STATUS_APPROVED, APPROVAL_STATUS_DENIED, APPROVAL_STATUS_PENDING

SHELL = ["sh", "-c"]
ENDLESS = [*SHELL, "while :; do sleep 0.1; done"]
ENDED = (pb.AGENT_STATUS_COMPLETED, pb.AGENT_STATUS_FAILED, pb.AGENT_STATUS_STOPPED)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_repository(tmp_path_factory.mktemp("repository") / "small")


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
async def operator(request: pytest.FixtureRequest, sidecar: SidecarProcess) -> AsyncIterator[Any]:
    """Either client, as the operator."""
    client = request.param(sidecar.url, token=sidecar.operator.token, grpc_target=sidecar.target)
    yield client
    await settled(client.close())


async def ended(client: Any, agent_id: str) -> pb.Agent:
    """The agent, once its log has ended."""
    async for _ in each(client.agents.logs(agent_id, follow=True, tail=0)):
        pass
    async with asyncio.timeout(20):
        while (agent := await settled(client.agents.get(agent_id))).status not in ENDED:
            await asyncio.sleep(0.02)
    assert isinstance(agent, pb.Agent)
    return agent


def there(*parts: str) -> bool:
    return Path(*parts).exists()


async def refused(answer: Callable[[], Any], kind: Kind, code: str) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        await settled(answer())
    assert (caught.value.kind, caught.value.code) == (kind, code), caught.value.message
    assert caught.value.message
    return caught.value


class TestAgents:
    async def test_an_agent_is_spawned_read_and_resumed(self, operator: Any) -> None:
        issue = fresh("issue")
        spawned = await settled(
            operator.agents.spawn(
                "python-specialist",
                issue,
                "Say hello",
                command=[*SHELL, 'echo "$GREETING: $AGENT_TASK, $AGENT_ATTEMPT"; echo aside >&2; exit 3'],
                environment={"GREETING": "hello"},
                priority="high",
                project_id="project-abc",
                timeout_seconds=60,
            )
        )
        assert isinstance(spawned, pb.SpawnAgentResponse)
        assert spawned.spawned and spawned.process_id and spawned.status == pb.AGENT_STATUS_RUNNING
        claims = jwt.decode(spawned.jwt_token, options={"verify_signature": False})
        assert (claims["sub"], claims["issue_id"], claims["project_id"]) == (spawned.agent_id, issue, "project-abc")
        agent = await ended(operator, spawned.agent_id)
        assert (agent.status, agent.exit_code, agent.reason) == (pb.AGENT_STATUS_FAILED, 3, "exited with code 3")
        assert (agent.task, agent.issue_id, agent.spawned_by) == ("Say hello", issue, "operator")
        lines = [(line.stream, line.text) async for line in each(operator.agents.logs(agent.agent_id))]
        assert sorted(lines) == [("stderr", "aside"), ("stdout", "hello: Say hello, 1")]
        again = await settled(operator.agents.resume(agent.agent_id, "Once more"))
        assert (again.agent_id, again.attempt) == (agent.agent_id, 2)
        await ended(operator, agent.agent_id)
        for attempt in (1, 2):
            texts = [line.text async for line in each(operator.agents.logs(agent.agent_id, attempt=attempt))]
            assert any(text.endswith(f", {attempt}") for text in texts), texts
        (last,) = [line async for line in each(operator.agents.logs(agent.agent_id, tail=1, attempt=1))]
        assert last.timestamp.seconds > 0

    async def test_agents_are_listed_by_each_filter(self, operator: Any) -> None:
        issue = fresh("issue")
        made = []
        for agent_type, command in (("python-specialist", ["uname"]), ("test-engineer", ["uname"]), ("go-specialist", ENDLESS)):  # fmt: skip
            spawned = await settled(operator.agents.spawn(agent_type, issue, command=command))
            made.append(spawned.agent_id)
            if command is not ENDLESS:
                await ended(operator, spawned.agent_id)

        async def listed(**wanted: Any) -> list[str]:
            answer = await settled(operator.agents.list(issue_id=issue, **wanted))
            return [agent.agent_id for agent in answer.agents]

        assert await listed() == made[::-1]
        assert await listed(status="completed") == made[1::-1]
        assert await listed(status="running") == made[2:]
        assert await listed(agent_type="test-engineer") == [made[1]]
        assert await listed(project_id="project-else") == []
        page = await settled(operator.agents.list(issue_id=issue, limit=2))
        assert [agent.agent_id for agent in page.agents] == made[:0:-1] and page.max_concurrent == 119
        assert await listed(limit=2, cursor=page.next_cursor) == made[:1]
        await refused(lambda: operator.agents.list(status="runing"), Kind.INVALID_REQUEST, "REQ_001")
        assert (await settled(operator.agents.stop(made[2], force=True))).stopped

    async def test_a_log_is_followed_as_it_grows(self, operator: Any, tmp_path: Path) -> None:
        go = tmp_path / "go"
        script = f"echo before; until [ -e {go} ]; do sleep 0.05; done; echo after"
        spawned = await settled(operator.agents.spawn("python-specialist", fresh("issue"), command=[*SHELL, script]))
        lines = each(operator.agents.logs(spawned.agent_id, follow=True))
        async with asyncio.timeout(30):
            assert (await anext(lines)).text == "before"
            go.touch()
            assert [line.text async for line in lines] == ["after"]

    async def test_a_stop_also_revokes_the_token(self, operator: Any, sidecar: SidecarProcess) -> None:
        spawned = await settled(operator.agents.spawn("python-specialist", fresh("issue"), command=ENDLESS))
        own = {"Authorization": f"Bearer {spawned.jwt_token}"}
        assert sidecar.request("GET", "/api/events", headers=own).status_code == 200
        stopped = await settled(operator.agents.stop(spawned.agent_id, timeout=5))
        assert stopped.stopped and stopped.status == pb.AGENT_STATUS_STOPPED
        assert sidecar.request("GET", "/api/events", headers=own).status_code == 401
        assert not (await settled(operator.agents.stop(spawned.agent_id))).stopped

    async def test_a_worktree_is_discarded(self, operator: Any) -> None:
        script = "echo x > new.txt"
        spawned = await settled(
            operator.agents.spawn("python-specialist", fresh("issue"), command=[*SHELL, script], isolation="worktree")
        )
        agent = await ended(operator, spawned.agent_id)
        assert there(agent.worktree, "new.txt")
        discarded = await settled(operator.agents.discard_worktree(agent.agent_id))
        assert discarded.discarded and discarded.branch == agent.branch
        assert not there(agent.worktree)
        await refused(lambda: operator.agents.discard_worktree(agent.agent_id), Kind.NOT_FOUND, "AGT_006")

    async def test_access_is_explained(self, operator: Any) -> None:
        allowed = await settled(operator.agents.check_access("python-specialist", "PublishEvent"))
        assert allowed.allowed and allowed.rpc == "orchestra.v1.EventService/PublishEvent"
        denied = await settled(operator.agents.check_access("documentation-expert", "SpawnAgent", issue_id="issue-1"))
        assert not denied.allowed and "spawn_agents" in denied.reason

    async def test_refusals_are_typed(self, operator: Any) -> None:
        nobody = "python-specialist-nobody"
        acts: list[Callable[[], Any]] = [
            lambda: operator.agents.get(nobody),
            lambda: operator.agents.stop(nobody),
            lambda: operator.agents.resume(nobody),
            lambda: operator.agents.discard_worktree(nobody),
        ]
        for act in acts:
            await refused(act, Kind.NOT_FOUND, "AGT_004")
        with pytest.raises(SidecarError) as caught:
            async for _ in each(operator.agents.logs(nobody)):
                pytest.fail("unexpected line")
        assert caught.value.code == "AGT_004"
        await refused(lambda: operator.agents.spawn("python-specialst", "i"), Kind.NOT_FOUND, "AGT_002")
        with pytest.raises(TypeError, match="comand"):
            operator.agents.spawn("python-specialist", "i", comand=["x"])
        spawned = await settled(operator.agents.spawn("python-specialist", "i", command=ENDLESS))
        await refused(lambda: operator.agents.resume(spawned.agent_id), Kind.CONFLICT, "AGT_005")
        await settled(operator.agents.stop(spawned.agent_id, force=True))


@both
class TestAsAnAgent:
    """What an agent does with its own variables."""

    async def test_it_reports_its_progress(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issue = fresh("issue")
        body = {"agent_type": "python-specialist", "issue_id": issue, "command": ENDLESS}
        spawned = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body).json()
        me = Agent(spawned["agent_id"], "python-specialist", issue, "default", spawned["jwt_token"])
        adopt_environment(monkeypatch, sidecar, me)
        client = kind()
        try:
            answer = await settled(client.agents.heartbeat("half of it", percent=50))
            assert answer.status == pb.AGENT_STATUS_RUNNING
            answer = await settled(client.agents.heartbeat("what now?", needs_input=True))
            assert answer.status == pb.AGENT_STATUS_NEEDS_INPUT
            agent = await settled(client.agents.get(me.id))
            assert (agent.progress.percent, agent.progress.message) == (50, "what now?")
            await refused(
                lambda: client.agents.heartbeat("I am you", agent_id="chief-architect-1"),
                Kind.PERMISSION_DENIED,
                "AUTH_003",
            )
            await refused(lambda: client.agents.spawn("test-engineer"), Kind.PERMISSION_DENIED, "AUTH_003")
            await refused(lambda: client.credentials.list(), Kind.PERMISSION_DENIED, "AUTH_003")
            await refused(
                lambda: client.agents.check_access("test-engineer", "Subscribe"), Kind.PERMISSION_DENIED, "AUTH_003"
            )
        finally:
            await settled(client.close())
            sidecar.request("DELETE", f"/api/agents/{me.id}?force=true", sidecar.operator)

    async def test_it_asks_and_a_person_answers(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        me = sidecar.agent(issue=fresh("issue"), project="default")
        adopt_environment(monkeypatch, sidecar, me)
        person = kind(sidecar.url, token=sidecar.operator.token, grpc_target=sidecar.target)
        client = kind()
        try:
            asked = await settled(client.approvals.request("May I deploy?", {"place": "the moon"}))
            assert (asked.status, asked.requested_by, asked.issue_id) == (APPROVAL_STATUS_PENDING, me.id, me.issue)
            assert codec.struct_to_dict(asked.data) == {"place": "the moon"}
            other = await settled(client.approvals.request("And this?"))
            await refused(
                lambda: client.approvals.answer(asked.approval_id, approved=True), Kind.PERMISSION_DENIED, "AUTH_003"
            )
            waiting = await settled(person.approvals.list(status="pending", issue_id=me.issue))
            assert [each.approval_id for each in waiting.approvals] == [other.approval_id, asked.approval_id]
            answered = await settled(person.approvals.answer(asked.approval_id, approved=True, comment="go"))
            assert (answered.status, answered.comment) == (APPROVAL_STATUS_APPROVED, "go")
            denied = await settled(person.approvals.answer(other.approval_id, approved=False))
            assert denied.status == APPROVAL_STATUS_DENIED
            assert (await settled(client.approvals.get(asked.approval_id))).status == APPROVAL_STATUS_APPROVED
            await refused(lambda: person.approvals.answer(asked.approval_id, approved=False), Kind.CONFLICT, "APR_002")
            await refused(lambda: client.approvals.get("apr-nowhere"), Kind.NOT_FOUND, "APR_001")
            await refused(lambda: client.approvals.list(status="aproved"), Kind.INVALID_REQUEST, "REQ_001")
            found = await settled(client.approvals.list(status="approved", issue_id=me.issue, limit=1))
            assert [each.approval_id for each in found.approvals] == [asked.approval_id]
        finally:
            await settled(client.close())
            await settled(person.close())


async def test_credentials_are_stored_listed_without_values_and_deleted(operator: Any) -> None:
    name = fresh("KEY").replace("-", "_")
    for value in ("s3cr3t", "another\nof two lines ż"):
        stored = await settled(operator.credentials.store(name, value))
        assert stored.name == name and stored.updated_at.seconds >= stored.created_at.seconds > 0
        assert await settled(operator.credentials.get(name)) == value
    listed = await settled(operator.credentials.list())
    (found,) = [each for each in listed if each.name == name]
    assert "of two lines" not in str(found)
    await settled(operator.credentials.delete(name))
    await refused(lambda: operator.credentials.get(name), Kind.NOT_FOUND, "CRD_001")
    await refused(lambda: operator.credentials.delete(name), Kind.NOT_FOUND, "CRD_001")
    await refused(lambda: operator.credentials.store("TWO WORDS", "x"), Kind.INVALID_REQUEST, "REQ_001")


@both
class TestTokenFile:
    async def caller(self, client: Any) -> str:
        """Who the sidecar takes the client for."""
        event_type = fresh("from-file")
        await settled(client.events.publish(event_type))
        return str((await settled(client.events.list(event_type=event_type))).events[0].publisher)

    async def test_it_takes_precedence_over_the_variable_and_is_reread(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        outside, first, second = (sidecar.agent() for _ in range(3))
        adopt_environment(monkeypatch, sidecar, outside)
        file = tmp_path / "token"
        file.write_text(f"{first.token}\n")
        monkeypatch.setenv("JWT_TOKEN_FILE", str(file))
        client = kind()
        try:
            assert await self.caller(client) == first.id
            # As the sidecar writes it: a new file that replaces the old one.
            (tmp_path / "new").write_text(f"{second.token}\n")
            (tmp_path / "new").rename(file)
            assert await self.caller(client) == second.id
            # The agent has ended: its last token is the one that counts.
            file.unlink()
            assert await self.caller(client) == second.id
        finally:
            await settled(client.close())

    async def test_without_a_file_the_variable_is_used(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        me = sidecar.agent()
        adopt_environment(monkeypatch, sidecar, me)
        for name in (str(tmp_path / "nowhere"), ""):
            monkeypatch.setenv("JWT_TOKEN_FILE", name)
            client = kind()
            try:
                assert await self.caller(client) == me.id
            finally:
                await settled(client.close())

    async def test_an_explicit_token_comes_first(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        given, other = sidecar.agent(), sidecar.agent()
        adopt_environment(monkeypatch, sidecar, other)
        (tmp_path / "token").write_text(other.token)
        monkeypatch.setenv("JWT_TOKEN_FILE", str(tmp_path / "token"))
        client = kind(token=given.token)
        try:
            assert await self.caller(client) == given.id
        finally:
            await settled(client.close())

    async def test_the_client_does_not_refresh_what_the_sidecar_renews(
        self, kind: Any, sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A refresh would revoke the token that the agent's other programs use."""
        me = sidecar.agent(ttl_seconds=200)
        adopt_environment(monkeypatch, sidecar, me)
        (tmp_path / "token").write_text(me.token)
        monkeypatch.setenv("JWT_TOKEN_FILE", str(tmp_path / "token"))
        client = kind()
        try:
            assert await self.caller(client) == me.id
            assert list(await settled(client.metadata())) == me.metadata
        finally:
            await settled(client.close())
        assert sidecar.request("GET", "/api/events", me).status_code == 200
