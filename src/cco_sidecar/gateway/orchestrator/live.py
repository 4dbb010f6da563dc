"""What happens with sessions: WebSocket frames as in the original, and server-sent events that can be replayed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import orjson
from starlette.endpoints import WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from cco_sidecar.core import codec
from cco_sidecar.core.calls import every_session
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.gateway.orchestrator.bodies import detail
from cco_sidecar.gateway.orchestrator.calls import Calls
from cco_sidecar.gateway.orchestrator.shapes import event_shape, session_shape
from orchestra.v1 import session_service_pb2 as pb
from orchestra.v1.event_service_pb2 import Event, SubscribeRequest, SubscribeResponse

_TOPIC = "sessions"
_CHANGES = ("session_created", "session_updated")
_DELETED = "session_deleted"
_BEAT_SECONDS = 30.0
# Batches that wait for a client that does not read; then its subscription waits too.
_WAITING = 100


class Live:
    """The frames of one client, after an event or from now on."""

    def __init__(self, calls: Calls, since: str = "") -> None:
        self._calls = calls
        self._request = SubscribeRequest(topics=[_TOPIC], since=since)
        self._batches: asyncio.Queue[SubscribeResponse | None] = asyncio.Queue(_WAITING)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Returns once nothing that happens from now on is missed. Raises SidecarError."""
        opened = asyncio.Event()

        async def send(response: Any) -> None:
            opened.set()
            batch: Any = response.message() if isinstance(response, Encoded) else response
            await self._batches.put(batch)

        async def follow() -> None:
            try:
                await self._calls.stream("EventService/Subscribe", self._request, send)
            finally:
                await self._batches.put(None)

        self._task = asyncio.create_task(follow(), name="sessions of a client")
        opening = asyncio.ensure_future(opened.wait())
        await asyncio.wait({self._task, opening}, return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()
        if self._task.done():
            self._task.result()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, SidecarError):
                await self._task

    async def frames(self) -> AsyncIterator[tuple[Event | None, dict[str, Any]]]:
        """Yields each event with its frame; every half minute without one, no event."""
        while True:
            try:
                batch = await asyncio.wait_for(self._batches.get(), _BEAT_SECONDS)
            except TimeoutError:
                yield None, {}
                continue
            if batch is None:
                return
            for event in batch.events:
                frame = await self._frame(event)
                if frame is not None:
                    yield event, frame

    async def _frame(self, event: Event) -> dict[str, Any] | None:
        """Returns None for what no longer exists."""
        data = codec.struct_to_dict(event.data)
        session_id = str(data.get("session_id", ""))
        if event.event_type == _DELETED:
            return {"type": _DELETED, "session_id": session_id}
        try:
            if event.event_type in _CHANGES:
                wanted = pb.GetSessionRequest(session_id=session_id)
                found = await self._calls.call("SessionService/GetSession", wanted, pb.GetSessionResponse)
                return {"type": event.event_type, "session": session_shape(found.session)}
            number = int(data.get("sequence", 0))
            asked = pb.ListSessionEventsRequest(session_id=session_id, after=max(number - 1, 0), limit=1)
            listed = await self._calls.call("SessionService/ListSessionEvents", asked, pb.ListSessionEventsResponse)
        except SidecarError as problem:
            if problem.kind is Kind.NOT_FOUND:
                return None
            raise
        happened = next((each for each in listed.events if each.sequence == number), None)
        return {"type": "event", "data": event_shape(happened)} if happened is not None else None


class SessionSocket(WebSocketEndpoint):
    """``/ws``: all sessions first, then what happens. What the client says is ignored."""

    async def decode(self, websocket: WebSocket, message: Any) -> str:
        # The server has dropped it.
        return ""

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self._live = Live(websocket.state.calls)
        await self._live.open()
        sessions = await _sessions(websocket.state.calls)
        await websocket.send_text(_text({"type": "init", "sessions": sessions}))
        self._sending = asyncio.create_task(self._send(websocket), name="frames of a client")

    async def _send(self, websocket: WebSocket) -> None:
        with suppress(WebSocketDisconnect, RuntimeError, OSError, SidecarError):
            async for event, frame in self._live.frames():
                if event is not None:
                    await websocket.send_text(_text(frame))
        if websocket.application_state is WebSocketState.CONNECTED:
            with suppress(RuntimeError, OSError):
                await websocket.close(1012)

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        if hasattr(self, "_sending"):
            self._sending.cancel()
        if hasattr(self, "_live"):
            await self._live.close()


async def stream_sessions(request: Request) -> StreamingResponse:
    """``/sse/sessions``: the same as server-sent events. ``Last-Event-ID`` continues after an event."""
    calls: Calls = request.state.calls
    only = request.query_params.get("session_id", "")
    last = request.headers.get("last-event-id", "")
    live = Live(calls, last)
    try:
        await live.open()
    except SidecarError as problem:
        await live.close()
        raise detail(problem.kind.http_status, problem.message) from None
    init = request.query_params.get("include_init", "true").lower() in ("true", "1") and not last
    sessions = await _sessions(calls) if init else []

    async def parts() -> AsyncIterator[str]:
        try:
            if init:
                shown = [each for each in sessions if only in ("", each["session_id"])]
                yield f"event: init\ndata: {_text({'type': 'init', 'sessions': shown})}\n\n"
            async for event, frame in live.frames():
                if event is None:
                    yield ": beat\n\n"
                elif only in ("", _session_of(frame)):
                    yield f"id: {event.event_id}\nevent: {frame['type']}\ndata: {_text(frame)}\n\n"
        finally:
            await live.close()

    return StreamingResponse(parts(), media_type="text/event-stream", headers={"cache-control": "no-store"})


def _session_of(frame: dict[str, Any]) -> str:
    return str(frame.get("session_id") or (frame.get("session") or frame.get("data") or {}).get("session_id"))


async def _sessions(calls: Calls) -> list[dict[str, Any]]:
    return [session_shape(each) for each in await every_session(calls)]


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
