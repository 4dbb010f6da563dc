"""What the rules do about one event: each matching rule yields actions, which are executed or, in mode ``dry_run``,
announced."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus.entry import Entry
from cco_sidecar.core import codec, tracing
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request, permission_denied
from cco_sidecar.core.ids import is_id
from cco_sidecar.core.principal import HANDOVER, OPERATOR, SIDECAR
from cco_sidecar.services.handover.notices import MAX_TEXT, OWN_EVENTS, Notices
from cco_sidecar.services.handover.rules import NEXT_AGENTS, OF_RESULTS, Plan, Rule
from cco_sidecar.storage.base import Stores
from cco_sidecar.supervision.approvals import Approvals
from cco_sidecar.supervision.life import Phase
from cco_sidecar.supervision.next_agents import holds
from cco_sidecar.supervision.results import ResultRecorder
from cco_sidecar.supervision.spawn import Descent
from cco_sidecar.supervision.supervision import Supervision
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_FAILED, Agent, SpawnAgentRequest
from orchestra.v1.approval_service_pb2 import APPROVAL_STATUS_APPROVED, Approval
from orchestra.v1.result_service_pb2 import Result

_FIELD = re.compile(r"\{([a-z_]+(?:\.[A-Za-z0-9_\-]+)*)\}")
# Publishers that may report about any agent.
_TRUSTED = (OPERATOR, SIDECAR)


@dataclass(frozen=True, slots=True)
class Action:
    """``execute`` does it. In mode ``dry_run``, ``check`` raises the SidecarError that would block it, and
    ``announced`` is what ``handover_planned`` says about it."""

    execute: Callable[[], Awaitable[object]]
    announced: Mapping[str, Any]
    check: Callable[[], Awaitable[object]] | None = None


class Reactions:
    """Applies the rules to events."""

    def __init__(
        self,
        plan: Plan,
        notices: Notices,
        *,
        supervision: Supervision,
        stores: Stores,
        recorder: ResultRecorder,
        approvals: Approvals,
    ) -> None:
        self._plan = plan
        self._notices = notices
        self._spawner = supervision.spawner
        self._supervisor = supervision.supervisor
        self._stores = stores
        self._recorder = recorder
        self._approvals = approvals
        self._types = supervision.types

    @property
    def on(self) -> bool:
        return self._plan.mode != "off"

    @property
    def active(self) -> bool:
        """Whether there are rules that act or announce what they would do."""
        return self.on and bool(self._plan.rules)

    def concerns(self, entry: Entry) -> bool:
        """Reports whether ``react`` could do anything about an event."""
        if entry.event_type in OWN_EVENTS:
            return False
        if entry.event_type == "approval_answered":
            return True
        return self.on and any(
            not rule.event_types or entry.event_type in rule.event_types for rule in self._plan.rules
        )

    async def react(self, project: str, entry: Entry) -> None:
        """Applies every rule that matches the event. Raises SidecarError if a failure may be temporary; then the event
        is to be handed in again."""
        if entry.event_type in OWN_EVENTS:
            return
        # What follows from the event belongs to its trace.
        with tracing.within(tracing.of_event(entry.event)):
            await self._react(project, entry)

    async def _react(self, project: str, entry: Entry) -> None:
        if entry.event_type == "approval_answered":
            await self._answered(project, entry)
        if not self.on:
            return
        for rule in self._plan.rules:
            if rule.event_types and entry.event_type not in rule.event_types:
                continue
            if rule.filter is not None and not rule.filter.matches(entry.fields):
                continue
            result = await self._result(project, entry)
            if rule.result is not None and (result is None or not holds(rule.result, self._types, result)):
                continue
            await self._unless_blocked(project, rule.name, entry, partial(self._apply, rule, project, entry, result))

    async def _apply(self, rule: Rule, project: str, entry: Entry, result: Result | None) -> None:
        if rule.do == "notify":
            actions = [self._notification(rule, project, entry)]
        elif rule.do == "retry":
            actions = await self._retries(rule, project, entry)
        else:
            actions = await self._spawns(rule, project, entry, result)
        for action in actions:
            if self._plan.mode == "dry_run":
                if action.check is not None:
                    await action.check()
                planned = {"do": rule.do, **action.announced}
                await self._notices.publish(project, "handover_planned", rule.name, entry, **planned)
            else:
                await action.execute()

    async def _unless_blocked(
        self, project: str, rule: str, entry: Entry, work: Callable[[], Awaitable[object]]
    ) -> None:
        """Does the work, and announces why if it is refused. Raises SidecarError if the failure may be temporary."""
        try:
            await work()
        except SidecarError as problem:
            if problem.kind is Kind.UNAVAILABLE or problem.code.startswith("STR_"):
                raise
            refused = {"reason": problem.message, "code": problem.code}
            await self._notices.publish(project, "spawn_blocked", rule, entry, **refused)

    # -- actions -------------------------------------------------------------------------------------------

    def _notification(self, rule: Rule, project: str, entry: Entry) -> Action:
        said = {"message": _filled(rule.message, entry)}
        return Action(partial(self._notices.publish, project, "handover_notification", rule.name, entry, **said), said)

    async def _spawns(self, rule: Rule, project: str, entry: Entry, result: Result | None) -> list[Action]:
        """One for each agent that the rule spawns or asks a person about. Raises SidecarError (AUTH_003, REQ_001)."""
        if rule.agent_type != NEXT_AGENTS:
            agent_types = [rule.agent_type]
        else:
            agent_types = [each.agent_type for each in await self._recorder.next_agents(result)] if result else []
        parent = await self._parent(project, entry)
        publisher = entry.publisher
        # An event of a person or of the sidecar that concerns no agent belongs to no agent's tree.
        first = Descent(1) if publisher in _TRUSTED and parent is None else None
        descent = first or Descent.below(parent.agent_id if parent else publisher, parent)
        actions = []
        for agent_type in agent_types:
            request = SpawnAgentRequest(
                agent_type=agent_type,
                issue_id=self._issue(entry, parent),
                project_id=project,
                task=_filled(rule.task, entry)[:MAX_TEXT].replace("\0", " "),
                priority=rule.priority,
            )
            cause = f"{entry.event_id}#{rule.name}#{agent_type}"
            announced = {"agent_type": agent_type, "issue_id": request.issue_id}
            if rule.do == "ask":
                question = _question(rule, project, entry, request, descent)
                actions.append(Action(partial(self._approvals.ask, question, cause), announced))
            else:
                execute = partial(self._spawner.hand_over, request, project, descent, cause)
                check = partial(self._spawner.check_limits, request, project, descent)
                actions.append(Action(execute, announced, check))
        return actions

    async def _retries(self, rule: Rule, project: str, entry: Entry) -> list[Action]:
        """One if the event's agent has failed and has an attempt left. Raises SidecarError (AUTH_003)."""
        agent_id = entry.text("agent_id") or ""
        if entry.publisher not in (*_TRUSTED, agent_id):
            raise permission_denied("an agent can request a retry only for itself", agent_id=agent_id)
        ending = self._supervisor.find(agent_id)
        if ending is not None and ending.life.phase is Phase.ENDED:
            # The end is being saved.
            await ending.ended.wait()
        stored = await self._stores.agents.by_id(agent_id)
        if stored is None or stored.agent.project_id != project or stored.agent.status != AGENT_STATUS_FAILED:
            return []
        if stored.agent.attempt >= rule.attempts:
            reason = f"the agent has used {stored.agent.attempt} of {rule.attempts} attempts"
            await self._notices.publish(project, "spawn_blocked", rule.name, entry, reason=reason)
            return []
        check = partial(self._spawner.require_may_retry, stored.agent)
        return [Action(partial(self._retry, rule, stored.agent), {"retried": agent_id}, check)]

    async def _retry(self, rule: Rule, agent: Agent) -> None:
        await self._spawner.require_may_retry(agent)
        try:
            await self._supervisor.resume(agent, "", f"retried by rule '{rule.name}'")
        except SidecarError as problem:
            # AGT_005: a person has already resumed it.
            if problem.code != "AGT_005":
                raise

    async def _answered(self, project: str, entry: Entry) -> None:
        """Spawns the agent that a rule asked for, once a person has approved it."""
        approval = await self._stores.approvals.by_id(entry.text("approval_id") or "")
        if approval is None or approval.requested_by != HANDOVER or approval.status != APPROVAL_STATUS_APPROVED:
            return
        wanted = codec.struct_to_dict(approval.data)
        request = codec.from_dict(SpawnAgentRequest, wanted["spawn"])
        assert isinstance(request, SpawnAgentRequest)
        descent = Descent(int(wanted["depth"]), str(wanted.get("tree", "")))
        spawn = partial(self._spawner.spawn_approved, request, approval.project_id, descent, approval.approval_id)
        await self._unless_blocked(project, str(wanted["rule"]), entry, spawn)

    # -- what an event is about ----------------------------------------------------------------------------

    async def _result(self, project: str, entry: Entry) -> Result | None:
        """Returns the result that an event announces; only events of the result's own agent count."""
        if entry.event_type not in OF_RESULTS or not (result_id := entry.text("result_id")):
            return None
        stored = await self._stores.results.by_id(project, result_id)
        own = stored is not None and stored.result.agent_id == entry.publisher
        return stored.result if stored is not None and own else None

    async def _parent(self, project: str, entry: Entry) -> Agent | None:
        """Returns the agent that published the event, or that an event of the sidecar or the operator is about."""
        publisher = entry.publisher
        agent_id = entry.text("agent_id") if publisher in _TRUSTED else publisher
        stored = await self._stores.agents.by_id(agent_id) if agent_id else None
        return stored.agent if stored is not None and stored.agent.project_id == project else None

    def _issue(self, entry: Entry, parent: Agent | None) -> str:
        """Returns the issue that an event is about. An agent may name only its own issue, because each has its own
        limits. Raises SidecarError (AUTH_003, REQ_001)."""
        named, publisher = entry.text("issue_id") or "", entry.publisher
        own = parent.issue_id if parent is not None else entry.event.publisher_issue_id
        if publisher in _TRUSTED:
            own = named or own
        elif not own:
            # An event of an earlier version. The limits apply all the same.
            own = named
        elif named and named != own:
            raise permission_denied(f"'{publisher}' works on issue '{own}', not on '{named}'", issue_id=own)
        if not is_id(own):
            raise invalid_request("the event names no issue_id", field="data.issue_id")
        return own


def _question(rule: Rule, project: str, entry: Entry, request: SpawnAgentRequest, descent: Descent) -> Approval:
    data = Struct()
    # Leave out unset enum fields: their name cannot be parsed again.
    spawn = {name: value for name, value in codec.to_dict(request).items() if value != "unspecified"}
    data.update({"spawn": spawn, "depth": descent.depth, "tree": descent.tree, "rule": rule.name})
    text = _filled(rule.message, entry)[:MAX_TEXT] or f"May a {request.agent_type} be spawned for {request.issue_id}?"
    return Approval(project_id=project, issue_id=request.issue_id, requested_by=HANDOVER, question=text, data=data)


def _filled(text: str, entry: Entry) -> str:
    """Replaces placeholders such as ``{issue_id}`` with values of the event's data or envelope. Unknown ones stay."""

    def value(match: re.Match[str]) -> str:
        name = match[1].removeprefix("data.")
        found: Any = entry.fields["data"]
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None:
            found = entry.fields.get(name, match[0])
        return str(found)

    return _FIELD.sub(value, text)
