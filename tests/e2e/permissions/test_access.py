"""``GET /api/access`` agrees with what really happens."""

from __future__ import annotations

import pytest
from tests.e2e.permissions.oracle import ARCHITECT, FOUR, ISSUES, MAY, OTHER, PROJECTS, Scope
from tests.e2e.permissions.table import ROWS, Cell
from tests.e2e.permissions.world import World
from tests.support.transports import METHODS


def _own_scope(rpc: str) -> Scope:
    """An agent acting on its own resources."""
    return next(s for s in ROWS[rpc].scopes if s.twist in _USUAL.get(rpc, ("",)) and OTHER not in s)


# Used where the plain scope is about another agent, or does not exist.
_USUAL = {
    "GetResult": ("by_id",),
    "ListNextAgents": ("by_id",),
    "StreamAgentLogs": ("itself",),
    "GetAgentDiff": ("itself",),
    "SendHeartbeat": ("itself",),
    "GetAgent": ("itself",),
    "RefreshToken": ("late",),
} | dict.fromkeys(
    (
        "DeleteConsumer",
        "ResetConsumer",
        "Consume",
        "PullEvents",
        "AcknowledgeEvents",
        "RejectEvents",
        "ExtendEvents",
        "ReplayDeadLetters",
        "DeleteDeadLetter",
        "DeleteSchedule",
        "DeleteDocument",
        "DeleteKnowledgeEntry",
    ),
    ("its_own",),
)

# Whoever has the permission may call them; the session that is named then decides.
_BY_RECORD = frozenset({"GetSessionResult", "ListSessionEvents"})


@pytest.mark.parametrize("who", list(MAY))
@pytest.mark.parametrize("rpc", list(ROWS))
def test_access_of_a_type_matches_what_happens(world: World, who: str, rpc: str) -> None:
    expected = Cell(who, rpc, _own_scope(rpc)).expected
    answers = [
        transport.call({"agent": who, "rpc": rpc}, world.operator) for transport in world.transports.of("CheckAccess")
    ]
    for answer in answers:
        assert answer.status in (200, "OK"), answer
        assert answer.body == answers[0].body
        assert answer.body["allowed"] is (expected.ok or rpc in _BY_RECORD), answer.body
        assert answer.body["rule"] and answer.body["reason"], answer.body
        assert answer.body["agent_type"] == who
        assert answer.body["rpc"].rpartition("/")[2] == rpc


def _scoped_rpcs() -> list[str]:
    """RPCs that name an issue and a project explicitly."""
    return [rpc for rpc, names in _FIELDS.items() if {"issue_id", "project_id"} <= names and rpc in ROWS]


_FIELDS = {rpc: {field.name for field in method.input_type.fields} for rpc, method in METHODS.items()}


@pytest.mark.parametrize("who", list(MAY))
@pytest.mark.parametrize("scope", FOUR, ids=str)
def test_access_of_an_agent_matches_what_happens(world: World, who: str, scope: Scope) -> None:
    """For a running agent, about an issue and a project."""
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
def test_access_accepts_all_names_of_a_call(world: World, name: str) -> None:
    for transport in world.transports.of("CheckAccess"):
        answer = transport.call({"agent": ARCHITECT, "rpc": name}, world.operator)
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
def test_access_refuses_questions_it_cannot_answer(
    world: World, request_: dict[str, str], status: int, code: str
) -> None:
    for transport in world.transports.of("CheckAccess"):
        answer = transport.call(request_, world.operator)
        assert (answer.status, answer.code) == (transport.status(status), code), (transport.name, answer)
