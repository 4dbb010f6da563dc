"""A sidecar with a team in every state, for looking at: agents, events, results, sessions, documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.repositories import commit_all
from tests.support.sidecars import call, until

from cco_sidecar.testing.agents import SpawnedAgent, scripted_command, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess

ISSUE = "issue-123"
_FILES = {
    "README.md": "# Shop\n\nOrders and payments.\n",
    "src/shop/orders.py": "def total(lines):\n    return sum(line.price * line.count for line in lines)\n" * 20,
    "src/shop/payments.py": "class Payment:\n    def __init__(self, amount):\n        self.amount = amount\n" * 30,
    "src/shop/rates.py": "RATES = {'EUR': 1.0}\n",
    "tests/test_orders.py": "from shop.orders import total\n\n\ndef test_total():\n    assert total([]) == 0\n",
    "docs/design.md": "# Design\n\nAn order has lines.\n" * 40,
}


def repository(path: Path) -> Path:
    for name, text in _FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    commit_all(path, "feat(orders): totals of orders")
    return path


class Team:
    """The sidecar, and what its agents do. Agents that run wait for a file in ``gates``."""

    def __init__(self, directory: Path, *options: str, **settings: Any) -> None:
        self.directory = directory
        self.gates = directory / "gates"
        self.gates.mkdir()
        self.root = repository(directory / "shop")
        runner = {"command": scripted_command(), "output": "stream-json", "stdin": "none"}
        runners = {"default": runner, "debugger": runner | {"stuck_after_seconds": 1}}
        self.config = directory / "config.json"
        self.config.write_text(json.dumps({"agents": {"runners": runners}} | settings))
        self.options = options
        self.sidecar = SidecarProcess(directory / "storage", self.root, *options, config=self.config)

    def restart(self) -> None:
        """Starts another sidecar on the same storage and port, after the first was killed."""
        port, grpc_port = self.sidecar.port, self.sidecar.grpc_port
        self.sidecar = SidecarProcess(
            self.directory / "storage", self.root, "--port", str(port), "--grpc-port", str(grpc_port), *self.options,
            config=self.config,
        )  # fmt: skip

    def call(self, method: str, path: str, **more: Any) -> Any:
        return call(self.sidecar, method, path, **more)

    def gate(self, name: str) -> dict[str, Any]:
        """A step that waits until ``open`` is called."""
        return {"do": "until", "path": str(self.gates / name)}

    def open(self, name: str) -> None:
        (self.gates / name).touch()

    def spawn(self, agent_type: str, task: str, steps: list[dict[str, Any]], **more: Any) -> SpawnedAgent:
        # By the runner of the type, which says how its output is read.
        return spawn_scripted(
            self.sidecar, steps, agent_type=agent_type, task=task, command=[], **{"issue": ISSUE} | more
        )

    def publish(self, event_type: str, data: dict[str, Any] | None = None, **more: Any) -> str:
        body = {"data": data or {}, "topic": "testing"} | more
        event: str = self.call("POST", f"/api/events/{event_type}", json=body)["event_id"]
        return event

    def work(self) -> dict[str, SpawnedAgent]:
        """Runs a team into every state, and returns its agents by what they are."""
        made: dict[str, SpawnedAgent] = {}
        design = {
            "do": "result",
            "decisions": ["Totals are computed in cents"],
            "next_steps": ["implement totals in python"],
        }
        report = {"do": "report", "cost": 0.42, "turns": 7, "input": 12_000, "output": 3400, "result": "designed"}
        made["architect"] = self.spawn("chief-architect", "design the totals of orders", [design, report])
        made["architect"].wait("completed")
        change = {"do": "write", "path": "src/shop/rates.py", "text": "RATES = {'EUR': 100, 'USD': 108}\n"}
        ask = {
            "do": "call",
            "method": "POST",
            "path": "/approvals",
            "expect": 201,
            "body": {
                "question": "May I add the exchange rates to the production database?",
                "data": {"tool_name": "Bash", "tool_input": {"command": "psql shop -c 'insert into rates select 1'"}},
            },
        }
        made["coder"] = self.spawn(
            "python-specialist",
            "implement the totals in cents",
            [change, ask, self.gate("coder")],
            isolation="worktree",
        )
        beats = [{"do": "heartbeat", "message": "writing tests", "percent": 40}]
        lines = [{"do": "print", "text": f"test {number} passed"} for number in range(1, 40)]
        made["tester"] = self.spawn("test-engineer", "test the totals", [*beats, *lines, self.gate("tester")])
        made["failed"] = self.spawn(
            "security-auditor",
            "audit the payments",
            [{"do": "print", "text": "no such table: payments", "stream": "stderr"}, {"do": "exit", "code": 3}],
            issue="issue-200",
        )
        made["stuck"] = self.spawn("debugger", "find the slow query", [self.gate("stuck")], issue="issue-201")
        made["failed"].wait("failed")
        made["coder"].wait("needs_input")
        made["stuck"].wait("stuck")
        self.results()
        self.events()
        self.session()
        self.documents()
        return made

    def results(self) -> None:
        for status, errors in (("partial", ["2 of 40 tests fail"]), ("success", [])):
            result = {
                "status": status,
                "errors": errors,
                "decisions": ["Rates are cached for a day"],
                "metrics": {"test_coverage": 95},
            }
            self.call("POST", "/api/results", json={"agent_type": "test-engineer", "issue_id": ISSUE, "result": result})

    def events(self) -> None:
        first = self.publish("tests_failed", {"issue_id": ISSUE, "failed": 2})
        second = self.publish("fix_requested", {"issue_id": ISSUE}, causation_id=first, topic="coordination")
        self.publish("tests_passing", {"issue_id": ISSUE, "coverage": 95}, causation_id=second)
        settings = {"event_types": ["tests_failed"], "max_deliveries": 1}
        self.call("POST", "/api/consumers", json={"name": "auditor", "settings": settings, "since": "0"})
        pulled = self.call("POST", "/api/consumers/auditor/pull", json={"limit": 1})
        rejected = {
            "delivery_ids": [pulled["deliveries"][0]["delivery_id"]],
            "reason": "no such check",
            "dead_letter": True,
        }
        self.call("POST", "/api/consumers/auditor/nack", json=rejected)
        until(lambda: self.call("GET", "/api/dead-letters")["dead_letters"], "the dead letter")

    def session(self) -> None:
        made = self.call(
            "POST", "/api/sessions", json={"name": "research", "external": True, "blueprint": "web-researcher"}
        )
        path = f"/api/sessions/{made['session_id']}/events"
        reading = {"tool_name": "Read", "tool_input": {"file_path": "src/shop/orders.py"}}
        testing = {"tool_name": "Bash", "tool_input": {"command": "pytest -q"}}
        for body in (
            {"event_type": "session_start"},
            {"event_type": "message", "role": "user", "content": [{"type": "text", "text": "Why is **total** slow?"}]},
            {"event_type": "pre_tool"} | reading,
            {"event_type": "post_tool", "tool_output": "def total(lines): ..."} | reading,
            {"event_type": "pre_tool"} | testing,
            {"event_type": "post_tool", "error": "exit code 1: 2 failed"} | testing,
            {
                "event_type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": "It sums `N` rows:\n\n- one\n- two"}],
            },
        ):
            self.call("POST", path, json=body)

    def documents(self) -> None:
        body = {"filename": "design.md", "content_type": "text/markdown", "tags": ["design", "orders"]}
        design = self.call("POST", "/api/documents", json=body | {"text": "# Design\n\nTotals are floats.\n"})
        place = f"/api/documents/{design['document_id']}"
        self.call(
            "PUT",
            f"{place}/content",
            json={"text": "# Design\n\nTotals are **cents**.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"},
        )
        body = {"filename": "rates.json", "content_type": "application/json", "tags": ["orders"]}
        rates = self.call("POST", "/api/documents", json=body | {"text": '{"EUR": 1}'})
        related = {"from_document_id": design["document_id"], "to_document_id": rates["document_id"], "type": "related"}
        self.call("POST", "/api/document-relations", json=related)

    def stop(self) -> None:
        for name in ("coder", "tester", "stuck"):
            self.open(name)
        self.sidecar.stop()
