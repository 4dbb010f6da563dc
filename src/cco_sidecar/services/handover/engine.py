"""The hand-over engine: matches rules against every event and result, read from the event log.

In mode ``dry_run`` a matching rule only publishes what it would do. No rule acts twice on the same event: what an event
caused is stored with the event's id.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.entry import Entry
from cco_sidecar.core import codec
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request, permission_denied
from cco_sidecar.core.ids import is_id
from cco_sidecar.core.principal import HANDOVER, OPERATOR, SIDECAR
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
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.result_service_pb2 import Result

log = logging.getLogger(__name__)

# Events that rules publish do not trigger rules.
_OWN = frozenset({"handover_planned", "handover_notification", "handover_gap", "spawn_blocked", "approval_requested"})
_FIELD = re.compile(r"\{([a-z_]+(?:\.[A-Za-z0-9_\-]+)*)\}")
_RETRY_SECONDS = 5.0
_READ_AT_ONCE = 1000
_LONGEST_TEXT = 10_000
# Marks among the positions that the rules have run before; no project has this name.
_BEGUN = ""
# Publishers that may report about any agent.
_TRUSTED = (OPERATOR, SIDECAR)


class Handover:
    """Runs the rules. Reads each project's log in order, and stores the position."""

    def __init__(
        self,
        plan: Plan,
        supervision: Supervision,
        stores: Stores,
        bus: EventBus,
        recorder: ResultRecorder,
        asking: Approvals,
        tokens: Tokens,
        types: AgentTypes,
    ) -> None:
        self._plan = plan
        self._spawner = supervision.spawner
        self._supervisor = supervision.supervisor
        self._stores = stores
        self._bus = bus
        self._recorder = recorder
        self._asking = asking
        self._tokens = tokens
        self._types = types
        self._read: dict[str, int] = {}
        # What was published about events that are read again after a crash or a failure.
        self._said: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
        self._waiting: set[str] = set()
        self._nudge = asyncio.Event()

    def on_event(self, project: str, entry: Entry) -> None:
        """Schedules a read of the project's log."""
        self._wake(project)

    def _wake(self, project: str) -> None:
        self._waiting.add(project)
        self._nudge.set()

    async def recover(self) -> None:
        """Continues where an earlier sidecar stopped. Raises SidecarError.

        On the first start ever, existing projects begin at their newest event.
        """
        self._bus.listen(self.on_event)
        known = await self._stores.handover.positions()
        if _BEGUN not in known:
            # The first start ever: skip earlier events. Later, a project without a position is new.
            for project in await self._bus.projects():
                known.setdefault(project, (await self._bus.read(project, 0, 0)).head)
                await self._stores.handover.set_position(project, known[project])
            await self._stores.handover.set_position(_BEGUN, 0)
        for project in await self._bus.projects():
            self._read[project] = known.get(project, 0)
            after = self._read[project]
            while entries := (await self._bus.read(project, after, _READ_AT_ONCE)).entries:
                for entry in entries:
                    if entry.event_type in _OWN:
                        about = entry.text("event_id") or ""
                        self._said[about].add((entry.event_type, entry.text("rule"), entry.text("agent_type")))
                after = entries[-1].seq
            self._wake(project)

    async def run(self) -> None:
        """Processes new events until it is cancelled; retries after an error."""
        while True:
            await self._nudge.wait()
            self._nudge.clear()
            while self._waiting:
                project = self._waiting.pop()
                try:
                    await self._catch_up(project)
                except SidecarError as problem:
                    log.warning("hand-over of project %s failed, retrying: %s", project, problem)
                    await asyncio.sleep(_RETRY_SECONDS)
                    self._wake(project)

    async def _catch_up(self, project: str) -> None:
        page = await self._bus.read(project, self._read.get(project, 0), _READ_AT_ONCE)
        await self._declare_gap(project, page.trimmed)
        if not page.entries:
            return
        for entry in page.entries:
            try:
                await self._react(project, entry)
            except SidecarError:
                raise
            except Exception:
                # An event that cannot be processed must not block those after it.
                log.exception("could not process an event of project %s", project)
            self._read[project] = entry.seq
            self._said.pop(entry.event_id, None)
        await self._stores.handover.set_position(project, page.entries[-1].seq)
        if page.entries[-1].seq < page.head:
            self._wake(project)

    async def _declare_gap(self, project: str, trimmed: int) -> None:
        """Publishes a gap if events were trimmed before they were read: no rule will process them."""
        read = self._read.get(project, 0)
        if trimmed <= read or self._plan.mode == "off" or not self._plan.rules:
            return
        data = Struct()
        data.update({"missed": trimmed - read})
        await self._bus.publish(project, Event(event_type="handover_gap", publisher=SIDECAR, topic="error", data=data))
        self._read[project] = trimmed

    async def _react(self, project: str, entry: Entry) -> None:
        if entry.event_type in _OWN:
            return
        if entry.event_type == "approval_answered":
            await self._answered(project, entry)
        if self._plan.mode == "off":
            return
        for rule in self._plan.rules:
            if rule.event_types and entry.event_type not in rule.event_types:
                continue
            if rule.filter is not None and not rule.filter.matches(entry.fields):
                continue
            result = await self._result(project, entry)
            if rule.result is not None and (result is None or not holds(rule.result, self._types, result)):
                continue
            try:
                await self._apply(rule, project, entry, result)
            except SidecarError as problem:
                if _passes(problem):
                    raise
                await self._say(project, "spawn_blocked", rule.name, entry, reason=problem.message, code=problem.code)

    async def _result(self, project: str, entry: Entry) -> Result | None:
        """Returns the result that an event announces; only events of the result's own agent count."""
        if entry.event_type not in OF_RESULTS or not (result_id := entry.text("result_id")):
            return None
        stored = await self._stores.results.by_id(project, result_id)
        own = stored is not None and stored.result.agent_id == entry.publisher
        return stored.result if stored is not None and own else None

    async def _apply(self, rule: Rule, project: str, entry: Entry, result: Result | None) -> None:
        if rule.do == "notify":
            message = _filled(rule.message, entry)
            if self._plan.mode == "dry_run":
                await self._say(project, "handover_planned", rule.name, entry, do="notify", message=message)
            else:
                await self._say(project, "handover_notification", rule.name, entry, message=message)
        elif rule.do == "retry":
            await self._retry(rule, project, entry)
        else:
            for agent_type in await self._wanted(rule, result):
                await self._spawn(rule, project, entry, agent_type)

    async def _wanted(self, rule: Rule, result: Result | None) -> list[str]:
        if rule.agent_type != NEXT_AGENTS:
            return [rule.agent_type]
        return [each.agent_type for each in await self._recorder.next_agents(result)] if result else []

    async def _spawn(self, rule: Rule, project: str, entry: Entry, agent_type: str) -> None:
        parent = await self._parent(project, entry)
        issue = self._issue(entry, parent)
        request = SpawnAgentRequest(
            agent_type=agent_type,
            issue_id=issue,
            project_id=project,
            task=_filled(rule.task, entry)[:_LONGEST_TEXT].replace("\0", " "),
            priority=rule.priority,
        )
        if self._plan.mode == "dry_run":
            planned = {"do": rule.do, "agent_type": agent_type, "issue_id": issue}
            await self._say(project, "handover_planned", rule.name, entry, **planned)
            return
        cause = f"{entry.event_id}#{rule.name}#{agent_type}"
        publisher = entry.publisher
        # An event of a person or of the sidecar that concerns no agent belongs to no agent's tree.
        first = Descent(1) if publisher in _TRUSTED and parent is None else None
        descent = first or Descent.below(parent.agent_id if parent else publisher, parent)
        if rule.do == "ask":
            await self._asking.ask(_question(rule, project, entry, request, descent), cause)
        else:
            await self._spawner.hand_over(request, project, descent, cause)

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
        own = parent.issue_id if parent is not None else self._tokens.issue_of(publisher) or ""
        if publisher in _TRUSTED:
            own = named or own
        elif not own:
            # The agent was not spawned here, and its token was created before a restart. The limits apply all the same.
            own = named
        elif named and named != own:
            raise permission_denied(f"'{publisher}' works on issue '{own}', not on '{named}'", issue_id=own)
        if not is_id(own):
            raise invalid_request("the event names no issue_id", field="data.issue_id")
        return own

    async def _retry(self, rule: Rule, project: str, entry: Entry) -> None:
        agent_id = entry.text("agent_id") or ""
        if entry.publisher not in (*_TRUSTED, agent_id):
            raise permission_denied("an agent can request a retry only of itself", agent_id=agent_id)
        ending = self._supervisor.find(agent_id)
        if ending is not None and ending.life.phase is Phase.ENDED:
            # The end is being saved.
            await ending.ended.wait()
        stored = await self._stores.agents.by_id(agent_id)
        if stored is None or stored.agent.project_id != project or stored.agent.status != AGENT_STATUS_FAILED:
            return
        if stored.agent.attempt >= rule.attempts:
            reason = f"the agent has used {stored.agent.attempt} of {rule.attempts} attempts"
            await self._say(project, "spawn_blocked", rule.name, entry, reason=reason)
        elif self._plan.mode == "dry_run":
            await self._say(project, "handover_planned", rule.name, entry, do="retry", retried=agent_id)
        else:
            await self._spawner.may_retry(stored.agent)
            try:
                await self._supervisor.resume(stored.agent, "", f"retried by rule '{rule.name}'")
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
        try:
            descent = Descent(int(wanted["depth"]), str(wanted.get("tree", "")))
            await self._spawner.approved(request, approval.project_id, descent, approval.approval_id)
        except SidecarError as problem:
            if _passes(problem):
                raise
            rule = str(wanted["rule"])
            await self._say(project, "spawn_blocked", rule, entry, reason=problem.message, code=problem.code)

    async def _say(self, project: str, event_type: str, rule: str, entry: Entry, **more: Any) -> None:
        """Publishes an event about a rule, once per event."""
        said = self._said[entry.event_id]
        key = (event_type, rule, more.get("agent_type"))
        if key in said:
            return
        data = Struct()
        issue = entry.text("issue_id")
        about = {"issue_id": issue} if issue and is_id(issue) else {}
        texts = {name: value[:_LONGEST_TEXT] if isinstance(value, str) else value for name, value in more.items()}
        data.update({"rule": rule, "event_id": entry.event_id} | about | texts)
        event = Event(
            event_type=event_type,
            publisher=SIDECAR,
            topic="coordination",
            data=data,
            correlation_id=entry.event_id,
        )
        await self._bus.publish(project, event)
        said.add(key)


def _passes(problem: SidecarError) -> bool:
    """Whether the failure may be temporary."""
    return problem.kind is Kind.UNAVAILABLE or problem.code.startswith("STR_")


def _question(rule: Rule, project: str, entry: Entry, request: SpawnAgentRequest, descent: Descent) -> Approval:
    data = Struct()
    # Leave out unset enum fields: their name cannot be parsed again.
    spawn = {name: value for name, value in codec.to_dict(request).items() if value != "unspecified"}
    data.update({"spawn": spawn, "depth": descent.depth, "tree": descent.tree, "rule": rule.name})
    text = (
        _filled(rule.message, entry)[:_LONGEST_TEXT] or f"May a {request.agent_type} be spawned for {request.issue_id}?"
    )
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
