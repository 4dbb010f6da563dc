"""The asynchronous client: agents, approvals, credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from cco_sidecar.client import requests
from cco_sidecar.client.connection import backoff, error_of, is_lost
from orchestra.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    approval_service_pb2,
    approval_service_pb2_grpc,
    credential_service_pb2,
    credential_service_pb2_grpc,
)

if TYPE_CHECKING:
    from cco_sidecar.client.aio import AsyncClient


# Attempts to find the sidecar again: about half a minute.
_MOST_LOST = 10


class Agents:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._stub = agent_service_pb2_grpc.AgentServiceStub(client.channel)

    async def spawn(
        self, agent_type: str, issue: str | None = None, task: str = "", **options: Any
    ) -> agent_service_pb2.SpawnAgentResponse:
        """``options``: the other fields of SpawnAgentRequest, as documented for REST."""
        request = requests.spawn(self._client.identity, agent_type, issue, task, options)
        return await self._client.call(self._stub.SpawnAgent, request)

    async def get(self, agent_id: str) -> agent_service_pb2.Agent:
        request = agent_service_pb2.GetAgentRequest(agent_id=agent_id)
        return (await self._client.call(self._stub.GetAgent, request)).agent

    async def list(
        self,
        *,
        status: str = "",
        agent_type: str = "",
        issue: str = "",
        project: str = "",
        all_projects: bool = False,
        limit: int | None = None,
        cursor: str = "",
    ) -> agent_service_pb2.ListAgentsResponse:
        """``status`` as REST names it, such as ``running``."""
        request = requests.list_agents(status, agent_type, issue, project, all_projects, limit, cursor)
        return await self._client.call(self._stub.ListAgents, request)

    async def stop(
        self, agent_id: str, *, force: bool = False, timeout: float | None = None
    ) -> agent_service_pb2.StopAgentResponse:
        """Returns when the agent has ended; it is killed after ``timeout`` seconds."""
        request = agent_service_pb2.StopAgentRequest(agent_id=agent_id, force=force, timeout=timeout)
        return await self._client.call(self._stub.StopAgent, request)

    async def resume(self, agent_id: str, message: str = "") -> agent_service_pb2.Agent:
        request = agent_service_pb2.ResumeAgentRequest(agent_id=agent_id, message=message)
        return (await self._client.call(self._stub.ResumeAgent, request)).agent

    async def logs(
        self, agent_id: str, *, follow: bool = False, tail: int | None = None, attempt: int | None = None
    ) -> AsyncIterator[agent_service_pb2.LogLine]:
        """Lines as they are printed; with ``follow`` until the agent has ended, also over a restart of the sidecar."""
        request = agent_service_pb2.StreamAgentLogsRequest(agent_id=agent_id, follow=follow, tail=tail, attempt=attempt)
        seen = requests.LinesSeen()
        lost = 0
        if follow:
            # Nobody is waited for who was never there.
            await self.get(agent_id)
        while True:
            stream = self._stub.StreamAgentLogs(request, metadata=await self._client.metadata())
            try:
                async for part in stream:
                    lost = 0
                    for line in seen.fresh(part.lines):
                        yield line
                return
            except grpc.RpcError as problem:
                error = error_of(problem)
                lost += 1
                if not follow or not is_lost(error) or lost > _MOST_LOST:
                    raise error from problem
            finally:
                stream.cancel()
            if seen.again():
                request.ClearField("tail")
            await asyncio.sleep(backoff(lost))

    async def heartbeat(
        self, message: str = "", *, percent: float | None = None, needs_input: bool = False, agent_id: str = ""
    ) -> agent_service_pb2.SendHeartbeatResponse:
        """The caller's own when ``agent_id`` is not given."""
        request = agent_service_pb2.SendHeartbeatRequest(
            agent_id=agent_id or self._client.identity.agent_id,
            message=message,
            percent=percent,
            needs_input=needs_input,
        )
        return await self._client.call(self._stub.SendHeartbeat, request)

    async def discard_worktree(self, agent_id: str) -> agent_service_pb2.DiscardWorktreeResponse:
        request = agent_service_pb2.DiscardWorktreeRequest(agent_id=agent_id)
        return await self._client.call(self._stub.DiscardWorktree, request)

    async def check_access(
        self, agent: str, rpc: str, *, issue: str = "", project: str = ""
    ) -> agent_service_pb2.CheckAccessResponse:
        """``agent``: an id or a type. Operator only."""
        request = agent_service_pb2.CheckAccessRequest(agent=agent, rpc=rpc, issue_id=issue, project_id=project)
        return await self._client.call(self._stub.CheckAccess, request)


class Approvals:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._stub = approval_service_pb2_grpc.ApprovalServiceStub(client.channel)

    async def request(
        self, question: str, data: Mapping[str, Any] | None = None, *, issue: str = "", project: str = ""
    ) -> approval_service_pb2.Approval:
        request = requests.approval(question, data, issue, project)
        return (await self._client.call(self._stub.RequestApproval, request)).approval

    async def get(self, approval_id: str) -> approval_service_pb2.Approval:
        request = approval_service_pb2.GetApprovalRequest(approval_id=approval_id)
        return (await self._client.call(self._stub.GetApproval, request)).approval

    async def list(
        self, *, status: str = "", issue: str = "", project: str = "", limit: int | None = None, cursor: str = ""
    ) -> approval_service_pb2.ListApprovalsResponse:
        request = requests.list_approvals(status, issue, project, limit, cursor)
        return await self._client.call(self._stub.ListApprovals, request)

    async def answer(self, approval_id: str, *, approved: bool, comment: str = "") -> approval_service_pb2.Approval:
        """Operator only; an answer is final."""
        request = approval_service_pb2.AnswerApprovalRequest(
            approval_id=approval_id, approved=approved, comment=comment
        )
        return (await self._client.call(self._stub.AnswerApproval, request)).approval


class Credentials:
    """Operator only."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._stub = credential_service_pb2_grpc.CredentialServiceStub(client.channel)

    async def store(self, name: str, value: str) -> credential_service_pb2.Credential:
        request = credential_service_pb2.StoreCredentialRequest(name=name, value=value)
        return (await self._client.call(self._stub.StoreCredential, request)).credential

    async def get(self, name: str) -> str:
        """The secret, in the clear."""
        request = credential_service_pb2.GetCredentialRequest(name=name)
        return (await self._client.call(self._stub.GetCredential, request)).value

    async def list(self) -> Sequence[credential_service_pb2.Credential]:
        request = credential_service_pb2.ListCredentialsRequest()
        return (await self._client.call(self._stub.ListCredentials, request)).credentials

    async def delete(self, name: str) -> None:
        await self._client.call(self._stub.DeleteCredential, credential_service_pb2.DeleteCredentialRequest(name=name))
