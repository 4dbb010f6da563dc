"""Presets and templates: the programs they start, and how their reports are read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.processes import lines_in
from tests.support.repositories import OURS

from cco_sidecar.core.documents import read_map
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.runners.presets import PRESETS, Limits, Runner, Runners, filled
from cco_sidecar.runners.usage import UsageReader
from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1.config_pb2 import RunnerConfig

TYPES = load_agent_types(OURS)


def runners(**entries: Any) -> Runners:
    return Runners(Settings(runners=read_map(RunnerConfig, entries, "agents.runners")), TYPES)


class TestConfiguration:
    def test_an_entry_inherits_from_its_group_and_the_default(self) -> None:
        known = runners(
            default={"preset": "codex", "timeout_seconds": 10, "model": "m"},
            coding={"timeout_seconds": 20},
            **{"python-specialist": {"stuck_after_seconds": 5}, "go-specialist": {"command": ["go", "run", "."]}},
        )
        python = known.of(TYPES["python-specialist"])
        assert (python.preset, python.timeout_seconds, python.stuck_after_seconds, python.model) == (
            "codex",
            20,
            5,
            "m",
        )
        go = known.of(TYPES["go-specialist"])
        assert (go.preset, go.command, go.prompt_on_stdin, go.timeout_seconds) == (
            "command",
            ("go", "run", "."),
            False,
            20,
        )
        assert known.of(TYPES["security-auditor"]).timeout_seconds == 10

    def test_the_default_is_claude_with_the_model_of_the_type(self) -> None:
        assert runners().of(TYPES["python-specialist"]).command == PRESETS["claude"].command
        assert runners().programs() == {"claude": "claude"}

    @pytest.mark.parametrize(
        ("entry", "says"),
        [
            ({"nobody": {}}, "unknown name 'nobody'"),
            ({"default": []}, "agents.runners.default: expected an object"),
            ({"default": {"preset": "emacs"}}, "'emacs' is not one of: claude"),
            ({"default": {"comand": ["x"]}}, "has no field 'comand'; did you mean 'command'?"),
            ({"default": {"command": []}}, "expected words such as"),
            ({"default": {"command": ["x", "{taks}"]}}, "there is no placeholder {taks}"),
            ({"default": {"stdin": "yes"}}, "is not one of: prompt, none"),
            ({"default": {"timeout_seconds": -1}}, "-1 is not between 0"),
            ({"default": {"retry": {"attempts": 0}}}, "0 is not between 1"),
            ({"default": {"limits": {"memory": 1}}}, "did you mean 'memory_mb'?"),
            ({"default": {"credentials": "KEY"}}, "expected an array"),
            ({"default": {"environment": {"A": 1}}}, "environment.A: expected a string"),
            ({"default": {"environment": {"JWT_TOKEN": "x"}}}, "JWT_TOKEN is set by the sidecar"),
            ({"default": {"preset": "command"}}, "needs a 'command'"),
        ],
    )
    def test_errors_are_named(self, entry: dict[str, Any], says: str) -> None:
        with pytest.raises(SettingsError, match="runners") as problem:
            runners(**entry)
        assert says in str(problem.value)

    def test_options_without_a_value_are_omitted(self) -> None:
        values = {"session_id": "s", "system_prompt": "be {kind}", "model": "", "mcp_config": ""}
        line = filled(PRESETS["claude"].command, values)
        assert "--model" not in line and "--mcp-config" not in line
        assert line[-2:] == ["--append-system-prompt", "be {kind}"]


class TestReports:
    """Lines as the programs really print them."""

    def test_codex(self) -> None:
        reader = UsageReader()
        for line in (
            '{"type":"thread.started","thread_id":"t-1"}',
            '{"type":"turn.started"}',
            '{"type":"error","message":"Reconnecting... 2/5"}',
            '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"All done."}}',
            '{"type":"turn.completed","usage":{"input_tokens":100,"cached_input_tokens":40,"output_tokens":7}}',
            '{"type":"turn.completed","usage":{"input_tokens":110,"cached_input_tokens":44,"output_tokens":10}}',
        ):
            reader.read(line)
        usage = reader.usage
        assert (usage.session_id, usage.turns, usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (
            "t-1",
            2,
            110,
            44,
            10,
        )
        assert (reader.final, reader.error, usage.HasField("cost_usd")) == ("All done.", "", False)

    def test_gemini(self) -> None:
        reader = UsageReader()
        reader.read('{"type":"init","session_id":"g-1","model":"gemini"}')
        reader.read('{"type":"result","status":"success","stats":{"input_tokens":9,"output_tokens":2,"duration_ms":5}}')
        usage = reader.usage
        assert (usage.session_id, usage.input_tokens, usage.output_tokens, usage.duration_ms) == ("g-1", 9, 2, 5)

    def test_geminis_answer_is_in_its_messages_and_a_warning_is_not_a_failure(self) -> None:
        reader = UsageReader()
        for line in (
            '{"type":"init","session_id":"g-1"}',
            '{"type":"message","role":"user","content":"do it"}',
            '{"type":"message","role":"assistant","content":"I begin","delta":true}',
            '{"type":"tool_use","tool_name":"ls"}',
            '{"type":"error","severity":"warning","message":"loop detected"}',
            '{"type":"message","role":"assistant","content":"All ","delta":true}',
            '{"type":"message","role":"assistant","content":"done.","delta":true}',
            '{"type":"result","status":"success","stats":{}}',
        ):
            reader.read(line)
        assert (reader.final, reader.error) == ("All done.", "")

    def test_a_fatal_error_of_gemini_is_a_failure(self) -> None:
        reader = UsageReader()
        reader.read('{"type":"error","severity":"error","message":"quota"}')
        assert reader.error == "quota"
        reader.read('{"type":"result","status":"error","error":{"message":"quota exceeded"}}')
        assert reader.error == "quota exceeded"

    @pytest.mark.parametrize("last", ['{"type":"result","subtype":"success","result":""}', "{}"])
    def test_claudes_output_is_kept_when_its_result_is_empty_or_missing(self, last: str) -> None:
        reader = UsageReader()
        said = '{"type":"assistant","message":{"content":[{"type":"tool_use"},{"type":"text","text":"All done."}]}}'
        for line in (said, last):
            reader.read(line)
        assert (reader.final, reader.error) == ("All done.", "")

    @pytest.mark.parametrize("subtype", ["error_max_turns", "error_during_execution", "error_new_kind"])
    def test_error_subtypes_are_failures(self, subtype: str) -> None:
        reader = UsageReader()
        reader.read(f'{{"type":"result","subtype":"{subtype}","is_error":false}}')
        assert reader.error == subtype

    def test_usage_of_sub_agents_counts_but_their_output_is_not_the_answer(self) -> None:
        reader = UsageReader()
        for line in (
            '{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"Main."}]}}',
            '{"type":"assistant","parent_tool_use_id":"t1","message":{"content":[{"type":"text","text":"Sub."}]}}',
            '{"type":"result","subtype":"success","usage":{"input_tokens":10,"output_tokens":20},"modelUsage":'
            '{"a":{"inputTokens":1000,"outputTokens":2000},"b":{"inputTokens":1,"cacheReadInputTokens":7}}}',
        ):
            reader.read(line)
        usage = reader.usage
        assert (reader.final, usage.input_tokens, usage.output_tokens) == ("Main.", 1001, 2000)
        assert usage.cache_read_tokens == 7

    def test_gemini_reports_tokens_by_model(self) -> None:
        reader = UsageReader()
        models = '{"g":{"input_tokens":12,"output_tokens":5}}'
        reader.read(f'{{"type":"result","status":"success","stats":{{"models":{models}}}}}')
        assert (reader.usage.input_tokens, reader.usage.output_tokens) == (12, 5)

    def test_a_result_without_a_turn_after_a_success_changes_nothing(self) -> None:
        reader = UsageReader()
        reader.read('{"type":"result","subtype":"success","result":"done","num_turns":72,"total_cost_usd":2.5}')
        reader.read('{"type":"result","subtype":"error_during_execution","num_turns":0,"total_cost_usd":0}')
        assert (reader.final, reader.error, reader.usage.turns, reader.usage.cost_usd) == ("done", "", 72, 2.5)

    def test_a_run_without_a_result_has_the_usage_of_its_messages(self) -> None:
        reader = UsageReader()
        for number, output in ((1, 5), (1, 9), (2, 4)):
            usage = f'{{"input_tokens":100,"output_tokens":{output}}}'
            reader.read(f'{{"type":"assistant","message":{{"id":"m{number}","content":[],"usage":{usage}}}}}')
        assert (reader.usage.input_tokens, reader.usage.output_tokens) == (200, 13)

    def test_the_reason_of_an_error_may_be_a_list(self) -> None:
        reader = UsageReader()
        reader.read('{"type":"result","subtype":"error_during_execution","result":null,"errors":["no session s9"]}')
        assert reader.error == "no session s9"

    def test_a_resumed_session_stays_until_a_result_names_another(self) -> None:
        reader = UsageReader("the-one-resumed")
        reader.read('{"type":"system","subtype":"init","session_id":"does-not-exist"}')
        assert reader.usage.session_id == "the-one-resumed"
        reader.read('{"type":"result","subtype":"success","session_id":"confirmed","result":"x"}')
        assert reader.usage.session_id == "confirmed"

    @pytest.mark.parametrize(
        "line", ["", "{", "{}", "[1]", "null", '{"type":"result","usage":7}', '{"type":["result"]}', "{}{}"]
    )
    def test_other_output_is_ignored(self, line: str) -> None:
        reader = UsageReader()
        reader.read(line)
        assert not reader.usage.ListFields() and not reader.error

    @pytest.mark.parametrize("number", ["-1", "1e300", "true", '"7"', "null"])
    def test_impossible_numbers_are_ignored(self, number: str) -> None:
        reader = UsageReader()
        reader.read(f'{{"type":"result","total_cost_usd":{number},"usage":{{"input_tokens":{number}}}}}')
        assert not reader.usage.HasField("cost_usd") and not reader.usage.HasField("input_tokens")


class Claude:
    """A sidecar whose PATH has the `claude` stand-in."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.calls_file = directory / "calls"
        programs = directory / "bin"
        programs.mkdir()
        shutil.copy(OURS / "tests" / "support" / "claude.py", programs / "claude")
        (programs / "claude").chmod(0o755)
        self.sidecar = SidecarProcess(
            directory / "storage",
            root,
            environment={"PATH": f"{programs}:{os.environ['PATH']}", "CLAUDE_CALLS": str(self.calls_file)},
        )

    def spawn(self, **body: Any) -> SpawnedAgent:
        body = {"agent_type": "python-specialist", "issue_id": "issue-claude"} | body
        answer = self.sidecar.request("POST", "/api/agents/spawn", self.sidecar.operator, json=body)
        assert answer.status_code == 201, answer.text
        return SpawnedAgent(self.sidecar, answer.json())

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in lines_in(self.calls_file)]


@pytest.fixture(scope="module")
def claude(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Claude]:
    made = Claude(tmp_path_factory.mktemp("claude"), repository)
    yield made
    assert made.sidecar.stop() == ""


def test_claude_is_the_default_and_its_report_is_kept(claude: Claude) -> None:
    agent = claude.spawn(task="Add JWT authentication")
    ended = agent.wait()
    assert ended["status"] == "completed", ended
    usage = ended["usage"]
    assert usage == {
        "session_id": usage["session_id"],
        "turns": 3,
        "duration_ms": 4200,
        "api_duration_ms": 3100,
        "input_tokens": 120,
        "output_tokens": 250,
        "cache_read_tokens": 4000,
        "cache_creation_tokens": 30,
        "cost_usd": 0.0421,
    }
    call = claude.calls[-1]
    assert call["session_id"] == usage["session_id"] and call["model"] == TYPES["python-specialist"].model
    assert call["prompt"].startswith("Add JWT authentication\n") and "context.json" in call["prompt"]
    assert "Python" in call["append_system_prompt"] and call["cwd"] == str(claude.sidecar.root)
    path = f"/api/results/{ended['result_id']}"
    result = claude.sidecar.request("GET", path, claude.sidecar.operator).json()
    assert result["agent_id"] == agent.id
    assert result["result"]["decisions"] == ["Done: Add JWT authentication"]
    assert result["result"]["metrics"] == {"execution_time_ms": 4200, "tokens_used": 400, "cost_usd": 0.0421}


def test_resume_continues_the_session_and_adds_up_usage(claude: Claude) -> None:
    agent = claude.spawn(task="First")
    first = agent.wait()
    path = f"/api/agents/{agent.id}/resume"
    answer = claude.sidecar.request("POST", path, claude.sidecar.operator, json={"message": "And the tests"})
    assert answer.status_code == 200, answer.text
    ended = agent.wait()
    assert ended["attempt"] == 2 and ended["usage"]["turns"] == 6 and ended["usage"]["cost_usd"] == 0.0842
    call = claude.calls[-1]
    assert call["resume"] == first["usage"]["session_id"] and call["session_id"] is None
    assert call["prompt"] == "And the tests"


def test_a_reported_error_is_a_failure_even_with_exit_code_0(claude: Claude) -> None:
    ended = claude.spawn(task="fail please").wait()
    assert ended["status"] == "failed" and ended["exit_code"] == 0
    assert ended["reason"] == "reported: Done: fail please"


@pytest.mark.parametrize("preset", ["claude", "codex", "gemini", "aider"])
def test_the_real_program_prints_its_version(preset: str) -> None:
    program = str(PRESETS[preset].command[0])
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.strip()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_arrives_whole_at_a_runner(name: str) -> None:
    changed = replace(PRESETS[name], tags=("gpu",), credentials=("KEY",), limits=Limits(memory_mb=512), attempts=3)
    assert Runner.read(orjson.loads(orjson.dumps(asdict(changed)))) == changed


def test_a_preset_of_another_version_is_read() -> None:
    newer = {"command": ["true"], "nice": 5, "limits": {"memory_mb": 512, "threads": 9}}
    assert Runner.read(newer) == Runner(command=("true",), limits=Limits(memory_mb=512))
    assert Runner.read({}) == Runner()


def test_the_machine_of_a_type_counts_for_an_explicit_command_too() -> None:
    known = runners(**{"python-specialist": {"tags": ["gpu"], "model": "m"}})
    once = known.once(["pwd"], TYPES["python-specialist"])
    assert (once.command, once.tags, once.model) == (("pwd",), ("gpu",), "")
