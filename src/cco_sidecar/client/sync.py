# Written by scripts/unasync.py from aio.py; change that file.
"""The synchronous client."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from cco_sidecar.client import requests
from cco_sidecar.client.connection import (
    CONNECT_SECONDS,
    OPTIONS,
    Token,
    backoff,
    error_of,
    identity,
    is_lost,
    unreachable,
)
from cco_sidecar.client.discovery import channel_options, find, require_safe
from cco_sidecar.client.sync_agents import Agents, Approvals, Credentials
from cco_sidecar.core.errors import SidecarError
from orchestra.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    context_service_pb2,
    context_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    result_service_pb2,
    result_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
)

log = logging.getLogger(__name__)


class Client:
    """``url`` (REST), ``grpc_target`` (``host:port``) and ``token`` default to the agent's environment variables
    ``SIDECAR_URL``, ``SIDECAR_GRPC``, ``JWT_TOKEN`` and ``JWT_TOKEN_FILE``; without them the sidecar that this user
    runs on this machine is used. An ``https`` URL means TLS, trusted as gRPC trusts
    (``GRPC_DEFAULT_SSL_ROOTS_FILE_PATH``).

    A token is sent to another machine over TLS only, unless ``insecure`` is true. Raises SettingsError otherwise, and
    for a URL that is none. A first call to an address where nobody answers raises SidecarError (UNAVAILABLE) after
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
    ) -> None:
        self._token = Token.from_environment(token)
        self.identity = identity(self._token.text)
        self._target = find(url, grpc_target)
        require_safe(self._target, self._token.text, insecure=insecure)
        self._refreshing = threading.Lock()
        options = [*OPTIONS, *channel_options(self._target)]
        if self._target.secure:
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.secure_channel(self._target.address, credentials, options=options)
        else:
            self._channel = grpc.insecure_channel(self._target.address, options=options)
        self._connected = False
        self._connect_timeout = connect_timeout
        self._health_stub = HealthStub(self._channel)
        self._agent_stub = agent_service_pb2_grpc.AgentServiceStub(self._channel)
        self._system_stub = system_service_pb2_grpc.SystemServiceStub(self._channel)
        self.context = Context(self)
        self.events = Events(self)
        self.results = Results(self)
        self.agents = Agents(self)
        self.approvals = Approvals(self)
        self.credentials = Credentials(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def health(self) -> system_service_pb2.GetHealthResponse:
        return self.call(self._system_stub.GetHealth, system_service_pb2.GetHealthRequest())

    def status(self) -> system_service_pb2.GetStatusResponse:
        return self.call(self._system_stub.GetStatus, system_service_pb2.GetStatusRequest())

    def prove_identity(self, nonce: str) -> system_service_pb2.ProveIdentityResponse:
        """Asks the server to prove who it is, without sending the token."""
        self.connect()
        try:
            request = system_service_pb2.ProveIdentityRequest(nonce=nonce)
            return self._system_stub.ProveIdentity(request, timeout=self._connect_timeout)
        except grpc.RpcError as problem:
            raise error_of(problem) from problem

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the gRPC connection."""
        host, _, port = self._target.address.rpartition(":")
        return host.strip("[]"), int(port)

    def agent_types(self, group: str = "") -> Sequence[agent_service_pb2.AgentType]:
        request = agent_service_pb2.ListAgentTypesRequest(group=group)
        return (self.call(self._agent_stub.ListAgentTypes, request)).agent_types

    def create_token(
        self,
        agent_type: str,
        issue: str,
        *,
        project: str = "",
        ttl_seconds: int | None = None,
        agent_id: str = "",
    ) -> agent_service_pb2.CreateTokenResponse:
        """Operator only."""
        request = agent_service_pb2.CreateTokenRequest(
            agent_type=agent_type,
            issue_id=issue,
            project_id=project,
            ttl_seconds=ttl_seconds,
            agent_id=agent_id,
        )
        return self.call(self._agent_stub.CreateToken, request)

    def call(self, method: Any, request: Any, timeout: float | None = None) -> Any:
        """One unary call. Raises SidecarError."""
        self.connect()
        try:
            return method(request, metadata=self.metadata(), timeout=timeout)
        except grpc.RpcError as problem:
            raise error_of(problem) from problem

    def connect(self) -> None:
        """Waits for the first connection. Raises SidecarError (UNAVAILABLE) when none is made."""
        if self._connected:
            return
        try:
            # Whatever is answered, there is somebody. Not `channel_ready`: the synchronous one leaves a thread behind
            # that fails when the channel is closed soon.
            self._health_stub.Check(HealthCheckRequest(), wait_for_ready=True, timeout=self._connect_timeout)
        except grpc.RpcError as problem:
            if problem.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                connection = "TLS connection" if self._target.secure else "connection"
                why = f"no {connection} within {self._connect_timeout:g} s"
                raise unreachable(self._target, why) from None
        self._connected = True

    def metadata(self) -> list[tuple[str, str]]:
        """The credentials, refreshed when they are about to expire."""
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
            raise error_of(problem) from problem
        self._token.text = answer.jwt_token

    @property
    def token(self) -> str:
        return self._token.text

    def exchanged(self, used: str | None) -> bool:
        """True when the token ``used`` has been exchanged for another, or is just being."""
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
        self, issue: str | None = None, agent_type: str | None = None, *, project: str = "", task: str = ""
    ) -> context_service_pb2.GetContextResponse:
        """The agent's own issue and type when not given."""
        request = requests.get_context(self._client.identity, issue, agent_type, project, task)
        return self._client.call(self._stub.GetContext, request)

    def refresh(
        self, issue: str, agent_type: str = "", *, project: str = "", force: bool = False
    ) -> context_service_pb2.RefreshContextResponse:
        request = context_service_pb2.RefreshContextRequest(
            issue_id=issue, agent_type=agent_type, project_id=project, force=force
        )
        return self._client.call(self._stub.RefreshContext, request)

    def clear(
        self, issue: str = "", agent_type: str = "", *, project: str = ""
    ) -> context_service_pb2.ClearContextCacheResponse:
        request = context_service_pb2.ClearContextCacheRequest(
            issue_id=issue, agent_type=agent_type, project_id=project
        )
        return self._client.call(self._stub.ClearContextCache, request)


class Events:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = event_service_pb2_grpc.EventServiceStub(client.channel)

    def publish(
        self, event_type: str, data: Mapping[str, Any] | None = None, **options: Any
    ) -> event_service_pb2.PublishEventResponse:
        """``options``: topic, publisher, correlation_id, ttl_seconds, priority, project."""
        return self._client.call(self._stub.PublishEvent, requests.publish(event_type, data, **options))

    def subscribe(self, **wanted: Any) -> Iterator[event_service_pb2.Event]:
        """``wanted``: event_types, topics, filter, since, since_time, project. Never ends by itself: after a lost
        connection it goes on behind the last event. A gap is logged as a warning."""
        request = requests.subscribe(**wanted)
        self._client.connect()
        attempt = 0
        while True:
            used = None
            try:
                metadata = self._client.metadata()
                used = self._client.token
                stream = self._stub.Subscribe(request, metadata=metadata)
                try:
                    for batch in stream:
                        attempt = 0
                        if batch.HasField("gap"):
                            log.warning("events are no longer retained: %s", batch.gap)
                        for event in batch.events:
                            yield event
                        request.since = batch.cursor
                finally:
                    stream.cancel()
            except grpc.RpcError as problem:
                error = error_of(problem)
                # A token that was exchanged meanwhile ends the streams that were opened with it.
                if not is_lost(error) and not self._client.exchanged(used):
                    raise error from problem
            except SidecarError as error:
                if not is_lost(error):
                    raise
            time.sleep(backoff(attempt))
            attempt += 1

    def wait(
        self,
        event_type: str = "",
        *,
        topic: str = "",
        filter: str = "",
        since: str = "",
        timeout: float = 30.0,
        limit: int | None = None,
        project: str = "",
    ) -> event_service_pb2.WaitEventsResponse:
        """One long poll of ``timeout`` seconds."""
        request = requests.wait(
            event_type, topic=topic, filter=filter, since=since, timeout=timeout, limit=limit, project=project
        )
        return self._client.call(self._stub.WaitEvents, request)

    def list(self, **wanted: Any) -> event_service_pb2.ListEventsResponse:
        """``wanted``: topic, event_type, since, since_time, correlation_id, filter, limit, project."""
        return self._client.call(self._stub.ListEvents, requests.list_events(**wanted))


class Results:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = result_service_pb2_grpc.ResultServiceStub(client.channel)

    def create(
        self, result: Mapping[str, Any] | result_service_pb2.AgentResult, **names: Any
    ) -> result_service_pb2.CreateResultResponse:
        """``result`` as documented for REST, or a message; ``names``: agent_id, agent_type, issue, project,
        timestamp."""
        request = requests.create_result(self._client.identity, result, **names)
        return self._client.call(self._stub.CreateResult, request)

    def get(
        self, result_id: str = "", *, issue: str = "", agent_type: str = "", project: str = ""
    ) -> result_service_pb2.Result:
        request = result_service_pb2.GetResultRequest(
            id=result_id, issue_id=issue, agent_type=agent_type, project_id=project
        )
        return (self._client.call(self._stub.GetResult, request)).result

    def list(
        self,
        *,
        issue: str = "",
        agent_type: str = "",
        project: str = "",
        limit: int | None = None,
        cursor: str = "",
        latest: bool = False,
    ) -> result_service_pb2.ListResultsResponse:
        request = result_service_pb2.ListResultsRequest(
            issue_id=issue,
            agent_type=agent_type,
            project_id=project,
            limit=limit,
            cursor=cursor,
            latest=latest,
        )
        return self._client.call(self._stub.ListResults, request)
