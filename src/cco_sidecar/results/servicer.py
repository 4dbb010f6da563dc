"""ResultService: unpack, call, pack."""

from __future__ import annotations

from cco_sidecar.core.principal import Principal
from cco_sidecar.results import read
from cco_sidecar.results.create import ResultWriter
from cco_sidecar.storage.base import ResultStore
from orchestra.v1 import result_service_pb2 as pb


class ResultServicer:
    def __init__(self, store: ResultStore, writer: ResultWriter, default_project: str) -> None:
        self._store = store
        self._writer = writer
        self._project = default_project

    async def CreateResult(self, request: pb.CreateResultRequest, principal: Principal) -> pb.CreateResultResponse:
        return await self._writer.create(request, principal)

    async def GetResult(self, request: pb.GetResultRequest, principal: Principal) -> pb.GetResultResponse:
        return await read.get_result(self._store, request, principal, self._project)

    async def ListResults(self, request: pb.ListResultsRequest, principal: Principal) -> pb.ListResultsResponse:
        return await read.list_results(self._store, request, principal, self._project)
