"""What each type may do, written by hand from the contract (section 3), independent of the permission lines in the
protos.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

READ, WRITE, PUBLISH, SPAWN = "read_context", "write_results", "publish_events", "spawn_agents"
OPERATOR = "operator"
ARCHITECT = "chief-architect"
# Contract, section 3 and its decision 2: one type of each group in its table.
MAY: dict[str, frozenset[str]] = {
    ARCHITECT: frozenset({READ, WRITE, PUBLISH, SPAWN}),
    "python-specialist": frozenset({READ, WRITE, PUBLISH}),
    "test-engineer": frozenset({READ, WRITE, PUBLISH}),
    "security-auditor": frozenset({READ, WRITE, PUBLISH}),
    "technical-writer": frozenset({READ, WRITE, PUBLISH}),
    "ui-ux-designer": frozenset({READ, WRITE, PUBLISH}),
    "fact-checker": frozenset({READ, WRITE, PUBLISH}),
    "business-analyst": frozenset({READ, WRITE, PUBLISH}),
}
# The other coding groups in the table, for permissions only.
ALSO_CODING = ("api-explorer", "code-reviewer", "data-engineer", "devops-engineer", "ai-engineer", "mcp-expert")
# Each list of the agents' configuration (contract, section 5), and what a type in it may do.
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
# Marks everything that belongs to the other project, and the results of the other issue.
OF_OTHER_PROJECT, OF_OTHER_ISSUE = "seen-only-in-the-other-project", "seen-only-in-the-other-issue"


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
NO_KNOWLEDGE = Outcome(404, "KNW_001")


class Scope(NamedTuple):
    """Which issue, which project, and any special condition; empty where it does not matter."""

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
    """``issue``: `read` (an agent's own; architects: every issue of their project), `write` (only the caller's own), or
    empty where issues do not matter. ``elsewhere``: the answer about another project. ``twists``: who may.
    """

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


def knowledge(who: str, scope: Scope) -> Outcome:
    """A pending entry is there for its own issue only, for architects too; the operator sees all."""
    found = rule(200, READ)(who, scope)
    return NO_KNOWLEDGE if found.ok and who != OPERATOR and scope.issue == OTHER else found


def runners_only(who: str, scope: Scope) -> Outcome:
    """Nobody but the runner that the call names, not even the operator."""
    return DENIED


def forget(who: str, scope: Scope) -> Outcome:
    """What an agent added itself, and the operator everything."""
    found = rule(200, WRITE)(who, scope)
    if not found.ok or who == OPERATOR or scope.twist == "its_own":
        return found
    return NO_KNOWLEDGE if scope.issue == OTHER else DENIED


def heartbeat(who: str, scope: Scope) -> Outcome:
    """For itself only, wherever other agents are."""
    return Outcome(200) if who == OPERATOR or scope.twist == "itself" else DENIED


def result_by_id(who: str, scope: Scope) -> Outcome:
    """Without a project's name, another project's result does not exist."""
    elsewhere = NO_RESULT if scope.twist == "by_id" else NO_PROJECT
    return rule(200, READ, issue="read", elsewhere=elsewhere)(who, scope)


def refresh(who: str, scope: Scope) -> Outcome:
    """In the last five minutes of a token; the operator's is renewed by the sidecar."""
    return Outcome(200) if who != OPERATOR and scope.twist == "late" else DENIED
