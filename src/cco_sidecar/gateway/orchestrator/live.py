"""What happens with sessions: WebSocket frames as in the original, and server-sent events that can be replayed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from starlette.endpoints import WebSocketEndpoint
from starlette.requests import HTTPConnection, Request
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
# How long a client gets nothing, at most; and how often it is looked at whether it still may get something.
_BEAT_SECONDS, _LOOK_SECONDS = 30.0, 5.0
# Clients at once: each may hold a list of all sessions.
_MAX_CLIENTS = 64
# Batches that wait for a client that does not read; then its subscription waits too.
_WAITING = 100


class Gap(NamedTuple):
    """Events that are no longer kept: what the client knows is out of date."""

    missed: int


class Live:
    """The frames of one client, after an event or from now on."""

    clients = 0

    def __init__(self, request: HTTPConnection, since: str = "") -> None:
        self.calls: Calls = request.state.calls
        self._allowed: Callable[[], bool] = request.state.allowed
        self._request = SubscribeRequest(topics=[_TOPIC], since=since)
        self._batches: asyncio.Queue[SubscribeResponse] = asyncio.Queue(_WAITING)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Returns once nothing that happens from now on is missed. Raises SidecarError."""
        if Live.clients >= _MAX_CLIENTS:
            raise SidecarError(Kind.UNAVAILABLE, "RATE_002", f"{_MAX_CLIENTS} clients follow sessions already")
        Live.clients += 1
        opened = asyncio.Event()

        async def send(response: Any) -> None:
            opened.set()
            batch: Any = response.message() if isinstance(response, Encoded) else response
            await self._batches.put(batch)

        follow = self.calls.stream("EventService/Subscribe", self._request, send)
        self._task = asyncio.create_task(follow, name="sessions of a client")
        opening = asyncio.ensure_future(opened.wait())
        await asyncio.wait({self._task, opening}, return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()
        if self._task.done():
            self._task.result()

    async def close(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            Live.clients -= 1
            task.cancel()
            with suppress(asyncio.CancelledError, SidecarError):
                await task

    async def frames(self) -> AsyncIterator[tuple[Event | Gap | None, dict[str, Any]]]:
        """Yields each event with its frame; now and then without one, None. Ends with the subscription, or when the
        capability is revoked."""
        while self._task is not None:
            batch = await self._next(self._task)
            if not self._allowed():
                return
            if batch is None:
                if self._task is None or self._task.done():
                    return
                yield None, {}
                continue
            if batch.HasField("gap"):
                yield Gap(int(batch.gap.missed)), {}
            for event in batch.events:
                frame = await self._frame(event)
                if frame is not None:
                    yield event, frame

    async def _next(self, task: asyncio.Task[None]) -> SubscribeResponse | None:
        """Returns the next batch; None if there is none for a while, or the subscription has ended."""
        if not self._batches.empty():
            return self._batches.get_nowait()
        getting = asyncio.ensure_future(self._batches.get())
        try:
            await asyncio.wait({getting, task}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()

    async def _frame(self, event: Event) -> dict[str, Any] | None:
        """Returns None for what no longer exists."""
        data = codec.struct_to_dict(event.data)
        session_id = str(data.get("session_id", ""))
        if event.event_type == _DELETED:
            return {"type": _DELETED, "session_id": session_id}
        try:
            if event.event_type in _CHANGES:
                wanted = pb.GetSessionRequest(session_id=session_id)
                found = await self.calls.call("SessionService/GetSession", wanted, pb.GetSessionResponse)
                return {"type": event.event_type, "session": session_shape(found.session)}
            number = int(data.get("sequence", 0))
            asked = pb.ListSessionEventsRequest(session_id=session_id, after=max(number - 1, 0), limit=1)
            listed = await self.calls.call("SessionService/ListSessionEvents", asked, pb.ListSessionEventsResponse)
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
        live = Live(websocket)
        try:
            await live.open()
        except SidecarError as problem:
            await live.close()
            await websocket.close(1013, problem.message[:120])
            return
        self._live = live
        await websocket.send_text(await _init(live.calls))
        self._sending = asyncio.create_task(self._send(websocket), name="frames of a client")

    async def _send(self, websocket: WebSocket) -> None:
        with suppress(WebSocketDisconnect, RuntimeError, OSError, SidecarError):
            async for event, frame in self._live.frames():
                if isinstance(event, Gap):
                    # The original has no other way to say that all may be different.
                    await websocket.send_text(await _init(self._live.calls))
                elif event is not None:
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
    only = request.query_params.get("session_id", "")
    last = request.headers.get("last-event-id", "")
    live = Live(request, last)
    try:
        await live.open()
    except SidecarError as problem:
        await live.close()
        raise detail(problem.kind.http_status, problem.message) from None
    init = request.query_params.get("include_init", "true").lower() in ("true", "1") and not last
    return StreamingResponse(
        _parts(live, only, init=init), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


async def _parts(live: Live, only: str, *, init: bool) -> AsyncIterator[str]:
    """Yields what a client gets; a comment if there is nothing for half a minute, so that proxies keep it open."""
    try:
        if init:
            yield f"event: init\ndata: {await _init(live.calls, only)}\n\n"
        beat_at = time.monotonic() + _BEAT_SECONDS
        async for event, frame in live.frames():
            part = ""
            if isinstance(event, Gap):
                gap = _text({"type": "gap", "missed": event.missed})
                part = f"event: gap\ndata: {gap}\n\nevent: init\ndata: {await _init(live.calls, only)}\n\n"
            elif event is not None and only in ("", _session_of(frame)):
                part = f"id: {event.event_id}\nevent: {frame['type']}\ndata: {_text(frame)}\n\n"
            elif time.monotonic() >= beat_at:
                part = ": beat\n\n"
            if part:
                yield part
                beat_at = time.monotonic() + _BEAT_SECONDS
    finally:
        await live.close()


async def _init(calls: Calls, only: str = "") -> str:
    """Returns the frame with all sessions, or with one."""
    shown = [session_shape(each) for each in await every_session(calls)]
    return _text({"type": "init", "sessions": [each for each in shown if only in ("", each["session_id"])]})


def _session_of(frame: dict[str, Any]) -> str:
    return str(frame.get("session_id") or (frame.get("session") or frame.get("data") or {}).get("session_id"))


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
