"""What the original's own commands sent, and what they got: a whole cycle of `ao-*` and `doc-*`, replayed.

The exchange was recorded with the commands of the Agent Orchestrator Framework of 1 December 2025, unchanged: ao-list-agents,
ao-status, ao-new, ao-get-result, ao-list-sessions, ao-resume, ao-clean; doc-push, doc-query, doc-info, doc-read, doc-pull,
doc-delete. Times are all the same in it, and documents have names instead of IDs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.wire.test_compat_ports import Ports

RECORDED = Path(__file__).with_name("recorded") / "orchestrator.jsonl"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_NAME = re.compile(r"\{(document\d+)\}")


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Ports]:
    made = Ports(tmp_path)
    yield made
    made.sidecar.stop()


class Replay:
    """Sends recorded requests, and makes the answers comparable."""

    def __init__(self, ports: Ports) -> None:
        self._bases = {"runtime": ports.runtime, "registry": ports.registry, "store": ports.store}
        self._secret = ports.runtime.rpartition("/")[2]
        self._documents: dict[str, str] = {}

    def send(self, recorded: dict[str, Any]) -> requests.Response:
        path = _NAME.sub(lambda name: self._documents[name[1]], recorded["path"])
        return requests.request(
            recorded["method"],
            self._bases[recorded["server"]] + path,
            data=recorded.get("body", "").encode(),
            headers={"Content-Type": recorded.get("type", "")},
            timeout=30,
        )

    def comparable(self, recorded: dict[str, Any], answer: requests.Response) -> Any:
        if "text" in recorded:
            return answer.text
        wanted = recorded["answer"]
        if recorded["method"] == "POST" and recorded["server"] == "store":
            self._documents[wanted["id"].strip("{}")] = answer.json()["id"]
        text = _TIME.sub("2025-12-01T10:00:00Z", answer.text).replace(self._secret, "{secret}")
        text = re.sub(r"http://127.0.0.1:\d+", "http://127.0.0.1", text)
        for name, document in self._documents.items():
            text = text.replace(document, "{" + name + "}")
        found = json.loads(text)
        if recorded["path"] == "/agents" and isinstance(found, list):
            # The catalogue has the agent types, too.
            return [each for each in found if each["name"] == "helper"]
        return found


def test_the_original_commands_get_what_they_got(ports: Ports) -> None:
    replay = Replay(ports)
    exchange = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    assert len(exchange) == 39 and {each["server"] for each in exchange} == {"runtime", "registry", "store"}
    for recorded in exchange:
        answer = replay.send(recorded)
        told = f"{recorded['method']} {recorded['path']}: {answer.text[:500]}"
        assert answer.status_code == recorded["status"], told
        assert replay.comparable(recorded, answer) == recorded.get("text", recorded.get("answer")), told
