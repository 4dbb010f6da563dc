"""A real sidecar in its own process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import requests

from cco_sidecar.core.environment import LIFELINE

_LINES = re.compile(r"Listening on https?://\S+:(\d+)\ngRPC on \S+:(\d+)\n")


@dataclass
class Agent:
    """An identity created for a test."""

    id: str
    type: str
    issue: str
    project: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.token}")]


class SidecarProcess:
    """A sidecar on free ports. Starts in the constructor, which returns once the sidecar is ready.

    ``options``: command-line flags; ``environment``: variables in addition to ``defaults``, which apply to every
    sidecar, and to a clean environment; ``backends_of``: gives more of them for a storage directory. Raises
    RuntimeError if the sidecar does not start.
    """

    defaults: ClassVar[dict[str, str]] = {}
    backends_of: ClassVar[Callable[[Path], dict[str, str]] | None] = None

    def __init__(
        self,
        storage: Path,
        root: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        config: Path | None = None,
    ) -> None:
        self.storage = storage
        self.root = root
        before = ["--config", str(config)] if config else []
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
        # The sidecar ends when this pipe closes, which happens however this process ends.
        lifeline, ours = os.pipe()
        self._lifeline = weakref.finalize(self, os.close, ours)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cco_sidecar.cli.main", *before, "orchestration-server", "--port", "0",
             "--storage", str(storage), "--project-root", str(root), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean
            | {"HOME": str(storage.parent), LIFELINE: str(lifeline)}
            | self.defaults_for(storage)
            | dict(environment or {}),
            pass_fds=(lifeline,),
        )  # fmt: skip
        os.close(lifeline)
        assert self.process.stdout is not None
        self.screen = ""
        while "Ready to coordinate" not in self.screen:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the sidecar did not start: {self.process.communicate()[1]}")
            self.screen += line
        found = _LINES.search(self.screen)
        assert found is not None, self.screen
        self.port, self.grpc_port = int(found[1]), int(found[2])

    @classmethod
    def defaults_for(cls, storage: Path) -> dict[str, str]:
        """Returns the variables that apply to every sidecar on this storage."""
        return cls.defaults | (cls.backends_of(storage) if cls.backends_of else {})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def operator(self) -> Agent:
        """The operator's identity."""
        token = (self.storage / "operator.token").read_text().strip()
        return Agent("operator", "operator", "", "", token)

    def agent(
        self, agent_type: str = "python-specialist", issue: str = "issue-123", project: str = "project-abc", **more: Any
    ) -> Agent:
        """Creates an identity; ``more``: further fields of the request."""
        body = {"agent_type": agent_type, "issue_id": issue, "project_id": project, **more}
        answer = requests.post(f"{self.url}/api/tokens", json=body, headers=self.operator.headers, timeout=10)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        return Agent(made["agent_id"], agent_type, issue, project, made["jwt_token"])

    def request(self, method: str, path: str, agent: Agent | None = None, **more: Any) -> requests.Response:
        """Sends a request to the REST API, as ``agent`` if given."""
        headers = (agent.headers if agent else {}) | more.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=more.pop("timeout", 60), **more)

    def kill(self) -> None:
        """Kills the sidecar with SIGKILL."""
        self.process.kill()
        self._reap()

    def stop(self) -> str:
        """Stops the sidecar with SIGTERM and returns what it wrote to stderr."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> str:
        complaints = self.process.communicate(timeout=30)[1]
        self._lifeline()
        return complaints


def agent_environment(sidecar: SidecarProcess, agent: Agent) -> dict[str, str]:
    """Returns the documented environment variables of an agent."""
    return {
        "AGENT_ID": agent.id,
        "AGENT_TYPE": agent.type,
        "ISSUE_ID": agent.issue,
        "PROJECT_ID": agent.project,
        "SIDECAR_URL": f"{sidecar.url}/api",
        "SIDECAR_GRPC": sidecar.target,
        "JWT_TOKEN": agent.token,
    }


def run_cco(sidecar: SidecarProcess, *arguments: str, environment: Sequence[tuple[str, str]] = (), **more: Any) -> Any:
    """Runs `cco` against a sidecar as its operator. Returns a CompletedProcess with text output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    ours = {
        "CCO_SIDECAR_PORT": str(sidecar.port),
        "CCO_SIDECAR_GRPC_PORT": str(sidecar.grpc_port),
        "CCO_SIDECAR_STORAGE": str(sidecar.storage),
        "HOME": str(sidecar.storage.parent),
    }
    return subprocess.run(
        [sys.executable, "-m", "cco_sidecar.cli.main", *arguments],
        env=clean | ours | dict(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )
