"""ResultService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.principal import Principal
from cco_sidecar.services.results import read
from cco_sidecar.services.results.create import ResultCreator
from cco_sidecar.storage.base import Stores
from cco_sidecar.supervision.results import ResultRecorder
from orchestra.v1 import result_service_pb2 as pb


class ResultServicer:
    """Implements orchestra.v1.ResultService. Errors are raised as SidecarError."""

    def __init__(
        self,
        stores: Stores,
        recorder: ResultRecorder,
        types: AgentTypes,
        clock: Clock,
    ) -> None:
        self._store = stores.results
        self._recorder = recorder
        self._creator = ResultCreator(recorder, stores.agents, types, clock)

    async def CreateResult(self, request: pb.CreateResultRequest, principal: Principal) -> pb.CreateResultResponse:
        return await self._creator.create(request, principal)

    async def GetResult(self, request: pb.GetResultRequest, principal: Principal) -> pb.GetResultResponse:
        return await read.get_result(self._store, request, principal)

    async def ListNextAgents(
        self, request: pb.ListNextAgentsRequest, principal: Principal
    ) -> pb.ListNextAgentsResponse:
        wanted = pb.GetResultRequest(id=request.result_id, project_id=request.project_id)
        found = await read.get_result(self._store, wanted, principal)
        return pb.ListNextAgentsResponse(next_agents=await self._recorder.next_agents(found.result))

    async def ListResults(self, request: pb.ListResultsRequest, principal: Principal) -> pb.ListResultsResponse:
        return await read.list_results(self._store, request)
