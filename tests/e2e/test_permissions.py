"""Who may do what: agent type x RPC x issue x project, over both doors.

What must come out is written here by hand, from the contract (section 3) and the issue, and never read from the
permission lines of the protos; what there is to call is read from the descriptors, so that an RPC without a row fails.
What is refused must also have left nothing behind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support.doors import METHODS, Answer, Doors
from tests.support.repositories import commit_all, git
from tests.support.sidecars import until, written
from tests.wire import shapes
from tests.wire.shapes import assert_shape

from cco_sidecar.testing.process import Agent, SidecarProcess

READ, WRITE, PUBLISH, SPAWN = "read_context", "write_results", "publish_events", "spawn_agents"
OPERATOR = "operator"
ARCHITECT = "chief-architect"
# Contract, section 3: one type of each group that its table names.
MAY: dict[str, frozenset[str]] = {
    ARCHITECT: frozenset({READ, WRITE, PUBLISH, SPAWN}),
    "python-specialist": frozenset({READ, WRITE, PUBLISH}),
    "test-engineer": frozenset({READ, WRITE, PUBLISH}),
    "security-auditor": frozenset({READ, WRITE, PUBLISH}),
    "technical-writer": frozenset({READ, WRITE}),
    "ui-ux-designer": frozenset({READ}),
    "fact-checker": frozenset({READ}),
    "business-analyst": frozenset({READ}),
}
# The rest of what the table calls coding, for the permissions alone.
ALSO_CODING = ("api-explorer", "code-reviewer", "data-engineer", "devops-engineer", "ai-engineer", "mcp-expert")
# Each list of the agents' configuration (contract, section 5), and a type with what one added to it may.
LISTS = {
    "architect": ARCHITECT,
    "codingAgents": "python-specialist",
    "integrationAgents": "python-specialist",
    "developmentAgents": "python-specialist",
    "dataAgents": "python-specialist",
    "infrastructureAgents": "python-specialist",
    "aiMlAgents": "python-specialist",
    "mcpAgents": "python-specialist",
    "securityAgents": "security-auditor",
    "qualityAgents": "test-engineer",
    "documentationAgents": "technical-writer",
    "researchAgents": "fact-checker",
    "supportAgents": "ui-ux-designer",
    "businessAgents": "business-analyst",
}
UNLIMITED = ("coding_specialists", "quality", "security", "documentation", "support", "research", "business")

OWN, OTHER = "own", "other"
PROJECTS = {OWN: "project-own", OTHER: "project-other"}
ISSUES = {OWN: "issue-own", OTHER: "issue-other"}
ANOTHER_TYPE = "go-specialist"
# Stand in everything that belongs to the other project, and in the results of the other issue.
OF_OTHER_PROJECT, OF_OTHER_ISSUE = "seen-only-in-the-other-project", "seen-only-in-the-other-issue"
# Architects read every issue of their project; these answers hold results.
_HOLD_RESULTS = frozenset({"GetContext", "StreamContext", "GetResult", "ListResults"})


class Outcome(NamedTuple):
    status: int
    code: str = ""

    @property
    def ok(self) -> bool:
        return self.status < 300


DENIED = Outcome(403, "AUTH_003")
NO_TOKEN = Outcome(401, "AUTH_001")
NO_PROJECT = Outcome(404, "PRJ_001")
NO_RESULT = Outcome(404, "RES_001")
NO_AGENT = Outcome(404, "AGT_004")
NO_APPROVAL = Outcome(404, "APR_001")


class Scope(NamedTuple):
    """Whose issue, whose project, and what else is special; empty where it does not matter."""

    issue: str = ""
    project: str = ""
    twist: str = ""

    def __str__(self) -> str:
        parts = (self.issue and f"{self.issue}_issue", self.project and f"{self.project}_project", self.twist)
        return "-".join(part for part in parts if part) or "plain"


FOUR = tuple(Scope(issue, project) for issue in (OWN, OTHER) for project in (OWN, OTHER))
PROJECT_ONLY = (Scope("", OWN), Scope("", OTHER))
PLAIN = (Scope(),)


def twisted(scopes: tuple[Scope, ...], twist: str) -> tuple[Scope, ...]:
    return tuple(scope._replace(twist=twist) for scope in scopes)


# -- the oracle -------------------------------------------------------------------------------------------


Decide = Callable[[str, Scope], Outcome]


def everyone(who: str) -> bool:
    return True


def architects(who: str) -> bool:
    return who in (ARCHITECT, OPERATOR)


def operator_only(who: str) -> bool:
    return who == OPERATOR


def rule(
    success: int,
    permission: str = "",
    *,
    issue: str = "",
    elsewhere: Outcome = NO_PROJECT,
    twists: Mapping[str, Callable[[str], bool]] | None = None,
) -> Decide:
    """``issue``: `read` (an agent's own, architects every one of their project), `write` (everyone's own only), or
    empty where issues do not matter. ``elsewhere``: the answer about another project. ``twists``: who may."""

    def decide(who: str, scope: Scope) -> Outcome:
        if who == OPERATOR:
            return Outcome(success)
        if permission == OPERATOR or (permission and permission not in MAY[who]):
            return DENIED
        if scope.project == OTHER:
            return elsewhere
        if scope.issue == OTHER and (issue == "write" or (issue == "read" and who != ARCHITECT)):
            return DENIED
        may = (twists or {}).get(scope.twist, everyone)
        return Outcome(success) if may(who) else DENIED

    return decide


def heartbeat(who: str, scope: Scope) -> Outcome:
    """Of itself, and of nobody else wherever it is."""
    return Outcome(200) if who == OPERATOR or scope.twist == "itself" else DENIED


def result_by_id(who: str, scope: Scope) -> Outcome:
    """Without a project's name, another project's result is one that there is not."""
    elsewhere = NO_RESULT if scope.twist == "by_id" else NO_PROJECT
    return rule(200, READ, issue="read", elsewhere=elsewhere)(who, scope)


def refresh(who: str, scope: Scope) -> Outcome:
    """In its last five minutes; the operator's is renewed by the sidecar."""
    return Outcome(200) if who != OPERATOR and scope.twist == "late" else DENIED


# -- two projects with something of every kind in them ---------------------------------------------------


class Things(NamedTuple):
    """What there is in an issue of a project."""

    running: str
    ended: str
    result: str
    approval: str


Place = tuple[str, str]


class World:
    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar = sidecar
        self.doors = Doors(sidecar)
        self.operator = sidecar.operator
        self.tokens: dict[str, Agent] = {}
        self.agents = {who: self.spawn(PROJECTS[OWN], ISSUES[OWN], who) for who in MAY}
        self.agents[OPERATOR] = self.operator
        self.things = {(p, i): self._fill(p, i) for p in PROJECTS.values() for i in ISSUES.values()}
        self.ask("StoreCredential", name="KEPT", value="of-the-operator")
        self._known: Any = None

    def ask(self, rpc: str, /, **request: Any) -> Any:
        """By the operator, and it must succeed."""
        return self.doors.ask(rpc, self.operator, **request)

    def spawn(self, project: str, issue: str, agent_type: str = ANOTHER_TYPE, **more: Any) -> Agent:
        """An agent that runs until it is stopped."""
        mark = OF_OTHER_PROJECT if project == PROJECTS[OTHER] else "of the own project"
        made = self.ask(
            "SpawnAgent", agent_type=agent_type, issue_id=issue, project_id=project, task=f"{mark}: sleep", **more
        )
        agent = Agent(made["agent_id"], agent_type, issue, project, made["jwt_token"])
        self.tokens[agent.id] = agent
        return agent

    def ended(self, project: str, issue: str) -> Agent:
        agent = self.spawn(project, issue)
        self.ask("StopAgent", agent_id=agent.id, force=True)
        return agent

    def approval(self, project: str, issue: str) -> str:
        mark = OF_OTHER_PROJECT if project == PROJECTS[OTHER] else "of the own project"
        asked = self.ask("RequestApproval", question=f"{mark}: may it?", issue_id=issue, project_id=project)
        return str(asked["approval_id"])

    def cache(self, project: str, issue: str) -> None:
        """Puts a context of the issue into the cache."""
        self.ask("GetContext", project_id=project, issue_id=issue, agent_type=ANOTHER_TYPE)

    def _fill(self, project: str, issue: str) -> Things:
        marks = [OF_OTHER_PROJECT] if project == PROJECTS[OTHER] else []
        marks += [OF_OTHER_ISSUE] if issue == ISSUES[OTHER] else []
        stored = self.ask(
            "CreateResult",
            agent_type=ANOTHER_TYPE,
            issue_id=issue,
            project_id=project,
            result={"status": "success", "decisions": [" ".join(["decided", *marks])]},
        )
        self.ask("PublishEvent", event_type="filled", project_id=project, data={"issue_id": issue, "marks": marks})
        running = self.spawn(project, issue)
        return Things(running.id, self.ended(project, issue).id, stored["id"], self.approval(project, issue))

    def of(self, scope: Scope) -> Things:
        return self.things[PROJECTS[scope.project], ISSUES[scope.issue]]

    def changed(self) -> None:
        """Something was done that may be done."""
        self._known = None

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Whatever is called inside must leave everything as it was."""
        before, self._known = self._known or self._look(), None
        yield
        now = self._look()
        assert now == before
        self._known = now

    def _look(self) -> Any:
        status = self._raw("GetStatus")
        found: dict[str, Any] = {
            "events": status.events.total_published,
            "results": status.storage.results_stored,
            "tokens": status.agents.spawned_total,
            "cached contexts": status.storage.context_cache_entries,
            "credentials": [(each.name, str(each.updated_at)) for each in self._raw("ListCredentials").credentials],
        }
        for project in PROJECTS.values():
            # Statuses of running agents follow what they ask and say, a moment later.
            found[f"agents of {project}"] = [
                (each.agent_id, each.HasField("ended_at"), each.attempt, str(each.progress.at))
                for each in self._raw("ListAgents", project_id=project, limit=1000).agents
            ]
            found[f"approvals of {project}"] = [
                (each.approval_id, each.status)
                for each in self._raw("ListApprovals", project_id=project, limit=1000).approvals
            ]
        return found

    def _raw(self, rpc: str, **request: Any) -> Any:
        return self.doors.grpc(rpc).raw(request, self.operator)

    def calm(self, rpc: str, body: Any) -> None:
        """Ends what an allowed call started, so that nothing happens by itself later."""
        if rpc in ("SpawnAgent", "ResumeAgent"):
            self.ask("StopAgent", agent_id=body["agent_id"], force=True)

    def close(self) -> None:
        self.doors.close()


# -- what is called --------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One call that is to be made; ``fresh`` is set when it is going to be allowed, and must not hit what the other
    cells need."""

    world: World
    who: str
    scope: Scope
    fresh: bool

    @property
    def place(self) -> Place:
        return PROJECTS[self.scope.project], ISSUES[self.scope.issue]

    @property
    def project(self) -> dict[str, str]:
        """An agent need not name its own project; another one's it must, and the operator always."""
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
    """One event that is allowed, and one that may not be: both or none."""
    good = {"event_type": "tried"} | ({"project_id": PROJECTS[OWN]} if case.who == OPERATOR else {})
    return {"events": [good, event(case)]}


def reading(name: str, **more: Any) -> Request:
    """All that is retained; ``name`` is the field of the event type."""

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
    # Work that is not merged: the worktree stays until it is discarded.
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


def nothing(case: Case) -> dict[str, Any]:
    return {}


class Row(NamedTuple):
    """An RPC: the scopes that are tried, what is sent, what must come out."""

    scopes: tuple[Scope, ...]
    request: Request
    decide: Decide


OWN_OWN = (Scope(OWN, OWN),)
UNNAMED = twisted(PROJECT_ONLY, "no_issue_named")
ANOTHERS = {"another_type": architects}
ROWS: dict[str, Row] = {
    # An agent reads context for its own issue and type only (architects: any type of their project).
    "GetContext": Row(FOUR + twisted(FOUR, "another_type"), context, rule(200, READ, issue="read", twists=ANOTHERS)),
    "StreamContext": Row(FOUR + twisted(FOUR, "another_type"), context, rule(200, READ, issue="read", twists=ANOTHERS)),
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
    "ListEvents": Row(FOUR + UNNAMED, reading("event_type"), rule(200)),
    # It writes results as itself, for its own issue only.
    "CreateResult": Row(
        FOUR + twisted(OWN_OWN, "as_another") + twisted(OWN_OWN, "another_type"),
        result,
        rule(201, WRITE, issue="write", twists={"as_another": operator_only, "another_type": operator_only}),
    ),
    "GetResult": Row(
        twisted(FOUR, "by_id") + twisted(FOUR, "by_id_and_project") + twisted(FOUR, "by_key"), one_result, result_by_id
    ),
    "ListResults": Row(FOUR + UNNAMED, by_issue, rule(200, READ, issue="read")),
    # Only a holder of spawn_agents starts and ends agents; what is run, and with which secrets, is the operator's.
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
    "SendHeartbeat": Row((*FOUR, *twisted(OWN_OWN, "itself")), target, heartbeat),
    "CheckAccess": Row(PLAIN, lambda case: {"agent": ANOTHER_TYPE, "rpc": "SpawnAgent"}, rule(200, OPERATOR)),
    "CreateToken": Row(FOUR, new_token, rule(201, OPERATOR)),
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
    "GetHealth": Row(PLAIN, nothing, rule(200)),
    "GetStatus": Row(PLAIN, nothing, rule(200)),
}
# Contract, section 1: `GET /health` needs no token, `/status` none on loopback.
OPEN = {"GetHealth": "anyone", "GetStatus": "loopback"}


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
                # The operator is no agent that could speak for itself.
                if not (who == OPERATOR and scope.twist == "itself"):
                    yield Cell(who, rpc, scope)


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    """One without rate limits and budgets, whose agents sleep."""
    directory = tmp_path_factory.mktemp("permissions")
    running = start(directory, {"handover": {"limits": {"depth": 0, "agents": 0}}})
    yield running
    assert running.stop() == ""


@pytest.fixture(scope="module")
def world(sidecar: SidecarProcess) -> Iterator[World]:
    made = World(sidecar)
    yield made
    made.close()


def start(directory: Path, agents: Mapping[str, Any]) -> SidecarProcess:
    repository = directory / "repository"
    repository.mkdir()
    (repository / "main.go").write_text("package main\n")
    (repository / "main.py").write_text("print('a')\n")
    (repository / "config").mkdir()
    own = {key: [{"type": f"own-{key}", "name": key, "role": "added by the project"}] for key in LISTS}
    (repository / "config" / "orchestra-config.json").write_text(json.dumps(own | {"architect": own["architect"][0]}))
    commit_all(repository)
    base = {"rate_limits": dict.fromkeys(UNLIMITED, 0), "runners": {"default": {"command": ["sleep", "600"]}}}
    sidecar = {"default_project": PROJECTS[OWN]}
    config = written(directory / "config.json", sidecar=sidecar, agents=base | dict(agents))
    return SidecarProcess(directory / "storage", repository, config=config)


# -- the table -------------------------------------------------------------------------------------------


def test_every_rpc_has_its_row() -> None:
    assert ROWS.keys() == METHODS.keys(), "write down who may call it"


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_a_cell(world: World, cell: Cell) -> None:
    expected = cell.expected
    if expected.ok:
        world.changed()
        for answer in tried(world, cell, expected):
            assert_nothing_foreign(cell, answer)
            world.calm(cell.rpc, answer.body)
        return
    with world.untouched():
        refusals = list(tried(world, cell, expected))
    assert len({_without_numbers(answer.message) for answer in refusals}) == 1, refusals


def tried(world: World, cell: Cell, expected: Outcome) -> Iterator[Answer]:
    """The cell's call through every door that it fits."""
    row = ROWS[cell.rpc]
    doors = 0
    for door in world.doors.of(cell.rpc):
        request = row.request(Case(world, cell.who, cell.scope, expected.ok))
        if not door.fits(request):
            continue
        doors += 1
        answer = door.call(request, caller(world, cell))
        assert (answer.status, answer.code) == (door.status(expected.status), expected.code), (door.name, answer)
        if not expected.ok:
            assert_still_valid(world, cell, request)
            if door.name != "grpc":
                assert_shape(answer.body, shapes.ERROR)
        yield answer
    assert doors >= 2, "one door at least was not tried"


def caller(world: World, cell: Cell) -> Agent:
    if cell.rpc == "RefreshToken" and cell.scope.twist == "late" and cell.who != OPERATOR:
        return world.sidecar.agent(cell.who, ISSUES[OWN], PROJECTS[OWN], ttl_seconds=200)
    return world.agents[cell.who]


def assert_nothing_foreign(cell: Cell, answer: Answer) -> None:
    """What an agent is given is of its own project; a result in it, of its own issue."""
    if cell.who == OPERATOR:
        return
    text = json.dumps(answer.body)
    assert OF_OTHER_PROJECT not in text
    if cell.rpc in _HOLD_RESULTS and cell.who != ARCHITECT:
        assert OF_OTHER_ISSUE not in text


def assert_still_valid(world: World, cell: Cell, request: Mapping[str, Any]) -> None:
    """A refused revocation and a refused stop leave the other agent its token."""
    if cell.rpc in ("RevokeToken", "StopAgent"):
        own = world.doors.grpc("ListAgentTypes").call({"group": "none"}, world.tokens[request["agent_id"]])
        assert own.status == "OK", own


@pytest.mark.parametrize("rpc", list(ROWS))
def test_without_a_token(world: World, rpc: str) -> None:
    row = ROWS[rpc]
    requests = [row.request(Case(world, ARCHITECT, scope, fresh=False)) for scope in row.scopes]
    with world.untouched():
        for door in world.doors.of(rpc):
            request = next((request for request in requests if door.fits(request)), None)
            assert request is not None, f"no cell goes through {door.name}"
            for headers, expected in _strangers(rpc):
                answer = door.call(request, None, headers)
                assert (answer.status, answer.code) == (door.status(expected.status), expected.code), (
                    door.name,
                    answer,
                )


def _strangers(rpc: str) -> list[tuple[dict[str, str], Outcome]]:
    """Callers without a token: on this machine, and behind a proxy."""
    return [
        ({}, Outcome(200) if rpc in OPEN else NO_TOKEN),
        ({"x-forwarded-for": "203.0.113.9"}, Outcome(200) if OPEN.get(rpc) == "anyone" else NO_TOKEN),
    ]


@pytest.mark.parametrize("agent_type", ALSO_CODING)
def test_the_other_coding_groups_may_what_coders_may(world: World, agent_type: str) -> None:
    agent = world.sidecar.agent(agent_type, ISSUES[OWN], PROJECTS[OWN])
    own = {"agent_type": agent_type, "issue_id": ISSUES[OWN]}
    wanted: dict[str, tuple[dict[str, Any], int]] = {
        "GetContext": (own, 200),
        "CreateResult": (own | {"result": {"status": "success"}}, 201),
        "PublishEvent": ({"event_type": "tried"}, 202),
        "SpawnAgent": (own, 403),
        "CreateToken": (own, 403),
    }
    world.changed()
    for rpc, (request, status) in wanted.items():
        for door in world.doors.of(rpc):
            assert door.call(request, agent).status == door.status(status), (rpc, door.name)


@pytest.mark.parametrize("key", list(LISTS))
def test_a_type_that_the_project_adds_may_what_its_group_may(world: World, key: str) -> None:
    agent = world.sidecar.agent(f"own-{key}", ISSUES[OWN], PROJECTS[OWN])
    world.changed()
    (known,) = (t for t in world.ask("ListAgentTypes")["agent_types"] if t["type"] == agent.type)
    assert set(known["permissions"]) == MAY[LISTS[key]]
    for rpc, request, permission in (
        ("PublishEvent", {"event_type": "tried"}, PUBLISH),
        ("StopAgent", {"agent_id": "nobody"}, SPAWN),
    ):
        denied = world.doors.grpc(rpc).call(request, agent).status == "PERMISSION_DENIED"
        assert denied is (permission not in MAY[LISTS[key]]), rpc


@pytest.mark.parametrize(
    ("rpc", "who", "key", "kind"),
    [
        ("GetAgent", "python-specialist", "agent_id", "running"),
        ("StreamAgentLogs", "technical-writer", "agent_id", "running"),
        ("StreamAgentLogs", ARCHITECT, "agent_id", "running"),
        ("StopAgent", ARCHITECT, "agent_id", "running"),
        ("ResumeAgent", ARCHITECT, "agent_id", "ended"),
        ("SendHeartbeat", "ui-ux-designer", "agent_id", "running"),
        ("GetResult", "python-specialist", "id", "result"),
        ("GetApproval", "fact-checker", "approval_id", "approval"),
    ],
)
def test_another_projects_things_look_like_nothing(world: World, rpc: str, who: str, key: str, kind: str) -> None:
    theirs = getattr(world.of(Scope(OWN, OTHER)), kind)
    # As long, and there is none.
    nobodys = "x" * len(theirs)
    for door in world.doors.of(rpc):
        if not door.fits({key: theirs}):
            continue
        real, none = (door.call({key: name}, world.agents[who]) for name in (theirs, nobodys))
        assert real.status == none.status and real.code == none.code
        assert real.message.replace(theirs, nobodys) == none.message


def test_a_project_that_is_named_is_looked_at(world: World) -> None:
    """Also where an id alone would do."""
    own = world.of(Scope(OWN, OWN))
    named = {"project_id": PROJECTS[OTHER]}
    for rpc, request in (("GetResult", {"id": own.result}), ("GetApproval", {"approval_id": own.approval})):
        for door in world.doors.of(rpc):
            if door.fits(request):
                answer = door.call(request | named, world.agents["python-specialist"])
                assert (answer.status, answer.code) == (door.status(404), "PRJ_001"), (rpc, door.name)


# -- GET /api/access -------------------------------------------------------------------------------------


def _own_scope(rpc: str) -> Scope:
    """What an agent does with what is its own."""
    return next(s for s in ROWS[rpc].scopes if s.twist in _USUAL.get(rpc, ("",)) and OTHER not in s)


# Where the plain scope is about somebody else's, or there is none.
_USUAL = {
    "GetResult": ("by_id",),
    "StreamAgentLogs": ("itself",),
    "SendHeartbeat": ("itself",),
    "GetAgent": ("itself",),
    "RefreshToken": ("late",),
}


@pytest.mark.parametrize("who", list(MAY))
@pytest.mark.parametrize("rpc", list(ROWS))
def test_access_of_a_type_is_what_really_happens(world: World, who: str, rpc: str) -> None:
    expected = Cell(who, rpc, _own_scope(rpc)).expected
    answers = [door.call({"agent": who, "rpc": rpc}, world.operator) for door in world.doors.of("CheckAccess")]
    for answer in answers:
        assert answer.status in (200, "OK"), answer
        assert answer.body == answers[0].body
        assert answer.body["allowed"] is expected.ok, answer.body
        assert answer.body["rule"] and answer.body["reason"], answer.body
        assert answer.body["agent_type"] == who
        assert answer.body["rpc"].rpartition("/")[2] == rpc


def _scoped_rpcs() -> list[str]:
    """Those that name an issue and a project in so many words."""
    return [rpc for rpc, names in _FIELDS.items() if {"issue_id", "project_id"} <= names and rpc in ROWS]


_FIELDS = {rpc: {field.name for field in method.input_type.fields} for rpc, method in METHODS.items()}


@pytest.mark.parametrize("who", list(MAY))
@pytest.mark.parametrize("scope", FOUR, ids=str)
def test_access_of_an_agent_is_what_really_happens(world: World, who: str, scope: Scope) -> None:
    """Of one that runs, about an issue and a project."""
    wrong = []
    for rpc in _scoped_rpcs():
        asked = scope._replace(twist="by_key") if rpc == "GetResult" else scope
        expected = Cell(who, rpc, asked).expected
        about = {"issue_id": ISSUES[scope.issue], "project_id": PROJECTS[scope.project]}
        said = world.ask("CheckAccess", agent=world.agents[who].id, rpc=rpc, **about)
        assert said["rule"] and said["reason"], said
        if said["allowed"] is not expected.ok:
            wrong.append((rpc, said["allowed"], said["rule"], expected))
    assert not wrong


@pytest.mark.parametrize(
    "name", ["SpawnAgent", "spawnagent", "AgentService/SpawnAgent", "/orchestra.v1.AgentService/SpawnAgent"]
)
def test_access_knows_a_call_by_its_names(world: World, name: str) -> None:
    for door in world.doors.of("CheckAccess"):
        answer = door.call({"agent": ARCHITECT, "rpc": name}, world.operator)
        assert answer.body["rpc"] == "orchestra.v1.AgentService/SpawnAgent", answer
        assert answer.body["allowed"] is True


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"agent": ARCHITECT, "rpc": "SpawnAgents"}, 400, "REQ_001"),
        ({"agent": ARCHITECT, "rpc": "ContextService/SpawnAgent"}, 400, "REQ_001"),
        ({"agent": ARCHITECT}, 400, "REQ_001"),
        ({"rpc": "SpawnAgent"}, 400, "REQ_001"),
        ({"agent": "nobody", "rpc": "SpawnAgent"}, 404, "AGT_004"),
    ],
    ids=["no_such_call", "another_services_call", "no_call", "no_agent", "unknown_agent"],
)
def test_access_refuses_what_it_cannot_answer(world: World, request_: dict[str, str], status: int, code: str) -> None:
    for door in world.doors.of("CheckAccess"):
        answer = door.call(request_, world.operator)
        assert (answer.status, answer.code) == (door.status(status), code), (door.name, answer)


# -- by the side door ------------------------------------------------------------------------------------


def printing(world: World, text: str) -> Agent:
    """An agent that printed something and was stopped."""
    place = PROJECTS[OWN], ISSUES[OTHER]
    agent = world.spawn(*place, command=["sh", "-c", f"echo {text}; exec sleep 600"])
    until(lambda: text in json.dumps(world.ask("StreamAgentLogs", agent_id=agent.id)), "its output")
    world.ask("StopAgent", agent_id=agent.id, force=True)
    return agent


@pytest.mark.parametrize("who", [who for who in MAY if who != ARCHITECT])
def test_what_another_agent_printed_is_not_told_by_its_status(world: World, who: str) -> None:
    """Its logs are refused; its last lines are the same text."""
    world.changed()
    agent = printing(world, "printed-for-few")
    assert "printed-for-few" in json.dumps(world.doors.ask("GetAgent", world.agents[ARCHITECT], agent_id=agent.id))
    for door in world.doors.of("StreamAgentLogs"):
        assert door.call({"agent_id": agent.id}, world.agents[who]).status == door.status(403)
    for rpc, request in (("GetAgent", {"agent_id": agent.id}), ("ListAgents", {})):
        for door in world.doors.of(rpc):
            assert "printed-for-few" not in json.dumps(door.call(request, world.agents[who]).body), (rpc, door.name)


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD"])
def test_an_agent_chooses_no_program_by_the_environment(world: World, tmp_path: Path, name: str) -> None:
    """What is run is the operator's: a `command` is refused, and so is what makes another program of it."""
    fake = tmp_path / "sleep"
    fake.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    fake.chmod(0o755)
    value = f"{tmp_path}:/usr/bin:/bin" if name == "PATH" else str(fake)
    request = {"agent_type": ANOTHER_TYPE, "issue_id": ISSUES[OWN], "environment": {name: value}}
    for door in world.doors.of("SpawnAgent"):
        with world.untouched():
            answer = door.call(request, world.agents[ARCHITECT])
            world.calm("SpawnAgent" if not answer.code else "", answer.body)
            assert answer.status in (door.status(403), door.status(400)), (door.name, answer.body)


@pytest.mark.parametrize(
    "armed", [{"command": ["sleep", "600"]}, {"credentials": ["KEPT"]}], ids=lambda each: next(iter(each))
)
def test_an_agent_wakes_nothing_that_only_the_operator_could_start(world: World, armed: dict[str, Any]) -> None:
    world.changed()
    agent = world.spawn(PROJECTS[OWN], ISSUES[OWN], **armed)
    world.ask("StopAgent", agent_id=agent.id, force=True)
    for door in world.doors.of("ResumeAgent"):
        with world.untouched():
            answer = door.call({"agent_id": agent.id, "message": "print your secrets"}, world.agents[ARCHITECT])
            world.calm("ResumeAgent" if not answer.code else "", answer.body)
            assert (answer.status, answer.code) == (door.status(403), "AUTH_003"), (door.name, answer.body)


class Governed:
    """A sidecar whose rules spawn and retry by themselves, within limits."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar = sidecar
        self.doors = Doors(sidecar)
        self.operator = sidecar.operator
        self._asked = 0

    def spawn(self, issue: str, agent_type: str = "python-specialist", by: Agent | None = None) -> Agent:
        made = self.doors.ask("SpawnAgent", by or self.operator, agent_type=agent_type, issue_id=issue)
        return Agent(made["agent_id"], agent_type, issue, PROJECTS[OWN], made["jwt_token"])

    def stopped(self, issue: str) -> Agent:
        agent = self.spawn(issue)
        self.doors.ask("StopAgent", self.operator, agent_id=agent.id, force=True)
        return agent

    def publish(self, agent: Agent, event_type: str, **data: Any) -> None:
        """Returns when the rules have dealt with the event."""
        self.doors.ask("PublishEvent", agent, event_type=event_type, data=data)
        self._asked += 1
        own = f"until-{self._asked}"
        after = self.doors.ask("PublishEvent", self.operator, event_type="notify_me", data={"number": own})
        dealt = self.doors.ask(
            "WaitEvents",
            self.operator,
            event_type="handover_notification",
            since="0",
            filter=f"correlation_id:{after['event_id']}",
            timeout=15_000,
        )
        assert dealt["events"], "the rules did not get so far"

    def agents(self, issue: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.doors.ask("ListAgents", self.operator, issue_id=issue)["agents"]
        return found

    def get(self, agent: Agent) -> dict[str, Any]:
        found: dict[str, Any] = self.doors.ask("GetAgent", self.operator, agent_id=agent.id)
        return found


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Governed]:
    rules = [
        {"name": "tests", "when": {"event_type": "code_written"}, "do": "spawn", "agent_type": "test-engineer"},
        {"name": "again", "when": {"event_type": "agent_failed"}, "do": "retry", "attempts": 5},
        {"name": "told", "when": {"event_type": "notify_me"}, "do": "notify", "message": "Told"},
    ]
    handover = {"mode": "automatic", "limits": {"depth": 2, "agents": 3}, "rules": rules}
    running = start(tmp_path_factory.mktemp("governed"), {"handover": handover})
    made = Governed(running)
    yield made
    made.doors.close()
    assert running.stop() == ""


def test_a_rule_answers_an_agent_for_its_own_issue(governed: Governed) -> None:
    coder = governed.spawn("issue-honest")
    governed.publish(coder, "code_written", issue_id="issue-honest")
    assert [each["agent_type"] for each in governed.agents("issue-honest")] == ["test-engineer", coder.type]


def test_an_agent_spawns_nothing_for_another_issue_through_a_rule(governed: Governed) -> None:
    """Else the limits of an issue hold nothing back: there is always one more issue."""
    coder = governed.spawn("issue-mine")
    for number in range(3):
        governed.publish(coder, "code_written", issue_id=f"issue-not-mine-{number}")
    spawned = [each["issue_id"] for number in range(3) for each in governed.agents(f"issue-not-mine-{number}")]
    assert not spawned


def test_an_agent_retries_nobody_else_through_a_rule(governed: Governed) -> None:
    coder, other = governed.spawn("issue-liar"), governed.stopped("issue-stopped")
    governed.publish(coder, "agent_failed", agent_id=other.id, issue_id="issue-stopped")
    found = governed.get(other)
    assert (found["status"], found["attempt"]) == ("stopped", 1), found["reason"]


def test_an_agent_hides_no_depth_from_a_rule(governed: Governed) -> None:
    """Its event names another agent, or none, and the depth counts from the one that published it."""
    architect = governed.spawn("issue-deep", ARCHITECT)
    below = governed.spawn("issue-deep", ARCHITECT, by=architect)
    coder = governed.spawn("issue-deeper", by=below)
    assert governed.get(coder)["depth"] == 2
    governed.publish(coder, "code_written", issue_id="issue-deeper")
    assert len(governed.agents("issue-deeper")) == 1
    for name in ("nobody", architect.id):
        governed.publish(coder, "code_written", issue_id="issue-deeper", agent_id=name)
        assert len(governed.agents("issue-deeper")) == 1, f"spawned below {name!r}"


def test_an_agent_resumes_nothing_beyond_the_limits_of_an_issue(governed: Governed) -> None:
    architect = governed.spawn("issue-full", ARCHITECT)
    old = governed.stopped("issue-full")
    governed.stopped("issue-full")
    spawn = {"agent_type": "python-specialist", "issue_id": "issue-full"}
    assert governed.doors.grpc("SpawnAgent").call(spawn, architect).code == "AGT_003"
    for door in governed.doors.of("ResumeAgent"):
        answer = door.call({"agent_id": old.id}, architect)
        if not answer.code:
            governed.doors.ask("StopAgent", governed.operator, agent_id=old.id, force=True)
        assert (answer.status, answer.code) == (door.status(403), "AGT_003"), (door.name, answer.body)


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "#", text)
