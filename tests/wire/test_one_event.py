"""One retained event, by its id."""

from __future__ import annotations

import json

import pytest
from tests.support.sidecars import call, fresh, publish, refused

from cco_sidecar.client import Client, NotFoundError
from cco_sidecar.testing.process import SidecarProcess, run_cco


def test_it_is_the_same_everywhere(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent(project=fresh("one"))
    for n in range(3):
        publish(sidecar, agent.project, "built", n=n)
    listed = call(sidecar, "GET", "/api/events", agent)["events"]
    wanted = listed[1]
    assert wanted["data"] == {"n": 1}
    assert call(sidecar, "GET", f"/api/events/id/{wanted['event_id']}", agent)["event"] == wanted
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        assert client.events.get(wanted["event_id"]).data == {"n": 1}
    shown = run_cco(sidecar, "events", "show", wanted["event_id"], "--project", agent.project)
    assert json.loads(shown.stdout) == wanted


def test_what_is_not_there_is_not_found(sidecar: SidecarProcess) -> None:
    agent, other = (sidecar.agent(project=fresh("one")) for _ in range(2))
    event_id = publish(sidecar, agent.project, "built")
    later = f"{event_id[:-10]}{int(event_id[-10:]) + 1:010}"
    # Another project's event is not there either.
    for who, missing in ((agent, later), (other, event_id), (agent, "no-event"), (agent, "evt-1-0000000001")):
        refused(sidecar, 404, "EVT_006", "GET", f"/api/events/id/{missing}", who)
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client, pytest.raises(NotFoundError):
        client.events.get(later)
