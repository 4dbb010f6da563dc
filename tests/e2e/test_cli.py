"""Every documented `cco` line against a real sidecar: what it prints, where, and with which exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
import yaml

from cco_sidecar.testing.process import SidecarProcess, agent_environment, run_cco

Done = subprocess.CompletedProcess[str]

STORE = ("results", "store", "--agent", "python-specialist", "--issue", "issue-123")


def printed(done: Done) -> str:
    """The output of a command that went well: plain, and nothing else on stderr than a remark."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done.stdout


def fails(done: Done, says: str) -> None:
    """Exit 1, one clear line on stderr, nothing on stdout."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("cco: ") and done.stderr.count("\n") == 1, done.stderr
    assert says in done.stderr


def misused(done: Done, says: str) -> None:
    """Exit 2, how it is used, and what was wrong as the last line."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: ")
    last = done.stderr.rstrip("\n").rpartition("\n")[2]
    assert last.startswith("Error: ") and says in last, done.stderr


def publish(sidecar: SidecarProcess, event_type: str, **data: Any) -> str:
    body = {"event_type": event_type, "topic": "testing", "data": data}
    answer = sidecar.request("POST", f"/api/events/{event_type}", sidecar.operator, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["event_id"])


def subscriptions(sidecar: SidecarProcess) -> int:
    return int(sidecar.request("GET", "/status").json()["events"]["active_subscriptions"])


def when_subscribed(sidecar: SidecarProcess, act: Callable[[], Any], *arguments: str) -> Done:
    """Runs a `cco` line that waits, and acts as soon as it does."""
    before = subscriptions(sidecar)
    ended: list[Done] = []
    waiting = threading.Thread(target=lambda: ended.append(run_cco(sidecar, *arguments)))
    waiting.start()
    while subscriptions(sidecar) == before and waiting.is_alive():
        pass
    act()
    waiting.join(60)
    return ended[0]


class TestCommand:
    def test_version(self, sidecar: SidecarProcess) -> None:
        assert printed(run_cco(sidecar, "--version")) == "cco, version 1.0.0\n"
        assert printed(run_cco(sidecar, "orchestration-server", "--version")) == "Orchestration Sidecar v1.0.0\n"

    def test_start_says_what_the_quick_start_shows(self, sidecar: SidecarProcess) -> None:
        lines = sidecar.screen.splitlines()
        assert lines[:2] == ["Orchestration Sidecar v1.0.0", f"Listening on http://127.0.0.1:{sidecar.port}"]
        assert lines[-1] == "Ready to coordinate 119 agents"

    @pytest.mark.parametrize("group", ["orchestration-server", "context", "results", "events", "token", "health"])
    def test_help(self, sidecar: SidecarProcess, group: str) -> None:
        assert printed(run_cco(sidecar, group, "-h")).startswith("Usage: ")

    def test_nothing_shows_what_there_is(self, sidecar: SidecarProcess) -> None:
        done = run_cco(sidecar)
        assert done.returncode == 2 and done.stdout == "" and "orchestration-server" in done.stderr

    def test_completion(self, sidecar: SidecarProcess) -> None:
        script = printed(run_cco(sidecar, "completion", "bash"))
        assert "_CCO_COMPLETE=bash_complete" in script
        checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")

    def test_completion_knows_the_agent_types(self, sidecar: SidecarProcess) -> None:
        asked = {"_CCO_COMPLETE": "bash_complete", "COMP_WORDS": "cco context get issue-1 python-sp", "COMP_CWORD": "4"}
        command = Path(sys.executable).with_name("cco")
        done = subprocess.run(
            [command], env=os.environ | asked, cwd=sidecar.root, capture_output=True, text=True, check=False
        )
        assert done.stdout == "plain,python-specialist\n" and done.stderr == ""

    def test_health(self, sidecar: SidecarProcess) -> None:
        assert "orchestration-sidecar 1.0.0: healthy" in printed(run_cco(sidecar, "health"))
        body = json.loads(printed(run_cco(sidecar, "health", "--format", "json")))
        assert body["status"] == "healthy" and body["checks"]["storage"] == "healthy"
        assert yaml.safe_load(printed(run_cco(sidecar, "health", "--format", "yaml")))["service"] == body["service"]

    def test_health_needs_no_token(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        done = run_cco(sidecar, "health", environment=[("CCO_SIDECAR_STORAGE", str(tmp_path))])
        assert "healthy" in printed(done)

    def test_colours_are_for_terminals(self, sidecar: SidecarProcess) -> None:
        for before in ([], ["--no-color"]):
            printed(run_cco(sidecar, *before, "results", "list", "--format", "table"))

    def test_an_agents_own_variables_are_enough(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent(issue="issue-own")
        own = list(agent_environment(sidecar, agent).items())
        body = json.loads(printed(run_cco(sidecar, "context", "get", agent.issue, agent.type, environment=own)))
        assert body["issue_id"] == agent.issue
        fails(run_cco(sidecar, "context", "get", "issue-else", agent.type, environment=own), "[AUTH_003]")

    def test_sidecar_url_and_jwt_token(self, tmp_path: Path, sidecar: SidecarProcess, repository: Path) -> None:
        port = free_ports()[0]
        elsewhere = SidecarProcess(tmp_path / "storage", repository, "--port", str(port), "--grpc-port", str(port + 1))
        try:
            agent = elsewhere.agent()
            for url in (elsewhere.url, f"{elsewhere.url}/api", f"127.0.0.1:{port}"):
                done = run_cco(sidecar, "events", "list", "--sidecar-url", url, "--jwt-token", agent.token)
                assert printed(done) == "no events\n"
            fails(run_cco(sidecar, "events", "list", "--sidecar-url", elsewhere.url), "[AUTH_001]")
        finally:
            assert elsewhere.stop() == ""


class TestToken:
    def test_the_operators(self, sidecar: SidecarProcess) -> None:
        token = printed(run_cco(sidecar, "token"))
        assert token == sidecar.operator.token + "\n"
        assert jwt.decode(token.strip(), options={"verify_signature": False})["agent_type"] == "operator"

    def test_an_agents(self, sidecar: SidecarProcess) -> None:
        line = ("token", "--type", "python-specialist", "--issue", "issue-7", "--project", "project-abc")
        token = printed(run_cco(sidecar, *line, "--ttl", "600")).strip()
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["agent_type"] == "python-specialist" and claims["sub"].startswith("python-specialist-")
        assert (claims["issue_id"], claims["project_id"]) == ("issue-7", "project-abc")
        assert claims["exp"] - claims["iat"] == 600
        assert set(claims["permissions"]) == {"read_context", "write_results", "publish_events"}
        headers = {"Authorization": f"Bearer {token}"}
        assert sidecar.request("GET", "/api/events", headers=headers).status_code == 200

    def test_an_hour_is_the_default(self, sidecar: SidecarProcess) -> None:
        token = printed(run_cco(sidecar, "token", "--type", "test-engineer", "--issue", "issue-7")).strip()
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == 3600 and claims["project_id"] == "default"


class TestContext:
    def test_get_refresh_clear(self, sidecar: SidecarProcess) -> None:
        body = json.loads(printed(run_cco(sidecar, "context", "get", "issue-ctx", "python-specialist")))
        assert (body["issue_id"], body["agent_type"]) == ("issue-ctx", "python-specialist")
        assert isinstance(body["total_size_bytes"], int) and body["context"]["relevant_files"]
        refreshed = printed(run_cco(sidecar, "context", "refresh", "--issue", "issue-ctx"))
        assert refreshed == "refreshed 1 cached contexts of issue-ctx\n"
        forced = ("--agent-type", "python-specialist", "--force")
        assert "refreshed 1 " in printed(run_cco(sidecar, "context", "refresh", "--issue", "issue-ctx", *forced))
        cleared = printed(run_cco(sidecar, "context", "clear", "--issue", "issue-ctx"))
        assert cleared.startswith("removed 1 cached contexts, ")
        fails(run_cco(sidecar, "context", "clear", "--issue", "issue-ctx"), "issue-ctx")

    def test_clear_by_type_and_all(self, sidecar: SidecarProcess) -> None:
        run_cco(sidecar, "context", "clear", "--all")
        for agent_type in ("python-specialist", "test-engineer"):
            printed(run_cco(sidecar, "context", "get", "issue-two", agent_type))
        one = run_cco(sidecar, "context", "clear", "--issue", "issue-two", "--agent-type", "test-engineer")
        assert printed(one).startswith("removed 1 ")
        assert printed(run_cco(sidecar, "context", "clear", "--all")).startswith("removed 1 ")

    def test_forms(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        line = ("context", "get", "issue-forms", "test-engineer")
        text = printed(run_cco(sidecar, *line, "--format", "text"))
        assert text.startswith("issue-forms for test-engineer: ")
        as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
        as_yaml = yaml.safe_load(printed(run_cco(sidecar, *line, "--format", "yaml")))
        assert as_yaml["context"]["relevant_files"] == as_json["context"]["relevant_files"]
        for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
            target = tmp_path / f"context.{form}"
            done = run_cco(sidecar, *line, "--format", form, "--output", str(target))
            assert printed(done) == "" and done.stderr == f"written to {target}\n"
            assert read(target.read_text())["file_count"] == as_json["file_count"]


class TestResults:
    def test_store_as_the_quick_start_does(self, sidecar: SidecarProcess) -> None:
        done = run_cco(sidecar, "results", "store", "--agent", "python-specialist", "--issue", "issue-quick")
        assert "results/default/issue-quick/python-specialist.json" in printed(done)
        listed = printed(run_cco(sidecar, "results", "list", "--issue", "issue-quick"))
        assert listed == "issue-quick:\n  - python-specialist: success\n"
        got = printed(run_cco(sidecar, "results", "get", "--agent", "python-specialist", "--issue", "issue-quick"))
        assert got.startswith("issue-quick python-specialist: success\n")

    def test_store_with_every_option(self, sidecar: SidecarProcess) -> None:
        done = run_cco(
            sidecar, "results", "store", "--agent", "kim", "--agent-type", "python-specialist",
            "--issue", "issue-full", "--project", "project-abc", "--status", "partial",
            "--files-created", "src/a.py, src/b.py", "--files-modified", "setup.cfg",
            "--decisions", "Use PyJWT, not our own; Keep RS256",
            "--metrics", '{"test_coverage": 92.5, "tokens_used": 15000}', "--format", "json",
        )  # fmt: skip
        stored = json.loads(printed(done))
        assert stored["stored"] is True and stored["event_published"] is True
        line = ("results", "get", "issue-full", "python-specialist", "--project", "project-abc", "--format", "json")
        got = json.loads(printed(run_cco(sidecar, *line)))
        assert (got["id"], got["agent_id"], got["project_id"]) == (stored["id"], "kim", "project-abc")
        assert got["result"]["status"] == "partial"
        assert got["result"]["files_created"] == ["src/a.py", "src/b.py"]
        assert got["result"]["files_modified"] == ["setup.cfg"]
        assert got["result"]["decisions"] == ["Use PyJWT, not our own", "Keep RS256"]
        assert got["result"]["metrics"] == {"test_coverage": 92.5, "tokens_used": 15000}

    @pytest.mark.parametrize("stdin", [False, True])
    def test_store_a_documented_body(self, sidecar: SidecarProcess, tmp_path: Path, stdin: bool) -> None:
        issue = f"issue-input-{stdin}"
        body = {
            "agent_id": "agent-1",
            "agent_type": "python-specialist",
            "issue_id": issue,
            "project_id": "project-abc",
            "result": {"status": "success", "files_created": ["a.py", {"path": "b.py", "size": 5}], "notes": [1]},
            "timestamp": "2025-11-17T12:00:00Z",
        }
        source = tmp_path / "result.json"
        source.write_text(json.dumps(body))
        if stdin:
            done = run_cco(sidecar, "results", "store", "--input", "-", input=source.read_text())
        else:
            done = run_cco(sidecar, "results", "store", "--input", str(source))
        assert printed(done).startswith("stored res-")
        line = ("results", "get", issue, "python-specialist", "--project", "project-abc", "--format", "json")
        got = json.loads(printed(run_cco(sidecar, *line)))
        assert got["agent_id"] == "agent-1"
        assert got["result"]["files_created"] == ["a.py", {"path": "b.py", "size": 5}]
        assert got["result"]["notes"] == [1]

    def test_a_documented_body_keeps_its_time(self, sidecar: SidecarProcess) -> None:
        body = {
            "agent_type": "python-specialist",
            "issue_id": "issue-time",
            "result": {"status": "success"},
            "timestamp": "2025-11-17T12:00:00Z",
        }
        printed(run_cco(sidecar, "results", "store", "--input", "-", input=json.dumps(body)))
        got = run_cco(sidecar, "results", "get", "issue-time", "python-specialist", "--format", "json")
        assert json.loads(printed(got))["timestamp"] == "2025-11-17T12:00:00Z"

    def test_list_in_every_form(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        for agent_type in ("python-specialist", "test-engineer"):
            line = (
                "results",
                "store",
                "--agent",
                agent_type,
                "--issue",
                "issue-list",
                "--decisions",
                'He said "no", so',
            )
            printed(run_cco(sidecar, *line))
        line = ("results", "list", "--issue", "issue-list")
        as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
        assert [result["agent_type"] for result in as_json] == ["test-engineer", "python-specialist"]
        assert yaml.safe_load(printed(run_cco(sidecar, *line, "--format", "yaml"))) == as_json
        table = list(csv.DictReader(io.StringIO(printed(run_cco(sidecar, *line, "--format", "csv")))))
        assert [row["id"] for row in table] == [result["id"] for result in as_json]
        assert {row["summary"] for row in table} == {'He said "no", so'}
        drawn = printed(run_cco(sidecar, *line, "--format", "table")).splitlines()
        assert drawn[0].split() == list(table[0])
        assert [row["id"] in text for row, text in zip(table, drawn[1:], strict=True)] == [True, True]
        text = printed(run_cco(sidecar, *line, "--format", "text"))
        assert text == printed(run_cco(sidecar, *line)) and text.startswith("issue-list:\n  - ")
        for form, expected in (("csv", table), ("table", drawn)):
            target = tmp_path / form
            assert printed(run_cco(sidecar, *line, "--format", form, "--output", str(target))) == ""
            written = target.read_text()
            assert (list(csv.DictReader(io.StringIO(written))) if form == "csv" else written.splitlines()) == expected

    def test_list_narrowed(self, sidecar: SidecarProcess) -> None:
        for agent_type in ("python-specialist", "python-specialist", "test-engineer"):
            printed(run_cco(sidecar, "results", "store", "--agent", agent_type, "--issue", "issue-many"))

        def count(*more: str) -> int:
            line = ("results", "list", "--issue", "issue-many", "--format", "json", *more)
            return len(json.loads(printed(run_cco(sidecar, *line))))

        assert count() == 3
        assert count("--limit", "2") == 2
        assert count("--latest") == 2
        assert count("--agent-type", "python-specialist") == 2
        assert count("--project", "project-other") == 0
        assert printed(run_cco(sidecar, "results", "list", "--issue", "issue-empty")) == "no results\n"


class TestEvents:
    def test_publish_and_list_as_the_quick_start_does(self, sidecar: SidecarProcess) -> None:
        done = printed(run_cco(sidecar, "events", "publish", "--type", "custom_event", "--topic", "testing"))
        assert done.startswith("published evt-") and " on testing to 0 subscribers" in done
        assert "  custom_event  testing  operator  {}\n" in printed(run_cco(sidecar, "events", "list", "--limit", "20"))
        assert printed(run_cco(sidecar, "events", "list", "--topic", "testing", "--limit", "20"))

    def test_publish_with_every_option(self, sidecar: SidecarProcess) -> None:
        done = run_cco(
            sidecar, "events", "publish", "--type", "full_event", "--topic", "deployment",
            "--data", '{"issue_id": "issue-1", "n": 5, "żółw": "🐢"}', "--correlation-id", "session-1", "--ttl", "600",
            "--priority", "high", "--publisher", "agent-1", "--project", "project-abc", "--format", "json",
        )  # fmt: skip
        published = json.loads(printed(done))
        assert published["published"] is True and published["ttl_seconds"] == 600
        line = ("events", "list", "--type", "full_event", "--project", "project-abc", "--format", "json")
        (event,) = json.loads(printed(run_cco(sidecar, *line, "--correlation-id", "session-1")))
        assert event["event_id"] == published["event_id"] and event["publisher"] == "agent-1"
        assert event["data"] == {"issue_id": "issue-1", "n": 5, "żółw": "🐢"}

    @pytest.mark.parametrize("stdin", [False, True])
    def test_publish_a_documented_body(self, sidecar: SidecarProcess, tmp_path: Path, stdin: bool) -> None:
        body = {
            "event_type": f"input_{stdin}",
            "publisher": "agent-1",
            "topic": "architecture",
            "data": {"decision": "Use gRPC"},
            "correlation_id": "session-2",
            "ttl_seconds": 60,
            "priority": "low",
        }
        source = tmp_path / "event.json"
        source.write_text(json.dumps(body))
        if stdin:
            done = run_cco(sidecar, "events", "publish", "--input", "-", input=source.read_text())
        else:
            done = run_cco(sidecar, "events", "publish", "--input", str(source))
        assert " on architecture " in printed(done)
        line = ("events", "list", "--type", body["event_type"], "--format", "json")
        (event,) = json.loads(printed(run_cco(sidecar, *map(str, line))))
        assert {name: event[name] for name in ("publisher", "topic", "data", "correlation_id")} == {
            name: body[name] for name in ("publisher", "topic", "data", "correlation_id")
        }

    def test_a_body_whose_data_is_null(self, sidecar: SidecarProcess) -> None:
        body = {"event_type": "no_data", "data": None}
        assert sidecar.request("POST", "/api/events/no_data", sidecar.operator, json=body).status_code == 202
        printed(run_cco(sidecar, "events", "publish", "--input", "-", input=json.dumps(body)))

    def test_list_in_every_form(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        ids = [publish(sidecar, "listed", n=n) for n in range(4)]
        line = ("events", "list", "--type", "listed")
        as_json = json.loads(printed(run_cco(sidecar, *line, "--format", "json")))
        assert [event["event_id"] for event in as_json] == ids
        assert [event["data"]["n"] for event in as_json] == [0, 1, 2, 3]
        assert yaml.safe_load(printed(run_cco(sidecar, *line, "--format", "yaml"))) == as_json
        table = list(csv.DictReader(io.StringIO(printed(run_cco(sidecar, *line, "--format", "csv")))))
        assert [(row["event_id"], json.loads(row["data"])) for row in table] == [
            (event["event_id"], event["data"]) for event in as_json
        ]
        drawn = printed(run_cco(sidecar, *line, "--format", "table")).splitlines()
        assert drawn[0].split() == list(table[0]) and len(drawn) == 5
        target = tmp_path / "events.json"
        printed(run_cco(sidecar, *line, "--output", str(target)))
        assert json.loads(target.read_text()) == as_json
        newest = json.loads(printed(run_cco(sidecar, *line, "--limit", "2", "--format", "json")))
        assert [event["event_id"] for event in newest] == ids[2:]
        assert printed(run_cco(sidecar, "events", "list", "--type", "never")) == "no events\n"

    def test_list_since(self, sidecar: SidecarProcess) -> None:
        ids = [publish(sidecar, "since", n=n) for n in range(3)]
        line = ("events", "list", "--type", "since", "--format", "json")
        listed = json.loads(printed(run_cco(sidecar, *line)))
        for since, expected in (
            (ids[0], ids[1:]),
            ("0", ids),
            ("10m", ids),
            (listed[0]["timestamp"], ids[1:]),
            ("2100-01-01T00:00:00Z", []),
        ):
            found = json.loads(printed(run_cco(sidecar, *line, "--since", since)))
            assert [event["event_id"] for event in found][-len(expected) or None :] == expected, since

    def test_subscribe_as_the_quick_start_does(self, sidecar: SidecarProcess) -> None:
        began = time.monotonic()
        line = ("events", "subscribe", "--topic", "testing", "--timeout", "30")
        done = when_subscribed(sidecar, lambda: publish(sidecar, "awaited", n=1), *line)
        assert printed(done).endswith('  awaited  testing  operator  {"n":1}\n')
        assert done.stdout.count("\n") == 1
        assert time.monotonic() - began < 25

    @pytest.mark.parametrize(("timeout", "least"), [("1", 1.0), ("1200", 1.2)])
    def test_timeout_is_milliseconds_and_below_1000_seconds(
        self, sidecar: SidecarProcess, timeout: str, least: float
    ) -> None:
        began = time.monotonic()
        done = run_cco(sidecar, "events", "subscribe", "never", "--timeout", timeout)
        assert printed(done) == "" and done.stderr == "no events in time\n"
        assert least <= time.monotonic() - began < 10

    def test_subscribe_to_a_type_until_the_limit(self, sidecar: SidecarProcess) -> None:
        def act() -> None:
            for n in range(4):
                publish(sidecar, "ignored", n=n)
                publish(sidecar, "wanted", n=n)

        line = ("events", "subscribe", "wanted", "--limit", "3", "--timeout", "30", "--format", "json")
        lines = printed(when_subscribed(sidecar, act, *line)).splitlines()
        assert [json.loads(text)["data"]["n"] for text in lines] == [0, 1, 2]

    def test_subscribe_since(self, sidecar: SidecarProcess) -> None:
        ids = [publish(sidecar, "replayed", n=n) for n in range(3)]
        line = ("events", "subscribe", "replayed", "--timeout", "5", "--format", "json", "--limit", "2")
        for since, expected in ((ids[0], ids[1:]), ("0", ids[:2]), ("10m", ids[:2])):
            lines = printed(run_cco(sidecar, *line, "--since", since)).splitlines()
            assert [json.loads(text)["event_id"] for text in lines] == expected, since

    def test_subscribe_with_a_filter(self, sidecar: SidecarProcess) -> None:
        before = publish(sidecar, "filtered", issue_id="issue-1", coverage=95)
        publish(sidecar, "filtered", issue_id="issue-2", coverage=95)
        publish(sidecar, "filtered", issue_id="issue-1", coverage=80)
        publish(sidecar, "filtered", issue_id="issue-1", coverage=91)
        line = ("events", "subscribe", "filtered", "--since", before, "--timeout", "5", "--format", "json")
        lines = printed(run_cco(sidecar, *line, "--filter", "issue_id:issue-1,coverage:>90")).splitlines()
        assert [json.loads(text)["data"]["coverage"] for text in lines] == [91]

    def test_subscribe_continuously(self, sidecar: SidecarProcess) -> None:
        before = publish(sidecar, "flowing", n=0)
        for n in range(1, 4):
            publish(sidecar, "flowing", n=n)
        line = ("events", "subscribe", "flowing", "--continuous", "--since", before, "--limit", "3")
        lines = printed(run_cco(sidecar, *line)).splitlines()
        assert [text.rpartition("  ")[2] for text in lines] == ['{"n":1}', '{"n":2}', '{"n":3}']


class TestErrors:
    @pytest.mark.parametrize(
        ("line", "says"),
        [
            (["context", "get", "issue-123", "python-specialst"], "unknown agent type 'python-specialst'"),
            (["context", "get", "issue 123", "python-specialist"], "[REQ_001]"),
            (["context", "get", "python-specialist", "issue-123"], "[AGT_002]"),
            (["results", "get", "issue-none", "python-specialist"], "[RES_001]"),
            (["results", "store", "--agent", "nobody", "--issue", "issue-123"], "[AGT_002]"),
            ([*STORE, "--metrics", "[1]"], "result.metrics: expected an object"),
            ([*STORE, "--metrics", '{"coverage": "95"}'], "result.metrics.coverage: expected a number"),
            (["results", "store", "--input", "/nowhere/result.json"], "/nowhere/result.json cannot be read"),
            (["results", "list", "--output", "/nowhere/list.json"], "/nowhere/list.json cannot be written"),
            (["events", "publish", "--type", "a type"], "event_type: 'a type' is not a name"),
            (["events", "publish", "--input", "/tmp"], "/tmp cannot be read"),
            (["events", "subscribe", "--filter", "issue_id==issue-1", "--timeout", "1"], "write issue_id:issue-1"),
            (["events", "list", "--since", "evt-1"], "[EVT_002]"),
            (["events", "list", "--jwt-token", "not.a.token"], "[AUTH_001]"),
            (["events", "list", "--sidecar-url", "http://127.0.0.1:1"], "no sidecar answers at http://127.0.0.1:1"),
            (["events", "list", "--sidecar-url", "http://localhost:port"], "'http://localhost:port'"),
            (["events", "list", "--sidecar-url", "http://[::1"], "'http://[::1'"),
            (["token", "--type", "python-specialst", "--issue", "issue-1"], "[AGT_002]"),
            (["--config", "/nowhere/config.json", "health"], "/nowhere/config.json cannot be read"),
            (["--log-level", "loud", "health"], "debug, info, warning, error"),
        ],
    )
    def test_one_clear_line(self, sidecar: SidecarProcess, line: list[str], says: str) -> None:
        fails(run_cco(sidecar, *line), says)

    @pytest.mark.parametrize("group", ["results store", "events publish"])
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "- is not JSON"),
            ("{'single': 'quotes'}", "- is not JSON"),
            ("[]", "expected an object"),
            ('{"isue_id": "issue-1"}', "has no field 'isue_id'"),
        ],
    )
    def test_input_that_is_not_right(self, sidecar: SidecarProcess, group: str, text: str, says: str) -> None:
        fails(run_cco(sidecar, *group.split(), "--input", "-", input=text), says)

    def test_no_storage_no_token(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        done = run_cco(sidecar, "token", environment=[("CCO_SIDECAR_STORAGE", str(tmp_path))])
        fails(done, "the operator's token cannot be read")

    def test_a_token_that_was_copied_with_its_line_end(self, sidecar: SidecarProcess, agent: Any) -> None:
        done = run_cco(sidecar, "events", "list", "--jwt-token", f"{agent.token}\r\n")
        if done.returncode:
            fails(done, "token")
        else:
            printed(done)

    @pytest.mark.parametrize(
        "line", [["context", "get", "caf\udce9", "python-specialist"], ["events", "publish", "--type", "caf\udce9"]]
    )
    def test_text_that_is_not_utf_8(self, sidecar: SidecarProcess, line: list[str]) -> None:
        done = run_cco(sidecar, *line)
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr, done.stderr

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            (["evnts", "list"], "Did you mean 'events'?"),
            (["conjure"], "there is no command 'conjure'"),
            (["events", "lst"], "lst"),
            (["events", "list", "--limt", "5"], "--limit"),
            (["context", "get", "issue-123"], "TYPE"),
            (["context", "refresh"], "--issue"),
            (["context", "clear"], "--all"),
            (["context", "clear", "--issue", "issue-1", "--all"], "--all"),
            (["results", "store"], "--agent"),
            (["results", "store", "--agent", "python-specialist"], "--issue"),
            ([*STORE, "--metrics", "{coverage: 95}"], "--metrics is not JSON"),
            ([*STORE, "--status", "succes"], "success"),
            (["results", "get", "issue-123"], "cco results get ISSUE TYPE"),
            (["results", "list", "--limit", "0"], "--limit"),
            (["results", "list", "--format", "xml"], "xml"),
            (["results", "list", "--output", "/tmp"], "/tmp"),
            (["events", "publish", "--topic", "testing"], "--type"),
            (["events", "publish", "--type", "x", "--data", "issue=1"], "--data is not JSON"),
            (["events", "publish", "--type", "x", "--data", "[1]"], "--data must be a JSON object"),
            (["events", "publish", "--type", "x", "--ttl", "86401"], "--ttl"),
            (["events", "publish", "--type", "x", "--priority", "urgent"], "urgent"),
            (["events", "subscribe", "--timeout", "30s"], "--timeout"),
            (["events", "subscribe", "--format", "csv"], "--format"),
            (["events", "list", "--since", "yesterday"], "--since"),
            (["events", "list", "--since", "2025-11-17"], "--since"),
            (["events", "list", "--since", "99999999d"], "--since"),
            (["token", "--type", "python-specialist"], "--issue"),
            (["token", "--issue", "issue-1"], "--type"),
            (["token", "--type", "python-specialist", "--issue", "i", "--ttl", "0"], "--ttl"),
            (["completion", "tcsh"], "bash"),
            (["health", "now"], "now"),
            (["health", "--format", "csv"], "csv"),
            (["orchestration-server", "--port", "many"], "--port"),
            (["orchestration-server", "strat"], "strat"),
        ],
    )
    def test_bad_usage(self, sidecar: SidecarProcess, line: list[str], says: str) -> None:
        misused(run_cco(sidecar, *line), says)

    def test_bad_usage_changes_nothing(self, sidecar: SidecarProcess) -> None:
        misused(run_cco(sidecar, "events", "publish", "--type", "unsaid", "--format", "csv"), "csv")
        line = ("results", "store", "--agent", "python-specialist", "--issue", "issue-unsaid", "--format", "csv")
        misused(run_cco(sidecar, *line), "csv")
        assert printed(run_cco(sidecar, "events", "list", "--type", "unsaid")) == "no events\n"
        assert printed(run_cco(sidecar, "results", "list", "--issue", "issue-unsaid")) == "no results\n"


def free_ports(count: int = 2) -> list[int]:
    """Ports that nobody uses, each followed by one that nobody uses."""
    found: list[int] = []
    while len(found) < count:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = int(taken.getsockname()[1])
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    if not {port, port + 1, port - 1} & set(found):
                        found.append(port)
            except (OSError, OverflowError):
                continue
    return found


class Background:
    """`cco orchestration-server` with a storage and ports of its own."""

    def __init__(self, sidecar: SidecarProcess, storage: Path) -> None:
        self._sidecar = sidecar
        self.storage = storage
        self.port, self.grpc_port = free_ports()
        self.environment = [
            ("CCO_SIDECAR_PORT", str(self.port)),
            ("CCO_SIDECAR_GRPC_PORT", str(self.grpc_port)),
            ("CCO_SIDECAR_STORAGE", str(storage)),
            ("CCO_SIDECAR_PROJECT_ROOT", str(sidecar.root)),
        ]

    def cco(self, *arguments: str) -> Done:
        done: Done = run_cco(self._sidecar, *arguments, environment=self.environment)
        return done

    def server(self, *arguments: str) -> Done:
        return self.cco("orchestration-server", *arguments)

    @property
    def pid(self) -> int:
        return int((self.storage / "sidecar.pid").read_text())

    def get(self, path: str, token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=10)


class TestServer:
    def test_daemon_status_restart_stop(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        own = Background(sidecar, tmp_path / "storage")
        try:
            assert own.server("status").stdout == "the sidecar is not running\n"
            started = printed(own.server("--daemon"))
            assert f"(pid {own.pid}) on http://127.0.0.1:{own.port}" in started
            assert own.get("/health").json()["status"] == "healthy"
            assert "healthy" in printed(own.cco("health"))
            assert f"(pid {own.pid}, " in printed(own.server("status"))
            fails(own.server("--daemon"), "in use")
            first = own.pid
            printed(own.cco("events", "publish", "--type", "before_restart"))
            restarted = printed(own.server("restart"))
            assert f"(pid {own.pid})" in restarted and own.pid != first
            assert "before_restart" in printed(own.cco("events", "list"))
            last = own.pid
            assert printed(own.server("stop")) == f"stopped (pid {last})\n"
            assert not (own.storage / "sidecar.pid").exists()
            with pytest.raises(requests.ConnectionError):
                own.get("/health")
            assert printed(own.server("stop")) == "the sidecar is not running\n"
        finally:
            own.server("stop", "--force")

    def test_pid_file(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        own = Background(sidecar, tmp_path / "storage")
        named = ("--pid-file", str(tmp_path / "other.pid"))
        try:
            printed(own.server("--daemon", *named))
            assert own.server("status").stdout == "the sidecar is not running\n"
            pid = (tmp_path / "other.pid").read_text().strip()
            assert f"(pid {pid}, " in printed(own.server("status", *named))
            assert printed(own.server("stop", "--timeout", "20", *named)) == f"stopped (pid {pid})\n"
        finally:
            own.server("stop", "--force", *named)

    def test_a_foreign_pid_is_left_alone(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        own = Background(sidecar, tmp_path)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as bystander:
            (tmp_path / "sidecar.pid").write_text(f"{bystander.pid}\n")
            assert printed(own.server("stop", "--force")) == "the sidecar is not running\n"
            assert bystander.poll() is None
            bystander.kill()

    def test_a_failed_start_in_the_background(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        own = Background(sidecar, tmp_path / "storage")
        with socket.create_server(("127.0.0.1", own.port)):
            fails(own.server("--daemon"), f"port {own.port}")
        fails(own.server("--daemon", "--project-root", str(tmp_path / "nowhere")), "there is no such directory")
        assert own.server("status").stdout == "the sidecar is not running\n"

    def test_status_is_1_when_nothing_runs(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        assert Background(sidecar, tmp_path / "storage").server("status").returncode == 1

    def test_restart_keeps_the_config_and_the_options(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        own = Background(sidecar, tmp_path / "storage")
        config = tmp_path / "config.json"
        config.write_text('{"agents": {"rate_limits": {"coding_specialists": 7}}}')
        try:
            printed(own.cco("--config", str(config), "orchestration-server", "--daemon", "--log-level", "debug"))
            token = printed(own.cco("token", "--type", "python-specialist", "--issue", "issue-1")).strip()
            assert own.get("/api/events", token).headers["X-RateLimit-Limit"] == "7"
            printed(own.server("restart"))
            assert own.get("/api/events", token).headers["X-RateLimit-Limit"] == "7"
        finally:
            own.server("stop", "--force")

    def test_restart_finds_the_sidecar_of_the_storage_it_names(self, sidecar: SidecarProcess, tmp_path: Path) -> None:
        own = Background(sidecar, tmp_path / "storage")
        elsewhere = [("CCO_SIDECAR_STORAGE", str(tmp_path / "other"))]
        storage = ("--storage", str(own.storage))
        try:
            printed(own.server("--daemon"))
            first = own.pid
            line = ("orchestration-server", "restart", *storage)
            printed(run_cco(sidecar, *line, environment=own.environment + elsewhere))
            assert own.pid != first
        finally:
            own.server("stop", "--force")
