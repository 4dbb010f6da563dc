"""schemathesis against the OpenAPI document: all checks, no 5xx, no undocumented answer.

`make fuzz-api` runs the full form; CI runs a short one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.repositories import OURS
from tests.support.sidecars import serving, written

from cco_sidecar.testing.process import SidecarProcess


def fuzz(sidecar: SidecarProcess, directory: Path, examples: int, *options: str) -> str:
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("st")),
            "--config-file", str(Path(__file__).with_name("schemathesis.toml")),
            "run", str(OURS / "gen" / "openapi" / "orchestra.v1.json"),
            "--url", sidecar.url,
            "--header", f"Authorization: Bearer {sidecar.operator.token}",
            "--checks", "all", "--exclude-checks", "use_after_free",
            "--max-examples", str(examples),
            "--suppress-health-check", "all",
            "--request-timeout", "10",
            *options,
        ],
        cwd=directory,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis_hooks", "PYTHONPATH": str(OURS)},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[SidecarProcess]:
    """Every spawned agent ends at once."""
    directory = tmp_path_factory.mktemp("fuzzed")
    agents = {"max_concurrent": 4, "runners": {"default": {"command": ["true"]}}}
    config = written(directory / "config.json", agents=agents, events={"webhook_hosts": ["localhost"]})
    with serving(directory, repository, config=config) as running:
        yield running


def test_a_few_examples_of_everything(sidecar: SidecarProcess, tmp_path: Path) -> None:
    # The same examples each time: what turns red here was changed. `make fuzz-api` is the one that searches.
    fuzz(sidecar, tmp_path, 3, "--generation-deterministic")


@pytest.mark.long
def test_thousands_of_examples(sidecar: SidecarProcess, tmp_path: Path) -> None:
    print(fuzz(sidecar, tmp_path, int(os.environ.get("EXAMPLES", "100")))[-1500:])
