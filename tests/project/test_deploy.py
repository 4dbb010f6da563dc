"""The files of deploy/: accepted by the tools that read them, and about metrics that the sidecar has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.repositories import OURS

from cco_sidecar.bus.base import Counters
from cco_sidecar.core.metrics import Histogram, Metrics
from cco_sidecar.core.settings import DECLARED, ENVIRONMENT
from cco_sidecar.services.system import exposition
from cco_sidecar.storage.base import TypeTotals
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_FAILED

DEPLOY = OURS / "deploy"


def known() -> set[str]:
    """The names of all samples."""
    metrics = Metrics()
    metrics.record("/orchestra.v1.EventService/PublishEvent", "OK", 0.001, failed=False)
    metrics.opened("/orchestra.v1.EventService/Subscribe")
    agents = [TypeTotals("python-specialist", AGENT_STATUS_FAILED, 1, 2.0, 3.0)]
    sizes = exposition.Sizes(*[0] * 10, certificate_expires=0.0)
    families = exposition.families(metrics, Counters(syncs=Histogram()), agents, sizes)
    return {sample.name for family in families for sample in family.samples} | {"up"}


def named(text: str) -> set[str]:
    return set(re.findall(r"\bsidecar_\w+", text))


def test_the_alerts_are_about_metrics_that_exist() -> None:
    found = named((DEPLOY / "prometheus" / "alerts.yml").read_text())
    assert len(found) > 7 and found <= known()


def test_the_dashboard_is_about_metrics_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    found = named(json.dumps(dashboard))
    assert len(found) > 15 and found <= known()
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in dashboard["panels"]})


def test_every_variable_is_a_setting() -> None:
    text = "".join(path.read_text() for path in DEPLOY.rglob("*") if path.is_file())
    found = set(re.findall(r"\bCCO_SIDECAR_[A-Z_]+", text))
    assert len(found) > 3 and found <= {f"{ENVIRONMENT}{name.upper()}" for name in DECLARED} | {"CCO_SIDECAR_"}


def test_every_metric_is_documented() -> None:
    text = (OURS / "docs" / "operations.md").read_text()
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in known() - {"up"}}
    assert families <= set(re.findall(r"`(sidecar_\w+)`", text))


@pytest.mark.parametrize(("kind", "file"), [("rules", "alerts.yml"), ("config", "prometheus.yml")])
def test_promtool_accepts_the_files(kind: str, file: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    command = ["promtool", "check", kind, str(DEPLOY / "prometheus" / file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_fire_when_they_should() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    command = ["promtool", "test", "rules", str(Path(__file__).with_name("alerts.test.yml"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = set(re.findall(r"alertname=.(\w+)", Path(__file__).with_name("alerts.test.yml").read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", (DEPLOY / "prometheus" / "alerts.yml").read_text()))


def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 15
    variables = {"$__rate_interval": "5m", "$__range": "1h", "$instance": "x"}
    for name, text in variables.items():
        queries = [query.replace(name, text) for query in queries]
    rules = [{"record": f"dashboard:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_names_and_helps() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    from prometheus_client import generate_latest

    families = exposition.families(Metrics(), Counters(), [], exposition.Sizes(*[0] * 10, certificate_expires=0.0))
    text = generate_latest(exposition.Registry(families))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
