"""The programs that the presets start, installed from their registry: `make smoke`.

`cco doctor` asks for their versions, and the sidecar starts them with the presets' options. Without an account none of
them gets far; what counts is that none rejects an option, and that nothing is left running.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.processes import of_run
from tests.support.sidecars import call, serving, small_repository, written

from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess, run_cco

pytestmark = pytest.mark.long
PACKAGES = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex", "gemini": "@google/gemini-cli"}
TYPES = {"claude": "python-specialist", "codex": "go-specialist", "gemini": "rust-specialist"}
# How command-line parsers reject an option.
REFUSED = re.compile(r"(unknown|unexpected|unrecognized|invalid) (option|argument|flag)", re.IGNORECASE)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the programs."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    directory = tmp_path_factory.mktemp("programs")
    line = [npm, "install", "--silent", "--no-audit", "--no-fund", *PACKAGES.values()]
    done = subprocess.run(line, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"the registry does not provide them: {done.stderr[-500:]}")
    return directory / "node_modules" / ".bin"


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("real")
    runners = {TYPES[name]: {"preset": name, "timeout_seconds": 15} for name in PACKAGES}
    with serving(
        directory,
        small_repository(directory / "repository"),
        config=written(directory / "config.json", agents={"runners": runners}),
        environment={"PATH": f"{programs}:{os.environ['PATH']}"},
    ) as running:
        yield running


@pytest.mark.parametrize("name", PACKAGES)
def test_the_doctor_finds_its_version(sidecar: SidecarProcess, programs: Path, name: str, tmp_path: Path) -> None:
    config = written(tmp_path / "config.json", agents={"runners": {"default": {"preset": name}}})
    environment = [("PATH", f"{programs}:{os.environ['PATH']}")]
    done = run_cco(sidecar, "--config", str(config), "doctor", "--format", "json", environment=environment)
    (found,) = [each for each in json.loads(done.stdout) if each["name"] == f"runner {name}"]
    assert found["level"] == "ok" and re.search(r"\d+\.\d+\.\d+", found["text"]), found
    print(f"{name}: {found['text']}")


@pytest.mark.parametrize("name", PACKAGES)
def test_it_accepts_the_presets_options_and_leaves_nothing(sidecar: SidecarProcess, name: str) -> None:
    body = {"agent_type": TYPES[name], "issue_id": "issue-1", "task": "Say hello."}
    agent = SpawnedAgent(sidecar, call(sidecar, "POST", "/api/agents/spawn", json=body))
    ended = agent.wait(timeout=60)
    said = "\n".join(agent.logs())
    assert not REFUSED.search(said), said[-2000:]
    assert ended["status"] in ("completed", "failed") and said, ended
    assert not of_run(sidecar.storage / "agents" / agent.id)
    print(f"{name}: {ended['status']}, {ended['reason']}, session {ended['usage'].get('session_id')}")
