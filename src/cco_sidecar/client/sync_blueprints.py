# Written by scripts/unasync.py from aio_blueprints.py; change that file.
"""The synchronous client: the catalogue of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from cco_sidecar.client import requests
from cco_sidecar.client.sync_calls import Calls
from orchestra.v1 import blueprint_service_pb2 as blueprint_pb
from orchestra.v1 import blueprint_service_pb2_grpc

M = TypeVar("M", bound=Message)

_ORIGINS = {None: "", True: "configuration", False: "directory"}


class Blueprints:
    """The agent types of the configuration, and blueprints. Only the operator makes, changes and deletes those.

    MCP servers are given as in an MCP configuration, such as ``{"pw": {"command": "npx", "args": ["x"]}}``.
    """

    def __init__(self, client: Calls) -> None:
        self._client = client
        self._stub = blueprint_service_pb2_grpc.BlueprintServiceStub(client.channel)

    def create(
        self,
        name: str,
        description: str,
        *,
        system_prompt: str = "",
        mcp_servers: Mapping[str, Mapping[str, Any]] | None = None,
        skills: Sequence[str] = (),
        tags: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        languages: Sequence[str] = (),
        group: str = "",
        model: str = "",
        file_patterns: Sequence[str] = (),
        permissions: Sequence[str] = (),
        parameters_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
    ) -> blueprint_pb.Blueprint:
        """Makes a blueprint. Raises ConflictError if the name is taken."""
        request = _request(
            blueprint_pb.CreateBlueprintRequest,
            name=name,
            description=description,
            system_prompt=system_prompt,
            mcp_servers=mcp_servers,
            skills=skills,
            tags=tags,
            capabilities=capabilities,
            languages=languages,
            group=group,
            model=model,
            file_patterns=file_patterns,
            permissions=permissions,
            parameters_schema=parameters_schema,
            output_schema=output_schema,
        )
        return (self._client.call(self._stub.CreateBlueprint, request)).blueprint

    def get(self, name: str) -> blueprint_pb.Blueprint:
        """Returns a blueprint or an agent type. Raises NotFoundError."""
        request = blueprint_pb.GetBlueprintRequest(name=name)
        return (self._client.call(self._stub.GetBlueprint, request)).blueprint

    def list(
        self, query: str = "", *, tags: Sequence[str] = (), status: str = "", configured: bool | None = None
    ) -> blueprint_pb.ListBlueprintsResponse:
        """Returns the entries with all words of ``query`` and all ``tags``, sorted by name.

        ``status`` is ``active``, ``inactive``, or empty for both. ``configured``: only agent types of the configuration
        (True), or only blueprints (False).
        """
        origin = _ORIGINS[configured]
        request = _request(
            blueprint_pb.ListBlueprintsRequest, query=query, tags=tags, status=status or None, origin=origin or None
        )
        return self._client.call(self._stub.ListBlueprints, request)

    def update(
        self,
        name: str,
        *,
        description: str | None = None,
        system_prompt: str | None = None,
        mcp_servers: Mapping[str, Mapping[str, Any]] | None = None,
        skills: Sequence[str] = (),
        tags: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        languages: Sequence[str] = (),
        group: str = "",
        model: str | None = None,
        file_patterns: Sequence[str] = (),
        permissions: Sequence[str] = (),
        parameters_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        status: str = "",
        clear: Sequence[str] = (),
    ) -> blueprint_pb.Blueprint:
        """Replaces what is given. ``status``: ``active`` or ``inactive``; ``clear``: names of lists, maps and schemas
        to empty. Raises NotFoundError, ConflictError for an agent type of the configuration."""
        request = _request(
            blueprint_pb.UpdateBlueprintRequest,
            name=name,
            description=description,
            system_prompt=system_prompt,
            mcp_servers=mcp_servers,
            skills=skills,
            tags=tags,
            capabilities=capabilities,
            languages=languages,
            group=group,
            model=model,
            file_patterns=file_patterns,
            permissions=permissions,
            parameters_schema=parameters_schema,
            output_schema=output_schema,
            status=status or None,
            clear=clear,
        )
        return (self._client.call(self._stub.UpdateBlueprint, request)).blueprint

    def delete(self, name: str) -> None:
        """Deletes a blueprint. Raises NotFoundError, ConflictError while its agents run."""
        self._client.call(self._stub.DeleteBlueprint, blueprint_pb.DeleteBlueprintRequest(name=name))


def _request(message_type: type[M], **fields: Any) -> M:
    """Raises InvalidRequestError that names a field of the wrong form."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    return requests.read(message_type, {name: value for name, value in given.items() if value is not None})
