"""The asynchronous client: schemas of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cco_sidecar.client.aio_calls import AsyncCalls
from orchestra.v1 import schema_service_pb2, schema_service_pb2_grpc


class Schemas:
    """JSON Schemas that the data of events must match, by event type. Only the operator sets and deletes them."""

    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = schema_service_pb2_grpc.SchemaServiceStub(client.channel)

    async def set(
        self, event_type: str, schema: Mapping[str, Any], *, project_id: str = ""
    ) -> schema_service_pb2.EventSchema:
        """Sets the schema of an event type. Raises InvalidRequestError that says what is wrong with it, and where."""
        request = schema_service_pb2.SetSchemaRequest(event_type=event_type, project_id=project_id)
        request.schema.update(schema)
        return (await self._client.call(self._stub.SetSchema, request)).schema

    async def get(self, event_type: str, *, project_id: str = "") -> schema_service_pb2.EventSchema:
        """Returns the schema of an event type. Raises NotFoundError."""
        request = schema_service_pb2.GetSchemaRequest(event_type=event_type, project_id=project_id)
        return (await self._client.call(self._stub.GetSchema, request)).schema

    async def list(self, *, project_id: str = "") -> Sequence[schema_service_pb2.EventSchema]:
        """Returns the project's schemas by event type, without the schemas themselves."""
        request = schema_service_pb2.ListSchemasRequest(project_id=project_id)
        return (await self._client.call(self._stub.ListSchemas, request)).schemas

    async def delete(self, event_type: str, *, project_id: str = "") -> None:
        """Deletes the schema of an event type. Raises NotFoundError."""
        request = schema_service_pb2.DeleteSchemaRequest(event_type=event_type, project_id=project_id)
        await self._client.call(self._stub.DeleteSchema, request)
