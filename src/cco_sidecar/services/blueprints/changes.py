"""Makes, changes and deletes blueprints, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from cco_sidecar.bus.json_schema import InvalidSchemaError, JsonSchema, joined
from cco_sidecar.core import codec
from cco_sidecar.core.agent_types import unknown_blueprint
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SettingsError, SidecarError, conflict, internal, invalid_request
from cco_sidecar.core.tags import tags_of
from cco_sidecar.services.blueprints import entries
from cco_sidecar.storage.blueprints import NAME, set_server_types
from cco_sidecar.supervision.catalogue import Catalogue
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.blueprint_service_pb2 import (
    BLUEPRINT_STATUS_ACTIVE,
    Blueprint,
    CreateBlueprintRequest,
    McpServer,
    UpdateBlueprintRequest,
)

T = TypeVar("T")

_MAX_BYTES = 1024 * 1024
_SCHEMAS = ("parameters_schema", "output_schema")
# What an update replaces as a whole.
_REPLACED = ("mcp_servers", "skills", "tags", "capabilities", "languages", "file_patterns", "permissions", *_SCHEMAS)
_SCALARS = ("description", "system_prompt", "model")


class Changes:
    """Each change runs to completion even if its caller is cancelled."""

    def __init__(self, catalogue: Catalogue, supervisor: Supervisor, clock: Clock) -> None:
        self._catalogue = catalogue
        self._supervisor = supervisor
        self._clock = clock
        self._background = Background()

    async def create(self, request: CreateBlueprintRequest) -> Blueprint:
        """Raises SidecarError: REQ_001, BLP_002 if the name is taken."""
        blueprint = Blueprint.FromString(request.SerializeToString())
        blueprint.status = BLUEPRINT_STATUS_ACTIVE
        blueprint.created_at.CopyFrom(self._clock.timestamp())
        self._check(blueprint)
        return await self._background.finish(self._create(blueprint))

    async def _create(self, blueprint: Blueprint) -> Blueprint:
        async with self._catalogue.changing:
            await self._catalogue.refresh()
            free = blueprint.name not in self._catalogue.types
            if not free or not await _on_disk(asyncio.to_thread(self._catalogue.directory.add, blueprint)):
                raise conflict("BLP_002", f"there is already a blueprint or agent type '{blueprint.name}'")
            return await self._read_back(blueprint.name)

    async def update(self, request: UpdateBlueprintRequest) -> Blueprint:
        """Raises SidecarError: AGT_002, REQ_001, BLP_001 for an agent type of the configuration."""
        return await self._background.finish(self._update(request))

    async def _update(self, request: UpdateBlueprintRequest) -> Blueprint:
        async with self._catalogue.changing:
            blueprint = await self._require(request.name)
            for name in _SCALARS:
                if request.HasField(name):
                    setattr(blueprint, name, getattr(request, name))
            blueprint.group = request.group or blueprint.group
            blueprint.status = request.status or blueprint.status
            given = {field.name for field, _ in request.ListFields()}
            for name in _REPLACED:
                if name in given and name in request.clear:
                    raise invalid_request(f"clear: {name} is given as well", field="clear")
                if name in given or name in request.clear:
                    blueprint.ClearField(name)
            only = UpdateBlueprintRequest()
            only.CopyFrom(request)
            for name in {*given} - {*_REPLACED}:
                only.ClearField(name)
            # The fields of both messages have the same numbers.
            blueprint.MergeFromString(only.SerializeToString())
            if not blueprint.description:
                raise invalid_request("description: a blueprint needs one", field="description")
            self._check(blueprint)
            await _on_disk(asyncio.to_thread(self._catalogue.directory.write, blueprint))
            return await self._read_back(request.name)

    async def delete(self, name: str) -> None:
        """Raises SidecarError: AGT_002, BLP_001 for an agent type of the configuration, BLP_002 while agents use it."""
        await self._background.finish(self._delete(name))

    async def _delete(self, name: str) -> None:
        async with self._catalogue.changing:
            await self._require(name)
            running = [each.agent_id for each in self._supervisor.active.values() if each.record.agent_type == name]
            if running:
                raise conflict("BLP_002", f"agents of '{name}' run or wait; stop them first: {', '.join(running[:5])}")
            await _on_disk(asyncio.to_thread(self._catalogue.directory.remove, name))
            await self._catalogue.refresh()

    async def _require(self, name: str) -> Blueprint:
        """Returns a copy of a blueprint. Raises SidecarError."""
        await self._catalogue.refresh()
        found = self._catalogue.types.get(name)
        if found is None:
            raise unknown_blueprint(name, self._catalogue.types)
        if found.blueprint is None:
            raise conflict("BLP_001", f"agent type '{name}' is defined in the configuration; change it there")
        copy = Blueprint()
        copy.CopyFrom(found.blueprint)
        return copy

    async def _read_back(self, name: str) -> Blueprint:
        await self._catalogue.refresh()
        return entries.of_type(self._catalogue.types.require(name))

    def _check(self, blueprint: Blueprint) -> None:
        """Raises SidecarError (REQ_001)."""
        if blueprint.ByteSize() > _MAX_BYTES:
            raise invalid_request(f"it has {blueprint.ByteSize()} bytes; {_MAX_BYTES} are allowed")
        if not NAME.fullmatch(blueprint.name):
            raise invalid_request(
                f"name: {blueprint.name[:80]!r} is not a valid name: use 1 to 60 letters, digits, '_' and '-', and a "
                "letter or digit first",
                field="name",
            )
        blueprint.tags[:] = tags_of(blueprint.tags)
        set_server_types(blueprint)
        for name, server in blueprint.mcp_servers.items():
            _check_server(f"mcp_servers.{name[:80]}", server)
        for name in _SCHEMAS:
            if blueprint.HasField(name):
                _check_schema(name, blueprint)
        try:
            self._catalogue.types.of_blueprint(blueprint)
        except SettingsError as problem:
            raise invalid_request(str(problem)) from problem


def _check_server(where: str, server: McpServer) -> None:
    needed, other = ("command", "url") if server.type == "stdio" else ("url", "command")
    if not getattr(server, needed):
        raise invalid_request(f"{where}.{needed} is required for type '{server.type}'", field=where)
    if getattr(server, other):
        raise invalid_request(f"{where}.{other} is not for type '{server.type}'", field=where)


def _check_schema(name: str, blueprint: Blueprint) -> None:
    try:
        JsonSchema(codec.struct_to_dict(getattr(blueprint, name)))
    except InvalidSchemaError as problem:
        field = joined(name, problem.path)
        raise invalid_request(f"{field}: {problem}", field=field) from problem


async def _on_disk(work: Awaitable[T]) -> T:
    """Raises SidecarError (STR_001)."""
    try:
        return await work
    except OSError as problem:
        raise _not_written(problem) from problem


def _not_written(problem: OSError) -> SidecarError:
    return internal("STR_001", f"the blueprint could not be written: {problem.strerror or problem}")
