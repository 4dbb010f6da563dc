"""Tools for sessions, with the names and arguments of the Agent Orchestrator Framework."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cco_sidecar.core import codec
from cco_sidecar.core.calls import Calls, every_session
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request
from cco_sidecar.mcp.texts import shown
from orchestra.v1 import blueprint_service_pb2 as blueprint_pb
from orchestra.v1 import session_service_pb2 as pb

_WAIT_MS = 60_000
_OPEN = (pb.SESSION_STATUS_PENDING, pb.SESSION_STATUS_RUNNING)
_MODES = {"async_poll": pb.SESSION_MODE_POLL, "async_callback": pb.SESSION_MODE_CALLBACK}

Mode = Literal["sync", "async_poll", "async_callback"]
Name = Annotated[str, Field(description="Name of the session: 1 to 60 letters, digits, '_' and '-'", max_length=60)]
Prompt = Annotated[str, Field(description="What its agent should do")]
Async = Annotated[bool, Field(alias="async", description="Return at once; read the result later")]
How = Annotated[
    Mode | None,
    Field(description="sync waits for the result; async_callback resumes your own session with it at the end"),
]
Format = Annotated[Literal["markdown", "json"], Field(description="Form of the answer")]
Directory = Annotated[str, Field(description="Ignored: the project of your token has one directory")]


async def list_agent_blueprints(calls: Calls, project_dir: Directory = "", response_format: Format = "markdown") -> str:
    """List the blueprints that sessions can be started with: names and descriptions."""
    wanted = blueprint_pb.ListBlueprintsRequest(status=blueprint_pb.BLUEPRINT_STATUS_ACTIVE)
    found = await calls.call("BlueprintService/ListBlueprints", wanted, blueprint_pb.ListBlueprintsResponse)
    pairs = [{"name": each.name, "description": each.description} for each in found.blueprints]
    if response_format == "json":
        return shown({"total": len(pairs), "agents": pairs})
    return "\n".join(f"- **{each['name']}**: {each['description']}" for each in pairs) or "No agent blueprints found"


async def list_agent_sessions(calls: Calls, project_dir: Directory = "", response_format: Format = "markdown") -> str:
    """List the sessions of the project, newest first: names, statuses, IDs."""
    found = [
        {
            "name": each.name,
            "sessionId": each.session_id,
            "projectDir": each.project_dir,
            "status": _status(each.status),
            "agent": each.blueprint,
        }
        for each in await every_session(calls)
    ]
    if response_format == "json":
        return shown({"total": len(found), "sessions": found})
    lines = [f"- **{each['name']}**: {each['status']} ({each['sessionId']}, {each['projectDir']})" for each in found]
    return "\n".join(lines) or "No sessions found"


async def start_agent_session(
    calls: Calls,
    session_name: Name,
    prompt: Prompt,
    agent_blueprint_name: Annotated[str, Field(description="Blueprint to use")] = "",
    agent_name: Annotated[str, Field(description="The same as agent_blueprint_name")] = "",
    parameters: Annotated[dict[str, Any] | None, Field(description="Parameters for the blueprint's schema")] = None,
    project_dir: Directory = "",
    async_: Async = False,
    mode: How = None,
) -> str:
    """Start an agent in a new session. By default waits for its end and returns its result."""
    if agent_blueprint_name and agent_name and agent_blueprint_name != agent_name:
        raise invalid_request("agent_name: give it or agent_blueprint_name, not both", field="agent_name")
    request = pb.CreateSessionRequest(name=session_name, prompt=prompt, blueprint=agent_blueprint_name or agent_name)
    request.mode = _mode(async_, mode)
    if parameters is not None:
        request.parameters.update(parameters)
    made = (await calls.call("SessionService/CreateSession", request, pb.CreateSessionResponse)).session
    return await _answer(calls, made, async_, mode)


async def resume_agent_session(
    calls: Calls,
    session_name: Name,
    prompt: Prompt,
    project_dir: Directory = "",
    async_: Async = False,
    mode: How = None,
) -> str:
    """Continue a session that has ended with another prompt. By default waits for its end and returns its result."""
    request = pb.ResumeSessionRequest(session_id=session_name, prompt=prompt, mode=_mode(async_, mode))
    resumed = (await calls.call("SessionService/ResumeSession", request, pb.ResumeSessionResponse)).session
    return await _answer(calls, resumed, async_, mode)


async def get_agent_session_status(
    calls: Calls,
    session_name: Name,
    wait_seconds: Annotated[int, Field(ge=0, le=300, description="Wait up to this long for its end")] = 0,
    project_dir: Directory = "",
) -> str:
    """Tell whether a session is running, finished or not_existent."""
    try:
        session = await _session(calls, session_name)
        if wait_seconds and session.status in _OPEN:
            await _result(calls, session_name, wait_seconds * 1000)
            session = await _session(calls, session_name)
    except SidecarError as problem:
        if problem.kind is not Kind.NOT_FOUND:
            raise
        return shown({"status": "not_existent"})
    status = "running" if session.status in _OPEN else "finished"
    return shown({"status": status, "outcome": _status(session.status), "reason": session.reason})


async def get_agent_session_result(calls: Calls, session_name: Name, project_dir: Directory = "") -> str:
    """Return the result of a session that has ended."""
    found = await _result(calls, session_name)
    if found.status in _OPEN:
        raise invalid_request(f"session '{session_name}' is still running: ask for its status first")
    return await _text(calls, session_name, found)


async def stop_agent_session(calls: Calls, session_name: Name) -> str:
    """Stop a session that runs."""
    request = pb.StopSessionRequest(session_id=session_name)
    stopped = (await calls.call("SessionService/StopSession", request, pb.StopSessionResponse)).session
    return shown({"session_name": stopped.name, "status": _status(stopped.status)})


async def delete_all_agent_sessions(calls: Calls, project_dir: Directory = "") -> str:
    """Stop and delete all sessions of the project."""
    every = await every_session(calls)
    for each in every:
        request = pb.DeleteSessionRequest(session_id=each.session_id, force=True)
        await calls.call("SessionService/DeleteSession", request, pb.DeleteSessionResponse)
    return "All sessions removed" if every else "No sessions to remove"


def _mode(later: bool, mode: Mode | None) -> pb.SessionMode:
    if mode == "sync" and later:
        raise invalid_request("mode: sync, and async is true as well", field="mode")
    # Even to wait: the wait can be repeated, the start cannot.
    return _MODES.get(mode or "", pb.SESSION_MODE_POLL)


async def _answer(calls: Calls, session: pb.Session, later: bool, mode: Mode | None) -> str:
    if later or mode in _MODES:
        text = "started: ask for its status with get_agent_session_status, then read get_agent_session_result"
        return shown({"session_name": session.name, "status": "running", "message": text})
    while True:
        found = await _result(calls, session.session_id, _WAIT_MS)
        if found.status not in _OPEN:
            return await _text(calls, session.session_id, found)


async def _text(calls: Calls, session_id: str, found: pb.GetSessionResultResponse) -> str:
    """Raises SidecarError if the session did not finish its work."""
    if found.status != pb.SESSION_STATUS_FINISHED:
        session = await _session(calls, session_id)
        said = f"; it said: {found.text}" if found.text else ""
        raise invalid_request(f"session '{session.name}' is {_status(found.status)}: {session.reason}{said}")
    if found.HasField("data"):
        return shown(codec.struct_to_dict(found.data))
    return found.text


async def _result(calls: Calls, session_id: str, timeout: int = 0) -> pb.GetSessionResultResponse:
    request = pb.GetSessionResultRequest(session_id=session_id, timeout=timeout)
    return await calls.call("SessionService/GetSessionResult", request, pb.GetSessionResultResponse)


async def _session(calls: Calls, session_id: str) -> pb.Session:
    request = pb.GetSessionRequest(session_id=session_id)
    return (await calls.call("SessionService/GetSession", request, pb.GetSessionResponse)).session


def _status(status: pb.SessionStatus) -> str:
    return codec.enum_name(pb.SessionStatus.DESCRIPTOR, status)


TOOLS = (
    list_agent_blueprints,
    list_agent_sessions,
    start_agent_session,
    resume_agent_session,
    get_agent_session_status,
    get_agent_session_result,
    stop_agent_session,
    delete_all_agent_sessions,
)
