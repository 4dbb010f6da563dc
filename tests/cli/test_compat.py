"""`make start-bg`, as the documents of the Agent Orchestrator Framework say, and `cco compat`."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.support.repositories import OURS


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_", "MAKE", "ARGS", "XDG_"))
    }
    names = ("PORT", "GRPC_PORT", "RUNTIME_PORT", "STORE_PORT", "REGISTRY_PORT")
    free = {f"CCO_SIDECAR_{name}": "0" for name in names}
    project = tmp_path / "project"
    project.mkdir()
    made = clean | free | {"HOME": str(tmp_path), "CCO_SIDECAR_STORAGE": str(tmp_path / "s"), "PROJECT": str(project)}
    yield made
    subprocess.run(["make", "-C", str(OURS), "stop"], env=made, capture_output=True, timeout=60, check=False)


def made(target: str, environment: dict[str, str]) -> str:
    command = ["make", "--no-print-directory", "-C", str(OURS), target]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_start_bg_starts_all_of_it(environment: dict[str, str]) -> None:
    said = made("start-bg", environment)
    assert "the sidecar is running in the background" in said
    addresses = dict(re.findall(r"^export (\w+)=(\S+)$", said, re.MULTILINE))
    runtime = addresses["AGENT_ORCHESTRATOR_SESSION_MANAGER_URL"]
    assert requests.get(f"{runtime}/sessions", timeout=10).json() == {"sessions": []}
    assert requests.get(f"{addresses['AGENT_ORCHESTRATOR_AGENT_API_URL']}/health", timeout=10).ok
    store = f"http://{addresses['DOC_SYNC_HOST']}:{addresses['DOC_SYNC_PORT']}"
    assert requests.get(f"{store}/health", timeout=10).ok
    # Twice is once.
    assert "already running" in made("start-bg", environment)
    assert "stopped" in made("stop", environment)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{runtime}/sessions", timeout=10)
