"""`cco health`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.support.commands import in_process, misused, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco


def test_it_is_healthy_in_every_format(sidecar: SidecarProcess) -> None:
    assert "orchestration-sidecar 1.0.0: healthy" in printed(run_cco(sidecar, "health"))
    body = json.loads(printed(run_cco(sidecar, "health", "--format", "json")))
    assert body["status"] == "healthy" and body["checks"]["storage"] == "healthy"
    assert yaml.safe_load(printed(run_cco(sidecar, "health", "--format", "yaml")))["service"] == body["service"]


def test_health_needs_no_token(sidecar: SidecarProcess, tmp_path: Path) -> None:
    done = run_cco(sidecar, "health", environment=[("CCO_SIDECAR_STORAGE", str(tmp_path))])
    assert "healthy" in printed(done)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["health", "now"], "now"),
        (["health", "--format", "csv"], "csv"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process(*line), says)
