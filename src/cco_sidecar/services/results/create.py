"""Creates a result from a request and stores it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, invalid_request
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import AgentStore
from cco_sidecar.supervision.results import ResultRecorder
from orchestra.v1.result_service_pb2 import (
    RESULT_STATUS_SUCCESS,
    RESULT_STATUS_UNSPECIFIED,
    AgentResult,
    CreateResultRequest,
    CreateResultResponse,
    NextAgent,
    Result,
)

log = logging.getLogger(__name__)


class ResultCreator:
    """Validates, completes and stores results."""

    def __init__(self, recorder: ResultRecorder, agents: AgentStore, types: AgentTypes, clock: Clock) -> None:
        self._recorder = recorder
        self._agents = agents
        self._types = types
        self._clock = clock

    async def create(self, request: CreateResultRequest, principal: Principal) -> CreateResultResponse:
        """Stores a result and suggests the next agents. Raises SidecarError: AGT_002, REQ_001, REQ_004, RES_002,
        STR_001, STR_003."""
        result = self._result(request)
        agent = await self._agents.by_id(result.agent_id)
        if agent is not None and agent.agent.branch:
            result.branch = agent.agent.branch
        recorded = await self._recorder.record(result, principal.session, request.idempotency_key)
        if recorded.first is not None:
            return await self._repeated(recorded.first, recorded.path.as_posix())
        return CreateResultResponse(
            id=result.id,
            stored=True,
            storage_path=recorded.path.as_posix(),
            next_agents=await self._next_agents(result),
            event_published=bool(recorded.event_id),
            event_id=recorded.event_id,
            timestamp=result.timestamp,
        )

    async def _repeated(self, first: Result, path: str) -> CreateResultResponse:
        """Returns what the call that stored the result was answered, as far as it is kept."""
        return CreateResultResponse(
            id=first.id,
            stored=True,
            storage_path=path,
            next_agents=await self._next_agents(first),
            event_published=not await self._recorder.is_unannounced(first),
            timestamp=first.timestamp,
            duplicate=True,
        )

    async def _next_agents(self, result: Result) -> Sequence[NextAgent]:
        """Returns the suggestions; none if they cannot be read, because the result is stored all the same."""
        try:
            return await self._recorder.next_agents(result)
        except SidecarError as problem:
            log.warning("result %s is stored, but the next agents could not be read: %s", result.id, problem)
            return ()

    def _result(self, request: CreateResultRequest) -> Result:
        for name in ("agent_type", "issue_id"):
            if not getattr(request, name):
                raise invalid_request(f"{name} is required, because the token does not contain one", field=name)
        self._types.require(request.agent_type)
        work = _with_status(request.result)
        stamp = request.timestamp if request.HasField("timestamp") else self._clock.timestamp()
        return Result(
            id=ids.sortable("res"),
            agent_id=request.agent_id,
            agent_type=request.agent_type,
            issue_id=request.issue_id,
            project_id=request.project_id,
            result=work,
            timestamp=stamp,
        )


def _with_status(work: AgentResult) -> AgentResult:
    """Sets the default status ``success``. Raises SidecarError (REQ_001) if there are errors but no status."""
    if work.status == RESULT_STATUS_UNSPECIFIED:
        if work.errors:
            raise invalid_request(
                "result.status is required if there are errors: failed, partial or success", field="result.status"
            )
        work.status = RESULT_STATUS_SUCCESS
    return work
