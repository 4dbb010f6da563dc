"""An ordinary user, created for the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="session")
def ordinary() -> Iterator[int]:
    """A user that exists in the system for as long as the tests run."""
    if os.getuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("only root can create another user")
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip("the system has no Python that every user may run")
    name = f"cco-test-{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", "--password", "*", name], check=True)
    try:
        yield pwd.getpwnam(name).pw_uid
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
