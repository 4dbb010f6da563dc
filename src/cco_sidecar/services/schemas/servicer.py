"""SchemaService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from cco_sidecar.bus.schemas import EventSchemas
from cco_sidecar.core.principal import Principal
from orchestra.v1 import schema_service_pb2 as pb


class SchemaServicer:
    """Implements orchestra.v1.SchemaService. Errors are raised as SidecarError."""

    def __init__(self, schemas: EventSchemas) -> None:
        self._schemas = schemas

    async def SetSchema(self, request: pb.SetSchemaRequest, principal: Principal) -> pb.SetSchemaResponse:
        schema = pb.EventSchema(event_type=request.event_type, project_id=request.project_id, schema=request.schema)
        await self._schemas.set(schema)
        return pb.SetSchemaResponse(schema=schema)

    async def GetSchema(self, request: pb.GetSchemaRequest, principal: Principal) -> pb.GetSchemaResponse:
        return pb.GetSchemaResponse(schema=self._schemas.find(request.project_id, request.event_type))

    async def ListSchemas(self, request: pb.ListSchemasRequest, principal: Principal) -> pb.ListSchemasResponse:
        return pb.ListSchemasResponse(schemas=map(_without_schema, self._schemas.of(request.project_id)))

    async def DeleteSchema(self, request: pb.DeleteSchemaRequest, principal: Principal) -> pb.DeleteSchemaResponse:
        await self._schemas.delete(request.project_id, request.event_type)
        return pb.DeleteSchemaResponse(event_type=request.event_type)


def _without_schema(schema: pb.EventSchema) -> pb.EventSchema:
    return pb.EventSchema(event_type=schema.event_type, project_id=schema.project_id, updated_at=schema.updated_at)
