"""The Agent Registry: blueprints (port 8767)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cco_sidecar.core import codec
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.gateway.orchestrator.bodies import Unprocessable, answer, detail, json_object, problem
from cco_sidecar.gateway.orchestrator.calls import calls_of
from cco_sidecar.gateway.orchestrator.shapes import agent_shape
from orchestra.v1 import blueprint_service_pb2 as pb

_FIELDS: dict[str, type] = {"system_prompt": str, "mcp_servers": dict, "skills": list}


def _refused(error: SidecarError, name: str) -> Exception:
    """Returns the original's error."""
    if error.kind is Kind.NOT_FOUND:
        return detail(404, f"Agent not found: {name}")
    if error.code == "BLP_002":
        return detail(409, f"Agent already exists: {name}")
    return detail(error.kind.http_status, error.message)


async def health(_: Request) -> Response:
    return answer({"status": "healthy"})


async def list_agents(request: Request) -> Response:
    wanted = pb.ListBlueprintsRequest(tags=[tag for tag in request.query_params.get("tags", "").split(",") if tag])
    found = await calls_of(request).call("BlueprintService/ListBlueprints", wanted, pb.ListBlueprintsResponse)
    return answer([agent_shape(each) for each in found.blueprints])


async def get_agent(request: Request) -> Response:
    name = request.path_params["name"]
    try:
        wanted = pb.GetBlueprintRequest(name=name)
        found = await calls_of(request).call("BlueprintService/GetBlueprint", wanted, pb.GetBlueprintResponse)
    except SidecarError as error:
        raise _refused(error, name) from None
    return answer(agent_shape(found.blueprint))


async def create_agent(request: Request) -> Response:
    body = await json_object(request, {"name": str, "description": str}, _FIELDS)
    wanted = codec.from_dict(pb.CreateBlueprintRequest, body)
    assert isinstance(wanted, pb.CreateBlueprintRequest)
    try:
        found = await calls_of(request).call("BlueprintService/CreateBlueprint", wanted, pb.CreateBlueprintResponse)
    except SidecarError as error:
        raise _refused(error, body["name"]) from None
    return answer(agent_shape(found.blueprint), 201)


async def update_agent(request: Request) -> Response:
    """An empty value clears a field; null leaves it."""
    body = await json_object(request, {}, {"description": str} | _FIELDS)
    clear = [name for name in ("mcp_servers", "skills") if body.get(name) in ([], {})]
    return await _updated(request, {**body, "clear": clear})


async def set_status(request: Request) -> Response:
    body = await json_object(request, {"status": str})
    if body["status"] not in ("active", "inactive"):
        raise Unprocessable([problem("literal_error", ["body", "status"], "Input should be 'active' or 'inactive'")])
    return await _updated(request, body)


async def _updated(request: Request, changes: dict[str, Any]) -> Response:
    name = request.path_params["name"]
    wanted = codec.from_dict(pb.UpdateBlueprintRequest, changes | {"name": name})
    assert isinstance(wanted, pb.UpdateBlueprintRequest)
    try:
        found = await calls_of(request).call("BlueprintService/UpdateBlueprint", wanted, pb.UpdateBlueprintResponse)
    except SidecarError as error:
        raise _refused(error, name) from None
    return answer(agent_shape(found.blueprint))


async def delete_agent(request: Request) -> Response:
    name = request.path_params["name"]
    try:
        wanted = pb.DeleteBlueprintRequest(name=name)
        await calls_of(request).call("BlueprintService/DeleteBlueprint", wanted, pb.DeleteBlueprintResponse)
    except SidecarError as error:
        if error.code == "BLP_002":
            raise detail(409, error.message) from None
        raise _refused(error, name) from None
    return Response(status_code=204)


ROUTES = [
    Route("/health", health, methods=["GET"]),
    Route("/agents", list_agents, methods=["GET"]),
    Route("/agents", create_agent, methods=["POST"]),
    Route("/agents/{name}", get_agent, methods=["GET"]),
    Route("/agents/{name}", update_agent, methods=["PATCH"]),
    Route("/agents/{name}", delete_agent, methods=["DELETE"]),
    Route("/agents/{name}/status", set_status, methods=["PATCH"]),
]
