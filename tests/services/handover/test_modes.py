"""Dry run, which is the default, and off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.services.handover.rules import FAILURE, SUCCESS, asked, blocked, caught_up, handing_over, running, said
from tests.support.sidecars import Deployment, agents, events, publish

from cco_sidecar.testing.agents import spawn_scripted
from cco_sidecar.testing.process import SidecarProcess


def planned_of(sidecar: SidecarProcess, rule: str) -> list[dict[str, Any]]:
    found = [event["data"] for event in events(sidecar, "p", "handover_planned")]
    return [data for data in found if data["rule"] == rule]


class TestModes:
    @pytest.fixture
    def each_kind_of_rule(self) -> Callable[[SidecarProcess, str], None]:
        """Publishes an event for each kind of rule."""

        def publish_it(sidecar: SidecarProcess, project: str) -> None:
            publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "x"})
            publish(sidecar, project, "deploy_wanted", issue_id="i-1", place="x")
            publish(sidecar, project, "tell_me", text="one", loud=True)
            for agent_type, steps, end in (
                ("go-specialist", [FAILURE], "failed"),
                ("python-pro", [SUCCESS | {"files_modified": ["src/a.py"]}], "completed"),
                ("typescript-pro", [SUCCESS], "completed"),
            ):
                spawn_scripted(sidecar, steps, agent_type=agent_type, project=project).wait(end)

        return publish_it

    def test_dry_run_says_what_a_limit_would_block(self, tmp_path: Path, deployment: Deployment) -> None:
        sidecar = deployment.start(handing_over(tmp_path / "config.json", limits={"agents": 1}))
        spawn_scripted(sidecar, [], agent_type="rust-specialist", issue="full", project="p").wait()
        for issue in ("full", "free"):
            publish(sidecar, "p", "design_ready", issue_id=issue, part={"name": "x"})
        caught_up(sidecar, "p")
        assert [plan["issue_id"] for plan in planned_of(sidecar, "code-after-design")] == ["free"]
        (refusal,) = (each for each in blocked(sidecar, "p") if each["rule"] == "code-after-design")
        assert refusal["code"] == "AGT_003" and "'agents' of issue 'full'" in refusal["reason"]

    def test_dry_run_is_the_default_and_spawns_nothing(
        self, tmp_path: Path, deployment: Deployment, each_kind_of_rule: Callable[[SidecarProcess, str], None]
    ) -> None:
        config = handing_over(tmp_path / "config.json")
        sidecar = deployment.start(config)
        each_kind_of_rule(sidecar, "p")
        caught_up(sidecar, "p")
        planned = [event["data"] for event in events(sidecar, "p", "handover_planned")]
        assert [(plan["rule"], plan["do"], plan.get("agent_type")) for plan in planned if plan["rule"] != "mark"] == [
            ("code-after-design", "spawn", "python-specialist"),
            ("may-it", "ask", "devops-engineer"),
            ("tell", "notify", None),
            ("again", "retry", None),
            ("tests-after-code", "spawn", "test-engineer"),
            ("suggested", "spawn", "test-engineer"),
            ("suggested", "spawn", "security-auditor"),
        ]
        untouched = [(agent["agent_type"], agent["spawned_by"], agent["attempt"]) for agent in agents(sidecar, "p")]
        assert untouched == [
            ("go-specialist", "operator", 1),
            ("python-pro", "operator", 1),
            ("typescript-pro", "operator", 1),
        ]
        assert not asked(sidecar, "p") and "operator says one" in said(sidecar, "p")
        assert not events(sidecar, "p", "handover_notification")
        # What was only planned is not done later when the mode changes.
        config = handing_over(tmp_path / "config.json", mode="automatic")
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        assert len(agents(sidecar, "p")) == 3 and not asked(sidecar, "p")

    def test_off_does_nothing_and_nothing_is_done_later(
        self, tmp_path: Path, deployment: Deployment, each_kind_of_rule: Callable[[SidecarProcess, str], None]
    ) -> None:
        config = handing_over(tmp_path / "config.json", mode="off")
        sidecar = deployment.start(config)
        each_kind_of_rule(sidecar, "p")
        config = handing_over(tmp_path / "config.json", mode="automatic")
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        assert len(agents(sidecar, "p")) == 3 and not asked(sidecar, "p")
        kinds = Counter(event["event_type"] for event in events(sidecar, "p"))
        assert kinds["handover_planned"] == 0 and kinds["handover_notification"] == 1 and kinds["spawn_blocked"] == 0
        publish(sidecar, "p", "design_ready", issue_id="i-1", part={"name": "x"})
        running(sidecar, "p", "python-specialist")
