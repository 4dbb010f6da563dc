"""The Agent Runtime: sessions and their events (port 8765)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from cco_sidecar.core import codec
from cco_sidecar.core.calls import every_session
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.gateway.orchestrator.bodies import answer, detail, json_object, number
from cco_sidecar.gateway.orchestrator.calls import Calls, calls_of
from cco_sidecar.gateway.orchestrator.live import SessionSocket, stream_sessions
from cco_sidecar.gateway.orchestrator.shapes import event_shape, session_shape
from orchestra.v1 import session_service_pb2 as pb

_PAGE = 1000
_MAX_NUMBER = 2**32 - 1
_EVENT_REQUIRED = {"event_type": str, "session_id": str, "session_name": str, "timestamp": str}
_EVENT_OPTIONAL: dict[str, type] = {
    "tool_name": str,
    "tool_input": dict,
    "tool_output": object,
    "error": str,
    "exit_code": int,
    "reason": str,
    "role": str,
    "content": list,
}


async def _find(request: Request) -> pb.Session:
    """Raises the original's 404."""
    wanted = pb.GetSessionRequest(session_id=request.path_params["session_id"])
    try:
        return (await calls_of(request).call("SessionService/GetSession", wanted, pb.GetSessionResponse)).session
    except SidecarError as error:
        if error.kind is Kind.NOT_FOUND:
            raise detail(404, "Session not found") from None
        raise


async def list_sessions(request: Request) -> Response:
    return answer({"sessions": [session_shape(each) for each in await every_session(calls_of(request))]})


async def create_session(request: Request) -> Response:
    optional: dict[str, type] = {"project_dir": str, "agent_name": str}
    body = await json_object(request, {"session_id": str, "session_name": str}, optional)
    return answer({"ok": True, "session": session_shape(await _registered(calls_of(request), body))})


async def _registered(calls: Calls, body: dict[str, Any]) -> pb.Session:
    wanted = pb.CreateSessionRequest(
        session_id=body["session_id"],
        name=body["session_name"],
        project_dir=body.get("project_dir", ""),
        blueprint=body.get("agent_name", ""),
        external=True,
    )
    try:
        return (await calls.call("SessionService/CreateSession", wanted, pb.CreateSessionResponse)).session
    except SidecarError as error:
        if error.kind is Kind.CONFLICT:
            raise detail(409, "Session already exists") from None
        raise


async def get_session(request: Request) -> Response:
    return answer({"session": session_shape(await _find(request))})


async def get_status(request: Request) -> Response:
    wanted = pb.GetSessionRequest(session_id=request.path_params["session_id"])
    try:
        found = await calls_of(request).call("SessionService/GetSession", wanted, pb.GetSessionResponse)
    except SidecarError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        return answer({"status": "not_existent"})
    return answer({"status": session_shape(found.session)["status"]})


async def get_result(request: Request) -> Response:
    session = await _find(request)
    if session_shape(session)["status"] != "finished":
        raise detail(400, "Session not finished")
    wanted = pb.GetSessionResultRequest(session_id=session.session_id)
    found = await calls_of(request).call("SessionService/GetSessionResult", wanted, pb.GetSessionResultResponse)
    if not found.text:
        raise detail(404, "No result found")
    return answer({"result": found.text})


async def list_events(request: Request) -> Response:
    await _find(request)
    return await list_events_of_any(request)


async def list_events_of_any(request: Request) -> Response:
    """The older path: an unknown session has no events."""
    session_id, calls = request.path_params["session_id"], calls_of(request)
    after, most = number(request, "after", 0, _MAX_NUMBER) or 0, number(request, "limit", None, _MAX_NUMBER)
    events: list[dict[str, Any]] = []
    while most is None or len(events) < most:
        limit = min(_PAGE, _PAGE if most is None else most - len(events))
        wanted = pb.ListSessionEventsRequest(session_id=session_id, after=after, limit=limit)
        try:
            page = await calls.call("SessionService/ListSessionEvents", wanted, pb.ListSessionEventsResponse)
        except SidecarError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            break
        events += map(event_shape, page.events)
        after = page.last
        if not page.more_available:
            break
    return answer({"events": events})


async def add_event(request: Request) -> Response:
    session = await _find(request)
    body = await json_object(request, _EVENT_REQUIRED, _EVENT_OPTIONAL)
    if body["session_id"] != request.path_params["session_id"]:
        raise detail(400, "Event session_id must match URL session_id")
    await calls_of(request).call(
        "SessionService/AddSessionEvent", _event_request(body, session.session_id), pb.AddSessionEventResponse
    )
    return answer({"ok": True})


async def receive_event(request: Request) -> Response:
    """The older path: an event of an unknown session makes it."""
    body = await json_object(request, _EVENT_REQUIRED, _EVENT_OPTIONAL)
    calls = calls_of(request)
    event = _event_request(body, body["session_id"])
    try:
        await calls.call("SessionService/AddSessionEvent", event, pb.AddSessionEventResponse)
    except SidecarError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        await _registered_once(calls, body)
        await calls.call("SessionService/AddSessionEvent", event, pb.AddSessionEventResponse)
    return answer({"ok": True})


async def _registered_once(calls: Calls, body: dict[str, Any]) -> None:
    """Registers a session, unless another event of it has done so in the meantime."""
    try:
        await _registered(calls, body)
    except HTTPException as refused:
        wanted = pb.GetSessionRequest(session_id=body["session_id"])
        try:
            await calls.call("SessionService/GetSession", wanted, pb.GetSessionResponse)
        except SidecarError:
            # Another session has the name.
            raise refused from None


def _event_request(body: dict[str, Any], session_id: str) -> pb.AddSessionEventRequest:
    """Raises SidecarError (REQ_001)."""
    given = {name: body[name] for name in ("event_type", *_EVENT_OPTIONAL) if name in body}
    found = codec.from_dict(pb.AddSessionEventRequest, given | {"session_id": session_id})
    assert isinstance(found, pb.AddSessionEventRequest)
    try:
        stamp = datetime.fromisoformat(body["timestamp"])
    except ValueError:
        # The original keeps whatever it gets; without a time there is the server's.
        return found
    aware = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    found.timestamp.FromDatetime(aware.astimezone(UTC))
    return found


async def update_metadata(request: Request) -> Response:
    session = await _find(request)
    body = await json_object(request, {}, {"session_name": str, "project_dir": str, "agent_name": str})
    wanted = pb.UpdateSessionRequest(session_id=session.session_id)
    for theirs, ours in (("session_name", "name"), ("project_dir", "project_dir"), ("agent_name", "blueprint")):
        if theirs in body and body[theirs] != getattr(session, ours):
            setattr(wanted, ours, body[theirs])
    found = await calls_of(request).call("SessionService/UpdateSession", wanted, pb.UpdateSessionResponse)
    return answer({"ok": True, "session": session_shape(found.session)})


async def stop_session(request: Request) -> Response:
    """Not in the original, whose dashboard only shows the button."""
    wanted = pb.StopSessionRequest(session_id=(await _find(request)).session_id)
    found = await calls_of(request).call("SessionService/StopSession", wanted, pb.StopSessionResponse)
    shown = session_shape(found.session)
    return answer({"ok": True, "session_id": shown["session_id"], "status": shown["status"]})


async def delete_session(request: Request) -> Response:
    session = await _find(request)
    wanted = pb.DeleteSessionRequest(session_id=session.session_id, force=True)
    found = await calls_of(request).call("SessionService/DeleteSession", wanted, pb.DeleteSessionResponse)
    deleted = {"session": True, "events_count": found.events_deleted}
    return answer({"ok": True, "session_id": session.session_id, "deleted": deleted})


ROUTES = [
    Route("/sessions", list_sessions, methods=["GET"]),
    Route("/sessions", create_session, methods=["POST"]),
    Route("/sessions/{session_id}", get_session, methods=["GET"]),
    Route("/sessions/{session_id}", delete_session, methods=["DELETE"]),
    Route("/sessions/{session_id}/status", get_status, methods=["GET"]),
    Route("/sessions/{session_id}/result", get_result, methods=["GET"]),
    Route("/sessions/{session_id}/events", list_events, methods=["GET"]),
    Route("/sessions/{session_id}/events", add_event, methods=["POST"]),
    Route("/sessions/{session_id}/metadata", update_metadata, methods=["PATCH"]),
    Route("/sessions/{session_id}/stop", stop_session, methods=["POST"]),
    Route("/events", receive_event, methods=["POST"]),
    Route("/events/{session_id}", list_events_of_any, methods=["GET"]),
    Route("/sse/sessions", stream_sessions, methods=["GET"]),
    WebSocketRoute("/ws", SessionSocket),
]
