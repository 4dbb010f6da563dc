# Written by scripts/unasync.py from aio_agents.py; change that file.
"""The synchronous client: agents, approvals, credentials."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc

from cco_sidecar.client import requests
from cco_sidecar.client.connection import backoff
from cco_sidecar.client.errors import error_of, is_lost
from cco_sidecar.client.sync_calls import Calls
from orchestra.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    approval_service_pb2,
    approval_service_pb2_grpc,
    credential_service_pb2,
    credential_service_pb2_grpc,
)

# Attempts to find the sidecar again: about half a minute.
_MOST_LOST = 10


class Agents:
    def __init__(self, client: Calls) -> None:
        self._client = client
        self._stub = agent_service_pb2_grpc.AgentServiceStub(client.channel)

    def spawn(
        self,
        agent_type: str,
        issue_id: str = "",
        task: str = "",
        *,
        project_id: str = "",
        context_requirements: Sequence[str] = (),
        priority: str | None = None,
        environment: Mapping[str, str] | None = None,
        model: str = "",
        isolation: str | None = None,
        base: str | None = None,
        timeout_seconds: int | None = None,
        command: Sequence[str] = (),
        directory: str = "",
        credentials: Sequence[str] = (),
    ) -> agent_service_pb2.SpawnAgentResponse:
        """Returns when the agent runs, or is queued. ``issue_id``: the caller's own when not given; ``priority``: low,
        normal or high; ``isolation``: none or worktree; ``base``: head or issue. ``command``, ``directory`` and
        ``credentials``: operator only."""
        request = requests.spawn(
            agent_type=agent_type,
            issue_id=issue_id or self._client.identity.issue_id,
            task=task,
            project_id=project_id,
            context_requirements=list(context_requirements),
            priority=priority,
            environment=dict(environment or {}),
            model=model,
            isolation=isolation,
            base=base,
            timeout_seconds=timeout_seconds,
            command=list(command),
            directory=directory,
            credentials=list(credentials),
        )
        return self._client.call(self._stub.SpawnAgent, request)

    def get(self, agent_id: str) -> agent_service_pb2.Agent:
        """Raises NotFoundError."""
        request = agent_service_pb2.GetAgentRequest(agent_id=agent_id)
        return (self._client.call(self._stub.GetAgent, request)).agent

    def list(
        self,
        *,
        status: str = "",
        agent_type: str = "",
        issue_id: str = "",
        project_id: str = "",
        all_projects: bool = False,
        limit: int | None = None,
        cursor: str = "",
    ) -> agent_service_pb2.ListAgentsResponse:
        """A page of agents, newest first. ``status`` as REST names it, such as ``running``; ``all_projects``: operator
        only."""
        request = requests.list_agents(status, agent_type, issue_id, project_id, all_projects, limit, cursor)
        return self._client.call(self._stub.ListAgents, request)

    def iterate(
        self,
        *,
        status: str = "",
        agent_type: str = "",
        issue_id: str = "",
        project_id: str = "",
        all_projects: bool = False,
    ) -> Iterator[agent_service_pb2.Agent]:
        """Every agent, page by page, newest first."""
        cursor = ""
        while True:
            page = self.list(
                status=status,
                agent_type=agent_type,
                issue_id=issue_id,
                project_id=project_id,
                all_projects=all_projects,
                cursor=cursor,
            )
            for agent in page.agents:
                yield agent
            if not page.next_cursor:
                return
            cursor = page.next_cursor

    def stop(
        self, agent_id: str, *, force: bool = False, timeout: float | None = None
    ) -> agent_service_pb2.StopAgentResponse:
        """Returns when the agent has ended; it is killed after ``timeout`` seconds."""
        request = agent_service_pb2.StopAgentRequest(agent_id=agent_id, force=force, timeout=timeout)
        return self._client.call(self._stub.StopAgent, request)

    def resume(self, agent_id: str, message: str = "") -> agent_service_pb2.Agent:
        """Starts an ended agent again. ``message``: what to tell it; its task again when not given. Raises
        ConflictError for one that has not ended."""
        request = agent_service_pb2.ResumeAgentRequest(agent_id=agent_id, message=message)
        return (self._client.call(self._stub.ResumeAgent, request)).agent

    def logs(
        self, agent_id: str, *, follow: bool = False, tail: int | None = None, attempt: int | None = None
    ) -> Iterator[agent_service_pb2.LogLine]:
        """Lines as they are printed; with ``follow`` until the agent has ended, also over a restart of the sidecar."""
        request = agent_service_pb2.StreamAgentLogsRequest(agent_id=agent_id, follow=follow, tail=tail, attempt=attempt)
        seen = requests.LinesSeen()
        lost = 0
        if follow:
            # Nobody is waited for who was never there.
            self.get(agent_id)
        while True:
            stream = self._stub.StreamAgentLogs(request, metadata=self._client.metadata())
            try:
                for part in stream:
                    lost = 0
                    for line in seen.fresh(part.lines):
                        yield line
                return
            except grpc.RpcError as problem:
                error = error_of(problem)
                lost += 1
                if not follow or not is_lost(error) or lost > _MOST_LOST:
                    raise error from None
            finally:
                stream.cancel()
            if seen.again():
                request.ClearField("tail")
            time.sleep(backoff(lost))

    def heartbeat(
        self, message: str = "", *, percent: float | None = None, needs_input: bool = False, agent_id: str = ""
    ) -> agent_service_pb2.SendHeartbeatResponse:
        """The caller's own when ``agent_id`` is not given."""
        request = agent_service_pb2.SendHeartbeatRequest(
            agent_id=agent_id or self._client.identity.agent_id,
            message=message,
            percent=percent,
            needs_input=needs_input,
        )
        return self._client.call(self._stub.SendHeartbeat, request)

    def discard_worktree(self, agent_id: str) -> agent_service_pb2.DiscardWorktreeResponse:
        """Removes an ended agent's worktree and branch, merged or not. Operator only."""
        request = agent_service_pb2.DiscardWorktreeRequest(agent_id=agent_id)
        return self._client.call(self._stub.DiscardWorktree, request)

    def check_access(
        self, agent: str, rpc: str, *, issue_id: str = "", project_id: str = ""
    ) -> agent_service_pb2.CheckAccessResponse:
        """Whether an agent may make a call, and which rule decides. ``agent``: an id or a type; ``rpc``: such as
        PublishEvent. Operator only."""
        request = agent_service_pb2.CheckAccessRequest(agent=agent, rpc=rpc, issue_id=issue_id, project_id=project_id)
        return self._client.call(self._stub.CheckAccess, request)


class Approvals:
    def __init__(self, client: Calls) -> None:
        self._client = client
        self._stub = approval_service_pb2_grpc.ApprovalServiceStub(client.channel)

    def request(
        self, question: str, data: Mapping[str, Any] | None = None, *, issue_id: str = "", project_id: str = ""
    ) -> approval_service_pb2.Approval:
        """Asks a person. ``data``: what the person should see."""
        request = requests.approval(question, data, issue_id, project_id)
        return (self._client.call(self._stub.RequestApproval, request)).approval

    def get(self, approval_id: str) -> approval_service_pb2.Approval:
        """Raises NotFoundError."""
        request = approval_service_pb2.GetApprovalRequest(approval_id=approval_id)
        return (self._client.call(self._stub.GetApproval, request)).approval

    def list(
        self,
        *,
        status: str = "",
        issue_id: str = "",
        project_id: str = "",
        limit: int | None = None,
        cursor: str = "",
    ) -> approval_service_pb2.ListApprovalsResponse:
        """A page of questions, newest first. ``status``: pending, approved or denied."""
        request = requests.list_approvals(status, issue_id, project_id, limit, cursor)
        return self._client.call(self._stub.ListApprovals, request)

    def iterate(
        self, *, status: str = "", issue_id: str = "", project_id: str = ""
    ) -> Iterator[approval_service_pb2.Approval]:
        """Every question, page by page, newest first."""
        cursor = ""
        while True:
            page = self.list(status=status, issue_id=issue_id, project_id=project_id, cursor=cursor)
            for approval in page.approvals:
                yield approval
            if not page.next_cursor:
                return
            cursor = page.next_cursor

    def answer(self, approval_id: str, *, approved: bool, comment: str = "") -> approval_service_pb2.Approval:
        """Operator only; an answer is final."""
        request = approval_service_pb2.AnswerApprovalRequest(
            approval_id=approval_id, approved=approved, comment=comment
        )
        return (self._client.call(self._stub.AnswerApproval, request)).approval


class Credentials:
    """Operator only."""

    def __init__(self, client: Calls) -> None:
        self._client = client
        self._stub = credential_service_pb2_grpc.CredentialServiceStub(client.channel)

    def store(self, name: str, value: str) -> credential_service_pb2.Credential:
        """Adds or replaces a secret. ``name``: of the environment variable that agents get."""
        request = credential_service_pb2.StoreCredentialRequest(name=name, value=value)
        return (self._client.call(self._stub.StoreCredential, request)).credential

    def get(self, name: str) -> str:
        """The secret, in the clear."""
        request = credential_service_pb2.GetCredentialRequest(name=name)
        return (self._client.call(self._stub.GetCredential, request)).value

    def list(self) -> Sequence[credential_service_pb2.Credential]:
        """Names and times, never values."""
        request = credential_service_pb2.ListCredentialsRequest()
        return (self._client.call(self._stub.ListCredentials, request)).credentials

    def delete(self, name: str) -> None:
        """Raises NotFoundError."""
        self._client.call(self._stub.DeleteCredential, credential_service_pb2.DeleteCredentialRequest(name=name))


class Tokens:
    def __init__(self, client: Calls) -> None:
        self._client = client
        self._stub = agent_service_pb2_grpc.AgentServiceStub(client.channel)

    def create(
        self,
        agent_type: str,
        issue_id: str,
        *,
        project_id: str = "",
        ttl_seconds: int | None = None,
        agent_id: str = "",
    ) -> agent_service_pb2.CreateTokenResponse:
        """A token for an agent that the sidecar does not spawn. ``ttl_seconds``: an hour when not given. Operator
        only."""
        request = agent_service_pb2.CreateTokenRequest(
            agent_type=agent_type,
            issue_id=issue_id,
            project_id=project_id,
            ttl_seconds=ttl_seconds,
            agent_id=agent_id,
        )
        return self._client.call(self._stub.CreateToken, request)

    def revoke(self, *, agent_id: str = "", jti: str = "") -> int:
        """Revokes every token of an agent, or the one with the id ``jti``; returns how many revocations that were.
        Operator only."""
        request = agent_service_pb2.RevokeTokenRequest(agent_id=agent_id, jti=jti)
        return (self._client.call(self._stub.RevokeToken, request)).revoked
