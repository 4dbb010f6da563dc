# Written by scripts/unasync.py from aio.py; change that file.
"""The synchronous client."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from cco_sidecar.client import requests
from cco_sidecar.client.connection import (
    CONNECT_SECONDS,
    OPTIONS,
    Metadata,
    Token,
    identity,
    unreachable,
)
from cco_sidecar.client.discovery import channel_options, find, require_safe
from cco_sidecar.client.errors import error_of
from cco_sidecar.client.sync_agents import Agents, Approvals, Credentials, Tokens
from cco_sidecar.client.sync_blueprints import Blueprints
from cco_sidecar.client.sync_consumers import Consumers
from cco_sidecar.client.sync_documents import Documents
from cco_sidecar.client.sync_events import Events
from cco_sidecar.client.sync_knowledge import Knowledge
from cco_sidecar.client.sync_patterns import Patterns
from cco_sidecar.client.sync_runners import Runners
from cco_sidecar.client.sync_schedules import Schedules
from cco_sidecar.client.sync_schemas import Schemas
from cco_sidecar.client.sync_sessions import Sessions
from cco_sidecar.client.sync_webhooks import Webhooks
from cco_sidecar.client.tls import Tls
from cco_sidecar.client.values import Result, ResultPage
from orchestra.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    context_service_pb2,
    context_service_pb2_grpc,
    result_service_pb2,
    result_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)

log = logging.getLogger(__name__)

Q = TypeVar("Q")
A = TypeVar("A")


class Client:
    """A client of the sidecar.

    ``url`` (REST), ``grpc_target`` (``host:port``) and ``token`` default to the environment variables ``SIDECAR_URL``,
    ``SIDECAR_GRPC``, ``JWT_TOKEN_FILE`` and ``JWT_TOKEN``. If no address is set, the client uses ``CCO_SIDECAR_PORT``
    or finds a sidecar of this user on this machine. An ``https`` URL means TLS: ``ca_file`` (``SIDECAR_CA_FILE``) is
    the CA of the server, otherwise gRPC's root certificates count (``GRPC_DEFAULT_SSL_ROOTS_FILE_PATH``);
    ``cert_file`` and ``key_file`` (``SIDECAR_CERT_FILE``, ``SIDECAR_KEY_FILE``) are presented to a server that asks
    for a certificate. All are files in PEM format.

    Raises SettingsError for an invalid URL, and if a token would be sent to another machine without TLS, unless
    ``insecure`` is true. If no sidecar answers, the first call raises UnavailableError after
    ``connect_timeout`` seconds.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        grpc_target: str | None = None,
        insecure: bool = False,
        connect_timeout: float = CONNECT_SECONDS,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
    ) -> None:
        self._token = Token.from_environment(token)
        self.identity = identity(self._token.text)
        self._target = find(url, grpc_target)
        require_safe(self._target, self._token.text, insecure=insecure)
        self._refreshing = threading.Lock()
        options = [*OPTIONS, *channel_options(self._target)]
        self._tls = Tls(ca_file, cert_file, key_file) if self._target.secure else None
        if self._tls is not None:
            self._channel = grpc.secure_channel(self._target.address, self._tls.credentials(), options=options)
        else:
            self._channel = grpc.insecure_channel(self._target.address, options=options)
        self._connected = False
        self._connect_timeout = connect_timeout
        self._health_stub = HealthStub(self._channel)
        self._agent_stub = agent_service_pb2_grpc.AgentServiceStub(self._channel)
        self._system_stub = system_service_pb2_grpc.SystemServiceStub(self._channel)
        self.context = Context(self)
        self.events = Events(self)
        self.patterns = Patterns(self.events)
        self.consumers = Consumers(self)
        self.schedules = Schedules(self)
        self.schemas = Schemas(self)
        self.webhooks = Webhooks(self)
        self.runners = Runners(self)
        self.results = Results(self)
        self.blueprints = Blueprints(self)
        self.documents = Documents(self)
        self.knowledge = Knowledge(self)
        self.sessions = Sessions(self)
        self.agents = Agents(self)
        self.approvals = Approvals(self)
        self.credentials = Credentials(self)
        self.tokens = Tokens(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def health(self) -> system_service_pb2.GetHealthResponse:
        """Returns the health of the sidecar and of what it checks."""
        return self.call(self._system_stub.GetHealth, system_service_pb2.GetHealthRequest())

    def status(self) -> system_service_pb2.GetStatusResponse:
        """Returns statistics of agents, storage, events and calls."""
        return self.call(self._system_stub.GetStatus, system_service_pb2.GetStatusRequest())

    def findings(self) -> Sequence[system_service_pb2.Finding]:
        """Returns what `cco doctor` finds on the sidecar's machine. Operator only."""
        request = system_service_pb2.ListFindingsRequest()
        return (self.call(self._system_stub.ListFindings, request)).findings

    def prove_identity(self, nonce: str) -> system_service_pb2.ProveIdentityResponse:
        """Asks the server to prove its identity, without sending the token."""
        self.connect()
        try:
            request = system_service_pb2.ProveIdentityRequest(nonce=nonce)
            return self._system_stub.ProveIdentity(request, timeout=self._connect_timeout)
        except grpc.RpcError as problem:
            raise error_of(problem) from None

    @property
    def grpc_target(self) -> str:
        """The target of the gRPC connection, such as ``127.0.0.1:3002`` or ``unix:/path``."""
        return self._target.address

    @property
    def secure(self) -> bool:
        """Whether the connection uses TLS."""
        return self._target.secure

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the gRPC connection."""
        host, _, port = self._target.address.rpartition(":")
        return host.strip("[]"), int(port)

    def agent_types(self, group: str = "") -> Sequence[agent_service_pb2.AgentType]:
        """Returns the agent types of a group, or all of them."""
        request = agent_service_pb2.ListAgentTypesRequest(group=group)
        return (self.call(self._agent_stub.ListAgentTypes, request)).agent_types

    def call(self, method: grpc.UnaryUnaryMultiCallable[Q, A], request: Q, timeout: float | None = None) -> A:
        """Makes a unary call, with a timeout in seconds. Raises SidecarError."""
        self.connect()
        try:
            return method(request, metadata=self.metadata(), timeout=timeout)
        except grpc.RpcError as problem:
            raise error_of(problem) from None

    def connect(self) -> None:
        """Waits for the first connection. Raises UnavailableError if there is none within ``connect_timeout``."""
        if self._connected:
            return
        try:
            # Any response will do, even an error. `channel_ready` is not used: the synchronous one leaves a thread
            # that fails if the channel is closed early.
            self._health_stub.Check(HealthCheckRequest(), wait_for_ready=True, timeout=self._connect_timeout)
        except grpc.RpcError as problem:
            if problem.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                why = f"no connection within {self._connect_timeout:g} s"
                if self._tls is not None:
                    why = self._tls.problem(self._target.address) or why
                raise unreachable(self._target, why) from None
        self._connected = True

    def metadata(self) -> Metadata:
        """Returns the metadata of a call, after refreshing a token that is about to expire. Raises SidecarError."""
        if self._token.due():
            with self._refreshing:
                if self._token.due():
                    self._refresh()
        return self._token.metadata()

    def _refresh(self) -> None:
        request = agent_service_pb2.RefreshTokenRequest()
        try:
            answer = self._agent_stub.RefreshToken(request, metadata=self._token.metadata())
        except grpc.RpcError as problem:
            raise error_of(problem) from None
        self._token.text = answer.jwt_token

    @property
    def token(self) -> str:
        return self._token.text

    def exchanged(self, used: str | None) -> bool:
        """Reports whether the token ``used`` has been replaced, after waiting for a refresh in progress."""
        with self._refreshing:
            return used != self._token.text

    @property
    def channel(self) -> grpc.Channel:
        return self._channel


class Context:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = context_service_pb2_grpc.ContextServiceStub(client.channel)

    def get(
        self,
        issue_id: str = "",
        agent_type: str = "",
        *,
        project_id: str = "",
        task: str = "",
        max_bytes: int | None = None,
        max_tokens: int | None = None,
    ) -> context_service_pb2.GetContextResponse:
        """Returns the context of an issue for an agent type; both default to the agent's own.

        ``task`` is what the agent is about to do. ``max_bytes`` and ``max_tokens``, from 4,096, are budgets: the
        context then holds excerpts of what matters most for the task. Without them, and without a budget of the agent
        type, whole files are selected, up to 10 MiB.
        """
        identity = self._client.identity
        request = requests.get_context(identity, issue_id, agent_type, project_id, task, max_bytes, max_tokens)
        return self._client.call(self._stub.GetContext, request)

    def explain(
        self,
        issue_id: str = "",
        agent_type: str = "",
        *,
        project_id: str = "",
        task: str = "",
        max_bytes: int | None = None,
        max_tokens: int | None = None,
        limit: int | None = None,
    ) -> context_service_pb2.ExplainContextResponse:
        """Returns which files a context within a budget has and which it has not, the best ``limit`` of them first,
        with their scores and what these are made of. Arguments as for ``get``; without a budget, that of a spawned
        agent."""
        request = context_service_pb2.ExplainContextRequest(
            issue_id=issue_id or self._client.identity.issue_id,
            agent_type=agent_type or self._client.identity.agent_type,
            project_id=project_id,
            task=task,
            max_bytes=max_bytes,
            max_tokens=max_tokens,
            limit=limit,
        )
        return self._client.call(self._stub.ExplainContext, request)

    def files(
        self, *paths: str, lines: str = "", issue_id: str = "", agent_type: str = "", project_id: str = ""
    ) -> context_service_pb2.GetFilesResponse:
        """Returns up to 20 files of the project, under the rules of contexts.

        ``lines``, such as ``12-40``, are those of each file;
        ``issue_id`` and ``agent_type`` default to the agent's own. Raises NotFoundError for a path that no context has.
        """
        request = context_service_pb2.GetFilesRequest(
            issue_id=issue_id or self._client.identity.issue_id,
            agent_type=agent_type or self._client.identity.agent_type,
            project_id=project_id,
            path=paths,
            lines=lines,
        )
        return self._client.call(self._stub.GetFiles, request)

    def refresh(
        self, issue_id: str, agent_type: str = "", *, project_id: str = "", force: bool = False
    ) -> context_service_pb2.RefreshContextResponse:
        """Rereads the repository and rebuilds cached contexts. ``force`` also rereads files that look unchanged."""
        request = context_service_pb2.RefreshContextRequest(
            issue_id=issue_id, agent_type=agent_type, project_id=project_id, force=force
        )
        return self._client.call(self._stub.RefreshContext, request)

    def clear(
        self, issue_id: str = "", agent_type: str = "", *, project_id: str = ""
    ) -> context_service_pb2.ClearContextCacheResponse:
        """Removes the cached contexts of an issue, or of all issues if it is empty (operator only)."""
        request = context_service_pb2.ClearContextCacheRequest(
            issue_id=issue_id, agent_type=agent_type, project_id=project_id
        )
        return self._client.call(self._stub.ClearContextCache, request)


class Results:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = result_service_pb2_grpc.ResultServiceStub(client.channel)

    def create(
        self,
        result: Mapping[str, Any] | result_service_pb2.AgentResult,
        *,
        agent_id: str = "",
        agent_type: str = "",
        issue_id: str = "",
        project_id: str = "",
        timestamp: Timestamp | None = None,
        idempotency_key: str = "",
    ) -> result_service_pb2.CreateResultResponse:
        """Stores a result, and returns once it is on disk. ``result`` is the documented JSON object, or a message.

        The ids and the agent type default to the agent's own. Storing again with the same ``idempotency_key`` returns
        the first result.
        """
        me = self._client.identity
        request = requests.create_result(
            me, result, agent_id, agent_type, issue_id, project_id, timestamp, idempotency_key
        )
        return self._client.call(self._stub.CreateResult, request)

    def get(self, result_id: str = "", *, issue_id: str = "", agent_type: str = "", project_id: str = "") -> Result:
        """Returns a result by its id, or the newest of an issue and agent type. Raises NotFoundError."""
        request = result_service_pb2.GetResultRequest(
            id=result_id, issue_id=issue_id, agent_type=agent_type, project_id=project_id
        )
        return Result.of((self._client.call(self._stub.GetResult, request)).result)

    def list(
        self,
        *,
        issue_id: str = "",
        agent_type: str = "",
        project_id: str = "",
        limit: int | None = None,
        cursor: str = "",
        latest: bool = False,
    ) -> ResultPage:
        """Returns a page of results, newest first. ``latest`` keeps only the newest of each issue and agent type."""
        request = result_service_pb2.ListResultsRequest(
            issue_id=issue_id,
            agent_type=agent_type,
            project_id=project_id,
            limit=limit,
            cursor=cursor,
            latest=latest,
        )
        return ResultPage.of(self._client.call(self._stub.ListResults, request))

    def next_agents(self, result_id: str, *, project_id: str = "") -> Sequence[result_service_pb2.NextAgent]:
        """Returns who should come next after a result, the most urgent first. Raises NotFoundError."""
        request = result_service_pb2.ListNextAgentsRequest(result_id=result_id, project_id=project_id)
        return (self._client.call(self._stub.ListNextAgents, request)).next_agents

    def iterate(
        self, *, issue_id: str = "", agent_type: str = "", project_id: str = "", latest: bool = False
    ) -> Iterator[Result]:
        """Yields all results, newest first."""
        cursor = ""
        while True:
            page = self.list(
                issue_id=issue_id, agent_type=agent_type, project_id=project_id, cursor=cursor, latest=latest
            )
            for result in page.results:
                yield result
            if not page.next_cursor:
                return
            cursor = page.next_cursor
