"""What is on disk while an agent with a worktree is being started: a sidecar that is killed then finds the attempt."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from tests.support.runners import ended, spawn
from tests.support.sidecars import Deployment, open_records

from orchestra.v1.agent_service_pb2 import AGENT_STATUS_PENDING, Agent


def records(storage: Path, over: threading.Event) -> list[Agent]:
    """Every record that an agent had, one after the other."""
    seen: list[bytes] = []
    with contextlib.closing(open_records(storage)) as connection:
        while not over.is_set():
            for (body,) in connection.execute("SELECT body FROM agents"):
                if body not in seen[-1:]:
                    seen.append(body)
    return [Agent.FromString(body) for body in seen]


def test_the_record_counts_an_attempt_once_it_has_begun(deployment: Deployment) -> None:
    """Otherwise the one after it would be looked for, and this one, which may run, be started again."""
    sidecar = deployment.start()
    over, seen = threading.Event(), list[Agent]()
    looking = threading.Thread(target=lambda: seen.extend(records(sidecar.storage, over)))
    looking.start()
    try:
        ended(sidecar, spawn(sidecar, ["true"], isolation="worktree"))
    finally:
        over.set()
        looking.join()
    starting = [each for each in seen if each.status == AGENT_STATUS_PENDING]
    assert any(each.worktree for each in starting), "it was not seen"
    assert {each.attempt for each in starting} == {0}
