"""A client that an off-the-shelf generator (openapi-python-client) makes from /openapi.json, against the real server."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

import pytest
import requests
from tests.polyglot import published

from cco_sidecar.testing.process import Agent, SidecarProcess

pytestmark = pytest.mark.polyglot

GENERATOR = "openapi-python-client==0.29.1"

USER = """
import sys
from orchestration_sidecar_client import AuthenticatedClient, Client
from orchestration_sidecar_client.api.event_service import event_service_list_events, event_service_publish_event
from orchestration_sidecar_client.api.result_service import result_service_create_result, result_service_get_result
from orchestration_sidecar_client.api.system_service import system_service_get_health
from orchestration_sidecar_client.models import (
    AgentResultInput, CreateResultRequestInput, Error, PublishEventRequestInput,
)

url, token = sys.argv[1:]
health = system_service_get_health.sync(client=Client(base_url=url))
print(health.status, health.service)
client = AuthenticatedClient(base_url=url, token=token)
event = PublishEventRequestInput.from_dict({"topic": "testing", "data": {"count": 12}})
published = event_service_publish_event.sync_detailed("tests_passing", client=client, body=event)
print(published.status_code, published.parsed.published)
listed = event_service_list_events.sync(client=client, since="0", topic="testing")
print([each.event_type for each in listed.events], listed.events[-1].event_id == published.parsed.event_id)
result = CreateResultRequestInput.from_dict({"result": {"status": "success", "decisions": ["JWT"]}})
stored = result_service_create_result.sync(client=client, body=result)
print(result_service_get_result.sync(stored.id, client=client).result.decisions)
missing = result_service_get_result.sync_detailed("res-nothing", client=client)
print(missing.status_code, isinstance(missing.parsed, Error), missing.parsed.code)
"""


@pytest.fixture(scope="module")
def generator() -> Path:
    """An environment of its own, kept between runs."""
    directory = published.WORK / "openapi-client"
    python = directory / "bin" / "python"
    if not python.exists():
        venv.create(directory, with_pip=True)
    published.run(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", GENERATOR)
    return python


def test_a_generated_client_drives_the_server(
    generator: Path, sidecar: SidecarProcess, agent: Agent, tmp_path: Path
) -> None:
    document = tmp_path / "openapi.json"
    document.write_bytes(requests.get(f"{sidecar.url}/openapi.json", timeout=10).content)
    said = published.run(
        str(generator), "-m", "openapi_python_client", "generate", "--path", str(document),
        "--meta", "none", "--output-path", str(tmp_path / "orchestration_sidecar_client"),
    )  # fmt: skip
    assert "WARNING" not in said.upper() or not said.count("Unable"), said
    script = tmp_path / "user.py"
    script.write_text(USER)
    told = published.run(
        str(generator), str(script), sidecar.url, agent.token, environment={"PYTHONPATH": str(tmp_path)}
    )
    assert told.splitlines() == [
        "healthy orchestration-sidecar",
        "202 True",
        "['tests_passing'] True",
        "['JWT']",
        "404 True RES_001",
    ]
    assert sys.executable != str(generator)
