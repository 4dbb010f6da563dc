"""Every HTTP binding and every conflict is in the OpenAPI document."""

from __future__ import annotations

import pytest
from tests.support.transports import METHODS, bindings_of
from tests.wire.agents.deployment import Deployment


def test_the_openapi_document_has_every_http_binding(deployment: Deployment) -> None:
    paths = deployment.sidecar.request("GET", "/openapi.json").json()["paths"]
    wanted = {(line.verb.lower(), line.template) for rpc in METHODS for line in bindings_of(rpc)}
    missing = sorted(wanted - {(verb, path) for path, verbs in paths.items() for verb in verbs})
    assert not missing


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("post", "/api/agents/{agent_id}/heartbeat"),
        ("post", "/api/agents/{agent_id}/resume"),
        ("delete", "/api/agents/{agent_id}/worktree"),
        ("post", "/api/approvals/{approval_id}/answer"),
    ],
)
def test_the_openapi_document_lists_conflicts(deployment: Deployment, verb: str, path: str) -> None:
    paths = deployment.sidecar.request("GET", "/openapi.json").json()["paths"]
    assert "409" in paths[path][verb]["responses"]
