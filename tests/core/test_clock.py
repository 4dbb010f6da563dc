"""The clock that leases are measured by."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest


def test_the_uptime_counts_the_time_that_the_machine_slept() -> None:
    """In a time namespace (time_namespaces(7)) that is a matter of an offset."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare: apt-get install util-linux")
    show = "import time; from cco_sidecar.core.clock import uptime; print(uptime() - time.monotonic())"
    line = [
        "unshare",
        "--user",
        "--map-root-user",
        "--time",
        "--boottime",
        "5000",
        "--fork",
        sys.executable,
        "-c",
        show,
    ]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("needs time namespaces")
    assert float(done.stdout) > 4000, done.stderr
