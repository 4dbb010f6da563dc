# Written by scripts/unasync.py from aio_runners.py; change that file.
"""The synchronous client: runners. For the operator."""

from __future__ import annotations

from collections.abc import Sequence

from cco_sidecar.client.sync_calls import Calls
from orchestra.v1 import runner_service_pb2, runner_service_pb2_grpc


class Runners:
    """Machines that run agents for the sidecars."""

    def __init__(self, client: Calls) -> None:
        self._client = client
        self._stub = runner_service_pb2_grpc.RunnerServiceStub(client.channel)

    def create_token(
        self, runner_id: str, *, tags: Sequence[str] = (), ttl_seconds: int | None = None
    ) -> runner_service_pb2.CreateRunnerTokenResponse:
        """Returns the token with which a runner joins; it expires after ``ttl_seconds``, 30 days unless it is set.
        ``tags``: those that the runner may have; any if there are none."""
        request = runner_service_pb2.CreateRunnerTokenRequest(runner_id=runner_id, tags=tags, ttl_seconds=ttl_seconds)
        return self._client.call(self._stub.CreateRunnerToken, request)

    def list(self) -> Sequence[runner_service_pb2.Runner]:
        """Returns the runners that are connected to the sidecar, by ID."""
        return (self._client.call(self._stub.ListRunners, runner_service_pb2.ListRunnersRequest())).runners
