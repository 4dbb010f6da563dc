"""Keeps the projects that are named by a URL up to date."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.mirror import Mirror

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0

# Returns the secret with this name. Raises SidecarError.
Secret = Callable[[str], Awaitable[str]]


class Mirrors:
    """One task for each, so that a remote that hangs holds up no other."""

    def __init__(self, settings: Settings, projects: Projects, secret: Secret) -> None:
        self._projects = projects
        self._scratch = settings.storage / "git"
        self._every = settings.refresh_projects
        self._secret = secret
        self._background = Background()

    def start(self) -> None:
        directories = self._projects.directories
        for name, project in self._projects.remotes.items():
            mirror = Mirror(project, Path(directories[name]), self._scratch)
            self._background.start(self._keep(name, mirror, project.credential), f"project {name}")

    async def close(self) -> None:
        await self._background.end()

    async def _keep(self, name: str, mirror: Mirror, credential: str) -> None:
        pause, said = _FIRST_PAUSE_SECONDS, ""
        while True:
            try:
                secret = await self._secret(credential) if credential else ""
                commit = await asyncio.to_thread(mirror.update, secret)
            except (GitFailed, SidecarError, OSError) as problem:
                self._projects.problems[name] = str(problem)
                if str(problem) != said:
                    said = str(problem)
                    log.warning("project %s cannot be brought up to date, retrying: %s", name, problem)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._every)
                continue
            self._projects.problems.pop(name, None)
            if commit != said:
                said = commit
                log.info("project is up to date", extra={"project_id": name, "commit": commit})
            pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(self._every)
