"""Creates sessions and resumes them."""

from __future__ import annotations

import asyncio
import re
import secrets

import orjson

from cco_sidecar.bus.json_schema import JsonSchema, joined
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core import announcements, codec, ids
from cco_sidecar.core.agent_types import AgentType, AgentTypes
from cco_sidecar.core.bounds import quota_filled
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict, invalid_request, permission_denied
from cco_sidecar.core.metadata import check_metadata
from cco_sidecar.core.principal import Principal
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.services.sessions import access
from cco_sidecar.services.sessions.access import ENDED
from cco_sidecar.services.sessions.feed import Feed
from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.sessions import SessionChange
from cco_sidecar.supervision.active import ActiveAgent
from cco_sidecar.supervision.supervision import Supervision
from orchestra.v1.agent_service_pb2 import Agent, SpawnAgentRequest
from orchestra.v1.session_service_pb2 import (
    SESSION_MODE_CALLBACK,
    SESSION_MODE_POLL,
    SESSION_STATUS_PENDING,
    SESSION_STATUS_RUNNING,
    CreateSessionRequest,
    ResumeSessionRequest,
    Session,
    SessionMode,
)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


class Starter:
    """Starts the agents of sessions."""

    def __init__(
        self,
        stores: Stores,
        supervision: Supervision,
        feed: Feed,
        outbox: Outbox,
        types: AgentTypes,
        projects: Projects,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._sessions = stores.sessions
        self._agents = stores.agents
        self._spawner = supervision.spawner
        self._supervisor = supervision.supervisor
        self._feed = feed
        self._outbox = outbox
        self._types = types
        self._projects = projects
        self._default = settings.session_blueprint
        self._quota = settings.sessions_quota_mb * 2**20
        self._clock = clock

    async def create(self, request: CreateSessionRequest, principal: Principal) -> Session:
        """Raises SidecarError: SES_001 for its parent, SES_002 if the name is taken, REQ_001, STR_003, and those of a
        spawn."""
        check_name(request.name)
        check_metadata(request.metadata.items())
        await self.check_quota(request.project_id)
        parent = await self._parent(request, principal)
        session = self._new(request, parent, principal)
        if request.external:
            _check_external(request)
            session.status = SESSION_STATUS_RUNNING
        else:
            if request.session_id or request.project_dir:
                name = "session_id" if request.session_id else "project_dir"
                raise invalid_request(f"{name}: only for an external session", field=name)
            known = self._types.require_active(request.blueprint or self._default)
            check_parameters(known, request)
            session.blueprint, session.status = known.type, SESSION_STATUS_PENDING
            session.project_dir = str(self._projects.root(request.project_id))
        return await self._feed.background.finish(self._create(session, request, principal))

    async def _create(self, session: Session, request: CreateSessionRequest, principal: Principal) -> Session:
        # The name is taken before the agent is spawned: of two callers, one gets it.
        added = await self._sessions.add(
            SessionChange(session, (), lambda new, _: [announcements.of_session(new, "session_created", principal)])
        )
        if added is None:
            raise conflict(
                "SES_002",
                f"a session named '{session.name}', or with that ID, already exists; resume it, or choose another name",
                name=session.name,
            )
        for announcement in added.announcements:
            await self._outbox.publish(announcement)
        if request.external:
            return added.session
        try:
            active = await self._spawner.spawn(_spawn(session, request), principal, session.session_id)
        except SidecarError:
            await self._feed.remove(session.session_id, principal)
            raise
        await self._feed.attach(session.session_id, active.agent_id)
        await self._begun(active)
        return await access.require(self._sessions, session.project_id, session.session_id)

    async def _begun(self, active: ActiveAgent) -> None:
        """Waits for the start. What fails then is the end of the session."""
        if not self._supervisor.position(active.agent_id):
            await asyncio.wait({active.begun})

    async def resume(self, request: ResumeSessionRequest, principal: Principal) -> Session:
        """Raises SidecarError: SES_001, SES_003 if it has not ended or is external, STR_003, and those of a resume."""
        session = await access.require(self._sessions, request.project_id, request.session_id)
        if session.external:
            raise conflict("SES_003", f"session '{session.name}' is run by another program; resume it there")
        if request.mode == SESSION_MODE_CALLBACK and not session.parent_session_id:
            raise invalid_request("mode: a session without a parent has nobody to call back", field="mode")
        await self.check_quota(session.project_id)
        stored = await self._agents.by_id(session.agent_id)
        if stored is None or session.status not in ENDED or session.feed.open:
            raise conflict("SES_003", f"session '{session.name}' has not ended; stop it, or wait for its end")
        await self._spawner.require_may_resume(stored, principal)
        reason = f"resumed by {principal.subject}"
        return await self._feed.background.finish(
            self.run_again(session, stored.agent, request.prompt, reason, request.mode or SESSION_MODE_POLL)
        )

    async def run_again(self, session: Session, agent: Agent, prompt: str, reason: str, mode: SessionMode) -> Session:
        """Starts the agent of a session that has ended. Raises SidecarError."""
        active = await self._supervisor.resume(agent, prompt, reason)
        await self._feed.reopen(session.session_id, mode)
        await self._begun(active)
        return await access.require(self._sessions, session.project_id, session.session_id)

    async def check_quota(self, project: str) -> None:
        """Raises SidecarError (STR_003)."""
        stored = await self._sessions.stored_bytes(project)
        if stored >= self._quota:
            raise quota_filled("session events", project, stored, self._quota, "sessions.quota_mb")

    async def _parent(self, request: CreateSessionRequest, principal: Principal) -> Session | None:
        """Returns the session that starts the new one. Raises SidecarError."""
        own = None if principal.operator else await self._sessions.by_agent(principal.subject)
        if not request.parent_session_id:
            parent = own
        else:
            parent = await access.require(self._sessions, request.project_id, request.parent_session_id)
            if not principal.operator and parent.session_id != (own.session_id if own else ""):
                raise permission_denied("parent_session_id: an agent can start sessions of its own session only")
        if request.mode == SESSION_MODE_CALLBACK and (parent is None or parent.external):
            raise invalid_request(
                "mode: a callback needs a parent, which is a session that the sidecar runs", field="mode"
            )
        return parent

    def _new(self, request: CreateSessionRequest, parent: Session | None, principal: Principal) -> Session:
        now = self._clock.timestamp()
        issue = request.issue_id or (parent.issue_id if parent is not None else principal.issue_id)
        session_id = request.session_id or f"ses_{secrets.token_hex(6)}"
        session = Session(
            session_id=session_id,
            name=request.name,
            project_id=request.project_id,
            issue_id=issue or (request.name if ids.is_id(request.name) else session_id),
            blueprint=request.blueprint,
            project_dir=request.project_dir,
            parent_session_id=parent.session_id if parent is not None else "",
            mode=request.mode or SESSION_MODE_POLL,
            created_by=principal.subject,
            created_at=now,
            modified_at=now,
            metadata=request.metadata,
            external=request.external,
            parameters=request.parameters if request.HasField("parameters") else None,
        )
        session.feed.open = True
        session.feed.sidecar_id = self._supervisor.sidecar_id
        return session


def check_name(name: str) -> None:
    """Raises SidecarError (REQ_001)."""
    if not _NAME.fullmatch(name):
        raise invalid_request(
            f"name: {name[:80]!r} is not a valid name: use 1 to 60 letters, digits, '_' and '-'", field="name"
        )


def check_parameters(known: AgentType, request: CreateSessionRequest) -> None:
    """Raises SidecarError (REQ_001) that names a parameter."""
    if not request.prompt and not request.HasField("parameters"):
        raise invalid_request("prompt: a session needs a prompt or parameters", field="prompt")
    blueprint = known.blueprint
    if blueprint is None or not blueprint.HasField("parameters_schema"):
        return
    schema = JsonSchema(codec.struct_to_dict(blueprint.parameters_schema))
    mismatch = schema.mismatch(codec.struct_to_dict(request.parameters))
    if mismatch is not None:
        field = joined("parameters", mismatch.path)
        raise invalid_request(f"{field}{mismatch.said} (schema of blueprint '{known.type}')", field=field)


def _check_external(request: CreateSessionRequest) -> None:
    """Raises SidecarError (REQ_001)."""
    for name in ("prompt", "model", "parameters"):
        if name in {field.name for field, _ in request.ListFields()}:
            raise invalid_request(f"{name}: an external session is not started by the sidecar", field=name)
    if request.mode == SESSION_MODE_CALLBACK:
        raise invalid_request("mode: the sidecar does not start an external session", field="mode")


def _spawn(session: Session, request: CreateSessionRequest) -> SpawnAgentRequest:
    task = request.prompt
    if request.HasField("parameters"):
        shown = orjson.dumps(codec.struct_to_dict(request.parameters), option=orjson.OPT_INDENT_2).decode()
        task = f"{task}\n\nParameters:\n\n```json\n{shown}\n```".lstrip()
    return SpawnAgentRequest(
        agent_type=session.blueprint,
        issue_id=session.issue_id,
        project_id=session.project_id,
        task=task,
        model=request.model,
    )
