"""A sidecar is killed, stands still, or goes: the others do what it did, and nothing is done twice."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from tests.cluster.chaos import Cluster
from tests.cluster.test_sidecars import agent_of, ask, spawn
from tests.support.sidecars import fresh, until, written
from tests.support.team import Team, cluster_of, id_of, leader_of

from cco_sidecar.testing.process import SidecarProcess, run_cco
from orchestra.v1.agent_service_pb2 import Agent, GetAgentRequest, GetAgentResponse
from orchestra.v1.agent_service_pb2_grpc import AgentServiceStub

pytestmark = pytest.mark.cluster

SOON = {"lost_after_seconds": 20}


@pytest.fixture
def team(tmp_path: Path, root: Path, postgres_url: str, nats_url: str) -> Iterator[Team]:
    made = Team(tmp_path, root, postgres_url, nats_url)
    yield made
    made.stop()


def two(team: Team, **sections: object) -> tuple[SidecarProcess, SidecarProcess]:
    """Starts the sidecar that leads, and another."""
    first = team.start("one", **sections)
    second = team.start("two", **sections)
    assert leader_of(second) == id_of(first)
    until(lambda: len(cluster_of(first)["members"]) == 2, "the first to know the second")
    return first, second


def is_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_another_leads_when_the_leader_is_killed(team: Team) -> None:
    """What was delivered and not acknowledged is delivered again, and what was acknowledged is not."""
    leader, other = two(team)
    project = fresh("project")
    ask(leader, "POST", "/api/consumers", {"name": "c", "project_id": project, "settings": {"ack_wait_seconds": 5}})
    for number in range(3):
        ask(other, "POST", "/api/events/built", {"project_id": project, "data": {"n": number}})
    pull = f"/api/consumers/c/pull?project_id={project}"
    taken = ask(other, "POST", pull, {"limit": 2, "timeout": 5000})["deliveries"]
    ask(other, "POST", f"/api/consumers/c/ack?project_id={project}", {"delivery_ids": [taken[0]["delivery_id"]]})
    leader.kill()
    began = time.monotonic()
    left: list[int] = []
    while len(left) < 2:
        more = ask(other, "POST", pull, {"limit": 10, "timeout": 10000})["deliveries"]
        left += [each["event"]["data"]["n"] for each in more]
    print(f"consumers continue after {time.monotonic() - began:.1f} s")
    assert sorted(left) == [1, 2]
    assert cluster_of(other)["leader_id"] == id_of(other)


def test_the_agents_of_a_sidecar_that_comes_back_go_on(team: Team) -> None:
    first, second = two(team)
    agent_id = spawn(first)["agent_id"]
    pid = agent_of(first, agent_id)["process_id"]
    first.kill()
    refused = second.request("DELETE", f"/api/agents/{agent_id}", second.operator)
    assert refused.status_code in (503, 504) and "CLU_00" in refused.text
    again = team.start("one")
    assert id_of(again) == id_of(first)
    seen = until(lambda: found if (found := agent_of(second, agent_id))["status"] == "running" else None, "the agent")
    assert seen["process_id"] == pid and is_there(pid) and seen["attempt"] == 1
    ask(second, "DELETE", f"/api/agents/{agent_id}")
    assert not is_there(pid)


def test_the_agents_of_a_lost_sidecar_end_before_others_continue_them(team: Team, tmp_path: Path) -> None:
    """Also if nobody is left to end them: the shim does."""
    record = tmp_path / "runs"
    script = f"echo begin $$ $(date +%s.%N) >> {record}; trap 'echo end $$ $(date +%s.%N) >> {record}; exit 1' TERM; sleep 600 & wait"
    runners = {"default": {"command": ["sh", "-c", script], "retry": {"attempts": 2, "backoff_seconds": 0}}}
    first, second = two(team, agents={"runners": runners, "sandbox": "off"}, cluster=SOON)
    body = {"agent_type": "python-specialist", "issue_id": "i", "task": "t"}
    agent_id = ask(first, "POST", "/api/agents/spawn", body)["agent_id"]
    once = ask(first, "POST", "/api/agents/spawn", body | {"command": ["sleep", "600"]})["agent_id"]
    pid = agent_of(first, once)["process_id"]
    first.kill()
    began = time.monotonic()
    ended = until(lambda: found if (found := agent_of(second, once))["status"] == "failed" else None, "its end", 60)
    print(f"taken over after {time.monotonic() - began:.1f} s")
    assert id_of(first) in ended["reason"] and "lost" in ended["reason"] and not is_there(pid)
    continued = until(
        lambda: (
            found if (found := agent_of(second, agent_id))["attempt"] == 2 and found["status"] == "running" else None
        ),
        "the second attempt",
        60,
    )
    assert continued["sidecar_id"] == id_of(second)
    until(lambda: record.read_text().count("begin") == 2, "both attempts")
    assert [line.split()[0] for line in record.read_text().splitlines()] == ["begin", "end", "begin"], (
        "never two at once"
    )
    assert [each["sidecar_id"] for each in cluster_of(second)["members"]] == [id_of(second)]


def test_a_leader_that_stood_still_changes_nothing_more(team: Team) -> None:
    leader, other = two(team)
    project = fresh("project")
    ask(leader, "POST", "/api/consumers", {"name": "c", "project_id": project})
    ask(leader, "POST", "/api/events/built", {"project_id": project, "data": {}})
    agent_id = spawn(leader)["agent_id"]
    leader.process.send_signal(signal.SIGSTOP)
    pull = f"/api/consumers/c/pull?project_id={project}"
    taken = ask(other, "POST", pull, {"limit": 1, "timeout": 5000})["deliveries"]
    assert cluster_of(other)["leader_id"] == id_of(other)
    leader.process.send_signal(signal.SIGCONT)
    until(lambda: cluster_of(leader)["leader_id"] == id_of(other), "it to learn who leads", 15)
    settled = ask(
        leader, "POST", f"/api/consumers/c/ack?project_id={project}", {"delivery_ids": [taken[0]["delivery_id"]]}
    )
    assert settled["settled"] == 1
    assert ask(other, "GET", f"/api/consumers/c?project_id={project}")["in_flight_count"] == 0
    assert agent_of(other, agent_id)["status"] == "running", "it was back in time"


def test_a_sidecar_that_stood_still_for_too_long_gives_its_agents_up(team: Team, tmp_path: Path) -> None:
    first, second = two(team, cluster=SOON)
    agent_id = spawn(second)["agent_id"]
    pid = agent_of(second, agent_id)["process_id"]
    second.process.send_signal(signal.SIGSTOP)
    until(lambda: agent_of(first, agent_id)["status"] == "failed", "its end", 60)
    assert not is_there(pid)
    second.process.send_signal(signal.SIGCONT)
    until(lambda: len(cluster_of(second)["members"]) == 2, "it to be back", 30)
    assert agent_of(second, agent_id)["sidecar_id"] == id_of(first)
    assert agent_of(second, agent_id)["status"] == "failed"
    spawn(second, command=["true"])


def test_what_waits_at_a_sidecar_that_goes_is_started_by_another(team: Team) -> None:
    first, second = two(team, agents={"max_concurrent": 1})
    spawn(second)
    waiting = spawn(second)["agent_id"]
    assert agent_of(first, waiting)["status"] == "pending"
    second.stop()
    started = until(lambda: found if (found := agent_of(first, waiting))["status"] == "running" else None, "it", 15)
    assert started["sidecar_id"] == id_of(first)


def test_the_doctor_says_who_is_missing(team: Team) -> None:
    first, second = two(team)

    def examined() -> dict[str, str]:
        done = run_cco(second, "doctor", "--format", "json", environment=list(team.environment.items()))
        found = json.loads(done.stdout)
        return {each["level"]: each["text"] for each in found if each["name"] == "cluster"}

    assert examined() == {"ok": f"2 of 2 sidecars are up, {id_of(first)} leads"}
    first.kill()
    until(lambda: not cluster_of(second)["members"][0]["alive"] or not cluster_of(second)["members"][1]["alive"], "it")
    found = examined()
    assert found["warning"].startswith(f"{id_of(first)} on ") and "1 of 2 sidecars" in (
        found.get("ok") or found["broken"]
    )


def test_who_signs_with_another_key_is_refused(team: Team) -> None:
    team.start("one")
    with pytest.raises(RuntimeError, match="signs tokens with another key"):
        team.start("two", secret="another-secret-of-more-than-32-characters")


def test_two_at_one_address_are_refused(team: Team) -> None:
    one = team.start("one")
    with pytest.raises(RuntimeError, match=f"cluster.address: sidecar {id_of(one)} on .* has the address"):
        team.start("two", cluster={"address": cluster_of(one)["members"][0]["address"]})


def test_one_that_replaces_another_at_its_address_waits_until_that_is_gone(team: Team) -> None:
    """Such as a container without a storage of its own, which is started again."""
    address = {"address": "sidecar.example:3002"}
    former = team.start("one", cluster=address)
    identity = id_of(former)
    former.kill()
    assert id_of(team.start("two", cluster=address)) != identity


def test_a_copy_of_a_storage_directory_is_refused(team: Team, tmp_path: Path) -> None:
    first = team.start("one")
    (tmp_path / "copy").mkdir()
    shutil.copytree(first.storage, tmp_path / "copy" / "storage", ignore=shutil.ignore_patterns("*.lock", "*.pid"))
    with pytest.raises(RuntimeError, match="the storage directory is a copy"):
        team.start("copy")


def test_a_sidecar_of_its_own_does_not_get_the_database_of_a_team(team: Team, tmp_path: Path, root: Path) -> None:
    team.start("one")
    database = {"CCO_SIDECAR_DATABASE_URL": team.environment["CCO_SIDECAR_DATABASE_URL"]}
    with pytest.raises(RuntimeError, match="another sidecar uses the database"):
        SidecarProcess(tmp_path / "own", root, environment=database, config=written(tmp_path / "own.json"))


def test_who_was_cut_off_touches_nothing_of_what_others_continued(tmp_path: Path, root: Path) -> None:
    """It has its agents in memory, with attempts left, when it is back."""
    record = tmp_path / "runs"
    script = f'echo "$AGENT_ID $$ $JWT_TOKEN" >> {record}; exec sleep 600'
    runners = {"default": {"command": ["sh", "-c", script], "retry": {"attempts": 9, "backoff_seconds": 0}}}
    cluster = Cluster(tmp_path, root, agents={"runners": runners, "sandbox": "off"}, cluster=SOON)
    try:
        first, second = cluster.nodes
        assert first.process is not None and second.process is not None
        body = {"agent_type": "python-specialist", "issue_id": "i", "task": "t"}
        agent_id = ask(second.process, "POST", "/api/agents/spawn", body)["agent_id"]
        second.to_database.cut()
        continued = until(
            lambda: found if (found := agent_of(first.process, agent_id))["attempt"] == 2 else None,  # type: ignore[arg-type]
            "the second attempt",
            60,
        )
        assert continued["sidecar_id"] == id_of(first.process)
        second.to_database.restore()
        until(lambda: len(cluster_of(second.process)["members"]) == 2, "it to be back", 30)  # type: ignore[arg-type]
        # What it would do, it does at once.
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            assert agent_of(second.process, agent_id)["attempt"] == 2
            time.sleep(0.2)
        (_, before, _), (_, now, token) = [line.split() for line in record.read_text().splitlines()]
        assert is_there(int(now)) and not is_there(int(before))
        answer = second.process.request("GET", "/api/events", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, "the tokens of the second attempt are valid everywhere"
    finally:
        cluster.close()


def test_whoever_listens_in_the_place_of_a_sidecar_gets_no_token_and_is_not_believed(team: Team) -> None:
    first, second = two(team)
    agent_id = spawn(second)["agent_id"]
    second.kill()
    heard: list[dict[str, Any]] = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        heard.append(dict(context.invocation_metadata()))
        return GetAgentResponse(agent=Agent(agent_id=agent_id, reason="invented")).SerializeToString()

    handler = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.server(ThreadPoolExecutor(2))
    service = "orchestra.v1.AgentService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"GetAgent": handler}),))
    assert server.add_insecure_port(second.target)
    server.start()
    try:
        answered = first.request("GET", f"/api/agents/{agent_id}", first.operator)
    finally:
        server.stop(None).wait()
    assert heard and "authorization" not in heard[0], "it was asked"
    assert "invented" not in answered.text
    assert answered.status_code == 200 or "does not prove" in answered.text
    stolen = heard[0]["x-cco-sidecar-pass"]
    for name in ("Authorization", "x-cco-sidecar-pass", "Grpc-Metadata-x-cco-sidecar-pass"):
        value = f"Bearer {stolen}" if name == "Authorization" else stolen
        assert first.request("GET", f"/api/agents/{agent_id}", headers={name: value}).status_code == 401
    with grpc.insecure_channel(first.target) as channel, pytest.raises(grpc.RpcError) as refused:
        AgentServiceStub(channel).GetAgent(
            GetAgentRequest(agent_id=agent_id), metadata=[("x-cco-sidecar-pass", stolen)]
        )
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, "it is for another sidecar"


def test_an_agent_that_never_began_here_takes_no_token_with_it(team: Team) -> None:
    """What waits at a sidecar that is lost has no run yet."""
    first, second = two(team, agents={"max_concurrent": 1}, cluster=SOON)
    spawn(second)
    waiting = spawn(second)["agent_id"]
    second.process.send_signal(signal.SIGSTOP)
    until(lambda: agent_of(first, waiting)["sidecar_id"] == id_of(first), "it to be taken over", 60)
    second.process.send_signal(signal.SIGCONT)
    until(lambda: len(cluster_of(second)["members"]) == 2, "it to be back", 30)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert first.request("GET", "/api/agents", first.operator).status_code == 200
        time.sleep(0.2)
