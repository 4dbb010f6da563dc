"""Storing a result: the record, the JSON file and the event, in one act."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
from google.protobuf.struct_pb2 import Struct

from cco_sidecar.auth.policy import own_issue, project_of
from cco_sidecar.bus.bus import EventBus
from cco_sidecar.core import codec, ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, internal, permission_denied
from cco_sidecar.core.principal import Principal
from cco_sidecar.results.next_agents import next_agents
from cco_sidecar.storage.base import ResultStore
from cco_sidecar.storage.files import write_atomically
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.result_service_pb2 import (
    RESULT_STATUS_FAILED,
    CreateResultRequest,
    CreateResultResponse,
    Result,
    ResultStatus,
)

log = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0


class ResultWriter:
    """The record is written first and says that its event is still to come (a transactional outbox), so a crash
    anywhere leaves either nothing or a result whose file and event are made good at the next start."""

    def __init__(
        self, store: ResultStore, bus: EventBus, types: AgentTypes, clock: Clock, storage: Path, project: str
    ) -> None:
        self._store = store
        self._bus = bus
        self._types = types
        self._clock = clock
        self._storage = storage
        self._project = project
        self._written: dict[Path, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.waiting: dict[str, Result] = {}

    async def create(self, request: CreateResultRequest, principal: Principal) -> CreateResultResponse:
        result = self._result(request, principal)
        try:
            number = await self._store.add(result)
            path = await asyncio.to_thread(self._write_file, number, result)
        except OSError as problem:
            raise internal("STR_001", "the result could not be written to disk; try again") from problem
        event_id = await self._publish(result)
        return CreateResultResponse(
            id=result.id,
            stored=True,
            storage_path=path,
            next_agents=next_agents(self._types.next_agent_rules, self._types, result),
            event_published=bool(event_id),
            event_id=event_id,
            timestamp=result.timestamp,
        )

    async def recover(self, published: Callable[[str, str], str]) -> None:
        """Makes good what a crash interrupted. ``published(project, result_id)`` finds an event by its result."""
        for stored in await self._store.unpublished():
            newest = await self._store.newest(
                stored.result.project_id, stored.result.issue_id, stored.result.agent_type
            )
            await asyncio.to_thread(self._write_file, *(newest or stored)[:2])
            known = published(stored.result.project_id, stored.result.id)
            if known:
                await self._store.set_event(stored.result.id, known)
            else:
                await self._publish(stored.result)

    async def close(self) -> None:
        """Waits for what runs behind answers already given."""
        retrying = [task for task in self._tasks if task.get_name() == "retry"]
        for task in retrying:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _result(self, request: CreateResultRequest, principal: Principal) -> Result:
        self._types.known(request.agent_type)
        if not principal.operator:
            for name, given, own in (
                ("agent_id", request.agent_id or principal.subject, principal.subject),
                ("agent_type", request.agent_type, principal.agent_type),
            ):
                if given != own:
                    raise permission_denied(
                        f"an agent stores results as itself: {name} must be '{own}', not '{given}'",
                        field=name,
                    )
            own_issue(principal, request.issue_id, writing=True)
        stamp = request.timestamp if request.HasField("timestamp") else self._clock.timestamp()
        return Result(
            id=ids.sortable("res"),
            agent_id=request.agent_id or principal.subject,
            agent_type=request.agent_type,
            issue_id=request.issue_id,
            project_id=project_of(principal, request.project_id, self._project),
            result=request.result,
            timestamp=stamp,
        )

    def _write_file(self, number: int, result: Result) -> str:
        relative = Path("results", result.project_id, result.issue_id, f"{result.agent_type}.json")
        # The file is the newest result's, also when two were stored at once.
        if self._written.get(relative, 0) < number:
            self._written[relative] = number
            text = orjson.dumps(codec.to_dict(result), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            write_atomically(self._storage / relative, text)
        return relative.as_posix()

    async def _publish(self, result: Result) -> str:
        """The event's id; empty when it could not be published yet: then it is tried again until it is."""
        try:
            published = await self._bus.publish(result.project_id, _event(result))
        except SidecarError as problem:
            log.warning("result %s is stored, its event is still to be published: %s", result.id, problem)
            self.waiting[result.id] = result
            self._background(self._retry(result), "retry")
            return ""
        self.waiting.pop(result.id, None)
        event_id = published.event.event_id
        self._background(self._store.set_event(result.id, event_id), "set_event")
        return event_id

    async def _retry(self, result: Result) -> None:
        await asyncio.sleep(_RETRY_SECONDS)
        await self._publish(result)

    def _background(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _event(result: Result) -> Event:
    failed = result.result.status == RESULT_STATUS_FAILED
    data = Struct()
    data.update(
        {
            "issue_id": result.issue_id,
            "status": codec.enum_name(ResultStatus.DESCRIPTOR, result.result.status),
            "agent_type": result.agent_type,
            "agent_id": result.agent_id,
            "result_id": result.id,
        }
    )
    return Event(
        event_type="agent_failed" if failed else "agent_completed",
        publisher=result.agent_id,
        topic="error" if failed else "coordination",
        data=data,
        correlation_id=result.id,
    )
