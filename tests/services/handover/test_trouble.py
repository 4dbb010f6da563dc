"""Agents that cannot start, and events that were trimmed before they were read."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
from tests.services.handover.rules import answer, asked, blocked, caught_up, handing_over, running, said
from tests.support.sidecars import agents, fresh, publish, publish_all, until

from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import event_service_pb2, event_service_pb2_grpc


class TestTrouble:
    def test_a_rule_that_cannot_spawn_reports_it_and_others_continue(
        self, sidecar: SidecarProcess, project: str
    ) -> None:
        publish(sidecar, project, "impossible", issue_id="i-1")
        caught_up(sidecar, project)
        (refusal,) = blocked(sidecar, project)
        assert refusal["code"] == "AGT_001" and "such-a-program" in refusal["reason"]
        publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "x"})
        running(sidecar, project, "python-specialist")

    def test_an_approved_agent_that_cannot_run_does_not_stop_the_rules(
        self, sidecar: SidecarProcess, project: str
    ) -> None:
        publish(sidecar, project, "impossible_wanted", issue_id="i-1")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        answer(sidecar, approval, approved=True)
        text = fresh("mark")
        publish(sidecar, project, "mark", text=text)
        until(lambda: text in said(sidecar, project), "the rules to continue")
        (refusal,) = blocked(sidecar, project)
        assert refusal["code"] == "AGT_001"


def test_events_trimmed_before_they_were_read_are_reported(tmp_path: Path, root: Path) -> None:
    """A burst beyond the retention limit: every event is either answered or reported."""
    config = handing_over(tmp_path / "config.json", {"default": {"command": ["true"]}}, mode="automatic")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"events": {"max_queue_size": 20}}))
    sidecar = SidecarProcess(tmp_path / "storage", root, config=config)
    data = [{"issue_id": f"i-{number}", "part": {"name": "x"}} for number in range(400)]
    wanted = publish_all(sidecar, "p", "design_ready", data)
    missed = 0.0
    # The last gap may be published after the events that are still retained are answered.
    with grpc.insecure_channel(sidecar.target) as channel:
        stream = event_service_pb2_grpc.EventServiceStub(channel).Subscribe(
            event_service_pb2.SubscribeRequest(project_id="p", since="0"),
            metadata=sidecar.operator.metadata,
            timeout=60,
        )
        for batch in stream:
            missed += sum(each.data["missed"] for each in batch.events if each.event_type == "handover_gap")
            answered = {agent["cause"].partition("#")[0] for agent in agents(sidecar, "p")}
            if missed and len(set(wanted) - answered) <= missed and wanted[-1] in answered:
                break
    assert answered < set(wanted), "nothing was trimmed"
    assert sidecar.stop() == ""
