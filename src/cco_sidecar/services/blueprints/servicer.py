"""BlueprintService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from cco_sidecar.core.agent_types import AgentType, unknown_blueprint
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import Principal
from cco_sidecar.core.tags import tags_of
from cco_sidecar.services.blueprints import entries
from cco_sidecar.services.blueprints.changes import Changes
from cco_sidecar.supervision.catalogue import Catalogue
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1 import blueprint_service_pb2 as pb


class BlueprintServicer:
    """Implements orchestra.v1.BlueprintService. Errors are raised as SidecarError."""

    def __init__(self, catalogue: Catalogue, supervisor: Supervisor, clock: Clock) -> None:
        self._catalogue = catalogue
        self._changes = Changes(catalogue, supervisor, clock)

    async def CreateBlueprint(
        self, request: pb.CreateBlueprintRequest, principal: Principal
    ) -> pb.CreateBlueprintResponse:
        return pb.CreateBlueprintResponse(blueprint=await self._changes.create(request))

    async def GetBlueprint(self, request: pb.GetBlueprintRequest, principal: Principal) -> pb.GetBlueprintResponse:
        await self._catalogue.refresh()
        found = self._catalogue.types.get(request.name)
        if found is None:
            raise self._unknown(request.name)
        return pb.GetBlueprintResponse(blueprint=_seen_by(principal, found))

    async def ListBlueprints(
        self, request: pb.ListBlueprintsRequest, principal: Principal
    ) -> pb.ListBlueprintsResponse:
        tags_of(request.tags)
        await self._catalogue.refresh()
        types = self._catalogue.types
        listed = (_seen_by(principal, types[name]) for name in sorted(types))
        return pb.ListBlueprintsResponse(
            blueprints=[each for each in listed if entries.matches(each, request)],
            problems=self._catalogue.problems if principal.operator else (),
        )

    async def UpdateBlueprint(
        self, request: pb.UpdateBlueprintRequest, principal: Principal
    ) -> pb.UpdateBlueprintResponse:
        return pb.UpdateBlueprintResponse(blueprint=await self._changes.update(request))

    async def DeleteBlueprint(
        self, request: pb.DeleteBlueprintRequest, principal: Principal
    ) -> pb.DeleteBlueprintResponse:
        await self._changes.delete(request.name)
        return pb.DeleteBlueprintResponse(name=request.name)

    def _unknown(self, name: str) -> SidecarError:
        return unknown_blueprint(name, self._catalogue.types)


def _seen_by(principal: Principal, agent_type: AgentType) -> pb.Blueprint:
    """MCP servers may have secrets in their environment, headers or address."""
    shown = entries.of_type(agent_type)
    if not principal.operator:
        shown.mcp_servers.clear()
    return shown
