"""Jobs: sessions that the sidecar runs, started and resumed as the original does since 7 December 2025.

The ID of a job is that of its session, which is one job at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cco_sidecar.core import codec
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.gateway.orchestrator.bodies import Unprocessable, answer, detail, json_object, problem
from cco_sidecar.gateway.orchestrator.calls import Calls, calls_of
from orchestra.v1 import session_service_pb2 as pb

_START, _RESUME = "start_session", "resume_session"
_STATUS = {
    pb.SESSION_STATUS_PENDING: "pending",
    pb.SESSION_STATUS_RUNNING: "running",
    pb.SESSION_STATUS_FINISHED: "completed",
    pb.SESSION_STATUS_FAILED: "failed",
    pb.SESSION_STATUS_STOPPED: "failed",
}


async def create_job(request: Request) -> Response:
    optional: dict[str, type] = {"agent_name": str, "project_dir": str, "parent_session_name": str}
    body = await json_object(request, {"type": str, "session_name": str, "prompt": str}, optional)
    calls = calls_of(request)
    if body["type"] not in (_START, _RESUME):
        said = f"Input should be '{_START}' or '{_RESUME}'"
        raise Unprocessable([problem("literal_error", ["body", "type"], said)])
    if not _is_root(calls, body.get("project_dir", "")):
        raise detail(400, f"project_dir: the agents of this address work in {calls.root}")
    try:
        session = await (_started(calls, body) if body["type"] == _START else _resumed(calls, body))
    except SidecarError as error:
        if error.kind is Kind.NOT_FOUND:
            raise detail(404, error.message) from None
        raise
    return answer(_shape(session))


def _is_root(calls: Calls, project_dir: str) -> bool:
    try:
        return not project_dir or Path(project_dir).resolve() == calls.root.resolve()
    except (OSError, ValueError):
        # Such as one with a NUL.
        return False


async def _started(calls: Calls, body: dict[str, Any]) -> pb.Session:
    wanted = pb.CreateSessionRequest(
        name=body["session_name"],
        prompt=body["prompt"],
        blueprint=body.get("agent_name", ""),
        parent_session_id=body.get("parent_session_name", ""),
    )
    if wanted.parent_session_id:
        wanted.mode = pb.SESSION_MODE_CALLBACK
    return (await calls.call("SessionService/CreateSession", wanted, pb.CreateSessionResponse)).session


async def _resumed(calls: Calls, body: dict[str, Any]) -> pb.Session:
    wanted = pb.ResumeSessionRequest(session_id=body["session_name"], prompt=body["prompt"])
    return (await calls.call("SessionService/ResumeSession", wanted, pb.ResumeSessionResponse)).session


async def get_job(request: Request) -> Response:
    wanted = pb.GetSessionRequest(session_id=request.path_params["job_id"])
    try:
        found = await calls_of(request).call("SessionService/GetSession", wanted, pb.GetSessionResponse)
    except SidecarError as error:
        if error.kind is Kind.NOT_FOUND:
            raise detail(404, "Job not found") from None
        raise
    return answer(_shape(found.session))


def _shape(session: pb.Session) -> dict[str, Any]:
    value = codec.to_dict(session)
    status = _STATUS[session.status]
    return {
        "job_id": session.session_id,
        "type": _RESUME if session.HasField("last_resumed_at") else _START,
        "session_name": session.name,
        "agent_name": session.blueprint or None,
        "project_dir": session.project_dir or None,
        "status": status,
        "error": session.reason if status == "failed" else None,
        "created_at": value.get("last_resumed_at") or value["created_at"],
        "completed_at": value.get("ended_at"),
    }


ROUTES = [
    Route("/jobs", create_job, methods=["POST"]),
    Route("/jobs/{job_id}", get_job, methods=["GET"]),
]
