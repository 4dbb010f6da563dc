"""Which RPCs are called, by whom, on which resources; and calling them over every transport."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.e2e.permissions.oracle import (
    ANOTHER_TYPE,
    ARCHITECT,
    FOUR,
    ISSUES,
    MAY,
    NO_AGENT,
    NO_APPROVAL,
    OF_OTHER_ISSUE,
    OF_OTHER_PROJECT,
    OPERATOR,
    OWN,
    PLAIN,
    PROJECT_ONLY,
    PROJECTS,
    PUBLISH,
    READ,
    SPAWN,
    WRITE,
    Decide,
    Outcome,
    Scope,
    architects,
    forget,
    heartbeat,
    knowledge,
    operator_only,
    refresh,
    result_by_id,
    rule,
    runners_only,
    twisted,
)
from tests.e2e.permissions.world import NOWHERE, Place, World
from tests.support.repositories import git
from tests.support.sidecars import fresh, until
from tests.support.transports import Answer
from tests.wire import shapes
from tests.wire.shapes import assert_shape

from cco_sidecar.testing.process import Agent

# Architects read every issue of their project; these answers contain results.
_HOLD_RESULTS = frozenset({"GetContext", "StreamContext", "GetResult", "ListResults"})

_FAR = {"runner_id": "far"}


class Case(NamedTuple):
    """One call to make; ``fresh`` is set when it will be allowed, and must not hit resources that other cells need."""

    world: World
    who: str
    scope: Scope
    fresh: bool

    @property
    def place(self) -> Place:
        return PROJECTS[self.scope.project], ISSUES[self.scope.issue]

    @property
    def project(self) -> dict[str, str]:
        """An agent may omit its own project; it must name another project, and the operator must always name one."""
        if self.scope.project == OWN and self.who != OPERATOR:
            return {}
        return {"project_id": PROJECTS[self.scope.project or OWN]}

    @property
    def issue(self) -> dict[str, str]:
        return {"issue_id": ISSUES[self.scope.issue]} if self.scope.issue else {}

    @property
    def type(self) -> str:
        return ANOTHER_TYPE if self.scope.twist == "another_type" or self.who == OPERATOR else self.who


Request = Callable[[Case], dict[str, Any]]


def context(case: Case) -> dict[str, Any]:
    return {"agent_type": case.type} | case.issue | case.project


def files(case: Case) -> dict[str, Any]:
    return context(case) | {"path": ["main.py"]}


def clear(case: Case) -> dict[str, Any]:
    if case.scope.twist == "every_issue":
        return {}
    if case.fresh:
        case.world.cache(*case.place)
    return case.issue | case.project


def event(case: Case) -> dict[str, Any]:
    found = {"event_type": "tried", "data": case.issue} | case.project
    return found | ({"publisher": "somebody-else"} if case.scope.twist == "as_another" else {})


def batch(case: Case) -> dict[str, Any]:
    """One event that is allowed, and one that may not be: both are published or neither is."""
    good = {"event_type": "tried"} | ({"project_id": PROJECTS[OWN]} if case.who == OPERATOR else {})
    return {"events": [good, event(case)]}


def reading(name: str, **more: Any) -> Request:
    """Everything retained; ``name`` is the field of the event type."""

    def request(case: Case) -> dict[str, Any]:
        found: dict[str, Any] = {"since": "0"} | more | case.project
        if case.scope.issue:
            found |= {"filter": f"issue_id:{ISSUES[case.scope.issue]}"}
            found |= {name: ["filled"] if name == "event_types" else "filled"}
        return found

    return request


def result(case: Case) -> dict[str, Any]:
    found = {"agent_type": case.type, "result": {"status": "success"}} | case.issue | case.project
    return found | ({"agent_id": "somebody-else"} if case.scope.twist == "as_another" else {})


def one_result(case: Case) -> dict[str, Any]:
    if case.scope.twist == "by_key":
        return {"agent_type": ANOTHER_TYPE} | case.issue | case.project
    named = case.project if case.who == OPERATOR or case.scope.twist == "by_id_and_project" else {}
    return {"id": case.world.of(case.scope).result} | named


def next_agents(case: Case) -> dict[str, Any]:
    found = one_result(case)
    return {"result_id": found.pop("id")} | found


def login(case: Case) -> dict[str, Any]:
    return {"code": case.world.ask("CreateLoginCode")["code"]}


def spawn(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = {"agent_type": ANOTHER_TYPE, "task": "tried"} | case.issue | case.project
    if case.scope.twist == "with_a_command":
        found["command"] = ["sleep", "600"]
    if case.scope.twist == "with_a_credential":
        found["credentials"] = ["KEPT"]
    return found


def target(case: Case) -> dict[str, Any]:
    if case.scope.twist == "itself":
        return {"agent_id": case.world.agents[case.who].id}
    return {"agent_id": case.world.of(case.scope).running}


def running(case: Case) -> dict[str, Any]:
    found = {"agent_id": case.world.spawn(*case.place).id} if case.fresh else target(case)
    return found | {"force": True}


def stopped(case: Case) -> dict[str, Any]:
    return {"agent_id": case.world.ended(*case.place).id if case.fresh else case.world.of(case.scope).ended}


def worktree(case: Case) -> dict[str, Any]:
    if not case.fresh:
        return {"agent_id": case.world.of(case.scope).ended}
    # Unmerged work: the worktree stays until it is discarded.
    act = ["sh", "-c", "git -c user.name=T -c user.email=t@example.com commit -qm W --allow-empty; exec sleep 600"]
    agent = case.world.spawn(*case.place, isolation="worktree", command=act)
    work = case.world.ask("GetAgent", agent_id=agent.id)["worktree"]
    until(lambda: git(Path(work), "log", "-1", "--format=%s").strip() == "W", "its commit")
    case.world.ask("StopAgent", agent_id=agent.id, force=True)
    return {"agent_id": agent.id}


def new_token(case: Case) -> dict[str, Any]:
    return {"agent_type": ANOTHER_TYPE} | case.issue | {"project_id": PROJECTS[case.scope.project]}


def revocation(case: Case) -> dict[str, Any]:
    return {"agent_id": case.world.spawn(*case.place).id if case.fresh else case.world.of(case.scope).running}


def question(case: Case) -> dict[str, Any]:
    return {"question": "tried"} | case.issue | case.project


def approval(case: Case) -> dict[str, Any]:
    return {"approval_id": case.world.of(case.scope).approval}


def answer_to(case: Case) -> dict[str, Any]:
    found = case.world.approval(*case.place) if case.fresh else case.world.of(case.scope).approval
    return {"approval_id": found, "approved": True}


def deletion(case: Case) -> dict[str, Any]:
    if case.fresh:
        case.world.ask("StoreCredential", name="PASSING", value="x")
    return {"name": "PASSING" if case.fresh else "KEPT"}


def by_issue(case: Case) -> dict[str, Any]:
    return case.issue | case.project


def place(case: Case) -> dict[str, Any]:
    """A project that the operator must name."""
    return {"project_id": PROJECTS[case.scope.project or OWN]}


def new_consumer(case: Case) -> dict[str, Any]:
    return {"name": fresh("consumer")} | place(case)


def consumer(case: Case) -> dict[str, Any]:
    if case.scope.twist == "its_own" and case.fresh:
        return passing_consumer(case)
    return {"name": "of-everyone" if case.scope.twist == "shared" else "of-the-operator"} | place(case)


def owner(case: Case) -> str:
    return case.who if case.scope.twist == "its_own" else OPERATOR


def passing_consumer(case: Case) -> dict[str, Any]:
    if not case.fresh:
        return consumer(case)
    return {"name": case.world.consumer(PROJECTS[case.scope.project], fresh("passing"), owner(case))} | place(case)


def moved(case: Case) -> dict[str, Any]:
    return passing_consumer(case) | {"since": "0"}


def pulled(case: Case) -> dict[str, Any]:
    return consumer(case) | {"timeout": 1}


def settled(case: Case) -> dict[str, Any]:
    return consumer(case) | {"delivery_ids": ["evt-00000000-0000000001.1"]}


def letter(case: Case) -> dict[str, Any]:
    return {"dead_letter_id": case.world.letters[PROJECTS[case.scope.project]]} | place(case)


def known_event(case: Case) -> dict[str, Any]:
    return {"event_id": case.world.events[PROJECTS[case.scope.project]]} | place(case)


def passing_letter(case: Case) -> dict[str, Any]:
    if case.fresh:
        return {"dead_letter_id": case.world.letter(PROJECTS[case.scope.project], owner(case))} | place(case)
    return letter(case)


def later(case: Case) -> dict[str, Any]:
    return {"event": event(case), "after_seconds": 86_400}


def schedule(case: Case) -> dict[str, Any]:
    return {"schedule_id": "of-the-operator"} | place(case)


def passing_schedule(case: Case) -> dict[str, Any]:
    if not case.fresh:
        return schedule(case)
    made = fresh("schedule")
    case.world.schedule(PROJECTS[case.scope.project], made, owner(case))
    return {"schedule_id": made} | place(case)


def new_document(case: Case) -> dict[str, Any]:
    return {"filename": "new.md", "text": "new"} | place(case)


def document(case: Case) -> dict[str, Any]:
    return {"document_id": case.world.documents[PROJECTS[case.scope.project]]} | place(case)


def rewritten(case: Case) -> dict[str, Any]:
    return document(case) | {"text": "written again"}


def edited(case: Case) -> dict[str, Any]:
    return document(case) | {"offset": 0, "new_text": "+"}


def renamed(case: Case) -> dict[str, Any]:
    return document(case) | {"filename": fresh("name")}


def related(case: Case) -> dict[str, Any]:
    project = PROJECTS[case.scope.project]
    other = case.world.document(project) if case.fresh else "doc_other"
    known = case.world.documents[project]
    return {"from_document_id": known, "to_document_id": other, "type": "related"} | place(case)


def noted(case: Case) -> dict[str, Any]:
    return {"relation_id": case.world.relations[PROJECTS[case.scope.project]], "from_note": fresh("note")} | place(case)


def passing_relation(case: Case) -> dict[str, Any]:
    project = PROJECTS[case.scope.project]
    relation = case.world.relation(project) if case.fresh else case.world.relations[project]
    return {"relation_id": relation} | place(case)


def searched(case: Case) -> dict[str, Any]:
    return {"query": "in the"} | place(case)


def new_knowledge(case: Case) -> dict[str, Any]:
    return {"text": fresh("learned")} | case.issue | case.project


def learned(case: Case) -> dict[str, Any]:
    return {"entry_id": case.world.knowledge[case.place]} | place(case)


def recalled(case: Case) -> dict[str, Any]:
    return {"query": "decided"} | place(case)


def passing_knowledge(case: Case) -> dict[str, Any]:
    if not case.fresh:
        return learned(case)
    if owner(case) != OPERATOR:
        return {"entry_id": case.world.learn(case.who)} | place(case)
    return {"entry_id": case.world.pending(*case.place)} | place(case)


def passing_document(case: Case) -> dict[str, Any]:
    if not case.fresh:
        return document(case)
    return {"document_id": case.world.document(PROJECTS[case.scope.project], owner(case))} | place(case)


def new_session(case: Case) -> dict[str, Any]:
    return {"name": fresh("session"), "external": True} | place(case)


def session(case: Case) -> dict[str, Any]:
    return {"session_id": "ended"} | place(case)


def resumed(case: Case) -> dict[str, Any]:
    name = case.world.session(PROJECTS[case.scope.project]) if case.fresh else "ended"
    return {"session_id": name, "prompt": "more"} | place(case)


def marked(case: Case) -> dict[str, Any]:
    return session(case) | {"metadata": {"mark": fresh("mark")}}


def passing_session(case: Case) -> dict[str, Any]:
    name = case.world.session(PROJECTS[case.scope.project]) if case.fresh else "ended"
    return {"session_id": name} | place(case)


def happened(case: Case) -> dict[str, Any]:
    said = [{"type": "text", "text": "it"}]
    return {"session_id": "external", "event_type": "message", "role": "user", "content": said} | place(case)


def new_blueprint(case: Case) -> dict[str, Any]:
    return {"name": fresh("blueprint"), "description": "made by the table"}


def blueprint(case: Case) -> dict[str, Any]:
    return {"name": "known"}


def described(case: Case) -> dict[str, Any]:
    return blueprint(case) | {"description": fresh("description")}


def passing_blueprint(case: Case) -> dict[str, Any]:
    return {"name": case.world.blueprint()} if case.fresh else blueprint(case)


def schema(case: Case) -> dict[str, Any]:
    return {"event_type": "with-a-schema"} | place(case)


def new_schema(case: Case) -> dict[str, Any]:
    return {"event_type": fresh("type"), "schema": {"type": "object"}} | place(case)


def passing_schema(case: Case) -> dict[str, Any]:
    if not case.fresh:
        return schema(case)
    return {"event_type": case.world.schema(PROJECTS[case.scope.project], fresh("passing"))} | place(case)


def new_webhook(case: Case) -> dict[str, Any]:
    return {"name": fresh("webhook"), "url": NOWHERE} | place(case)


def webhook(case: Case) -> dict[str, Any]:
    return {"name": "hook"} | place(case)


def paused(case: Case) -> dict[str, Any]:
    return webhook(case) | {"paused": True}


def passing_webhook(case: Case) -> dict[str, Any]:
    if not case.fresh:
        return webhook(case)
    return {"name": case.world.webhook(PROJECTS[case.scope.project], fresh("passing"))} | place(case)


def nothing(case: Case) -> dict[str, Any]:
    return {}


class Row(NamedTuple):
    """An RPC: the scopes to try, the request, and the expected outcome."""

    scopes: tuple[Scope, ...]
    request: Request
    decide: Decide


OWN_OWN = (Scope(OWN, OWN),)
UNNAMED = twisted(PROJECT_ONLY, "no_issue_named")
ANOTHERS = {"another_type": architects}
ITS_OWN = (Scope("", OWN, "its_own"),)
SHARED = twisted(PROJECT_ONLY, "shared") + ITS_OWN
UNSHARED = {"": operator_only}
ROWS: dict[str, Row] = {
    # An agent reads contexts of its own issue and type only (architects: any type of their project).
    "GetContext": Row(FOUR + twisted(FOUR, "another_type"), context, rule(200, READ, issue="read", twists=ANOTHERS)),
    "StreamContext": Row(FOUR + twisted(FOUR, "another_type"), context, rule(200, READ, issue="read", twists=ANOTHERS)),
    "GetFiles": Row(FOUR + twisted(FOUR, "another_type"), files, rule(200, READ, issue="read", twists=ANOTHERS)),
    "ExplainContext": Row(
        FOUR + twisted(FOUR, "another_type"), context, rule(200, READ, issue="read", twists=ANOTHERS)
    ),
    "RefreshContext": Row(
        FOUR + twisted(FOUR, "another_type"), context, rule(200, READ, issue="read", twists=ANOTHERS)
    ),
    "ClearContextCache": Row(
        (*FOUR, Scope(twist="every_issue")), clear, rule(200, READ, issue="read", twists={"every_issue": operator_only})
    ),
    # Events are visible to every agent of the same project and to no other; the publisher is the token's subject.
    "PublishEvent": Row(
        FOUR + twisted(OWN_OWN, "as_another"), event, rule(202, PUBLISH, twists={"as_another": operator_only})
    ),
    "PublishEvents": Row(
        FOUR + twisted(OWN_OWN, "as_another"), batch, rule(202, PUBLISH, twists={"as_another": operator_only})
    ),
    "Subscribe": Row(FOUR + UNNAMED, reading("event_types"), rule(200)),
    "WaitEvents": Row(FOUR + UNNAMED, reading("event_type", timeout=1), rule(200)),
    "GetEvent": Row(PROJECT_ONLY, known_event, rule(200)),
    "ListEvents": Row(FOUR + UNNAMED, reading("event_type"), rule(200)),
    # Every agent makes consumers and sees those of its project. It takes events from its own and from shared ones; its
    # own, or as an architect every one, it also changes.
    "CreateConsumer": Row(PROJECT_ONLY, new_consumer, rule(201)),
    "GetConsumer": Row(PROJECT_ONLY, consumer, rule(200)),
    "ListConsumers": Row(PROJECT_ONLY, place, rule(200)),
    "DeleteConsumer": Row(PROJECT_ONLY + ITS_OWN, passing_consumer, rule(200, twists={"": architects})),
    "ResetConsumer": Row(PROJECT_ONLY + ITS_OWN, moved, rule(200, twists={"": architects})),
    "Consume": Row(PROJECT_ONLY + SHARED, consumer, rule(200, twists=UNSHARED)),
    "PullEvents": Row(PROJECT_ONLY + SHARED, pulled, rule(200, twists=UNSHARED)),
    "AcknowledgeEvents": Row(PROJECT_ONLY + SHARED, settled, rule(200, twists=UNSHARED)),
    "RejectEvents": Row(PROJECT_ONLY + SHARED, settled, rule(200, twists=UNSHARED)),
    "ExtendEvents": Row(PROJECT_ONLY + SHARED, settled, rule(200, twists=UNSHARED)),
    "ListDeadLetters": Row(PROJECT_ONLY, place, rule(200)),
    "GetDeadLetter": Row(PROJECT_ONLY, letter, rule(200)),
    "ReplayDeadLetters": Row(PROJECT_ONLY + ITS_OWN, passing_consumer, rule(200, twists={"": architects})),
    "DeleteDeadLetter": Row(PROJECT_ONLY + ITS_OWN, passing_letter, rule(200, twists={"": architects})),
    # Whoever may publish may publish later; a schedule is deleted by its creator, and by architects.
    "CreateSchedule": Row(
        FOUR + twisted(OWN_OWN, "as_another"), later, rule(201, PUBLISH, twists={"as_another": operator_only})
    ),
    "GetSchedule": Row(PROJECT_ONLY, schedule, rule(200)),
    "ListSchedules": Row(PROJECT_ONLY, place, rule(200)),
    "DeleteSchedule": Row(PROJECT_ONLY + ITS_OWN, passing_schedule, rule(200, twists={"": architects})),
    # Documents belong to the project: whoever may read contexts reads them, whoever may store results changes them.
    "CreateDocument": Row(PROJECT_ONLY, new_document, rule(201, WRITE)),
    "GetDocument": Row(PROJECT_ONLY, document, rule(200, READ)),
    "ListDocuments": Row(PROJECT_ONLY, place, rule(200, READ)),
    "SearchDocuments": Row(PROJECT_ONLY, searched, rule(200, READ)),
    "ReadDocument": Row(PROJECT_ONLY, document, rule(200, READ)),
    "WriteDocument": Row(PROJECT_ONLY, rewritten, rule(200, WRITE)),
    "EditDocument": Row(PROJECT_ONLY, edited, rule(200, WRITE)),
    "UpdateDocument": Row(PROJECT_ONLY, renamed, rule(200, WRITE)),
    "DeleteDocument": Row(PROJECT_ONLY + ITS_OWN, passing_document, rule(200, WRITE, twists={"": architects})),
    "ListDocumentRevisions": Row(PROJECT_ONLY, document, rule(200, READ)),
    "CreateDocumentRelation": Row(PROJECT_ONLY, related, rule(201, WRITE)),
    "ListDocumentRelations": Row(PROJECT_ONLY, document, rule(200, READ)),
    "UpdateDocumentRelation": Row(PROJECT_ONLY, noted, rule(200, WRITE)),
    "DeleteDocumentRelation": Row(PROJECT_ONLY, passing_relation, rule(200, WRITE)),
    # Entries are made for an issue, and those that are pending are seen there only.
    "CreateKnowledgeEntry": Row(FOUR, new_knowledge, rule(201, WRITE, issue="write")),
    "GetKnowledgeEntry": Row(FOUR, learned, knowledge),
    "ListKnowledgeEntries": Row(PROJECT_ONLY, place, rule(200, READ)),
    "SearchKnowledge": Row(PROJECT_ONLY, recalled, rule(200, READ)),
    "ApproveKnowledgeEntry": Row(FOUR, passing_knowledge, rule(200, OPERATOR)),
    "DeleteKnowledgeEntry": Row(FOUR + twisted(OWN_OWN, "its_own"), passing_knowledge, forget),
    # Whoever may spawn agents starts and changes sessions. What happened in one is for those who have to do with it.
    "CreateSession": Row(PROJECT_ONLY, new_session, rule(201, SPAWN)),
    "GetSession": Row(PROJECT_ONLY, session, rule(200, READ)),
    "ListSessions": Row(PROJECT_ONLY, place, rule(200, READ)),
    "ResumeSession": Row(PROJECT_ONLY, resumed, rule(200, SPAWN)),
    "StopSession": Row(PROJECT_ONLY, session, rule(200, SPAWN)),
    "UpdateSession": Row(PROJECT_ONLY, marked, rule(200, SPAWN)),
    "DeleteSession": Row(PROJECT_ONLY, passing_session, rule(200, SPAWN)),
    "GetSessionResult": Row(PROJECT_ONLY, session, rule(200, READ, twists={"": architects})),
    "ListSessionEvents": Row(PROJECT_ONLY, session, rule(200, READ, twists={"": architects})),
    "AddSessionEvent": Row(PROJECT_ONLY, happened, rule(201, SPAWN)),
    # Whoever may write a blueprint decides what its agents may do, so only the operator may. Everyone may read.
    "CreateBlueprint": Row(PLAIN, new_blueprint, rule(201, OPERATOR)),
    "GetBlueprint": Row(PLAIN, blueprint, rule(200)),
    "ListBlueprints": Row(PLAIN, nothing, rule(200)),
    "UpdateBlueprint": Row(PLAIN, described, rule(200, OPERATOR)),
    "DeleteBlueprint": Row(PLAIN, passing_blueprint, rule(200, OPERATOR)),
    # The operator says which data events have, and every agent may read that.
    "SetSchema": Row(PROJECT_ONLY, new_schema, rule(200, OPERATOR)),
    "GetSchema": Row(PROJECT_ONLY, schema, rule(200)),
    "ListSchemas": Row(PROJECT_ONLY, place, rule(200)),
    "DeleteSchema": Row(PROJECT_ONLY, passing_schema, rule(200, OPERATOR)),
    # Only the operator decides where events are posted to.
    "CreateWebhook": Row(PROJECT_ONLY, new_webhook, rule(201, OPERATOR)),
    "GetWebhook": Row(PROJECT_ONLY, webhook, rule(200, OPERATOR)),
    "ListWebhooks": Row(PROJECT_ONLY, place, rule(200, OPERATOR)),
    "UpdateWebhook": Row(PROJECT_ONLY, paused, rule(200, OPERATOR)),
    "RotateWebhookSecret": Row(PROJECT_ONLY, webhook, rule(200, OPERATOR)),
    "TestWebhook": Row(PROJECT_ONLY, webhook, rule(200, OPERATOR)),
    "DeleteWebhook": Row(PROJECT_ONLY, passing_webhook, rule(200, OPERATOR)),
    # An agent writes results as itself, for its own issue only.
    "CreateResult": Row(
        FOUR + twisted(OWN_OWN, "as_another") + twisted(OWN_OWN, "another_type"),
        result,
        rule(201, WRITE, issue="write", twists={"as_another": operator_only, "another_type": operator_only}),
    ),
    "GetResult": Row(
        twisted(FOUR, "by_id") + twisted(FOUR, "by_id_and_project") + twisted(FOUR, "by_key"), one_result, result_by_id
    ),
    "ListNextAgents": Row(twisted(FOUR, "by_id") + twisted(FOUR, "by_id_and_project"), next_agents, result_by_id),
    "ListResults": Row(FOUR + UNNAMED, by_issue, rule(200, READ, issue="read")),
    # Only a holder of spawn_agents starts and stops agents; the operator decides what runs, and with which secrets.
    "SpawnAgent": Row(
        FOUR + twisted(OWN_OWN, "with_a_command") + twisted(OWN_OWN, "with_a_credential"),
        spawn,
        rule(201, SPAWN, twists={"with_a_command": operator_only, "with_a_credential": operator_only}),
    ),
    "StopAgent": Row(FOUR, running, rule(200, SPAWN, elsewhere=NO_AGENT)),
    "ResumeAgent": Row(FOUR, stopped, rule(200, SPAWN, elsewhere=NO_AGENT)),
    "DiscardWorktree": Row(FOUR, worktree, rule(200, OPERATOR)),
    # Every agent sees the agents of its project; logs are for the agent itself and for architects.
    "GetAgent": Row((*FOUR, *twisted(OWN_OWN, "itself")), target, rule(200, elsewhere=NO_AGENT)),
    "ListAgents": Row(FOUR + UNNAMED, by_issue, rule(200)),
    "StreamAgentLogs": Row(
        (*FOUR, *twisted(OWN_OWN, "itself")),
        target,
        rule(200, elsewhere=NO_AGENT, twists={"": architects}),
    ),
    "GetAgentDiff": Row(
        (*FOUR, *twisted(OWN_OWN, "itself")),
        target,
        rule(200, elsewhere=NO_AGENT, twists={"": architects}),
    ),
    "SendHeartbeat": Row((*FOUR, *twisted(OWN_OWN, "itself")), target, heartbeat),
    "CheckAccess": Row(PLAIN, lambda case: {"agent": ANOTHER_TYPE, "rpc": "SpawnAgent"}, rule(200, OPERATOR)),
    "CreateToken": Row(FOUR, new_token, rule(201, OPERATOR)),
    "CreateLoginCode": Row(PLAIN, nothing, rule(201, OPERATOR)),
    "ExchangeLoginCode": Row(PLAIN, login, rule(201)),
    "RefreshToken": Row((Scope(twist="early"), Scope(twist="late")), nothing, refresh),
    "RevokeToken": Row(FOUR, revocation, rule(200, OPERATOR)),
    "ListAgentTypes": Row(PLAIN, nothing, rule(200)),
    # Anyone may ask a person, about its own work; only the person answers.
    "RequestApproval": Row(FOUR, question, rule(201, issue="write")),
    "GetApproval": Row(FOUR, approval, rule(200, elsewhere=NO_APPROVAL)),
    "ListApprovals": Row(FOUR + UNNAMED, by_issue, rule(200)),
    "AnswerApproval": Row(FOUR, answer_to, rule(200, OPERATOR)),
    "StoreCredential": Row(PLAIN, lambda case: {"name": "KEPT", "value": "taken"}, rule(200, OPERATOR)),
    "GetCredential": Row(PLAIN, lambda case: {"name": "KEPT"}, rule(200, OPERATOR)),
    "ListCredentials": Row(PLAIN, nothing, rule(200, OPERATOR)),
    "DeleteCredential": Row(PLAIN, deletion, rule(200, OPERATOR)),
    "CreateRunnerToken": Row(PLAIN, lambda case: {"runner_id": "far"}, rule(201, OPERATOR)),
    "ListRunners": Row(PLAIN, nothing, rule(200, OPERATOR)),
    "AttendRunner": Row(PLAIN, lambda case: _FAR | {"instance": "one"}, runners_only),
    "ReportRunner": Row(PLAIN, lambda case: _FAR | {"instance": "one", "sidecar_id": "this"}, runners_only),
    "ReadCommits": Row(PLAIN, lambda case: _FAR | {"sidecar_id": "this"}, runners_only),
    "GetHealth": Row(PLAIN, nothing, rule(200)),
    "GetMetrics": Row(PLAIN, nothing, rule(200)),
    "GetStatus": Row(PLAIN, nothing, rule(200)),
    "ListFindings": Row(PLAIN, nothing, rule(200, OPERATOR)),
    "ProveIdentity": Row(PLAIN, lambda case: {"nonce": "a-nonce-of-the-caller"}, rule(200)),
}
# Contract, section 1: `GET /health` needs no token, `/status` none on loopback.
OPEN = {
    "ExchangeLoginCode": "anyone",
    "GetHealth": "anyone",
    "GetMetrics": "loopback",
    "GetStatus": "loopback",
    "ProveIdentity": "anyone",
}


class Cell(NamedTuple):
    who: str
    rpc: str
    scope: Scope

    def __str__(self) -> str:
        return f"{self.who}-{self.rpc}-{self.scope}"

    @property
    def expected(self) -> Outcome:
        return ROWS[self.rpc].decide(self.who, self.scope)


def cells() -> Iterator[Cell]:
    for who in (*MAY, OPERATOR):
        for rpc, row in ROWS.items():
            for scope in row.scopes:
                # The operator is not an agent that could act for itself.
                if not (who == OPERATOR and scope.twist == "itself"):
                    yield Cell(who, rpc, scope)


def chosen() -> list[Cell]:
    """Every cell if WHOLE_TABLE is set, as in continuous integration. Elsewhere a quarter of them: for each RPC each caller
    in one scope or more, and each scope with one caller or more."""
    if os.environ.get("WHOLE_TABLE"):
        return list(cells())
    callers = [*MAY, OPERATOR]
    sample = []
    for cell in cells():
        scopes = ROWS[cell.rpc].scopes
        if (callers.index(cell.who) - scopes.index(cell.scope)) % min(len(scopes), 6) == 0:
            sample.append(cell)
    return sample


def tried(world: World, cell: Cell, expected: Outcome) -> Iterator[Answer]:
    """Makes the cell's call over every transport that can carry it."""
    row = ROWS[cell.rpc]
    transports = 0
    for transport in world.transports.of(cell.rpc):
        request = row.request(Case(world, cell.who, cell.scope, expected.ok))
        if not transport.fits(request):
            continue
        transports += 1
        answer = transport.call(request, caller(world, cell))
        assert (answer.status, answer.code) == (transport.status(expected.status), expected.code), (
            transport.name,
            answer,
        )
        if not expected.ok:
            assert_still_valid(world, cell, request)
            if transport.name != "grpc":
                assert_shape(answer.body, shapes.ERROR)
        yield answer
    assert transports >= 2, "a cell must be tried over at least two transports"


def caller(world: World, cell: Cell) -> Agent:
    if cell.rpc == "RefreshToken" and cell.scope.twist == "late" and cell.who != OPERATOR:
        return world.sidecar.agent(cell.who, ISSUES[OWN], PROJECTS[OWN], ttl_seconds=200)
    return world.agents[cell.who]


def assert_nothing_foreign(cell: Cell, answer: Answer) -> None:
    """An agent receives data of its own project only, and results of its own issue only."""
    if cell.who == OPERATOR:
        return
    text = json.dumps(answer.body)
    assert OF_OTHER_PROJECT not in text
    if cell.rpc in _HOLD_RESULTS and cell.who != ARCHITECT:
        assert OF_OTHER_ISSUE not in text


def assert_still_valid(world: World, cell: Cell, request: Mapping[str, Any]) -> None:
    """After a refused revocation or stop, the other agent's token is still valid."""
    if cell.rpc in ("RevokeToken", "StopAgent"):
        own = world.transports.grpc("ListAgentTypes").call({"group": "none"}, world.tokens[request["agent_id"]])
        assert own.status == "OK", own


def without_numbers(text: str) -> str:
    return re.sub(r"\d+", "#", text)
