"""`cco audit verify`."""

from __future__ import annotations

from tests.support.commands import printed
from tests.support.sidecars import Deployment

from cco_sidecar.testing.process import run_cco


def test_the_log_of_a_sidecar_is_verified_and_a_change_is_found(deployment: Deployment) -> None:
    sidecar = deployment.start()
    for _ in range(3):
        assert sidecar.request("GET", "/api/agents", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    deployment.stop()
    sidecar = deployment.start()
    assert sidecar.request("GET", "/api/agents", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    said = printed(run_cco(sidecar, "audit", "verify"))
    assert said.startswith("4 lines are as they were written; hash of the last: ")
    head = said.split()[-1]
    assert printed(run_cco(sidecar, "audit", "verify", "--expect", head)) == said
    short = run_cco(sidecar, "audit", "verify", "--expect", head[:10])
    assert short.returncode == 2 and "is not a hash of 64 hexadecimal digits" in short.stderr
    path = sidecar.storage / "logs" / "security.log"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]))
    cut = run_cco(sidecar, "audit", "verify", "--expect", head)
    assert cut.returncode == 1 and f"no line has the hash {head}" in cut.stderr
    path.write_text("".join([lines[0], lines[1].replace("token_refused", "token_accepted"), *lines[2:]]))
    changed = run_cco(sidecar, "audit", "verify", str(path))
    assert changed.returncode == 1 and f"{path}:2: changed" in changed.stderr
