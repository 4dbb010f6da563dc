"""Storing a result: the record, the JSON file and the event, in one act."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TypeVar

import orjson
from google.protobuf.struct_pb2 import Struct

from cco_sidecar.auth.policy import own_issue, project_of
from cco_sidecar.bus.bus import EventBus
from cco_sidecar.core import codec, ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.background import Background
from cco_sidecar.core.bounds import too_large
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request, permission_denied
from cco_sidecar.core.principal import Principal
from cco_sidecar.results.next_agents import next_agents
from cco_sidecar.storage.base import ResultStore
from cco_sidecar.storage.files import write_atomically
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.result_service_pb2 import (
    RESULT_STATUS_FAILED,
    RESULT_STATUS_SUCCESS,
    RESULT_STATUS_UNSPECIFIED,
    AgentResult,
    CreateResultRequest,
    CreateResultResponse,
    NextAgent,
    Result,
    ResultStatus,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
_RETRY_SECONDS = 5.0
MAX_RESULT_BYTES = 2 * 2**20


class ResultWriter:
    """The record is written first and says that its event is still to come (a transactional outbox), so a crash
    anywhere leaves either nothing or a result whose file and event are made good at the next start."""

    def __init__(
        self,
        store: ResultStore,
        bus: EventBus,
        types: AgentTypes,
        clock: Clock,
        storage: Path,
        project: str,
        quota_mb: int,
        branch_of: Callable[[str], str],
    ) -> None:
        """``branch_of(agent_id)``: the branch that a running agent works on; empty for none."""
        self._store = store
        self._bus = bus
        self._types = types
        self._clock = clock
        self._storage = storage
        self._project = project
        self._quota = quota_mb * 2**20
        self._branch_of = branch_of
        self._writing = Lock()
        self._written: dict[Path, int] = {}
        self._finishing = Background()
        self._retries = Background()
        self.waiting: set[str] = set()

    async def create(self, request: CreateResultRequest, principal: Principal) -> CreateResultResponse:
        """Raises SidecarError: STR_001 when nothing could be stored."""
        result = self._result(request, principal)
        await self._require_room(result)
        # Once begun it is finished, also when the caller goes away.
        event_id = await self._finishing.finish(self._store_and_settle(result, principal.session))
        return CreateResultResponse(
            id=result.id,
            stored=True,
            storage_path=_path(result).as_posix(),
            next_agents=await self.next_agents(result),
            event_published=bool(event_id),
            event_id=event_id,
            timestamp=result.timestamp,
        )

    async def next_agents(self, result: Result) -> list[NextAgent]:
        """Who should come next, by what the issue had when this result was stored."""
        before = await self._store.outcomes(result.project_id, result.issue_id, before=result.id)
        return next_agents(self._types.next_agent_rules, self._types, result, before)

    async def recover(self, published: Callable[[str, str], str]) -> None:
        """Makes good what a crash interrupted. ``published(project, result_id)`` finds an event by its result."""
        for stored in await self._store.unpublished():
            result = stored.result
            await self._settle(stored.number, result, published(result.project_id, result.id))

    async def close(self) -> None:
        """Waits for what runs behind answers already given; what is still to be retried is at the next start."""
        await self._retries.end()
        await self._finishing.drain()

    def _result(self, request: CreateResultRequest, principal: Principal) -> Result:
        agent_type = request.agent_type or ("" if principal.operator else principal.agent_type)
        issue = request.issue_id or principal.issue_id
        for name, value in (("agent_type", agent_type), ("issue_id", issue)):
            if not value:
                raise invalid_request(f"{name} is required; the token names none", field=name)
        self._types.known(agent_type)
        work = _judged(request.result)
        project = project_of(principal, request.project_id, self._project)
        if not principal.operator:
            for name, given, own in (
                ("agent_id", request.agent_id or principal.subject, principal.subject),
                ("agent_type", agent_type, principal.agent_type),
            ):
                if given != own:
                    raise permission_denied(
                        f"an agent stores results as itself: {name} must be '{own}', not '{given}'",
                        field=name,
                    )
            own_issue(principal, issue, writing=True)
        stamp = request.timestamp if request.HasField("timestamp") else self._clock.timestamp()
        agent_id = request.agent_id or principal.subject
        return Result(
            id=ids.sortable("res"),
            agent_id=agent_id,
            agent_type=agent_type,
            issue_id=issue,
            project_id=project,
            result=work,
            timestamp=stamp,
            branch=self._branch_of(agent_id) or None,
        )

    async def _require_room(self, result: Result) -> None:
        """Raises SidecarError: REQ_004 for a result that is too large, STR_003 for a project whose results fill its
        quota."""
        size = result.ByteSize()
        if size > MAX_RESULT_BYTES:
            raise too_large("the result", size, MAX_RESULT_BYTES)
        stored = await self._store.stored_bytes(result.project_id)
        if stored + size > self._quota:
            raise SidecarError(
                Kind.RATE_LIMITED,
                "STR_003",
                f"the results of project '{result.project_id}' fill its quota of {self._quota >> 20} MB; raise "
                "results.quota_mb in the config",
                details={"quota_bytes": self._quota, "stored_bytes": stored},
            )

    async def _store_and_settle(self, result: Result, session: str) -> str:
        return await self._settle(await self._store.add(result, session), result)

    async def _settle(self, number: int, result: Result, event_id: str = "") -> str:
        """Writes the file and publishes the event of a stored result. What fails is tried again until it is done.
        Returns the event's id; empty when it is still to come."""
        problem: Exception | None = None
        try:
            newest = await self._store.newest(result.project_id, result.issue_id, result.agent_type)
            if newest is None or newest.number <= number:
                await asyncio.to_thread(self._write_file, number, result)
        except (OSError, ValueError, SidecarError) as failure:
            problem = failure
        try:
            if not event_id:
                event_id = (await self._bus.publish(result.project_id, _event(result))).event.event_id
        except SidecarError as failure:
            problem = failure
        if problem is None:
            self.waiting.discard(result.id)
            self._finishing.start(self._store.set_event(result.id, event_id), f"noting the event of {result.id}")
        else:
            log.warning("result %s is stored; its file or event is still to come: %s", result.id, problem)
            self.waiting.add(result.id)
            self._retries.start(self._retry(number, result, event_id), f"settling {result.id}")
        return event_id

    async def _retry(self, number: int, result: Result, event_id: str) -> None:
        await asyncio.sleep(_RETRY_SECONDS)
        await self._settle(number, result, event_id)

    def _write_file(self, number: int, result: Result) -> None:
        path = _path(result)
        text = orjson.dumps(codec.to_dict(result), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        # One at a time: the file is the newest result's, also when several are stored at once.
        with self._writing:
            if self._written.get(path, 0) < number:
                write_atomically(self._storage / path, text)
                self._written[path] = number


def _judged(work: AgentResult) -> AgentResult:
    """With its status. Raises SidecarError (REQ_001) for errors without one."""
    if work.status == RESULT_STATUS_UNSPECIFIED:
        if work.errors:
            raise invalid_request(
                "result.status is required where there are errors: failed, partial or success", field="result.status"
            )
        work.status = RESULT_STATUS_SUCCESS
    return work


def _path(result: Result) -> Path:
    """The documented place of a result's JSON file, below the storage directory."""
    return Path("results", result.project_id, result.issue_id, f"{result.agent_type}.json")


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
