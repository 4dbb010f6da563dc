"""Two versions side by side: a team is updated one sidecar after the other, while it works."""

from __future__ import annotations

import io
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.repositories import OURS
from tests.support.sidecars import call, events, fresh, port_options, publish, until
from tests.support.team import Team, cluster_of, id_of, leader_of

from cco_sidecar.testing.process import SidecarProcess

pytestmark = pytest.mark.cluster

# The last version without runners.
FORMER = "905756d608bd811ab7ce49032ae219e5f3a06540"


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PYTHONPATH of the former version."""
    done = subprocess.run(
        ["git", "archive", FORMER, "src", "gen/python", "config"], cwd=OURS, capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("the history of this repository is not here")
    directory = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    # After the site's own paths are set: nothing of this version is found.
    (directory / "sitecustomize.py").write_text(
        "import sys\n"
        f"ours = {[str(OURS / place) for place in ('src', 'gen/python')]!r}\n"
        "sys.path[:] = [each for each in sys.path if each not in ours]\n"
    )
    return f"{directory}:{directory}/src:{directory}/gen/python"


@pytest.fixture
def team(tmp_path: Path, root: Path, postgres_url: str, nats_url: str) -> Iterator[Team]:
    made = Team(tmp_path, root, postgres_url, nats_url)
    yield made
    made.stop()


def agent(sidecar: SidecarProcess, agent_id: str) -> Any:
    return call(sidecar, "GET", f"/api/agents/{agent_id}")


def spawned(sidecar: SidecarProcess) -> str:
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["sleep", "600"]}
    found: str = call(sidecar, "POST", "/api/agents/spawn", json=body)["agent_id"]
    return found


def numbers(found: list[Any]) -> list[int]:
    return [int(each["data"]["number"]) for each in found if "number" in each["data"]]


def leave(sidecar: SidecarProcess) -> None:
    """Ends a sidecar, whose agents run on."""
    sidecar.process.send_signal(signal.SIGHUP)
    assert sidecar.process.communicate(timeout=30)[1] == ""


def know_each_other(*sidecars: SidecarProcess) -> None:
    until(
        lambda: all(len([m for m in cluster_of(each)["members"] if m["alive"]]) == len(sidecars) for each in sidecars),
        "all to know each other",
    )


def test_a_team_is_updated_while_it_works(team: Team, former: str) -> None:
    project = fresh("project")
    # The same ports each time, as on machines of their own.
    ports = {name: port_options() for name in ("one", "two")}
    old = [team.start(name, *ports[name], python_path=former) for name in ports]
    know_each_other(*old)
    since = publish(old[0], project, "before", number=1)
    agents = [spawned(each) for each in old]
    version = {each["version"] for each in cluster_of(old[0])["members"]}
    assert len(version) == 1
    # The first is updated; its agent runs on.
    leader = leader_of(old[0])
    first, second = sorted(old, key=lambda each: id_of(each) != leader)
    of_first, of_second = (agents[old.index(each)] for each in (first, second))
    leave(first)
    new = team.start(first.storage.parent.name, *ports[first.storage.parent.name])
    know_each_other(new, second)
    assert leader_of(new) == leader_of(second)
    assert agent(second, of_first)["status"] == agent(new, of_second)["status"] == "running"
    # Each sees what the other does, and does what the other is asked.
    publish(new, project, "during", number=2)
    publish(second, project, "during", number=3)
    for each in (new, second):
        assert numbers(events(each, project, "before", "during")) == [1, 2, 3]
        page = call(each, "GET", f"/api/events?project_id={project}&since={since}")
        assert numbers(page["events"]) == [2, 3]
    at_new = spawned(new)
    assert agent(second, at_new)["status"] == "running"
    assert call(second, "DELETE", f"/api/agents/{at_new}?force=true")["status"] == "stopped"
    assert call(new, "DELETE", f"/api/agents/{of_second}?force=true")["status"] == "stopped"
    for each in (new, second):
        name = fresh("document")
        made = call(
            each, "POST", "/api/documents", json={"filename": f"{name}.md", "text": name, "project_id": project}
        )
        for other in (new, second):
            assert (
                name
                in other.request(
                    "GET", f"/api/documents/{made['document_id']}/content?project_id={project}", other.operator
                ).text
            )
    # The second is updated too, and the lead goes to a new one.
    leave(second)
    last = team.start(second.storage.parent.name, *ports[second.storage.parent.name])
    know_each_other(new, last)
    publish(last, project, "after", number=4)
    assert numbers(events(new, project, "before", "during", "after")) == [1, 2, 3, 4]
    assert call(last, "DELETE", f"/api/agents/{of_first}?force=true")["status"] == "stopped"
