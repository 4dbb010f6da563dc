"""Who may do what: agent type x RPC x issue x project, over both transports.

The expected outcomes are written by hand from the contract (section 3) and the issue, independent of the permission
lines in the protos. The RPCs are read from the descriptors, so an RPC without a row fails. A refused call must also
have left nothing behind.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e.permissions.oracle import (
    ALSO_CODING,
    ARCHITECT,
    ISSUES,
    LISTS,
    MAY,
    NO_TOKEN,
    OPERATOR,
    OTHER,
    OWN,
    PROJECTS,
    PUBLISH,
    SPAWN,
    Outcome,
    Scope,
)
from tests.e2e.permissions.table import OPEN, ROWS, Case, Cell, assert_nothing_foreign, chosen, tried, without_numbers
from tests.e2e.permissions.world import World
from tests.support.transports import METHODS


def test_every_rpc_has_a_row() -> None:
    assert ROWS.keys() == METHODS.keys(), "write down who may call it"


@pytest.mark.parametrize("cell", chosen(), ids=str)
def test_every_cell(world: World, cell: Cell) -> None:
    expected = cell.expected
    if expected.ok:
        world.changed()
        for answer in tried(world, cell, expected):
            assert_nothing_foreign(cell, answer)
            world.stop_spawned(cell.rpc, answer.body)
        return
    with world.untouched():
        refusals = list(tried(world, cell, expected))
    assert len({without_numbers(answer.message) for answer in refusals}) == 1, refusals


@pytest.mark.parametrize("rpc", list(ROWS))
def test_a_call_without_a_token(world: World, rpc: str) -> None:
    row = ROWS[rpc]
    cases = [Case(world, ARCHITECT, scope, fresh=False) for scope in row.scopes]
    with world.untouched():
        for transport in world.transports.of(rpc):
            for headers, expected in _strangers(rpc):
                request = next((one for one in map(row.request, cases) if transport.fits(one)), None)
                assert request is not None, f"no cell fits {transport.name}"
                answer = transport.call(request, None, headers)
                assert (answer.status, answer.code) == (transport.status(expected.status), expected.code), (
                    transport.name,
                    answer,
                )


def _strangers(rpc: str) -> list[tuple[dict[str, str], Outcome]]:
    """Callers without a token: on this machine, and behind a proxy."""
    served = ROWS[rpc].decide(OPERATOR, Scope())
    return [
        ({}, served if rpc in OPEN else NO_TOKEN),
        ({"x-forwarded-for": "203.0.113.9"}, served if OPEN.get(rpc) == "anyone" else NO_TOKEN),
    ]


@pytest.mark.parametrize("agent_type", ALSO_CODING)
def test_the_other_coding_groups_have_the_rights_of_coders(world: World, agent_type: str) -> None:
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
        for transport in world.transports.of(rpc):
            assert transport.call(request, agent).status == transport.status(status), (rpc, transport.name)


@pytest.mark.parametrize("key", list(LISTS))
def test_a_project_type_has_the_rights_of_its_group(world: World, key: str) -> None:
    agent = world.sidecar.agent(f"own-{key}", ISSUES[OWN], PROJECTS[OWN])
    world.changed()
    (known,) = (t for t in world.ask("ListAgentTypes")["agent_types"] if t["type"] == agent.type)
    assert set(known["permissions"]) == MAY[LISTS[key]]
    for rpc, request, permission in (
        ("PublishEvent", {"event_type": "tried"}, PUBLISH),
        ("StopAgent", {"agent_id": "nobody"}, SPAWN),
    ):
        denied = world.transports.grpc(rpc).call(request, agent).status == "PERMISSION_DENIED"
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
def test_another_projects_resources_look_missing(world: World, rpc: str, who: str, key: str, kind: str) -> None:
    theirs = getattr(world.of(Scope(OWN, OTHER)), kind)
    # The same length, but it does not exist.
    nobodys = "x" * len(theirs)
    for transport in world.transports.of(rpc):
        if not transport.fits({key: theirs}):
            continue
        real, none = (transport.call({key: name}, world.agents[who]) for name in (theirs, nobodys))
        assert real.status == none.status and real.code == none.code
        assert real.message.replace(theirs, nobodys) == none.message


def test_a_named_project_is_checked(world: World) -> None:
    """Even where an id alone would be enough."""
    own = world.of(Scope(OWN, OWN))
    named = {"project_id": PROJECTS[OTHER]}
    for rpc, request in (("GetResult", {"id": own.result}), ("GetApproval", {"approval_id": own.approval})):
        for transport in world.transports.of(rpc):
            if transport.fits(request):
                answer = transport.call(request | named, world.agents["python-specialist"])
                assert (answer.status, answer.code) == (transport.status(404), "PRJ_001"), (rpc, transport.name)
