"""What programs report about their work: sessions, turns, tokens, cost, answers."""

from __future__ import annotations

from tests.support.sidecars import call, fresh
from tests.support.spawned import Spawn, events_of, resume

from cco_sidecar.testing.process import SidecarProcess


def test_a_programs_report_is_kept_and_its_final_answer_is_its_result(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    issue = fresh("issue-report")
    steps = [
        {
            "do": "report",
            "result": "Wrote the parser\nand its tests",
            "cost": 0.25,
            "turns": 4,
            "input": 1000,
            "output": 200,
        }
    ]
    agent = scripted_agent(steps, command=[], issue=issue)
    ended = agent.wait()
    assert ended["status"] == "completed"
    assert ended["usage"] == {
        "session_id": "11111111-2222-4333-8444-555555555555",
        "turns": 4,
        "duration_ms": 1200,
        "api_duration_ms": 800,
        "input_tokens": 1000,
        "output_tokens": 200,
        "cache_read_tokens": 3,
        "cost_usd": 0.25,
    }
    (result,) = call(sidecar, "GET", f"/api/results?issue_id={issue}")["results"]
    assert result["id"] == ended["result_id"] and result["agent_id"] == agent.id
    assert result["result"]["decisions"] == ["Wrote the parser"]
    assert result["result"]["artifacts"] == {"final_message": "Wrote the parser\nand its tests"}
    # What a program printed last is no decision that other issues should know.
    known = sidecar.request("GET", f"/api/knowledge?project_id={result['project_id']}", sidecar.operator).json()
    assert result["id"] not in [each["result_id"] for each in known["entries"]]
    assert result["result"]["metrics"] == {"execution_time_ms": 1200, "tokens_used": 1200, "cost_usd": 0.25}
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"]


def test_the_agents_own_result_takes_precedence_over_its_final_answer(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    issue = fresh("issue-report")
    steps = [{"do": "result", "decisions": ["mine"]}, {"do": "report", "result": "also this"}]
    ended = scripted_agent(steps, command=[], issue=issue).wait()
    (result,) = call(sidecar, "GET", f"/api/results?issue_id={issue}")["results"]
    assert (result["result"]["decisions"], result["id"]) == (["mine"], ended["result_id"])


def test_a_program_that_reports_an_error_has_failed(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    issue = fresh("issue-report")
    ended = scripted_agent(
        [{"do": "report", "result": "no more credit", "is_error": True}], command=[], issue=issue
    ).wait()
    assert (ended["status"], ended["reason"]) == ("failed", "reported: no more credit")
    assert ended["usage"]["cost_usd"] == 0.01
    assert call(sidecar, "GET", f"/api/results?issue_id={issue}")["results"] == []


def test_nothing_is_estimated_and_nonsense_is_ignored(scripted_agent: Spawn) -> None:
    lines = [
        '{"type": "result", "usage": {"input_tokens": -5, "output_tokens": "many"}, "num_turns": true}',
        '{"type": "result", "result": {"no": "text"}, "session_id": 7, "usage": [1], "stats": null}',
        *(
            '{"type": "resu',
            "{}",
            '{"type": null}',
            "[1, 2]",
            '{"type": ["result"]}',
            '{"type": "item.completed", "item": 3}',
        ),
        '{"type": "result", "total_cost_usd": 1e400}',
    ]
    ended = scripted_agent([{"do": "print", "text": line} for line in lines], command=[]).wait()
    assert ended["status"] == "completed"
    assert ended.get("usage", {}) in ({}, {"session_id": ""}), ended["usage"]


def test_the_usage_of_all_attempts_is_summed(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent([{"do": "report", "result": "ok", "cost": 0.5, "turns": 2}], command=[])
    agent.wait()
    for attempts in (2, 3):
        resume(sidecar, agent)
        usage = agent.wait()["usage"]
        assert (usage["cost_usd"], usage["turns"]) == (0.5 * attempts, 2 * attempts)
