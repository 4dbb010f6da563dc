"""The asynchronous client: agents, approvals, credentials and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc

from cco_sidecar.client import requests
from cco_sidecar.client.aio_calls import AsyncCalls
from cco_sidecar.client.errors import error_of, is_lost
from cco_sidecar.core.retry import Backoff
from orchestra.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    approval_service_pb2,
    approval_service_pb2_grpc,
    credential_service_pb2,
    credential_service_pb2_grpc,
)

# Retries before giving up on a lost sidecar; their delays add up to 15 to 31 seconds.
_MAX_RETRIES = 10


class Agents:
    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = agent_service_pb2_grpc.AgentServiceStub(client.channel)

    async def spawn(
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
        runner_tags: Sequence[str] = (),
    ) -> agent_service_pb2.SpawnAgentResponse:
        """Spawns an agent, and returns once it is running or queued.

        ``issue_id`` defaults to the caller's own. ``priority`` is low, normal or high; ``isolation`` is none or
        worktree; ``base`` is head or issue; ``runner_tags``: what its machine must have. ``command``, ``directory`` and
        ``credentials`` are operator only.
        """
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
            runner_tags=list(runner_tags),
        )
        return await self._client.call(self._stub.SpawnAgent, request)

    async def get(self, agent_id: str) -> agent_service_pb2.Agent:
        """Returns an agent. Raises NotFoundError."""
        request = agent_service_pb2.GetAgentRequest(agent_id=agent_id)
        return (await self._client.call(self._stub.GetAgent, request)).agent

    async def list(
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
        """Returns a page of agents, newest first. ``status`` is a REST name, such as ``running``.

        ``all_projects`` is operator only.
        """
        request = requests.list_agents(status, agent_type, issue_id, project_id, all_projects, limit, cursor)
        return await self._client.call(self._stub.ListAgents, request)

    async def iterate(
        self,
        *,
        status: str = "",
        agent_type: str = "",
        issue_id: str = "",
        project_id: str = "",
        all_projects: bool = False,
    ) -> AsyncIterator[agent_service_pb2.Agent]:
        """Yields all agents, newest first."""
        cursor = ""
        while True:
            page = await self.list(
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

    async def stop(
        self, agent_id: str, *, force: bool = False, timeout: float | None = None
    ) -> agent_service_pb2.StopAgentResponse:
        """Stops an agent, and returns once it has ended. It is killed after ``timeout`` seconds, 10 by default."""
        request = agent_service_pb2.StopAgentRequest(agent_id=agent_id, force=force, timeout=timeout)
        return await self._client.call(self._stub.StopAgent, request)

    async def resume(self, agent_id: str, message: str = "") -> agent_service_pb2.Agent:
        """Restarts an ended agent. ``message`` replaces its task. Raises ConflictError if it has not ended."""
        request = agent_service_pb2.ResumeAgentRequest(agent_id=agent_id, message=message)
        return (await self._client.call(self._stub.ResumeAgent, request)).agent

    async def logs(
        self, agent_id: str, *, follow: bool = False, tail: int | None = None, attempt: int | None = None
    ) -> AsyncIterator[agent_service_pb2.LogLine]:
        """Yields output lines; with ``follow`` until the agent ends, even if the sidecar restarts meanwhile."""
        request = agent_service_pb2.StreamAgentLogsRequest(agent_id=agent_id, follow=follow, tail=tail, attempt=attempt)
        seen = requests.ReadLines()
        backoff = Backoff()
        if follow:
            # Fail if the sidecar does not answer or the agent does not exist, instead of retrying.
            await self.get(agent_id)
        while True:
            stream = self._stub.StreamAgentLogs(request, metadata=await self._client.metadata())
            try:
                async for part in stream:
                    backoff.succeeded()
                    for line in seen.fresh(part.lines):
                        yield line
                return
            except grpc.RpcError as problem:
                error = error_of(problem)
                pause = backoff.failed()
                if not follow or not is_lost(error) or backoff.failures > _MAX_RETRIES:
                    raise error from None
            finally:
                stream.cancel()
            if seen.again():
                request.ClearField("tail")
            await asyncio.sleep(pause)

    async def heartbeat(
        self, message: str = "", *, percent: float | None = None, needs_input: bool = False, agent_id: str = ""
    ) -> agent_service_pb2.SendHeartbeatResponse:
        """Sends a heartbeat; ``agent_id`` defaults to the caller."""
        request = agent_service_pb2.SendHeartbeatRequest(
            agent_id=agent_id or self._client.identity.agent_id,
            message=message,
            percent=percent,
            needs_input=needs_input,
        )
        return await self._client.call(self._stub.SendHeartbeat, request)

    async def discard_worktree(self, agent_id: str) -> agent_service_pb2.DiscardWorktreeResponse:
        """Removes an ended agent's worktree and branch, even if not merged. Operator only."""
        request = agent_service_pb2.DiscardWorktreeRequest(agent_id=agent_id)
        return await self._client.call(self._stub.DiscardWorktree, request)

    async def diff(self, agent_id: str) -> agent_service_pb2.GetAgentDiffResponse:
        """Returns what an agent changed in its worktree, as a unified diff; empty if it has none."""
        request = agent_service_pb2.GetAgentDiffRequest(agent_id=agent_id)
        return await self._client.call(self._stub.GetAgentDiff, request)

    async def check_access(
        self, agent: str, rpc: str, *, issue_id: str = "", project_id: str = ""
    ) -> agent_service_pb2.CheckAccessResponse:
        """Returns whether an agent may make a call, and which rule decides. Operator only.

        ``agent`` is an id or a type; ``rpc`` is a method name such as PublishEvent.
        """
        request = agent_service_pb2.CheckAccessRequest(agent=agent, rpc=rpc, issue_id=issue_id, project_id=project_id)
        return await self._client.call(self._stub.CheckAccess, request)


class Approvals:
    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = approval_service_pb2_grpc.ApprovalServiceStub(client.channel)

    async def request(
        self, question: str, data: Mapping[str, Any] | None = None, *, issue_id: str = "", project_id: str = ""
    ) -> approval_service_pb2.Approval:
        """Requests approval from the operator. ``data`` is shown with the question."""
        request = requests.approval(question, data, issue_id, project_id)
        return (await self._client.call(self._stub.RequestApproval, request)).approval

    async def get(self, approval_id: str) -> approval_service_pb2.Approval:
        """Returns an approval. Raises NotFoundError."""
        request = approval_service_pb2.GetApprovalRequest(approval_id=approval_id)
        return (await self._client.call(self._stub.GetApproval, request)).approval

    async def list(
        self,
        *,
        status: str = "",
        issue_id: str = "",
        project_id: str = "",
        limit: int | None = None,
        cursor: str = "",
    ) -> approval_service_pb2.ListApprovalsResponse:
        """Returns a page of approvals, newest first. ``status`` is pending, approved or denied; all when empty."""
        request = requests.list_approvals(status, issue_id, project_id, limit, cursor)
        return await self._client.call(self._stub.ListApprovals, request)

    async def iterate(
        self, *, status: str = "", issue_id: str = "", project_id: str = ""
    ) -> AsyncIterator[approval_service_pb2.Approval]:
        """Yields all approvals, newest first."""
        cursor = ""
        while True:
            page = await self.list(status=status, issue_id=issue_id, project_id=project_id, cursor=cursor)
            for approval in page.approvals:
                yield approval
            if not page.next_cursor:
                return
            cursor = page.next_cursor

    async def answer(self, approval_id: str, *, approved: bool, comment: str = "") -> approval_service_pb2.Approval:
        """Approves or denies a request; the decision is final. Operator only."""
        request = approval_service_pb2.AnswerApprovalRequest(
            approval_id=approval_id, approved=approved, comment=comment
        )
        return (await self._client.call(self._stub.AnswerApproval, request)).approval


class Credentials:
    """Secrets for agents. Operator only."""

    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = credential_service_pb2_grpc.CredentialServiceStub(client.channel)

    async def store(self, name: str, value: str) -> credential_service_pb2.Credential:
        """Stores or replaces a secret. ``name`` is the environment variable that agents get."""
        request = credential_service_pb2.StoreCredentialRequest(name=name, value=value)
        return (await self._client.call(self._stub.StoreCredential, request)).credential

    async def get(self, name: str) -> str:
        """Returns a secret in plain text. Raises NotFoundError."""
        request = credential_service_pb2.GetCredentialRequest(name=name)
        return (await self._client.call(self._stub.GetCredential, request)).value

    async def list(self) -> Sequence[credential_service_pb2.Credential]:
        """Returns the names and times of all secrets, without their values."""
        request = credential_service_pb2.ListCredentialsRequest()
        return (await self._client.call(self._stub.ListCredentials, request)).credentials

    async def delete(self, name: str) -> None:
        """Deletes a secret. Raises NotFoundError."""
        await self._client.call(self._stub.DeleteCredential, credential_service_pb2.DeleteCredentialRequest(name=name))


class Tokens:
    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = agent_service_pb2_grpc.AgentServiceStub(client.channel)

    async def create(
        self,
        agent_type: str,
        issue_id: str,
        *,
        project_id: str = "",
        ttl_seconds: int | None = None,
        agent_id: str = "",
    ) -> agent_service_pb2.CreateTokenResponse:
        """Creates a token for an agent that the sidecar does not spawn. ``ttl_seconds`` defaults to an hour. Operator
        only."""
        request = agent_service_pb2.CreateTokenRequest(
            agent_type=agent_type,
            issue_id=issue_id,
            project_id=project_id,
            ttl_seconds=ttl_seconds,
            agent_id=agent_id,
        )
        return await self._client.call(self._stub.CreateToken, request)

    async def create_login_code(self) -> agent_service_pb2.CreateLoginCodeResponse:
        """Makes a code that signs a browser in to the dashboard, once and within two minutes. Operator only."""
        return await self._client.call(self._stub.CreateLoginCode, agent_service_pb2.CreateLoginCodeRequest())

    async def revoke(self, *, agent_id: str = "", jti: str = "") -> int:
        """Revokes all tokens of an agent, the token with the id ``jti``, or both; returns 0, 1 or 2. Operator only."""
        request = agent_service_pb2.RevokeTokenRequest(agent_id=agent_id, jti=jti)
        return (await self._client.call(self._stub.RevokeToken, request)).revoked
