"""Nothing is answered twice and nothing is skipped when one sidecar follows another."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
import requests
from tests.services.handover.rules import MARK, answer, asked, blocked, caught_up, followed, handing_over, said
from tests.support.sidecars import Deployment, agents, events, publish, publish_all, until
from tests.support.succession import writes_blocked


class TestRestarts:
    """Agents run `true`: they end at once."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        runners = {"default": {"command": ["true"]}}
        limits = {"agents": 4, "depth": 1}
        return handing_over(tmp_path / "config.json", runners, mode="automatic", limits=limits)

    def test_acknowledged_events_are_answered_once_after_kill_9(self, deployment: Deployment, config: Path) -> None:
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        wanted: list[str] = []
        for number in range(4):
            data = [{"issue_id": f"i-{number}-{n}", "part": {"name": "x"}} for n in range(6)]
            wanted += publish_all(sidecar, "p", "design_ready", data)
            time.sleep(random.uniform(0, 0.06))
            sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        found = agents(sidecar, "p")
        causes = Counter(agent["cause"].partition("#")[0] for agent in found)
        assert set(wanted) - set(causes) == set(), "acknowledged, but never answered"
        assert causes == Counter(wanted), "answered twice"
        assert not blocked(sidecar, "p")
        for agent in found:
            followed(sidecar, agent).wait()

    def test_the_first_events_of_a_project_are_answered_after_kill_9(
        self, deployment: Deployment, config: Path
    ) -> None:
        """None of its events has been read yet."""
        sidecar = deployment.start(config)
        wanted: dict[str, list[str]] = {}
        for number in range(2):
            project = f"new-{number}"
            data = [{"issue_id": f"i-{n}", "part": {"name": "x"}} for n in range(12)]
            wanted[project] = publish_all(sidecar, project, "design_ready", data)
            sidecar = deployment.start(config)
        caught_up(sidecar, *wanted)
        for project, ids in wanted.items():
            causes = Counter(agent["cause"].partition("#")[0] for agent in agents(sidecar, project))
            assert causes == Counter(ids)

    def test_an_agents_event_is_answered_after_kill_9(self, deployment: Deployment, config: Path) -> None:
        """It runs elsewhere with a token, and does not call again after the restart."""
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        agent = sidecar.agent(issue="i-1", project="p")
        # The rules are busy with these when its event arrives.
        publish_all(sidecar, "p", "tell_me", [{"text": "x", "loud": True}] * 300)
        wanted = [publish(sidecar, "p", "design_ready", agent, issue_id="i-1", part={"name": "x"}) for _ in range(3)]
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        assert blocked(sidecar, "p") == []
        assert Counter(agent["cause"].partition("#")[0] for agent in agents(sidecar, "p")) == Counter(wanted)

    def test_a_person_is_notified_once_despite_kill_9(self, deployment: Deployment, config: Path) -> None:
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        data = [{"text": f"number {number}", "loud": True} for number in range(300)]
        wanted = publish_all(sidecar, "p", "tell_me", data)
        until(lambda: len(said(sidecar, "p")) > 3, "the first of them")
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        told = [event["data"] for event in events(sidecar, "p", "handover_notification")]
        times = Counter(note["event_id"] for note in told if note["rule"] == "tell")
        assert set(wanted) == set(times)
        twice = {event_id for event_id, number in times.items() if number > 1}
        assert not twice, f"{len(twice)} of {len(wanted)} were announced twice"

    def test_a_retry_does_not_repeat_notifications(self, deployment: Deployment, tmp_path: Path) -> None:
        """Of two rules for one event the second cannot be completed yet: the database refuses to store the agent."""
        rules = [
            {"name": "tell", "when": {"event_type": "both"}, "do": "notify", "message": "both of them"},
            {"name": "start", "when": {"event_type": "both"}, "do": "spawn", "agent_type": "python-specialist"},
            MARK,
        ]
        runners = {"default": {"command": ["true"]}}
        sidecar = deployment.start(handing_over(tmp_path / "config.json", runners, mode="automatic", rules=rules))
        caught_up(sidecar, "p")
        log = sidecar.storage / "logs" / "orchestration.log"
        with writes_blocked(sidecar.storage):
            publish(sidecar, "p", "both", issue_id="i-1")
            until(lambda: "hand-over of project p failed, retrying" in log.read_text(), "a failing rule", 30)
        until(lambda: agents(sidecar, "p"), "the agent", 30)
        caught_up(sidecar, "p")
        assert said(sidecar, "p").count("both of them") == 1 and len(agents(sidecar, "p")) == 1

    def test_an_answered_event_is_not_reported_as_blocked_after_kill_9(
        self, deployment: Deployment, config: Path
    ) -> None:
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        publish_all(sidecar, "p", "design_ready", [{"issue_id": "i-1", "part": {"name": "x"}}] * 300)
        until(lambda: blocked(sidecar, "p"), "the limit")
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        causes = {agent["cause"].partition("#")[0] for agent in agents(sidecar, "p")}
        assert len(causes) == 4
        assert causes & {refusal["event_id"] for refusal in blocked(sidecar, "p")} == set()

    def test_nothing_is_published_while_the_sidecar_is_down(self, deployment: Deployment, config: Path) -> None:
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        before = len(events(sidecar, "p"))
        deployment.kill()
        body = {"topic": "testing", "project_id": "p", "data": {"issue_id": "i", "part": {"name": "x"}}}
        with pytest.raises(requests.RequestException):
            sidecar.request("POST", "/api/events/design_ready", json=body)
        sidecar = deployment.start(config)
        assert len(events(sidecar, "p")) == before
        caught_up(sidecar, "p")
        assert not agents(sidecar, "p")

    def test_a_question_is_asked_once_and_its_answer_counts_after_kill_9(
        self, deployment: Deployment, config: Path
    ) -> None:
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        data = [{"issue_id": f"i-{number}", "place": "x"} for number in range(8)]
        publish_all(sidecar, "p", "deploy_wanted", data)
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        questions = asked(sidecar, "p")
        assert Counter(question["issue_id"] for question in questions) == Counter(each["issue_id"] for each in data)
        for question in questions:
            answer(sidecar, question, approved=True)
        sidecar = deployment.start(config)
        caught_up(sidecar, "p")
        causes = Counter(agent["cause"] for agent in agents(sidecar, "p"))
        assert causes == Counter(question["approval_id"] for question in questions)
        announced = Counter(event["data"]["approval_id"] for event in events(sidecar, "p", "approval_requested"))
        assert announced == causes
