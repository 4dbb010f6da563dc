"""`cco token`."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from tests.support.commands import fails, in_process, misused, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco


def test_the_operators_token_is_printed(sidecar: SidecarProcess) -> None:
    token = printed(run_cco(sidecar, "token"))
    assert token == sidecar.operator.token + "\n"
    assert jwt.decode(token.strip(), options={"verify_signature": False})["agent_type"] == "operator"


def test_an_agents_token_is_made(sidecar: SidecarProcess) -> None:
    line = ("token", "--type", "python-specialist", "--issue", "issue-7", "--project", "project-abc")
    token = printed(run_cco(sidecar, *line, "--ttl", "600")).strip()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["agent_type"] == "python-specialist" and claims["sub"].startswith("python-specialist-")
    assert (claims["issue_id"], claims["project_id"]) == ("issue-7", "project-abc")
    assert claims["exp"] - claims["iat"] == 600
    assert set(claims["permissions"]) == {"read_context", "write_results", "publish_events"}
    headers = {"Authorization": f"Bearer {token}"}
    assert sidecar.request("GET", "/api/events", headers=headers).status_code == 200


def test_the_default_lifetime_is_one_hour(sidecar: SidecarProcess) -> None:
    token = printed(run_cco(sidecar, "token", "--type", "test-engineer", "--issue", "issue-7")).strip()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3600 and claims["project_id"] == "default"


def test_no_storage_means_no_token(sidecar: SidecarProcess, tmp_path: Path) -> None:
    done = run_cco(sidecar, "token", environment=[("CCO_SIDECAR_STORAGE", str(tmp_path))])
    fails(done, "cannot read the operator's token")


def test_a_mistyped_agent_type_is_one_clear_line(sidecar: SidecarProcess) -> None:
    fails(run_cco(sidecar, "token", "--type", "python-specialst", "--issue", "issue-1"), "[AGT_002]")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["token", "--type", "python-specialist"], "--issue"),
        (["token", "--issue", "issue-1"], "--agent-type"),
        (["token", "--type", "python-specialist", "--issue", "i", "--ttl", "0"], "--ttl"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process(*line), says)
